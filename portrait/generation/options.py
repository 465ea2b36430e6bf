"""Options of drawing with a diffusion model, as requests and styles give them: prompt, controls, adapters, sampling."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import PurePath
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from portrait.errors import UserError

if TYPE_CHECKING:
    from portrait.arrays import Image, Points  # brings numpy, which the settings do without


ADAPTERS = ("lora", "instantid", "identitynet", "photomaker", "photomaker_v2", "faceid", "faceid_plus")
"""Names of the strengths of identity adapters; `identitynet` is that of InstantID's control network."""
PHOTOMAKERS = ("photomaker", "photomaker_v2")
IP_ADAPTERS = ("ip_adapter", "ip_adapter_plus", "ip_adapter_plus_face")
"""Adapters of a look: that of the whole picture, one that keeps more of it, and one for the look of a face."""
METHOD = 2
"""See `GenerationOptions.method`."""
MAX_SEED = 2**62
"""Largest seed: the seeds of the candidates after it still are 64-bit integers, which is what generators take."""


@dataclass(frozen=True, slots=True)
class LoraChoice:
    """A LoRA that a style or a prompt names."""

    model: str
    """Its name in the model store."""
    strength: float = 1.0
    """Of its part in the U-Net; 0 does without, negative ones draw away from it."""
    text_strength: float | None = None
    """Of its part in the text encoders; as `strength` when None."""
    blocks: tuple[float, ...] = ()
    """Weights by block of the U-Net, which multiply the strength: see `pipelines.diffusion.base.loras.blocks`; 1 when empty."""

    def details(self) -> dict[str, object]:
        """What is chosen beside its strength, for recipes; empty where nothing is."""
        text: dict[str, object] = {} if self.text_strength is None else {"text_strength": self.text_strength}
        return text | ({"blocks": list(self.blocks)} if self.blocks else {})


@dataclass(frozen=True, slots=True)
class PromptSpec:
    """The prompt of a style: what a diffusion model draws around a person."""

    prompt: str
    """`{who}` stands for the person, `{traits}` for their traits in the request; weights are written `(words:1.2)`."""
    negative: str = ""
    families: tuple[str, ...] = ()
    """Families of bases (`sd15`, `sdxl`) it was written for; all of them when empty."""
    strengths: Mapping[str, float] = field(default_factory=dict)
    """Strengths other than the default, by name: see `GenerationOptions.strengths`."""
    loras: "tuple[LoraChoice, ...]" = ()
    """LoRAs of the style."""
    start_merge_step: float | None = None
    """See `GenerationOptions.start_merge_step`."""
    look_adapter: str = ""
    """See `ImagePrompt.adapter`; the style has no look when empty."""
    look_scale: float = 0.5
    look_picture: "Image | None" = field(default=None, compare=False)
    """The style's picture, once it is read."""
    sentence: str = ""
    """`prompt` in sentences, for bases whose text encoder is a language model; they take `prompt` where it is empty."""


@dataclass(frozen=True, slots=True, eq=False)
class ControlInput:
    """A conditioning picture for a ControlNet: the photo or what a preprocessor made of it."""

    kind: str
    """Name of a control: `canny`, `pose`, `depth` …"""
    picture: "Image"
    """H×W×3, RGB."""
    scale: float = 0.5
    """The ControlNet's conditioning scale."""
    start: float = 0.0
    end: float = 1.0
    """Control guidance start and end: the shares of the steps between which it acts."""
    preprocessed: bool = False
    """Whether `picture` is already a control map (edges, a skeleton …) and needs no preprocessor."""
    picture_hash: str = ""
    """Hash of the photo that was given, where `picture` was made of it; see the function of this name."""


@dataclass(frozen=True, slots=True, eq=False)
class ImagePrompt:
    """A picture whose look an IP-Adapter gives the portrait, beside whoever is drawn."""

    picture: "Image"
    """H×W×3, RGB; CLIP sees the square in its middle."""
    adapter: str = "ip_adapter"
    """Name of a look adapter (`IP_ADAPTERS`), or of an IP-Adapter of one's own in the model store."""
    scale: float = 0.5
    """The IP-Adapter's scale, 0..1; 0 does without."""
    picture_hash: str = ""
    """Hash of the picture where it is known; see the function of this name."""


