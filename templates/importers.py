"""Reads the styles of other tools: FaceChain's JSON files and EasyPhoto's folder of JPEGs.

What a style here has no word for is kept in its `[carried]` table; what it means for the operator stands in a report. Styles
come in as drafts, without a licence, which nobody but the operator can give: lint asks for it.
"""

import hashlib
import json
import re
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from portrait.errors import OperatorError, UserError
from templates import schema
from templates.catalog import Entry
from templates.packs import LARGEST_PICTURE, MOST_FILES, settle
from templates.schema import StyleFile

LARGEST_JSON = 1_000_000
"""Bytes of a style's JSON; they are some hundred."""
UNKNOWN = "LicenseRef-unknown"
FACECHAIN = (
    "name", "img", "model_id", "revision", "bin_file", "multiplier_style", "multiplier_human", "add_prompt_style",
)  # fmt: skip
"""The fields of a FaceChain style."""
USUAL_STYLE, USUAL_PERSON = 0.25, 0.85
"""FaceChain's own defaults of a style's and a person's LoRA."""


@dataclass(frozen=True, slots=True)
class Left:
    """Something that did not come over as it was."""

    source: str
    """Name of the file."""
    field: str
    why: str


@dataclass(frozen=True, slots=True)
class Brought:
    """What came, and what did not."""

    entries: tuple[Entry, ...]
    left: tuple[Left, ...]


@dataclass(frozen=True, slots=True, eq=False)
class _Draft:
    """A style to be written, and its picture where it has one."""

    style: StyleFile
    picture: Path | None = None


def bring(source: Path, folder: Path) -> Brought:
    """Import what lies at `source`: a JSON file or a folder of them, or a folder of JPEGs; all of it or nothing.

    Raises `UserError`: `not_found`, `nothing_to_import`, `style_exists`; `OperatorError` (`cannot_write`).
    """
    left: list[Left] = []
    drafts: list[_Draft] = []
    taken: set[str] = set()
    for path in _files(source):
        suffix = path.suffix.lower()
        if suffix == ".json":
            draft = _facechain(path, taken, left)
        elif suffix in (".jpg", ".jpeg"):
            draft = _easyphoto(path, taken, left)
        else:
            left.append(Left(path.name, "", "neither a JSON style nor a JPEG"))
            continue
        if draft:
            taken.add(draft.style.id)
            drafts.append(draft)
    if not drafts:
        why = f" {left[0].source}: {left[0].why}." if left else ""
        raise UserError("nothing_to_import", f"There is no style to import at {source}.{why}")
    return Brought(tuple(_written(drafts, folder)), tuple(left))


def _files(source: Path) -> list[Path]:
    """The files meant; links are not followed out of a stranger's folder. JSON styles lie one folder deep, by base."""
    if source.is_file():
        return [source]
    if not source.is_dir():
        raise UserError("not_found", f"There is nothing at {source}.")
    found = [path for pattern in ("*", "*/*.json") for path in sorted(source.glob(pattern))]
    found = [path for path in found if path.is_file() and not path.is_symlink() and not path.name.startswith(".")]
    # FaceChain keeps sample pictures beside its styles; EasyPhoto has nothing but pictures.
    if any(path.suffix.lower() == ".json" for path in found):
        found = [path for path in found if path.suffix.lower() not in (".jpg", ".jpeg", ".png", ".webp")]
    if len(found) > MOST_FILES:
        raise UserError("nothing_to_import", f"{source} holds {len(found)} files; {MOST_FILES} are the most.")
    return found


def _facechain(path: Path, taken: set[str], left: list[Left]) -> _Draft | None:
    """One JSON file of eight fields as a text style."""
    given = _json(path)
    if not isinstance(given, dict) or "add_prompt_style" not in given:
        left.append(Left(path.name, "", "not a FaceChain style: it has no add_prompt_style"))
        return None
    name = str(given.get("name") or path.stem)
    words = _words(given["add_prompt_style"])
    if re.search(r"[{}]", words):
        left.append(Left(path.name, "add_prompt_style", "braces were taken out: here they mark placeholders"))
        words = re.sub(r"[{}]", "", words)
    content: dict[str, Any] = {
        "schema": 1,
        "id": _id(name if name.isascii() else path.stem, taken),
        "kind": "text",
        "title": (name if name.isascii() else path.stem)[:80],
        "titles": {} if name.isascii() else {"zh": name[:80]},
        "prompt": "{who}, {traits}, " + words if words else "{who}, {traits}",
        "families": ("sd15",),
        "status": "draft",
        "licence": UNKNOWN,
        "strengths": {"lora": _strength(path, given, "multiplier_human", USUAL_PERSON, left)},
        "loras": _lora(path, given, left),
        "tags": ("facechain",),
        "carried": _carried(given),
    }
    left += _facechain_left(path, given)
    return _draft(path, content, left)


