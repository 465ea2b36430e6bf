"""Styles in and out as one zip: a manifest with hashes, and every byte of a stranger's pack doubted.

PACK.zip holds pack.json and a folder for each style: `{"format": "portrait-styles", "schema": 1, "files": {"mine/style.toml":
{"sha256": …, "bytes": …}}}`. A pack is read whole into a staging folder, checked, and only then moved into place.
"""

import hashlib
import json
import os
import re
import shutil
import stat
import tempfile
import unicodedata
import zipfile
import zlib
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from portrait.errors import OperatorError, UserError
from templates import schema
from templates.catalog import Entry

MANIFEST = "pack.json"
MOST_FILES = 2_000
"""Files of a pack: some hundred styles with a picture each."""
MOST_BYTES = 1_000_000_000
"""Bytes of a pack when unpacked."""
LARGEST_PICTURE = 80_000_000
"""Bytes of one picture, as at the door for photos."""
LARGEST_TEXT = schema.LARGEST
LARGEST_MANIFEST = 1_000_000
CHUNK = 1 << 20

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._ ()-]{0,99}")
_STARTS: dict[str, tuple[bytes, ...]] = {
    ".jpg": (b"\xff\xd8\xff",),
    ".jpeg": (b"\xff\xd8\xff",),
    ".png": (b"\x89PNG\r\n\x1a\n",),
    ".webp": (b"RIFF",),
}
"""How a picture of each suffix begins."""
_TEXTS = (".toml", ".txt", ".md")


