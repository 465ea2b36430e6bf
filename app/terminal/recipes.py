"""What a recipe names, found again on this machine: sets, pictures, the style, and the request that all of it makes."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from app.terminal import controls
from app.terminal.portraits import Making, notes_of, set_id
from pipelines import image_io
from pipelines.folders import training_sets
from portrait.arrays import Size
from portrait.errors import UserError
from portrait.generation import edits, options
from portrait.generation.edits import Edit
from portrait.generation.options import Technique
from portrait.types import PortraitRequest, Refinement


def request(
    making: Making,
    recipe: Mapping[str, Any],
    folder: Path,
    given: Sequence[Path],
    pictures: Sequence[Path] = (),
    base: str = "",
) -> PortraitRequest:
    """The request of a recipe whose portrait lies in `folder`.

    `given` are sets that moved, `pictures` files that did, `base` a base model that did.
    Raises `UserError` (`source_missing`, `hint_missing`).
    """
    places = places_of(recipe, folder, given)
    people = {
        int(number): making.sitter([places[name]], learned=places.get(f"{name}.learned")).person
        for number, name in recipe["people"].items()
    }
    named = recipe["style"]
    style = making.style(str(places.get(named["id"], named["id"])), int(named["version"]))
    return PortraitRequest(
        people,
        replace(style, refiners=()),  # what was done to it then is done again, whatever the style says by now
        recipe["seed"],
        recipe["count"],
        None if recipe["size"] is None else Size(*recipe["size"]),
        tuple(Refinement(**step) for step in recipe.get("refiners", ())),
        _technique({"preset": making.settings.draw.preset}, recipe, places, (pictures, base)),
        _edit(recipe["edit"], places, pictures) if recipe.get("edit") else None,
    )


def places_of(recipe: Mapping[str, Any], folder: Path, given: Sequence[Path]) -> dict[str, Path]:
    """Where the sets and pictures that a recipe names lie now; raises `UserError` (`source_missing`)."""
    noted = {name: Path(path) for name, path in notes_of(folder).items()}
    noted |= {set_id(path): path for path in given if training_sets.is_set(path)}
    for name in recipe["people"].values():
        if name not in noted or not training_sets.is_set(noted[name]) or set_id(noted[name]) != name:
            sentence = "The training set this was drawn from is gone or has changed. Name it with --set."
            raise UserError("source_missing", sentence)
    style = recipe["style"]["id"]
    if style.startswith("picture-") and not (style in noted and noted[style].is_file()):
        raise UserError("source_missing", "The picture this person was put into is gone. Put it back where it was.")
    return noted


def hash_of(file: Path) -> str:
    """SHA-256 of a file, as recipes name pictures; raises `UserError` (`not_found`)."""
    try:
        return hashlib.sha256(file.read_bytes()).hexdigest()
    except OSError as error:
        raise UserError("not_found", f"There is no picture at {file}.") from error


def note_of(hash: str) -> str:
    """What a picture that an edit began from is called in the notes of a folder."""
    return f"edited-{hash}"


def _technique(
    usual: Mapping[str, Any], recipe: Mapping[str, Any], places: Mapping[str, Path], given: tuple[Sequence[Path], str]
) -> Technique | None:
    """How it was drawn, on the base that it was drawn on; `given` are pictures and the base, where those moved."""
    wished, drawn = recipe.get("technique"), recipe.get("drawn", {}).get("base", "")
    if not wished and not drawn:
        return None
    files, base = given
    said = {**usual, "base": drawn, **(wished or {})}
    known = places.get(f"base-{said['base']}")
    if base or known is not None:
        said["base"] = base or str(known)
    return options.read(said, controls.pictures(said, places, files))


def _edit(said: Mapping[str, Any], places: Mapping[str, Path], given: Sequence[Path]) -> Edit:
    files = {hash_of(file): file for file in given}
    picture = image_io.read(_file(str(said["picture"]), "picture", files, places)).image
    mask, area = None, said.get("area")
    if isinstance(area, str):
        painted, _ = image_io.mask(_file(area, "mask", files, places))
        mask = edits.fitted(painted, picture.shape[1], picture.shape[0])
    return edits.read(said, picture, mask)


def _file(hash: str, what: str, files: Mapping[str, Path], places: Mapping[str, Path]) -> Path:
    """The file with that content, among those given or where it was; raises `UserError` (`source_missing`)."""
    noted = places.get(note_of(hash))
    if hash in files:
        return files[hash]
    if noted is not None and noted.is_file() and hash_of(noted) == hash:
        return noted
    raise UserError(
        "source_missing", f"The {what} that this edit began from is gone or has changed. Name it with --from."
    )