def _lora(path: Path, given: Mapping[str, Any], left: list[Left]) -> list[dict[str, Any]]:
    names = [str(given[field]) for field in ("model_id", "bin_file") if given.get(field)]
    if not names:
        return []
    left.append(Left(path.name, "model_id", f"the LoRA {'/'.join(names)} is to be imported into the model store"))
    strength = _strength(path, given, "multiplier_style", USUAL_STYLE, left)
    return [{"model": "/".join(names)[:200], "strength": strength, "base": "sd15"}]


def _strength(path: Path, given: Mapping[str, Any], field: str, usual: float, left: list[Left]) -> float:
    value = given.get(field)
    if isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value <= 2:
        return float(value)
    if value is not None:
        left.append(Left(path.name, field, f"not a strength between 0 and 2; {usual} was taken"))
    return usual


def _facechain_left(path: Path, given: Mapping[str, Any]) -> list[Left]:
    """What the operator should know about fields without a counterpart."""
    out = [Left(path.name, "licence", "FaceChain's styles name none: write it into style.toml")]
    if given.get("img"):
        out.append(Left(path.name, "img", "text styles have no picture; kept in [carried]"))
    if given.get("revision"):
        out.append(Left(path.name, "revision", "LoRAs are held by their hash; kept in [carried]"))
    out += [Left(path.name, field, "unknown; kept in [carried]") for field in given if field not in FACECHAIN]
    return out


def _carried(given: Mapping[str, Any]) -> dict[str, Any]:
    """Unknown fields and those without a counterpart; TOML has no null, which says nothing anyway."""
    kept = {field: value for field, value in given.items() if field not in FACECHAIN or field in ("img", "revision")}
    return {"facechain": _without_null(kept)} if kept else {}


def _without_null(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(name): _without_null(each) for name, each in value.items() if each is not None}
    if isinstance(value, list):
        return [_without_null(each) for each in value if each is not None]
    return value


def _easyphoto(path: Path, taken: set[str], left: list[Left]) -> _Draft | None:
    """One JPEG as a template style."""
    if path.stat().st_size > LARGEST_PICTURE:
        left.append(Left(path.name, "", f"larger than {LARGEST_PICTURE / 1e6:.0f} MB"))
        return None
    content = path.read_bytes()
    if not content.startswith(b"\xff\xd8\xff"):
        left.append(Left(path.name, "", "not a JPEG, whatever its name says"))
        return None
    left.append(
        Left(path.name, "licence", "EasyPhoto's pictures come without one: write it and the credit into style.toml")
    )
    told = {
        "schema": 1,
        "id": _id(path.stem, taken),
        "kind": "template",
        "title": path.stem[:80],
        "picture": {"file": "picture.jpg", "sha256": hashlib.sha256(content).hexdigest()},
        "status": "draft",
        "licence": UNKNOWN,
        "tags": ("easyphoto",),
        "carried": {"easyphoto": {"file": path.name}},
    }
    return _draft(path, told, left, path)


def _draft(path: Path, content: Mapping[str, Any], left: list[Left], picture: Path | None = None) -> _Draft | None:
    try:
        return _Draft(StyleFile.model_validate(content), picture)
    except ValidationError as error:
        first = error.errors()[0]
        left.append(Left(path.name, ".".join(str(part) for part in first["loc"]), first["msg"]))
        return None


def _json(path: Path) -> Any:
    """The file's content, or None when it is no JSON of a style's size."""
    try:
        if path.stat().st_size > LARGEST_JSON:
            return None
        return json.loads(path.read_text("utf-8-sig"))
    # Deep nesting ends in a RecursionError.
    except (OSError, ValueError, RecursionError):
        return None


def _words(given: Any) -> str:
    """A prompt, which some files split into a list."""
    parts: Sequence[Any] = given if isinstance(given, list) else [given]
    return re.sub(r"\s+", " ", ", ".join(str(part) for part in parts if part)).strip(" ,")[:3900]


def _id(name: str, taken: set[str]) -> str:
    """A name as an id, with a number behind it where another style has it."""
    slug = re.sub(r"[^a-z0-9]+", "-", name.casefold()).strip("-")[:50].strip("-") or "style"
    number, chosen = 2, slug
    while chosen in taken:
        number, chosen = number + 1, f"{slug}-{number}"
    return chosen


def _written(drafts: Sequence[_Draft], folder: Path) -> list[Entry]:
    """Write the drafts beside their place and move them in together."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        staged = Path(tempfile.mkdtemp(prefix=".import.", dir=folder))
        try:
            entries = []
            for draft in drafts:
                place = staged / draft.style.id
                place.mkdir()
                schema.write(draft.style, place / "style.toml")
                if draft.picture:
                    shutil.copyfile(draft.picture, place / "picture.jpg")
                entries.append(Entry(draft.style, place))
            return settle(entries, folder)
        finally:
            shutil.rmtree(staged, ignore_errors=True)
    except OSError as error:
        raise OperatorError("cannot_write", f"Styles cannot be written to {folder}: {error.strerror}.") from error
