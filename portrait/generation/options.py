"""How a diffusion model is to draw: scenes, hints, techniques; the words that requests and styles share."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import PurePath
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from portrait.errors import UserError

if TYPE_CHECKING:
    from portrait.arrays import Image, Points  # brings numpy, which the settings do without


@dataclass(frozen=True, slots=True)
class PromptSpec:
    """What a diffusion model is told to draw around a person."""

    prompt: str
    """`{who}` is the person, `{traits}` what was asked for of them; weights are written `(words:1.2)`."""
    negative: str = ""
    families: tuple[str, ...] = ()
    """Families of bases it was written for; all of them when empty."""
    strengths: Mapping[str, float] = field(default_factory=dict)
    """What it needs other than usual, by name: see `Technique.strengths`."""
    loras: tuple[tuple[str, float], ...] = ()
    """LoRAs that give it its look: names of the model store, with strengths."""


@dataclass(frozen=True, slots=True, eq=False)
class ControlInput:
    """A picture that a diffusion model follows."""

    kind: str
    """Name of a control: `canny`, `pose`, `depth` …"""
    picture: "Image"
    """H×W×3, RGB."""
    scale: float = 0.5
    start: float = 0.0
    end: float = 1.0
    """The part of the steps in which it is followed."""
    drawn: bool = False
    """Whether `picture` is already what the control would draw of a photo."""
    picture_hash: str = ""
    """What the picture that was given is known by, where `picture` is what a control drew of it; see `mark`."""


Preset: TypeAlias = Literal["fast", "balanced", "best"]


@dataclass(frozen=True, slots=True, eq=False)
class GenerationOptions:
    """How a diffusion model draws; what is left at its default the preset decides."""

    base: str = ""
    """Name of a base model; the one that the person was learned on, or that of the settings, when empty."""
    identities: tuple[str, ...] = ()
    """How the model is told who: `lora`, `instantid` … together; the LoRA where the person has one, when empty."""
    preset: Preset = "balanced"
    traits: str = ""
    """What shall be true of the person in this picture: `with short hair`."""
    strengths: Mapping[str, float] = field(default_factory=dict)
    """By name: `lora`, `instantid`, `identitynet`, `photomaker`, `faceid`."""
    scheduler: str = ""
    steps: int = 0
    guidance: float | None = None
    cutoff: float | None = None
    """Share of the steps after which guidance ends."""
    clip_skip: int = 0
    """Last layers of the text encoder that are left out."""
    perturbed: float = 0.0
    """Scale of perturbed-attention guidance (PAG); 0 does without."""
    freeu: bool = False
    refiner: float = 0.0
    """Share of the steps that SDXL's refiner draws at the end, 0.2 as published; 0 does without."""
    landmarks: "Points | None" = None
    """Five points where the face shall be, pixels of the portrait; None puts it where portraits have it."""
    control_inputs: tuple[ControlInput, ...] = ()


def to_dict(technique: GenerationOptions) -> dict[str, object]:
    """As JSON, for recipes and jobs; of a hint's picture its mark."""
    said: dict[str, object] = {
        "base": PurePath(technique.base).name,  # recipes carry no paths
        "identities": list(technique.identities),
        "preset": technique.preset,
        "traits": technique.traits,
        "strengths": dict(technique.strengths),
        "scheduler": technique.scheduler,
        "steps": technique.steps,
        "guidance": technique.guidance,
        "cutoff": technique.cutoff,
        "clip_skip": technique.clip_skip,
        "perturbed": technique.perturbed,
        "freeu": technique.freeu,
        "refiner": technique.refiner,
        "landmarks": None if technique.landmarks is None else technique.landmarks.tolist(),
        "hints": [_told(hint) for hint in technique.control_inputs],
    }
    usual = GenerationOptions()
    # A guidance of zero is a wish, an empty list is none.
    return {name: each for name, each in said.items() if each not in (None, "", [], {}, getattr(usual, name))}


def from_dict(said: Mapping[str, Any], pictures: Mapping[str, "Image"] | None = None) -> GenerationOptions:
    """The technique that was told; `pictures` are those of its hints, by mark.

    Raises `UserError` (`hint_missing`).
    """
    import numpy as np

    given = dict(said)
    if "identities" in given:
        given["identities"] = tuple(given["identities"])
    if "landmarks" in given:
        given["landmarks"] = np.array(given["landmarks"], np.float32)
    if "hints" in given:
        given["hints"] = tuple(_hint(each, pictures or {}) for each in given["hints"])
    return GenerationOptions(**given)


def picture_hash(picture: "Image") -> str:
    """What a picture is known by in recipes: SHA-256 of its size and pixels, so that the same picture in another file is it."""
    size = "x".join(str(side) for side in picture.shape)
    return hashlib.sha256(size.encode() + picture.tobytes()).hexdigest()


def _told(hint: ControlInput) -> dict[str, object]:
    said: dict[str, object] = {"kind": hint.kind, "scale": hint.scale, "start": hint.start, "end": hint.end}
    if hint.drawn and not hint.picture_hash:
        said["drawn"] = True
    return said | {"picture": hint.picture_hash or picture_hash(hint.picture)}


def _hint(said: Mapping[str, Any], pictures: Mapping[str, "Image"]) -> ControlInput:
    given = dict(said)
    known = str(given.pop("picture"))
    if known not in pictures:
        raise UserError(
            "hint_missing",
            f"The picture that this drawing followed ({given['kind']}) is gone or has changed. Name it with --hint.",
        )
    return ControlInput(picture=pictures[known], **given)
