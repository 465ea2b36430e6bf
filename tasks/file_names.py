"""Names of files that people take home: readable, one line, and good on every system; with the header that carries them."""

import re
import unicodedata
from collections.abc import Iterable, Sequence
from urllib.parse import quote

MAX_PART, MAX_NAME = 60, 120
"""Characters of one part of a name, and of a name: Windows takes 255 with the folder, most others 255 bytes a name."""
MAX_PEOPLE = 3
"""People who are named; a group's name would be a list."""
_UNSAFE = re.compile(r'[\x00-\x1f\x7f<>:"/\\|?*\u2028\u2029\u200b-\u200f\u202a-\u202e\u2060-\u2069\ufeff]+')
"""What Windows refuses, and signs that cannot be seen."""
_RESERVED = re.compile(r"^(con|prn|aux|nul|com\d|lpt\d)$", re.IGNORECASE)
"""Names that Windows keeps for devices, whatever suffix they have."""


def portrait_stem(name: str, people: Sequence[str], style: str, number: int) -> str:
    """The name of a portrait's file without its suffix: the owner's own name for it, or `Ann-Warm-backdrop-1`."""
    if _part(name):
        return _stem([name])
    return _stem([*people[:MAX_PEOPLE], style, str(number)])


def unique_names(stems: Iterable[str], suffixes: Iterable[str]) -> list[str]:
    """File names in one folder, of which no two are the same on any system: what comes again gets a number."""
    taken: set[str] = set()
    names = []
    for stem, suffix in zip(stems, suffixes, strict=True):
        name, again = f"{stem}.{suffix}", 1
        while name.casefold() in taken:
            again += 1
            name = f"{stem} ({again}).{suffix}"
        taken.add(name.casefold())
        names.append(name)
    return names


def attachment(name: str, fallback: str) -> str:
    """The `Content-Disposition` of a file that is saved, by RFC 6266 and 5987.

    `fallback` is the name for programs that read ASCII alone, where nothing of `name` is.
    """
    stem, dot, suffix = name.rpartition(".")
    plain = unicodedata.normalize("NFKD", stem).encode("ascii", "ignore").decode()
    # A part without one ASCII letter leaves a hyphen behind.
    plain = re.sub(r"[^A-Za-z0-9._()-]+", "-", re.sub(r"-{2,}", "-", plain)).strip("-. ")
    ascii_name = f"{plain}{dot}{suffix}" if re.search(r"[A-Za-z]", plain) else fallback
    extended = "" if ascii_name == name else f"; filename*=UTF-8''{quote(name, safe='')}"
    return f'attachment; filename="{ascii_name}"{extended}'


def _stem(parts: Sequence[str]) -> str:
    stem = "-".join(filter(None, map(_part, parts)))[:MAX_NAME].strip("-. ") or "portrait"
    return f"{stem}-" if _RESERVED.fullmatch(stem.split(".", 1)[0]) else stem


def _part(text: str) -> str:
    """A part of a name: what is unsafe and all space becomes a hyphen."""
    line = _UNSAFE.sub(" ", unicodedata.normalize("NFC", text))
    return re.sub(r"-{2,}", "-", re.sub(r"\s+", "-", line.strip()))[:MAX_PART].strip("-. ")