Preset: TypeAlias = Literal["fast", "balanced", "best"]
SdeditModel: TypeAlias = Literal["base", "refiner"]
"""What draws a finished portrait again: the base with whoever is drawn, or SDXL's refiner, which knows nobody."""


@dataclass(frozen=True, slots=True, eq=False)
class GenerationOptions:
    """How a diffusion model draws; the preset decides what is left at its default."""

    base: str = ""
    """Name of a base model; when empty, the one that the person's LoRA was trained on, or that of the settings."""
    identities: tuple[str, ...] = ()
    """Identity adapters to use together: `lora`, `instantid` …; when empty, the LoRA where the person has one."""
    preset: Preset = "balanced"
    traits: str = ""
    """Added to the prompt about the person: `with short hair`."""
    strengths: Mapping[str, float] = field(default_factory=dict)
    """By name: identity adapters (`ADAPTERS`), 0..2; passes and their controls (see `passes`), 0..1. Larger is more alike."""
    start_merge_step: float | None = None
    """Share of the steps, 0..1, before PhotoMaker merges the photos, 0.2 as published; None leaves it to the strength."""
    vae: str = ""
    """Name of a VAE of the model store, `own` for the base's; when empty, that of the settings."""
    few_steps: str = ""
    """Name of a LoRA of the model store that was distilled to draw in few steps; its facts go before the preset's."""
    scheduler: str = ""
    steps: int = 0
    guidance: float | None = None
    """Scale of classifier-free guidance."""
    guidance_rescale: float = 0.0
    """Share 0..1 by which a guided prediction is brought back to the spread of an unguided one (Lin and others, 2023)."""
    cutoff: float | None = None
    """Share of the steps after which classifier-free guidance ends."""
    lora_weights: Mapping[str, tuple[float, ...]] = field(default_factory=dict)
    """Block weights by LoRA: names of those that style or prompt name, `lora` for the person's; see `LoraChoice.blocks`."""
    clip_skip: int = 0
    """How many of the text encoder's last layers are skipped."""
    perturbed: float = 0.0
    """Scale of perturbed-attention guidance (PAG); 0 does without."""
    skip_layer_guidance: float = 0.0
    """Scale of skip-layer guidance, which Stable Diffusion 3.5 Medium was published with at 2.8; 0 does without."""
    freeu: bool = False
    refiner: float = 0.0
    """Share of the steps that SDXL's refiner draws at the end, 0.2 as published; 0 does without."""
    landmarks: "Points | None" = None
    """5×2 pixels of the portrait where the face shall be; None puts it where portraits usually have it."""
    control_inputs: tuple[ControlInput, ...] = ()
    look: ImagePrompt | None = None
    sdedit: float = 0.0
    """Strength 0..1 with which the finished drawing is drawn once more by img2img (SDEdit); 0 does without."""
    sdedit_model: SdeditModel = "base"
    method: int = METHOD
    """How adapters read photos: 1 as in version 0.1.0, where FaceID Plus saw a loose crop; 2 as published."""


def check_seed(seed: int) -> None:
    """Raise `UserError` (`bad_seed`) for a seed that no random generator takes."""
    if not 0 <= seed <= MAX_SEED:
        raise UserError("bad_seed", f"The seed {seed} does not hold. Give a whole number from 0 to {MAX_SEED}.")


def to_dict(options: GenerationOptions) -> dict[str, object]:
    """The options as JSON, for recipes and jobs, without what is at its default; control pictures by their hash.

    Recipes hold the method beside them.
    """
    values: dict[str, object] = {
        "base": PurePath(options.base).name,  # recipes carry no paths
        "identities": list(options.identities),
        "preset": options.preset,
        "traits": options.traits,
        "strengths": dict(options.strengths),
        "start_merge_step": options.start_merge_step,
        "vae": options.vae,
        "few_steps": options.few_steps,
        "scheduler": options.scheduler,
        "steps": options.steps,
        "guidance": options.guidance,
        "guidance_rescale": options.guidance_rescale,
        "cutoff": options.cutoff,
        "lora_weights": {name: list(each) for name, each in options.lora_weights.items()},
        "clip_skip": options.clip_skip,
        "perturbed": options.perturbed,
        "skip_layer_guidance": options.skip_layer_guidance,
        "freeu": options.freeu,
        "refiner": options.refiner,
        "landmarks": None if options.landmarks is None else options.landmarks.tolist(),
        "hints": [_control_to_dict(each) for each in options.control_inputs],
        "look": None if options.look is None else _image_prompt_to_dict(options.look),
        "sdedit": options.sdedit,
        "sdedit_model": options.sdedit_model,
    }
    default = GenerationOptions()
    # A guidance of zero is a choice, an empty list is none.
    return {name: each for name, each in values.items() if each not in (None, "", [], {}, getattr(default, name, None))}


