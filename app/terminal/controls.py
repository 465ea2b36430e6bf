"""What a drawing follows and how it is drawn, on the command line: `pose:0.8=photo.jpg`, the image prompt, `steps=8`."""

import re
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from portrait.errors import UserError
from portrait.generation.prompts import parse_block_weights
from portrait.numbers import read_decimal, read_integer

if TYPE_CHECKING:
    from portrait.arrays import Image
    from portrait.generation.options import GenerationOptions

SYNTAX = re.compile(
    r"(?P<kind>[a-z0-9][a-z0-9_-]*)(:(?P<scale>\d*\.?\d+)(:(?P<start>\d*\.?\d+)-(?P<end>\d*\.?\d+))?)?=(?P<file>.+)"
)
DEFAULT_SCALE = 0.5
NOTE_PREFIX = "hint-"
"""Prefix of such a picture's name in the notes of a folder; its hash follows."""
LOOK_SCALE, LOOK_ADAPTER = 0.5, "ip_adapter"
"""Defaults of `portrait.generation.options.ImagePrompt`, which brings numpy where it is made."""


@dataclass(frozen=True, slots=True)
class ControlArgument:
    """One such argument, before its file is read."""

    kind: str
    file: Path
    scale: float = DEFAULT_SCALE
    start: float = 0.0
    end: float = 1.0


@dataclass(frozen=True, slots=True)
class ImagePromptArgument:
    """The picture of `--look`, before its file is read."""

    file: Path
    scale: float
    adapter: str


@dataclass(frozen=True, slots=True)
class FollowedPictures:
    """All pictures that a drawing follows, before their files are read."""

    controls: Sequence[ControlArgument] = ()
    image_prompt: ImagePromptArgument | None = None

    @property
    def files(self) -> list[Path]:
        """The files, those of controls first."""
        return [*(each.file for each in self.controls), *([self.image_prompt.file] if self.image_prompt else [])]


def parse_followed(hints: Sequence[str], look: Path | None, scale: float, adapter: str) -> FollowedPictures:
    """The arguments of `--hint` and `--look`; raises `UserError` (`bad_technique`)."""
    return FollowedPictures(parse_controls(hints), parse_image_prompt(look, scale, adapter))


def parse_image_prompt(file: Path | None, scale: float, adapter: str) -> ImagePromptArgument | None:
    """The options of a look; raises `UserError` (`bad_technique`) for a scale or adapter without a picture."""
    if file is None and (scale, adapter) != (LOOK_SCALE, LOOK_ADAPTER):
        raise UserError("bad_technique", "--look-scale and --look-adapter are of a picture: name it with --look.")
    return None if file is None else ImagePromptArgument(file, scale, adapter)


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


def parse_lora_weights(given: Sequence[str]) -> dict[str, Any]:
    """`NAME=1,0,0.5` as the field `lora_weights`; empty where nothing is given. Raises `UserError` (`bad_blocks`)."""
    weights: dict[str, tuple[float, ...]] = {}
    for each in given:
        name, sign, text = each.partition("=")
        if not sign or not name or name in weights:
            raise UserError("bad_blocks", f"{each!r} is not NAME=WEIGHTS, such as lora=1,0,0.5,1, each name once.")
        weights[name] = parse_block_weights(text)
    return {"lora_weights": weights} if weights else {}


def generation_options(options: Mapping[str, Any], followed: FollowedPictures) -> "GenerationOptions | None":
    """`GenerationOptions` of the given fields and pictures; None when there are neither.

    Raises what `image_io.read` raises, and `UserError` (`not_found`, and what `model_requirements.check_identities` raises).
    """
    from pipelines import model_requirements
    from portrait.generation.options import ControlInput, GenerationOptions, ImagePrompt

    if not options and not followed.files:
        return None
    model_requirements.check_identities(options.get("identities", ()))
    controls = tuple(
        ControlInput(each.kind, read_picture(each.file), each.scale, each.start, each.end) for each in followed.controls
    )
    given = followed.image_prompt
    prompt = None if given is None else ImagePrompt(read_picture(given.file), given.adapter, given.scale)
    return GenerationOptions(**options, control_inputs=controls, look=prompt)


