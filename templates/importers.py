"""Reads the styles of other tools: FaceChain's JSON files and EasyPhoto's folder of JPEGs.

Fields without a counterpart are kept in the `[carried]` table of the style, and a note about each is returned. Styles are
imported as drafts without a licence, which only the operator can give: lint asks for it.
"""

import hashlib
import json
import re
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

from pydantic import ValidationError

from portrait.errors import UserError
from templates import schema
from templates.catalog import Entry
from templates.lint import add_lora_command
from templates.packs import MAX_FILES, MAX_PICTURE_BYTES, move_into, staging_folder
from templates.schema import StyleFile

MAX_JSON_BYTES = 1_000_000
"""Bytes of a style's JSON; they are some hundred."""
UNKNOWN = "LicenseRef-unknown"
MODELSCOPE = "https://modelscope.cn"
FACECHAIN_FIELDS = (
    "name", "img", "model_id", "revision", "bin_file", "multiplier_style", "multiplier_human", "add_prompt_style",
)  # fmt: skip
"""The fields of a FaceChain style."""
USUAL_STYLE, USUAL_PERSON = 0.25, 0.85
"""FaceChain's own defaults of a style's and a person's LoRA."""


@dataclass(frozen=True, slots=True)
class Skipped:
    """Something that was not imported, or not as it was."""

    source: str
    """Name of the file."""
    field: str
    why: str


@dataclass(frozen=True, slots=True)
class ImportResult:
    """The imported styles, and what was skipped."""

    entries: tuple[Entry, ...]
    skipped: tuple[Skipped, ...]


@dataclass(frozen=True, slots=True, eq=False)
class _Draft:
    """A style to write, with the source of its picture where it has one."""

    style: StyleFile
    picture: Path | None = None


def import_styles(source: Path, folder: Path) -> ImportResult:
    """Import a JSON file, a folder of them or a folder of JPEGs into `folder` as drafts: all or none.

    Raises `UserError`: `not_found`, `nothing_to_import`, `style_exists`; `OperatorError` (`cannot_write`).
    """
    skipped: list[Skipped] = []
    drafts: list[_Draft] = []
    taken: set[str] = set()
    for path in _source_files(source):
        suffix = path.suffix.lower()
        if suffix == ".json":
            draft = _facechain(path, taken, skipped)
        elif suffix in (".jpg", ".jpeg"):
            draft = _easyphoto(path, taken, skipped)
        else:
            skipped.append(Skipped(path.name, "", "neither a JSON style nor a JPEG"))
            continue
        if draft:
            taken.add(draft.style.id)
            drafts.append(draft)
    if not drafts:
        why = f" {skipped[0].source}: {skipped[0].why}." if skipped else ""
        raise UserError("nothing_to_import", f"There is no style to import at {source}.{why}")
    return ImportResult(tuple(_write_all(drafts, folder)), tuple(skipped))


def _source_files(source: Path) -> list[Path]:
    """The files to import; links are not followed, and JSON styles may lie one folder deep, by base."""
    if source.is_file():
        return [source]
    if not source.is_dir():
        raise UserError("not_found", f"There is nothing at {source}.")
    found = [path for pattern in ("*", "*/*.json") for path in sorted(source.glob(pattern))]
    found = [path for path in found if path.is_file() and not path.is_symlink() and not path.name.startswith(".")]
    # FaceChain keeps sample pictures beside its styles; EasyPhoto has nothing but pictures.
    if any(path.suffix.lower() == ".json" for path in found):
        found = [path for path in found if path.suffix.lower() not in (".jpg", ".jpeg", ".png", ".webp")]
    if len(found) > MAX_FILES:
        raise UserError("nothing_to_import", f"{source} holds {len(found)} files; {MAX_FILES} are the most.")
    return found


