"""Identities as folders: written atomically, read, listed, exported, deleted.

IDENTITY/identity.json (what it is and how it came about), lora.safetensors in diffusers' names, lora-webui.safetensors in
those of kohya's trainers, tokens.safetensors where the trigger was trained as a token, report.html; photos, a training set,
where a LoRA from elsewhere was imported with photos.
"""

import hashlib
import json
import re
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

import numpy as np
from markupsafe import escape

from pipelines.folders import atomic
from portrait.arrays import Vector, read_numbers
from portrait.errors import UserError
from portrait.training import TrainingResult
from portrait.types import Identity, TrainingSet

SCHEMA = 1
DESCRIPTION_FILE, PAGE_FILE = "identity.json", "report.html"
LORA_FILE, WEBUI_FILE, TOKENS_FILE = "lora.safetensors", "lora-webui.safetensors", "tokens.safetensors"
PHOTOS_FOLDER = "photos"
"""A training set in the folder of an imported identity, where photos were given with it."""


@dataclass(frozen=True, slots=True, eq=False)
class StoredIdentity:
    """An identity's folder and the content of its `identity.json`."""

    folder: Path
    description: Mapping[str, Any]

    @property
    def identity(self) -> Identity:
        """The identity without references, which come with the training set."""
        lora, tokens = self.folder / LORA_FILE, self.folder / TOKENS_FILE
        return Identity(
            id=str(self.description["id"]),
            references=(),
            mean_embeddings={name: read_numbers(each, 1) for name, each in self.description["likeness"].items()},
            lora=lora if lora.is_file() else None,
            trigger=str(self.description["trigger"]),
            class_word=str(self.description["class_word"]),
            base=str(self.description["base"]["name"]),
            base_hash=str(self.description["base"]["hash"]),
            tokens=tokens if tokens.is_file() else None,
        )


def make_description(result: TrainingResult, training: TrainingSet) -> dict[str, Any]:
    """Return the content of `identity.json` for a training result."""
    facts = dict(result.facts)
    weights_file = next(each for each in (result.lora, result.tokens) if each is not None)
    return {
        "schema": SCHEMA,
        "id": hashlib.sha256(weights_file.read_bytes()).hexdigest()[:16],
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "base": _describe_base(facts),
        "trigger": result.trigger,
        "class_word": training.class_word,
        "rank": facts.pop("rank"),
        "steps": result.steps,
        "chosen": result.chosen,
        "scores": {
            "looks": [asdict(each) for each in result.validations],
            "held_out": {name: asdict(each) for name, each in result.test_results.items()},
        },
        "losses": [round(loss, 5) for loss in result.losses],
        "notes": list(result.notes),
        "likeness": _vectors_to_lists(training.mean_embeddings),
        **facts,
    }


def write(folder: Path, description: Mapping[str, Any], files: Mapping[str, Path], page: str) -> StoredIdentity:
    """Write an identity to `folder`; an earlier one there is replaced, anything else is left alone.

    Raises `UserError` (`folder_taken`), `OperatorError` (`cannot_write`).
    """
    if not is_available(folder):
        raise UserError("folder_taken", f"{folder} holds other things. Name a new or empty folder for the identity.")
    with atomic.reported(f"The identity cannot be written to {folder}"), atomic.replace_folder(folder) as staged:
        for name, file in files.items():
            shutil.copyfile(file, staged / name)
        (staged / PAGE_FILE).write_text(page, "utf-8")
        (staged / DESCRIPTION_FILE).write_text(json.dumps(description, ensure_ascii=False, indent=1), "utf-8")
    return read(folder)


def is_available(folder: Path) -> bool:
    """Return whether an identity may be written there: nothing, an empty folder, or an earlier identity."""
    return is_identity(folder) or not folder.exists() or (folder.is_dir() and not any(folder.iterdir()))


def is_identity(folder: Path) -> bool:
    """Return whether a folder holds an identity."""
    return (folder / DESCRIPTION_FILE).is_file()


def read(folder: Path) -> StoredIdentity:
    """Read an identity; raises `UserError` (`broken_identity`), `OperatorError` (`no_permission`)."""
    try:
        with atomic.reported_reading(folder):
            description = atomic.read_json(folder / DESCRIPTION_FILE)
        if description["schema"] != SCHEMA:
            raise UserError("broken_identity", f"{folder} was written by another version. Learn the person again.")
        stored = StoredIdentity(folder, description)
        identity, settings = stored.identity, description.get("settings", {})
        if identity.lora is None and identity.tokens is None:
            raise UserError("broken_identity", f"{folder} holds nothing that was learned. Learn the person again.")
        # Without the token nobody would be meant by the trigger, and without the LoRA the token alone would be drawn.
        lost_lora = identity.lora is None and (settings.get("lora") or settings.get("text"))
        if lost_lora or (identity.tokens is None and settings.get("token")):
            name = LORA_FILE if lost_lora else TOKENS_FILE
            raise UserError("broken_identity", f"{folder} has lost its {name}. Learn the person again.")
    except (OSError, ValueError, LookupError, TypeError, AttributeError, ArithmeticError) as error:
        raise UserError("broken_identity", _what_is_wrong(folder)) from error
    return stored


def _what_is_wrong(place: Path) -> str:
    """The sentence for a place that cannot be read as an identity; a LoRA of another program is none yet."""
    loras = [place] if place.is_file() else sorted(place.glob("*.safetensors"))
    if is_identity(place) or not loras or loras[0].suffix != ".safetensors":
        return f"{place} is not a whole identity. Learn the person again."
    return (
        f"{loras[0]} is a LoRA and no identity yet. Bring it in: `portrait identities import` makes an identity of it."
    )


