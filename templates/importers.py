"""Reads the styles of other tools: FaceChain's JSON, Fooocus' JSON, AUTOMATIC1111's `styles.csv`, EasyPhoto's folder of JPEGs.

Fields without a counterpart are kept in the `[carried]` table of the style, and a note about each is returned. Styles are
imported as drafts without a licence, which only the operator can give: lint asks for it.
"""

import hashlib
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from portrait.errors import UserError
from portrait.photos.names import as_text
from templates import facechain, prompt_styles, schema
from templates.catalog import Entry
from templates.hashes import PREVIEW
from templates.imported import Collected, Draft, Skipped, read_json
from templates.packs import MAX_FILES, MAX_PICTURE_BYTES, move_into, staging_folder
from templates.schema import StyleFile

JPEG = b"\xff\xd8\xff"


@dataclass(frozen=True, slots=True)
class ImportResult:
    """The imported styles, and what was skipped."""

    entries: tuple[Entry, ...]
    skipped: tuple[Skipped, ...]


def import_styles(
    source: Path, folder: Path, known: Mapping[str, StyleFile] | None = None, prefix: str = ""
) -> ImportResult:
    """Import a file of styles, a folder of them or a folder of JPEGs into `folder` as drafts: all or none.

    `known`: styles that are there, by id; ids are numbered on from them, and what is the same as one is skipped. `prefix`
    is put before all ids. Raises `UserError`: `not_found`, `nothing_to_import`, `style_exists`; `OperatorError`
    (`cannot_write`).
    """
    collected = Collected(known or {}, prefix)
    for path in _source_files(source):
        suffix = path.suffix.lower()
        if suffix == ".json":
            _json(path, source if source.is_dir() else source.parent, collected)
        elif suffix == ".csv":
            prompt_styles.take_csv(path, collected)
        elif suffix in (".jpg", ".jpeg"):
            _easyphoto(path, collected)
        else:
            collected.skipped.append(Skipped(as_text(path.name), "", "neither a JSON style nor a JPEG"))
    if not collected.drafts:
        first = next((each for each in collected.skipped if not each.field), None) or next(
            iter(collected.skipped), None
        )
        why = f" {first.source}: {first.why}." if first else ""
        raise UserError("nothing_to_import", f"There is no style to import at {source}.{why}")
    return ImportResult(tuple(_write_all(collected.drafts, folder)), tuple(collected.skipped))


def _source_files(source: Path) -> list[Path]:
    """The files to import; links are not followed, and JSON styles may lie one folder deep, by base."""
    if source.is_file():
        return [source]
    if not source.is_dir():
        raise UserError("not_found", f"There is nothing at {source}.")
    found = [path for pattern in ("*", "*/*.json") for path in sorted(source.glob(pattern))]
    found = [path for path in found if path.is_file() and not path.is_symlink() and not path.name.startswith(".")]
    # FaceChain keeps sample pictures beside its styles; EasyPhoto has nothing but pictures.
    if any(path.suffix.lower() in (".json", ".csv") for path in found):
        found = [path for path in found if path.suffix.lower() not in (".jpg", ".jpeg", ".png", ".webp")]
    if len(found) > MAX_FILES:
        raise UserError("nothing_to_import", f"{source} holds {len(found)} files; {MAX_FILES} are the most.")
    return found


def _json(path: Path, folder: Path, collected: Collected) -> None:
    """Take in a JSON file: one style of FaceChain's, or a list of Fooocus'."""
    content = read_json(path)
    if content is None:
        collected.skipped.append(
            Skipped(as_text(path.name), "", "not JSON that can be read, or larger than styles are")
        )
    elif facechain.is_style(content):
        facechain.take(path, content, folder, collected)
    elif prompt_styles.is_list(content):
        prompt_styles.take_list(path, content, collected)
    else:
        why = "not a style of FaceChain or Fooocus: it has neither add_prompt_style nor a list of names and prompts"
        collected.skipped.append(Skipped(as_text(path.name), "", why))


def _easyphoto(path: Path, collected: Collected) -> None:
    """Take in an EasyPhoto template, one JPEG, as a template style."""
    if path.stat().st_size > MAX_PICTURE_BYTES:
        collected.skipped.append(Skipped(as_text(path.name), "", f"larger than {MAX_PICTURE_BYTES / 1e6:.0f} MB"))
        return
    content = path.read_bytes()
    if not content.startswith(JPEG):
        collected.skipped.append(Skipped(as_text(path.name), "", "not a JPEG, whatever its name says"))
        return
    why = "EasyPhoto's pictures come without one: write it and the credit into style.toml"
    collected.skipped.append(Skipped(as_text(path.name), "licence", why))
    fields = {
        "id": collected.free_id(path.stem),
        "kind": "template",
        "title": as_text(path.stem)[:80],
        "picture": {"file": "picture.jpg", "sha256": hashlib.sha256(content).hexdigest()},
        "tags": ("easyphoto",),
        "carried": {"easyphoto": {"file": as_text(path.name)}},
    }
    collected.add(as_text(path.name), fields, path)


def _write_all(drafts: Sequence[Draft], folder: Path) -> list[Entry]:
    """Write the drafts into a temporary folder inside `folder`, then move them into place together."""
    with staging_folder(folder, ".import.") as staged:
        entries = []
        for draft in drafts:
            place = staged / draft.style.id
            place.mkdir()
            schema.write_style(draft.style, place / "style.toml")
            if draft.picture:
                shutil.copyfile(draft.picture, place / "picture.jpg")
            if draft.sample and _is_jpeg(draft.sample):
                shutil.copyfile(draft.sample, place / PREVIEW)
            entries.append(Entry(draft.style, place))
        return move_into(entries, folder)


def _is_jpeg(path: Path) -> bool:
    with path.open("rb") as file:
        return path.stat().st_size <= MAX_PICTURE_BYTES and file.read(3) == JPEG