def _facechain(path: Path, taken: set[str], skipped: list[Skipped]) -> _Draft | None:
    """A FaceChain style, one JSON file of eight fields, as a text style; None where it is none."""
    given = _read_json(path)
    if not isinstance(given, dict) or "add_prompt_style" not in given:
        skipped.append(Skipped(path.name, "", "not a FaceChain style: it has no add_prompt_style"))
        return None
    name = str(given.get("name") or path.stem)
    title = name if name.isascii() else path.stem
    words = _prompt(given["add_prompt_style"])
    if re.search(r"[{}]", words):
        skipped.append(Skipped(path.name, "add_prompt_style", "braces were taken out: here they mark placeholders"))
        words = re.sub(r"[{}]", "", words)
    content: dict[str, Any] = {
        "schema": 1,
        "id": _unique_id(title, taken),
        "kind": "text",
        "title": title[:80],
        "titles": {} if name.isascii() else {"zh": name[:80]},
        "prompt": "{who}, {traits}, " + words if words else "{who}, {traits}",
        "families": ("sd15",),
        "status": "draft",
        "licence": UNKNOWN,
        "strengths": {"lora": _strength(path, given, "multiplier_human", USUAL_PERSON, skipped)},
        "loras": _lora(path, given, skipped),
        "tags": ("facechain",),
        "carried": _carried(given),
    }
    skipped += _facechain_notes(path, given)
    return _draft(path, content, skipped)


def _lora(path: Path, given: Mapping[str, Any], skipped: list[Skipped]) -> list[dict[str, Any]]:
    """The LoRA of a FaceChain style by a name that a model may have, the same for every style that has the same file."""
    names = [str(given[field]) for field in ("model_id", "bin_file") if given.get(field)]
    if not names:
        return []
    source = _lora_source(given)
    name = _model_name(names[-1], "/".join([*names, str(given.get("revision") or "")]))
    told = "/".join(names)
    why = f"the LoRA {told} is called {name} here and comes by `{add_lora_command(name, source)}`"
    skipped.append(Skipped(path.name, "model_id", why))
    strength = _strength(path, given, "multiplier_style", USUAL_STYLE, skipped)
    return [{"model": name, "strength": strength, "base": "sd15", "source": source}]


def _lora_source(given: Mapping[str, Any]) -> str:
    """The address of a FaceChain style's LoRA, all of which lie on ModelScope; empty where a part of it is missing."""
    repository, file = str(given.get("model_id") or ""), str(given.get("bin_file") or "")
    if not re.fullmatch(r"[\w.-]+/[\w.-]+", repository) or not file:
        return ""
    revision = quote(str(given.get("revision") or "master"), safe="")
    address = f"{MODELSCOPE}/models/{repository}/resolve/{revision}/{quote(file)}"
    return address if len(address) <= 500 else ""


def _model_name(file: str, identity: str) -> str:
    """A name for the model store: that of the file, told apart from others of that name by what it is and where."""
    slug = re.sub(r"[^a-z0-9]+", "_", Path(file).stem.casefold()).strip("_")[:40].strip("_") or "lora"
    return f"{slug}_{hashlib.sha256(identity.encode()).hexdigest()[:6]}"


def _strength(path: Path, given: Mapping[str, Any], field: str, usual: float, skipped: list[Skipped]) -> float:
    value = given.get(field)
    if isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value <= 2:
        return float(value)
    if value is not None:
        skipped.append(Skipped(path.name, field, f"not a strength between 0 and 2; {usual} was taken"))
    return usual


def _facechain_notes(path: Path, given: Mapping[str, Any]) -> list[Skipped]:
    """Notes for the operator about fields without a counterpart here."""
    out = [Skipped(path.name, "licence", "FaceChain's styles name none: write it into style.toml")]
    if given.get("img"):
        out.append(Skipped(path.name, "img", "text styles have no picture; kept in [carried]"))
    if given.get("revision"):
        out.append(Skipped(path.name, "revision", "part of the LoRA's address; kept in [carried] too"))
    out += [Skipped(path.name, field, "unknown; kept in [carried]") for field in given if field not in FACECHAIN_FIELDS]
    return out


