"""A request from the recipe in a portrait: its training sets, pictures and style are found on this machine."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from pydantic import ConfigDict, TypeAdapter, ValidationError, with_config
from typing_extensions import TypedDict

from app.terminal import controls
from app.terminal.portraits import PortraitMaker, read_notes, set_id
from pipelines import image_io, render, template_faces
from pipelines.folders import identities, training_sets
from portrait.arrays import Size
from portrait.errors import UserError
from portrait.generation import edit_masks, edits, options
from portrait.generation.edits import Edit
from portrait.generation.options import GenerationOptions
from portrait.idphoto_spec import spec_from_dict
from portrait.types import PortraitRequest, Refinement


@with_config(ConfigDict(extra="allow"))
class _Style(TypedDict):
    id: str
    version: int


@with_config(ConfigDict(extra="forbid"))
class _Step(TypedDict):
    name: str
    strength: float


@with_config(ConfigDict(extra="allow"))
class _Required(TypedDict):
    people: dict[int, str]
    style: _Style
    seed: int
    count: int
    candidate: int
    size: tuple[int, int] | None


@with_config(ConfigDict(extra="allow"))
class _Recipe(_Required, total=False):
    """What is read of a recipe; it has more."""

    refiners: list[_Step]
    refining: int
    technique: dict[str, Any] | None
    edit: dict[str, Any] | None
    idphoto: dict[str, Any] | None
    drawn: dict[str, Any]
    method: int


def check_recipe(recipe: Mapping[str, Any]) -> None:
    """Raise `UserError` (`no_recipe`) for what no portrait of this program carries: files are anybody's."""
    try:
        TypeAdapter(_Recipe).validate_python(recipe)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(map(str, first["loc"]))
        raise UserError("no_recipe", f"The recipe in this file cannot be read: {place}: {first['msg']}.") from error


def request_from_recipe(
    maker: PortraitMaker,
    recipe: Mapping[str, Any],
    folder: Path,
    given: Sequence[Path],
    pictures: Sequence[Path] = (),
    base: str = "",
) -> PortraitRequest:
    """The request of a recipe whose portrait lies in `folder`.

    `given` are sets that moved, `pictures` files that did, `base` a base model that did.
    Raises `UserError` (`no_recipe`, `source_missing`, `hint_missing`).
    """
    check_recipe(recipe)
    places = find_paths(recipe, folder, given)
    people = {
        int(number): maker.prepare_person([places[name]], identity=places.get(f"{name}.learned")).person
        for number, name in recipe["people"].items()
    }
    named, points = recipe["style"], render.places_of_recipe(recipe)
    style = maker.load_style(str(places.get(named["id"], named["id"])), int(named["version"]), points)
    if style.picture is not None:
        people = template_faces.renumber(people, style.picture, points)
    return PortraitRequest(
        people,
        replace(style, refiners=()),  # what was done to it then is done again, whatever the style says by now
        recipe["seed"],
        recipe["count"],
        None if recipe["size"] is None else Size(*recipe["size"]),
        tuple(Refinement(**step, method=recipe.get("refining", 1)) for step in recipe.get("refiners", ())),
        _generation_options(maker.settings.draw.preset, recipe, places, (pictures, base)),
        _edit_from_dict(recipe["edit"], places, pictures) if recipe.get("edit") else None,
        skin=render.skin_of_recipe(recipe),
        idphoto=spec_from_dict(recipe.get("idphoto")),
    )


def find_paths(recipe: Mapping[str, Any], folder: Path, given: Sequence[Path]) -> dict[str, Path]:
    """Where the sets and pictures that a recipe names lie now; raises `UserError` (`source_missing`)."""
    noted = {name: Path(path) for name, path in read_notes(folder).items()}
    noted |= {set_id(path): path for path in given if training_sets.is_set(path)}
    for name in recipe["people"].values():
        if name not in noted or _source_id(noted[name]) != name:
            sentence = "The training set this was drawn from is gone or has changed. Name it with --set."
            raise UserError("source_missing", sentence)
    style = recipe["style"]["id"]
    if style.startswith("picture-") and not (style in noted and noted[style].is_file()):
        raise UserError("source_missing", "The picture this person was put into is gone. Put it back where it was.")
    return noted


def _source_id(folder: Path) -> str:
    """What a folder that somebody was drawn from is known by in recipes; empty for a folder of something else."""
    if identities.is_identity(folder):
        return identities.read(folder).identity.id
    return set_id(folder) if training_sets.is_set(folder) else ""


def file_hash(file: Path) -> str:
    """SHA-256 of a file, as recipes name pictures; raises `UserError` (`not_found`)."""
    try:
        return hashlib.sha256(file.read_bytes()).hexdigest()
    except OSError as error:
        raise UserError("not_found", f"There is no picture at {file}.") from error


def edit_note(hash: str) -> str:
    """What a picture that an edit began from is called in the notes of a folder."""
    return f"edited-{hash}"


def edit_notes(edit: Edit, file: Path, mask: Path | None, pictures: Sequence[Path]) -> dict[str, Path]:
    """The notes of what an edit took: the portrait's file, the mask's, and those of the pictures that went with it."""
    notes = {edit_note(edit.hash): file}
    if mask is not None:
        notes[edit_note(str(edit.area))] = mask
    return notes | {controls.picture_note(controls.read_picture(each)): each for each in pictures}


def _generation_options(
    preset: str, recipe: Mapping[str, Any], places: Mapping[str, Path], given: tuple[Sequence[Path], str]
) -> GenerationOptions | None:
    """How it was drawn, on the base that it was drawn on; `given` are pictures and the base, where those moved."""
    asked, drawn = recipe.get("technique"), recipe.get("drawn", {}).get("base", "")
    if not asked and not drawn:
        return None
    files, base = given
    recorded = {"preset": preset, "base": drawn, **(asked or {})}
    known = places.get(f"base-{recorded['base']}")
    if base or known is not None:
        recorded["base"] = base or str(known)
    return options.from_dict(recorded, controls.find_pictures(recorded, places, files), int(recipe.get("method", 1)))


def _edit_from_dict(recorded: Mapping[str, Any], places: Mapping[str, Path], given: Sequence[Path]) -> Edit:
    files = {file_hash(file): file for file in given}
    picture = image_io.read(_find_file(str(recorded["picture"]), "picture", files, places)).image
    mask, area = None, recorded.get("area")
    if isinstance(area, str):
        painted, _ = image_io.read_mask(_find_file(area, "mask", files, places))
        mask = edit_masks.fit_mask(painted, picture.shape[1], picture.shape[0])
    return edits.from_dict(recorded, picture, mask, controls.find_by_hash(recorded.get("with", ()), places, given))


def _find_file(hash: str, what: str, files: Mapping[str, Path], places: Mapping[str, Path]) -> Path:
    """The file with that content, among those given or where it was; raises `UserError` (`source_missing`)."""
    noted = places.get(edit_note(hash))
    if hash in files:
        return files[hash]
    if noted is not None and noted.is_file() and file_hash(noted) == hash:
        return noted
    raise UserError(
        "source_missing", f"The {what} that this edit began from is gone or has changed. Name it with --from."
    )
