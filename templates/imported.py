"""What an import of other tools' styles collects: drafts, what was skipped, ids, and texts in whichever encoding they are."""

import codecs
import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from portrait.errors import UserError
from portrait.generation.prompts import LORA, take_loras
from templates.lint import add_lora_command
from templates.schema import StyleFile

MAX_TEXT_BYTES = 1_000_000
"""Bytes of a file of styles; FaceChain's are some hundred, a file of a web interface some hundred thousand."""
MAX_PROMPT = 3900
"""Characters of a prompt, with what is put before it."""
MAX_LORAS = 4
"""LoRAs of a style."""
UNKNOWN = "LicenseRef-unknown"
_OTHER_NETWORKS = re.compile(r"\s*<(?:hypernet|lyco):[^<>]*>\s*", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Skipped:
    """Something that was not imported, or not as it was."""

    source: str
    """Name of the file."""
    field: str
    why: str


@dataclass(frozen=True, slots=True, eq=False)
class Draft:
    """A style to write, with the source of its picture and of the sample on its card where it has one."""

    style: StyleFile
    picture: Path | None = None
    sample: Path | None = None


@dataclass(slots=True)
class Collected:
    """What one import has collected so far."""

    known: Mapping[str, StyleFile] = field(default_factory=dict)
    """Styles that are there, by id: their ids are not given again, and what is the same as one of them is skipped."""
    prefix: str = ""
    """Put before the names of which ids are made."""
    skipped: list[Skipped] = field(default_factory=list)
    drafts: list[Draft] = field(default_factory=list)

    def free_id(self, name: str) -> str:
        """A slug of the name, with a number behind it where the id is taken."""
        slug = _slug(f"{self.prefix} {name}") or _slug(self.prefix) or "style"
        taken = {*self.known, *(draft.style.id for draft in self.drafts)}
        number, chosen = 2, slug
        while chosen in taken:
            number, chosen = number + 1, f"{slug}-{number}"
        return chosen

    def add(
        self, source: str, content: Mapping[str, Any], picture: Path | None = None, sample: Path | None = None
    ) -> None:
        """Take a style in as a draft, unless it does not hold or is there already; then that is noted."""
        try:
            style = StyleFile.model_validate({"schema": 1, "status": "draft", "licence": UNKNOWN, **content})
        except ValidationError as error:
            first = error.errors()[0]
            self.skipped.append(Skipped(source, ".".join(str(part) for part in first["loc"]), first["msg"]))
            return
        here = next((id for id, other in self.known.items() if _is_same(style, other)), None)
        if here is not None:
            self.skipped.append(Skipped(source, "", f"here already, as {here}"))
            return
        self.drafts.append(Draft(style, picture, sample))

    def words(
        self, source: str, field_name: str, text: str, most: int = MAX_PROMPT
    ) -> tuple[str, list[dict[str, Any]]]:
        """A prompt as one line, without tags of LoRAs, braces and what is too long, and its LoRAs; notes what was lost."""
        plain, loras = self._take_loras(source, field_name, re.sub(r"\s+", " ", text).strip(" ,"))
        if re.search(r"[{}]", plain):
            why = "braces were taken out: here they mark placeholders"
            self.skipped.append(Skipped(source, field_name, why))
            plain = re.sub(r"[{}]", "", plain)
        if len(plain) > most:
            why = f"too long: its last {len(plain) - most} characters were cut off"
            self.skipped.append(Skipped(source, field_name, why))
        return plain[:most], loras

    def _take_loras(self, source: str, field_name: str, text: str) -> tuple[str, list[dict[str, Any]]]:
        """A prompt without what names networks, and the LoRAs among them as a style has them."""
        if _OTHER_NETWORKS.search(text):
            why = "hypernetworks and LyCORIS are not drawn with; they were taken out"
            self.skipped.append(Skipped(source, field_name, why))
            text = _OTHER_NETWORKS.sub(" ", text).strip(" ,")
        try:
            plain, choices = take_loras(text)
        except UserError as error:
            why = f"its LoRAs were taken out: {error.message}"
            self.skipped.append(Skipped(source, field_name, why))
            return re.sub(r"(\s*,)+", ",", LORA.sub(" ", text)).strip(" ,"), []
        found: list[dict[str, Any]] = []
        for choice in choices:
            name = lora_name(choice.model)
            if not 0 <= choice.strength <= 2 or len(found) == MAX_LORAS:
                why = f"the LoRA {choice.model} was taken out: a style has four at most, of strengths between 0 and 2"
                self.skipped.append(Skipped(source, field_name, why))
                continue
            why = f"the LoRA {choice.model} is called {name} here and comes by `{add_lora_command(name, '')}`"
            self.skipped.append(Skipped(source, field_name, why))
            found.append({"model": name, "strength": choice.strength, "blocks": choice.blocks})
        return plain, found


def read_text(path: Path) -> str:
    """The text of a file in UTF-8, UTF-16 or GBK, told apart by its bytes; raises `UnicodeError`, `OSError`.

    UTF-16 without a mark of its order is known by the zeros of its plain letters.
    """
    content = path.read_bytes()
    if content.startswith(codecs.BOM_UTF8):
        return content.decode("utf-8-sig")
    if content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return content.decode("utf-16")
    if b"\0" in content[:64]:
        return content.decode("utf-16-le" if content[1:2] == b"\0" else "utf-16-be")
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError:
        return content.decode("gb18030")


def read_json(path: Path) -> Any:
    """The parsed file, or None when it is no JSON of a size that styles have."""
    try:
        content = json.loads(read_text(path)) if path.stat().st_size <= MAX_TEXT_BYTES else None
        # Halves of letters can be escaped in JSON, infinite numbers be written, and neither be put into a style.
        json.dumps(content, ensure_ascii=False, allow_nan=False).encode()
    # Deep nesting ends in a RecursionError.
    except (OSError, ValueError, RecursionError):
        return None
    return content


def lora_name(name: str) -> str:
    """A name for the model store, of the file's name that a prompt has: small letters, digits and `_`."""
    plain = re.sub(r"[^a-z0-9]+", "_", name.casefold()).strip("_")[:50].strip("_")
    # A name in other letters has nothing left that tells it from others.
    return plain if name.isascii() and plain else f"{plain or 'lora'}_{hashlib.sha256(name.encode()).hexdigest()[:6]}"


def _slug(name: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", name.casefold()).strip("-")[:50].strip("-")


def _is_same(one: StyleFile, other: StyleFile) -> bool:
    """Whether a style is what the import of the same file gave, whatever was changed beside its picture or words."""
    if one.kind != other.kind:
        return False
    if one.kind == "template":
        return one.picture is not None and other.picture is not None and one.picture.sha256 == other.picture.sha256
    return _words_of(one) == _words_of(other)


def _words_of(style: StyleFile) -> tuple[object, ...]:
    return style.title, style.prompt, style.negative, [lora.model for lora in style.loras]
