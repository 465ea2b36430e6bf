"""How a job asks a diffusion model to draw: its technique, with the pictures that it names to be followed."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from pipelines import image_io
from portrait.errors import UserError
from portrait.generation import options
from portrait.generation.options import GenerationOptions


def generation_options(wants: Mapping[str, Any], place: Callable[[str], Path]) -> GenerationOptions | None:
    """The technique that a job wants; `place` says where a picture lies that its owner brought.

    Raises `UserError` (`hint_missing`), and what a picture may be refused for.
    """
    said = wants.get("technique")
    if not said:
        return None
    pictures, hints = {}, []
    for hint in said.get("hints", ()):
        file = place(str(hint["template"]))
        if not file.is_file():
            raise UserError("hint_missing", "A picture that this drawing shall follow was deleted. Upload it again.")
        picture = image_io.read(file).image
        known = options.picture_hash(picture)
        pictures[known] = picture
        hints.append({**{name: each for name, each in hint.items() if name != "template"}, "picture": known})
    return options.from_dict({**said, **({"hints": hints} if hints else {})}, pictures)