def from_dict(
    values: Mapping[str, Any], pictures: Mapping[str, "Image"] | None = None, method: int = METHOD
) -> GenerationOptions:
    """The options of `to_dict`; `pictures` are those of its control inputs and its look, by hash.

    By method 1 PhotoMaker's strength is its `start_merge_step`, as version 0.1.0 read it. Raises `UserError`
    (`hint_missing`).
    """
    import numpy as np

    given: dict[str, Any] = {**values, "method": method}
    if method == 1:
        strengths, share = split_merge_share(given.get("strengths", {}))
        given |= {"strengths": strengths, "start_merge_step": given.get("start_merge_step", share)}
    if "identities" in given:
        given["identities"] = tuple(given["identities"])
    if "lora_weights" in given:
        given["lora_weights"] = {name: tuple(each) for name, each in given["lora_weights"].items()}
    if "landmarks" in given:
        given["landmarks"] = np.array(given["landmarks"], np.float32)
    if "hints" in given:
        given["control_inputs"] = tuple(_control_from_dict(each, pictures or {}) for each in given.pop("hints"))
    if "look" in given:
        given["look"] = _image_prompt_from_dict(given["look"], pictures or {})
    return GenerationOptions(**given)


def picture_hashes(values: Mapping[str, Any]) -> set[str]:
    """Hashes of all pictures that the options of `to_dict` name."""
    return {str(each["picture"]) for each in (*values.get("hints", ()), values.get("look")) if each}


def split_merge_share(strengths: Mapping[str, float]) -> tuple[dict[str, float], float | None]:
    """Strengths as version 0.1.0 read them: those without PhotoMaker's, and its own, a share for `start_merge_step`."""
    others = {name: each for name, each in strengths.items() if name not in PHOTOMAKERS}
    shares = [min(float(strengths[name]), 1.0) for name in PHOTOMAKERS if name in strengths]
    return others, shares[0] if shares else None


def picture_hash(picture: "Image") -> str:
    """SHA-256 of a picture's size and pixels, by which recipes name it whatever file it lies in."""
    size = "x".join(str(side) for side in picture.shape)
    return hashlib.sha256(size.encode() + picture.tobytes()).hexdigest()


def _control_to_dict(control: ControlInput) -> dict[str, object]:
    values: dict[str, object] = {
        "kind": control.kind,
        "scale": control.scale,
        "start": control.start,
        "end": control.end,
    }
    if control.preprocessed and not control.picture_hash:
        values["drawn"] = True
    return values | {"picture": control.picture_hash or picture_hash(control.picture)}


def _control_from_dict(values: Mapping[str, Any], pictures: Mapping[str, "Image"]) -> ControlInput:
    given = dict(values)
    known, preprocessed = str(given.pop("picture")), bool(given.pop("drawn", False))
    if known not in pictures:
        raise UserError(
            "hint_missing",
            f"The picture that this drawing followed ({given['kind']}) is gone or has changed. Name it with --hint.",
        )
    return ControlInput(picture=pictures[known], preprocessed=preprocessed, **given)


def _image_prompt_to_dict(look: ImagePrompt) -> dict[str, object]:
    picture = look.picture_hash or picture_hash(look.picture)
    return {"adapter": look.adapter, "scale": look.scale, "picture": picture}


def _image_prompt_from_dict(values: Mapping[str, Any], pictures: Mapping[str, "Image"]) -> ImagePrompt:
    known = str(values["picture"])
    if known not in pictures:
        raise UserError(
            "hint_missing", "The picture whose look this drawing has is gone or has changed. Name it with --look."
        )
    given = {name: each for name, each in values.items() if name != "picture"}
    return ImagePrompt(pictures[known], picture_hash=known, **given)