def list_identities(folder: Path) -> list[StoredIdentity]:
    """Return the identities of a folder, by name; broken ones are left out."""
    identities = []
    for each in sorted(folder.glob("*/")) if folder.is_dir() else []:
        if is_identity(each):
            try:
                identities.append(read(each))
            except UserError:
                continue  # `show` says what is wrong with it
    return identities


def remove_photo(folder: Path, source: str, mean: Mapping[str, Sequence[float]] | None = None) -> None:
    """Remove a photo from an identity's page, and take over the mean embedding of the set without it.

    What was learned stays as it is: nothing can be taken out of weights. Does nothing where there is no identity. Raises
    `OperatorError` (`cannot_write`).
    """
    page, description = folder / PAGE_FILE, folder / DESCRIPTION_FILE
    alt = f'alt="The crop of {escape(source)}"'
    shown = rf'<figure><img src="[^"]*" {re.escape(alt)}><figcaption>.*?</figcaption></figure>\n?'
    with atomic.reported("The identity cannot be written"):
        if page.is_file():
            before = page.read_text("utf-8")
            after = re.sub(shown, "", before)
            if after != before:
                atomic.write_file(page, after)
        if mean and description.is_file():
            content = json.loads(description.read_text("utf-8"))
            if content.get("likeness") != mean:
                atomic.write_file(description, json.dumps({**content, "likeness": mean}, ensure_ascii=False, indent=1))


def export_lora(folder: Path, file: Path, names: Literal["webui", "diffusers"]) -> Path:
    """Copy its LoRA to one file, for other programs; raises `UserError` (`folder_taken`, `broken_identity`)."""
    stored = read(folder)
    source = stored.folder / (WEBUI_FILE if names == "webui" else LORA_FILE)
    if not source.is_file():
        raise UserError("broken_identity", f"{folder} holds a learned token and no LoRA: take {TOKENS_FILE} from it.")
    if file.exists():
        raise UserError("folder_taken", f"{file} is there already. Name a new file.")
    with atomic.reported(f"{file} cannot be written"), atomic.replace_file(file) as staged:
        shutil.copyfile(source, staged)
    return file


def delete(folder: Path) -> list[str]:
    """Delete an identity, which is renamed away first, and return the names of its files.

    Raises `UserError` (`not_found`) for other folders, `OperatorError` (`cannot_write`).
    """
    if not is_identity(folder):
        raise UserError("not_found", f"There is no identity in {folder}.")
    with atomic.reported(f"{folder} cannot be deleted"):
        removed = sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if not path.is_dir())
        trash = Path(tempfile.mkdtemp(prefix=".deleted.", dir=folder.parent))
        folder.rename(trash / "identity")
        shutil.rmtree(trash)
    return removed


def make_merged_description(parts: Sequence[StoredIdentity], shares: Sequence[float], id: str) -> dict[str, Any]:
    """Return the content of `identity.json` for merged identities; raises `UserError` (`cannot_merge`)."""
    first = parts[0].description
    if len(parts) < 2 or any(each.description["base"]["hash"] != first["base"]["hash"] for each in parts):
        raise UserError("cannot_merge", "Name two identities or more that were learned on the same base.")
    if any(each.identity.lora is None for each in parts):
        raise UserError("cannot_merge", "An identity that is a token alone cannot be merged.")
    triggers = sorted({each.identity.trigger for each in parts})
    if len(triggers) > 1:
        raise UserError(
            "cannot_merge",
            f"They answer to different words ({', '.join(triggers)}), which one identity cannot. Learn them with one trigger.",
        )
    if len({each.identity.tokens is None for each in parts}) > 1:
        raise UserError("cannot_merge", "Some of them have a learned token and others have none.")
    likeness = {
        space: sum(share * each.identity.mean_embeddings[space] for share, each in zip(shares, parts, strict=True))
        for space in parts[0].identity.mean_embeddings
        if all(space in each.identity.mean_embeddings for each in parts)
    }
    copied = ("schema", "base", "trigger", "class_word", "unet", "packages")
    return {name: first[name] for name in copied} | {
        "id": id,
        "rank": max(int(each.description["rank"]) for each in parts),
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "steps": sum(int(each.description["steps"]) for each in parts),
        "chosen": "merge",
        "scores": {"looks": [], "held_out": {}},
        "losses": [],
        "notes": [],
        "likeness": _vectors_to_lists({space: np.asarray(vector) for space, vector in likeness.items()}),
        "merged": {str(each.description["id"]): share for share, each in zip(shares, parts, strict=True)},
    }


def make_imported_description(
    facts: Mapping[str, Any], id: str, trigger: str, class_word: str, likeness: Mapping[str, Vector]
) -> dict[str, Any]:
    """Return the content of `identity.json` for a LoRA from elsewhere; `likeness` is empty where no photos were given."""
    notes = ["The LoRA was learned elsewhere."]
    if not likeness:
        notes.append("No photos were given with it, so likeness is not measured: import it again with --references.")
    return {
        "schema": SCHEMA,
        "id": id,
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "trigger": trigger,
        "class_word": class_word,
        "steps": 0,
        "chosen": "imported",
        "scores": {"looks": [], "held_out": {}},
        "losses": [],
        "notes": notes,
        "likeness": _vectors_to_lists(likeness),
        **facts,
    }


def _describe_base(facts: dict[str, Any]) -> dict[str, str]:
    """The base that was learned on, taken out of the facts; and the one that draws the person, where that is another."""
    base = {"name": facts.pop("base"), "family": facts.pop("family"), "hash": facts.pop("base_hash")}
    draw_on = facts.pop("draw_on", "")
    return {**base, "draw_on": draw_on} if draw_on else base


def _vectors_to_lists(likeness: Mapping[str, Vector]) -> dict[str, list[float]]:
    return {space: vector.tolist() for space, vector in likeness.items()}
