"""Reads the generation options of a job, with the uploaded pictures of its control inputs, its image prompt and its edit."""

import hashlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from pipelines import image_io
from portrait.arrays import Image
from portrait.errors import UserError
from portrait.generation import edits, options
from portrait.generation.edits import Edit
from portrait.generation.options import GenerationOptions


def generation_options(
    params: Mapping[str, Any], file_of: Callable[[str], Path], recipe: Mapping[str, Any] | None = None
) -> GenerationOptions | None:
    """Read the options from a job's `params`, None without any; `file_of` returns the file of an uploaded picture.

    `recipe` is that of the portrait which is drawn again: older ones are read as they were.
    Raises `UserError` (`hint_missing`) for a picture that was deleted, and what reading a picture raises.
    """
    given = params.get("technique")
    if not given:
        return None
    pictures: dict[str, Any] = {}

    def with_picture(followed: Mapping[str, Any]) -> dict[str, Any]:
        picture = _read(file_of(str(followed["template"])), "A picture that this drawing shall follow")
        hash = options.picture_hash(picture)
        pictures[hash] = picture
        return {**{name: each for name, each in followed.items() if name != "template"}, "picture": hash}

    read = dict(given)
    if given.get("hints"):
        read["hints"] = [with_picture(control) for control in given["hints"]]
    if given.get("look"):
        read["look"] = with_picture(given["look"])
    method = options.METHOD if recipe is None else int(recipe.get("method", 1))
    return options.from_dict(read, pictures, method)


def load_edit(edit: Mapping[str, Any], file: Path, file_of: Callable[[str], Path]) -> Edit:
    """Load an edit of a job with the file of the portrait it begins from; raises `UserError` (`not_found`) without that."""
    try:
        content = file.read_bytes()
    except FileNotFoundError as error:
        raise UserError("not_found", "The portrait that was to be edited is not there any more.") from error
    pictures = edit_pictures(edit, file_of)
    given = {**edit, "picture": hashlib.sha256(content).hexdigest(), "with": list(pictures)}
    return edits.from_dict(given, image_io.decode(content, file.name).image, pictures=pictures)


def edit_pictures(edit: Mapping[str, Any], file_of: Callable[[str], Path]) -> dict[str, Image]:
    """Read the pictures that go with an edit of a job, by hash; raises as `generation_options`."""
    pictures = [_read(file_of(str(id)), "A picture that goes with this edit") for id in edit.get("with") or ()]
    return {options.picture_hash(each): each for each in pictures}


def _read(file: Path, what: str) -> Image:
    if not file.is_file():
        raise UserError("hint_missing", f"{what} was deleted. Upload it again.")
    return image_io.read(file).image
