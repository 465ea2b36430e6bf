"""Reads the generation options of a job, with the uploaded pictures of its control inputs."""

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
    pictures, controls = {}, []
    for control in given.get("hints", ()):
        file = file_of(str(control["template"]))
        if not file.is_file():
            raise UserError("hint_missing", "A picture that this drawing shall follow was deleted. Upload it again.")
        picture = image_io.read(file).image
        hash = options.picture_hash(picture)
        pictures[hash] = picture
        controls.append({**{name: each for name, each in control.items() if name != "template"}, "picture": hash})
    method = options.METHOD if recipe is None else int(recipe.get("method", 1))
    return options.from_dict({**given, **({"hints": controls} if controls else {})}, pictures, method)
