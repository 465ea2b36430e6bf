"""ControlNet pictures on the command line: `pose=photo.jpg`, `depth:0.7:0-0.8=photo.jpg`."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from portrait.errors import UserError

if TYPE_CHECKING:
    from portrait.arrays import Image
    from portrait.generation.options import GenerationOptions

SYNTAX = re.compile(
    r"(?P<kind>[a-z0-9_]+)(:(?P<scale>\d*\.?\d+)(:(?P<start>\d*\.?\d+)-(?P<end>\d*\.?\d+))?)?=(?P<file>.+)"
)
DEFAULT_SCALE = 0.5
NOTE_PREFIX = "hint-"
"""Prefix of a control picture's name in the notes of a folder; its hash follows."""


@dataclass(frozen=True, slots=True)
class ControlArgument:
    """One such argument, before its file is read."""

    kind: str
    file: Path
    scale: float = DEFAULT_SCALE
    start: float = 0.0
    end: float = 1.0


def parse_controls(arguments: Sequence[str]) -> list[ControlArgument]:
    """Parse the arguments of `--hint`; raises `UserError` (`bad_technique`)."""
    found = []
    for each in arguments:
        match = SYNTAX.fullmatch(each)
        if match is None:
            raise UserError(
                "bad_technique",
                f"{each!r} is not KIND=FILE, KIND:SCALE=FILE or KIND:SCALE:START-END=FILE, such as pose:0.8:0-0.7=photo.jpg.",
            )
        numbers = {name: float(match[name]) for name in ("scale", "start", "end") if match[name]}
        found.append(ControlArgument(match["kind"], Path(match["file"]), **numbers))
    return found


def generation_options(options: Mapping[str, Any], controls: Sequence[ControlArgument]) -> "GenerationOptions | None":
    """`GenerationOptions` of the given fields and control pictures; None when there are neither.

    Raises what `image_io.read` raises, and `UserError` (`not_found`, and what `model_requirements.check_identities` raises).
    """
    from pipelines import model_requirements
    from portrait.generation.options import ControlInput, GenerationOptions

    if not options and not controls:
        return None
    model_requirements.check_identities(options.get("identities", ()))
    read = tuple(
        ControlInput(each.kind, read_picture(each.file), each.scale, each.start, each.end) for each in controls
    )
    return GenerationOptions(**options, control_inputs=read)


def control_notes(controls: Sequence[ControlArgument], options: "GenerationOptions | None") -> dict[str, Path]:
    """Paths of the control pictures, by their name in a folder's notes."""
    from portrait.generation.options import picture_hash

    if options is None:
        return {}
    names = (NOTE_PREFIX + picture_hash(each.picture) for each in options.control_inputs)
    return dict(zip(names, (each.file for each in controls), strict=True))


def find_pictures(options: Mapping[str, Any], paths: Mapping[str, Path], files: Sequence[Path]) -> "dict[str, Image]":
    """The control pictures that a recipe names, by hash: from the given files, or from where they were."""
    from portrait.generation.options import picture_hash

    wanted = {str(each["picture"]) for each in options.get("hints", ())}
    if not wanted:
        return {}
    noted = [paths[NOTE_PREFIX + each] for each in sorted(wanted) if NOTE_PREFIX + each in paths]
    images = (read_picture(file) for file in [*noted, *files] if file.is_file())
    found = {picture_hash(image): image for image in images}
    return {name: image for name, image in found.items() if name in wanted}


def read_picture(file: Path) -> "Image":
    """Read a control picture; raises what `image_io.read` raises, and `UserError` (`not_found`)."""
    from pipelines import image_io

    if not file.is_file():
        raise UserError("not_found", f"There is no picture at {file}.")
    return image_io.read(file).image
