"""Reads the generation options of a job, with the uploaded pictures of its control inputs and its image prompt."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from pipelines import image_io
from portrait.errors import UserError
from portrait.generation import options
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
        file = file_of(str(followed["template"]))
        if not file.is_file():
            raise UserError("hint_missing", "A picture that this drawing shall follow was deleted. Upload it again.")
        picture = image_io.read(file).image
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