def followed_notes(followed: FollowedPictures, options: "GenerationOptions | None") -> dict[str, Path]:
    """Paths of the pictures by their name in a folder's notes."""
    if options is None:
        return {}
    pictures = [*options.control_inputs, *([] if options.look is None else [options.look])]
    return dict(zip((picture_note(each.picture) for each in pictures), followed.files, strict=True))


def picture_note(picture: "Image") -> str:
    """What a picture that a drawing saw is called in the notes of a folder."""
    from portrait.generation.options import picture_hash

    return NOTE_PREFIX + picture_hash(picture)


def find_pictures(options: Mapping[str, Any], paths: Mapping[str, Path], files: Sequence[Path]) -> "dict[str, Image]":
    """The pictures that a recipe's drawing follows, by hash: from the given files, or from where they were."""
    from portrait.generation.options import picture_hashes

    return find_by_hash(picture_hashes(options), paths, files)


def find_by_hash(wanted: Collection[str], paths: Mapping[str, Path], files: Sequence[Path]) -> "dict[str, Image]":
    """Pictures by their hashes, those that are there: see `find_pictures`."""
    from portrait.generation.options import picture_hash

    if not wanted:
        return {}
    noted = [paths[NOTE_PREFIX + each] for each in sorted(wanted) if NOTE_PREFIX + each in paths]
    images = (read_picture(file) for file in [*noted, *files] if file.is_file())
    found = {picture_hash(image): image for image in images}
    return {name: image for name, image in found.items() if name in wanted}


def read_picture(file: Path) -> "Image":
    """Read such a picture; raises what `image_io.read` raises, and `UserError` (`not_found`)."""
    from pipelines import image_io

    if not file.is_file():
        raise UserError("not_found", f"There is no picture at {file}.")
    return image_io.read(file).image


def _natural(text: str) -> int:
    number = read_integer(text)
    if number is None:
        raise ValueError("a whole number from 0 on")
    return number


def _amount(text: str) -> float:
    number = read_decimal(text)
    if number is None:
        raise ValueError("a number from 0 on")
    return number


def _yes(text: str) -> bool:
    if text not in ("yes", "no"):
        raise ValueError("yes or no")
    return text == "yes"


DRAWING_OPTIONS: Mapping[str, Callable[[str], Any]] = {
    **dict.fromkeys(("vae", "few_steps", "scheduler", "sdedit_model"), str),
    **dict.fromkeys(("steps", "clip_skip"), _natural),
    **dict.fromkeys(("guidance", "guidance_rescale", "cutoff", "perturbed", "skip_layer_guidance", "sdedit"), _amount),
    "freeu": _yes,
}
"""Fields of `GenerationOptions` that `--option` gives; each reads its value, or raises ValueError with what it should be."""


def parse_drawing_options(
    given: Sequence[str], lora_weights: Sequence[str], refiner: float, start_merge_step: float | None
) -> dict[str, Any]:
    """`steps=8` as {"steps": 8}, `freeu=yes` as {"freeu": True}, with the weights of LoRAs and the other two that are given.

    Raises `UserError` (`bad_technique`), and what `parse_lora_weights` does.
    """
    options: dict[str, Any] = {}
    for each in given:
        name, sign, text = each.partition("=")
        if not sign or name not in DRAWING_OPTIONS or name in options:
            known = ", ".join(DRAWING_OPTIONS)
            raise UserError("bad_technique", f"{each!r} is not NAME=VALUE, such as steps=8. Names, each once: {known}.")
        try:
            options[name] = DRAWING_OPTIONS[name](text)
        except ValueError as error:
            raise UserError("bad_technique", f"{name} cannot be {text!r}. Give {error}.") from error
    options |= {"refiner": refiner} if refiner else {}
    options |= {} if start_merge_step is None else {"start_merge_step": start_merge_step}
    return options | parse_lora_weights(lora_weights)