def _carried(given: Mapping[str, Any]) -> dict[str, Any]:
    """Unknown fields and those without a counterpart; without nulls, which TOML does not have."""
    known = set(FACECHAIN_FIELDS) - {"img", "revision"}
    rest = {field: value for field, value in given.items() if field not in known}
    return {"facechain": _drop_nulls(rest)} if rest else {}


def _drop_nulls(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(name): _drop_nulls(each) for name, each in value.items() if each is not None}
    if isinstance(value, list):
        return [_drop_nulls(each) for each in value if each is not None]
    return value


def _easyphoto(path: Path, taken: set[str], skipped: list[Skipped]) -> _Draft | None:
    """An EasyPhoto template, one JPEG, as a template style; None where it is none."""
    if path.stat().st_size > MAX_PICTURE_BYTES:
        skipped.append(Skipped(path.name, "", f"larger than {MAX_PICTURE_BYTES / 1e6:.0f} MB"))
        return None
    content = path.read_bytes()
    if not content.startswith(b"\xff\xd8\xff"):
        skipped.append(Skipped(path.name, "", "not a JPEG, whatever its name says"))
        return None
    why = "EasyPhoto's pictures come without one: write it and the credit into style.toml"
    skipped.append(Skipped(path.name, "licence", why))
    fields = {
        "schema": 1,
        "id": _unique_id(path.stem, taken),
        "kind": "template",
        "title": path.stem[:80],
        "picture": {"file": "picture.jpg", "sha256": hashlib.sha256(content).hexdigest()},
        "status": "draft",
        "licence": UNKNOWN,
        "tags": ("easyphoto",),
        "carried": {"easyphoto": {"file": path.name}},
    }
    return _draft(path, fields, skipped, path)


def _draft(
    path: Path, content: Mapping[str, Any], skipped: list[Skipped], picture: Path | None = None
) -> _Draft | None:
    try:
        return _Draft(StyleFile.model_validate(content), picture)
    except ValidationError as error:
        first = error.errors()[0]
        skipped.append(Skipped(path.name, ".".join(str(part) for part in first["loc"]), first["msg"]))
        return None


def _read_json(path: Path) -> Any:
    """The parsed file, or None when it is no JSON of a style's size."""
    try:
        if path.stat().st_size > MAX_JSON_BYTES:
            return None
        return json.loads(path.read_text("utf-8-sig"))
    # Deep nesting ends in a RecursionError.
    except (OSError, ValueError, RecursionError):
        return None


def _prompt(given: Any) -> str:
    """The prompt as one line of at most 3,900 characters; some files split it into a list."""
    parts: Sequence[Any] = given if isinstance(given, list) else [given]
    return re.sub(r"\s+", " ", ", ".join(str(part) for part in parts if part)).strip(" ,")[:3900]


def _unique_id(name: str, taken: set[str]) -> str:
    """A slug of the name, with a number behind it where the id is taken."""
    slug = re.sub(r"[^a-z0-9]+", "-", name.casefold()).strip("-")[:50].strip("-") or "style"
    number, chosen = 2, slug
    while chosen in taken:
        number, chosen = number + 1, f"{slug}-{number}"
    return chosen


def _write_all(drafts: Sequence[_Draft], folder: Path) -> list[Entry]:
    """Write the drafts into a temporary folder inside `folder`, then move them into place together."""
    with staging_folder(folder, ".import.") as staged:
        entries = []
        for draft in drafts:
            place = staged / draft.style.id
            place.mkdir()
            schema.write_style(draft.style, place / "style.toml")
            if draft.picture:
                shutil.copyfile(draft.picture, place / "picture.jpg")
            entries.append(Entry(draft.style, place))
        return move_into(entries, folder)