class _File(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
    bytes: Annotated[int, Field(ge=0)]


class _Manifest(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    format: Literal["portrait-styles"]
    schema_: Annotated[Literal[1], Field(alias="schema")]
    files: dict[str, _File]


def export(entries: Sequence[Entry], path: Path) -> Path:
    """Write a pack of some styles, whole or not at all; the same styles give the same bytes.

    Raises `UserError` (`bad_pack`) for a style that holds what no pack may, `OperatorError` (`cannot_write`).
    """
    contents: dict[str, bytes] = {}
    for entry in sorted(entries, key=lambda one: one.style.id):
        entry.picture()  # a style whose picture is gone must not travel
        for file in sorted(each for each in entry.folder.iterdir() if each.is_file() and not each.name.startswith(".")):
            contents[f"{entry.style.id}/{file.name}"] = file.read_bytes()
    for name, content in contents.items():
        _check_name(name)
        _check_content(name, content[:16])
    told = {name: {"sha256": hashlib.sha256(each).hexdigest(), "bytes": len(each)} for name, each in contents.items()}
    manifest = json.dumps({"format": "portrait-styles", "schema": 1, "files": told}, indent=1).encode()
    staged = path.with_name(f".{path.name}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with zipfile.ZipFile(staged, "w", zipfile.ZIP_DEFLATED) as pack:
            for name, content in {MANIFEST: manifest, **contents}.items():
                pack.writestr(zipfile.ZipInfo(name, (1980, 1, 1, 0, 0, 0)), content, zipfile.ZIP_DEFLATED)
        os.replace(staged, path)  # noqa: PTH105 -- says plainly that it is atomic
    except OSError as error:
        with suppress(OSError):
            staged.unlink(missing_ok=True)
        raise OperatorError("cannot_write", f"{path} cannot be written: {error.strerror}.") from error
    return path


def bring(path: Path, folder: Path) -> list[Entry]:
    """Unpack a pack's styles into `folder`: all of them or none.

    Raises `UserError`: `bad_pack` says why a pack is refused, `style_exists` which style is there already;
    `OperatorError` (`bad_style`, `cannot_write`).
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        staged = Path(tempfile.mkdtemp(prefix=".pack.", dir=folder))
        try:
            names = _unpack(path, staged)
            entries = _styles(staged, names)
            return settle(entries, folder)
        finally:
            shutil.rmtree(staged, ignore_errors=True)
    except OSError as error:
        raise OperatorError("cannot_write", f"Styles cannot be written to {folder}: {error.strerror}.") from error


def _unpack(path: Path, staged: Path) -> list[str]:
    """Check the pack and unpack it; the names of its files."""
    try:
        file = path.open("rb")
    except OSError as error:
        raise UserError("not_found", f"There is no pack at {path}.") from error
    try:
        with file, zipfile.ZipFile(file) as pack:
            inside = _listed(pack)
            manifest = _manifest(pack, inside)
            for name, told in manifest.files.items():
                _take(pack, inside[name], told, staged / name)
    # What zipfile and zlib raise on files that lie about themselves.
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError, ValueError) as error:
        raise _refused(f"it is no whole zip file ({error})") from error
    return sorted(manifest.files)


def _listed(pack: zipfile.ZipFile) -> dict[str, zipfile.ZipInfo]:
    """What the pack says it holds, by name; nothing is unpacked yet."""
    every = pack.infolist()
    if len(every) > MOST_FILES:
        raise _refused(f"it has {len(every)} files, and {MOST_FILES} are the most")
    seen: dict[str, str] = {}
    for info in every:
        _check_entry(info)
        # Some disks take two names for one that differ by case or by how an accent is written.
        folded = unicodedata.normalize("NFC", info.filename).casefold()
        if folded in seen:
            raise _refused(f"two files of it are called {_shown(info.filename)}")
        seen[folded] = info.filename
    total = sum(info.file_size for info in every)
    if total > MOST_BYTES:
        raise _refused(f"it would unpack to {total / 1e6:.0f} MB, and {MOST_BYTES / 1e6:.0f} are the most")
    return {info.filename: info for info in every}


def _check_entry(info: zipfile.ZipInfo) -> None:
    if info.filename != MANIFEST:
        _check_name(info.filename)
    # zipfile cuts names at a NUL; what stood behind it was meant for somebody else.
    if info.orig_filename != info.filename:
        raise _refused(f"the name {_shown(info.orig_filename)} is not what it seems")
    kind = stat.S_IFMT(info.external_attr >> 16)
    if kind not in (0, stat.S_IFREG):
        raise _refused(f"{_shown(info.filename)} is a link or device and not a file")
    if info.flag_bits & 0x1:
        raise _refused(f"{_shown(info.filename)} is encrypted")
    if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise _refused(f"{_shown(info.filename)} is compressed in an unknown way ({info.compress_type})")
    if info.file_size > _most(info.filename):
        raise _refused(f"{_shown(info.filename)} is larger than {_most(info.filename) / 1e6:g} MB")


def _check_name(name: str) -> None:
    """STYLE/FILE and nothing else: no way out of the folder, no folder within, no file of an unknown kind."""
    parts = name.split("/")
    if name.startswith("/") or ".." in parts or "\\" in name or ":" in name:
        raise _refused(f"{_shown(name)} leads out of its folder")
    if len(parts) != 2 or not re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", parts[0]) or not _NAME.fullmatch(parts[1]):
        raise _refused(f"{_shown(name)} is not of the form style/file")
    if parts[1] != "style.toml" and Path(parts[1]).suffix.lower() not in {*_STARTS, ".txt", ".md"}:
        raise _refused(f"{_shown(name)} is neither a style.toml nor a picture nor a text")


def _most(name: str) -> int:
    if name == MANIFEST:
        return LARGEST_MANIFEST
    return LARGEST_TEXT if Path(name).suffix.lower() in _TEXTS else LARGEST_PICTURE


def _manifest(pack: zipfile.ZipFile, inside: dict[str, zipfile.ZipInfo]) -> _Manifest:
    if MANIFEST not in inside:
        raise _refused(f"it has no {MANIFEST}")
    with pack.open(inside[MANIFEST]) as source:
        content = source.read(LARGEST_MANIFEST + 1)
    if len(content) > LARGEST_MANIFEST:
        raise _refused(f"{MANIFEST} is larger than it says")
    try:
        manifest = _Manifest.model_validate_json(content)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise _refused(f"its {MANIFEST} does not hold: {where or MANIFEST}: {first['msg']}") from error
    listed, there = set(manifest.files), set(inside) - {MANIFEST}
    if listed != there:
        raise _refused(f"its {MANIFEST} and its files differ: {_shown(sorted(listed ^ there)[0])}")
    return manifest


def _take(pack: zipfile.ZipFile, info: zipfile.ZipInfo, told: _File, place: Path) -> None:
    """Unpack one file, never more of it than it may have, whatever its header says."""
    place.parent.mkdir(exist_ok=True)
    digest, size, most = hashlib.sha256(), 0, min(_most(info.filename), told.bytes)
    with pack.open(info) as source, place.open("xb") as target:
        while chunk := source.read(CHUNK):
            if size == 0:
                _check_content(info.filename, chunk[:16])
            size += len(chunk)
            if size > most:
                raise _refused(f"{_shown(info.filename)} is larger than it says")
            digest.update(chunk)
            target.write(chunk)
    if size != told.bytes or digest.hexdigest() != told.sha256:
        raise _refused(f"{_shown(info.filename)} is not what the pack's list says (its hash differs)")


def _check_content(name: str, start: bytes) -> None:
    suffix = Path(name).suffix.lower()
    if start.startswith(b"PK"):
        raise _refused(f"{_shown(name)} is a zip in the zip")
    if suffix in _STARTS and not start.startswith(_STARTS[suffix]):
        raise _refused(f"{_shown(name)} is not the kind of picture that its name says")


def _styles(staged: Path, names: Sequence[str]) -> list[Entry]:
    """The unpacked styles, each read and whole."""
    entries = []
    for folder in sorted({name.split("/")[0] for name in names}):
        if not (staged / folder / "style.toml").is_file():
            raise _refused(f"{folder} has no style.toml")
        try:
            entry = Entry(schema.read(staged / folder / "style.toml"), staged / folder)
            if entry.style.picture and entry.style.picture.file:
                entry.picture()
        except OperatorError as error:
            raise _refused(error.message.replace(str(staged) + os.sep, "").rstrip(".")) from error
        if entry.style.id != folder:
            raise _refused(f"the style in the folder {folder} calls itself {entry.style.id}")
        entries.append(entry)
    if not entries:
        raise _refused("there is no style in it")
    return entries


def settle(entries: Sequence[Entry], folder: Path) -> list[Entry]:
    """Move styles from a staging folder beside it into `folder`; when one cannot be moved, none is.

    Raises `UserError` (`style_exists`), `OSError`.
    """
    for entry in entries:
        if (folder / entry.style.id).exists():
            raise UserError(
                "style_exists",
                f"There is a style {entry.style.id} already. Remove it first, or give this one a new id.",
            )
    moved: list[Path] = []
    try:
        for entry in entries:
            entry.folder.rename(folder / entry.style.id)
            moved.append(folder / entry.style.id)
    except OSError:
        for place in moved:
            shutil.rmtree(place, ignore_errors=True)
        raise
    return [Entry(entry.style, folder / entry.style.id) for entry in entries]


def _shown(name: str) -> str:
    """A name from outside, short and printable."""
    return ascii(name if len(name) <= 80 else f"{name[:77]}…")


def _refused(reason: str) -> UserError:
    return UserError("bad_pack", f"The pack is refused: {reason}. Nothing of it was kept.")
