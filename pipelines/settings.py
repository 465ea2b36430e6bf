"""Every knob of the flows and engines: one frozen tree, read once by `tasks.settings` and handed down by `pipelines.build`.

A number here that is not a matter of taste says where it comes from; docs/judging.md has the measurements.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from portrait.generation.options import Preset
from portrait.photos.reasons import Thresholds


@dataclass(frozen=True, slots=True)
class EngineNames:
    """Which engine serves which port: the name of a file in `pipelines/engines/FOLDER`."""

    faces: str = "blazeface"
    mattes: str = "selfie"
    restorers: str = "classic"
    parsers: str = "mesh"
    upscalers: str = "lanczos"
    trainers: str = "dreambooth"


@dataclass(frozen=True, slots=True)
class ModelStoreSettings:
    """Where model files lie and where they may come from."""

    folder: Path = Path("models")
    """Set by `tasks.settings` to `$PORTRAIT_HOME/models`."""
    use: Literal["any", "commercial"] = "any"
    """`commercial` refuses every model whose licence does not allow commercial use."""
    hub: str = "https://huggingface.co"
    """Hugging Face endpoint or a mirror of it."""
    hub_token: str = field(default="", repr=False)
    """For gated repositories; from the environment only (`PORTRAIT_HUB_TOKEN`)."""


@dataclass(frozen=True, slots=True)
class PrepareSettings:
    """How a training set is chosen and cut."""

    most: int = 20
    """Photos chosen at most: more teach little and slow training down."""
    references: int = 5
    """Selfies kept at native resolution for painters and adapters."""
    trigger: str = "sks"
    """The rare token that will stand for the person."""
    class_word: str = "person"
    """What the person is an instance of; never guessed from the photos."""
    white: bool = False
    """Put the person on white, so that learning ignores the room."""


@dataclass(frozen=True, slots=True)
class BaseLocation:
    """Where a base model of a name of one's own lies."""

    path: Path
    """A hub folder, or a single file: `.safetensors`, or a pickled `.ckpt` of which only tensors are read."""
    configs: Path | None = None
    """A hub folder that describes a single file (weights are not read from it); None: the store's model of its family."""


@dataclass(frozen=True, slots=True)
class ValidationSettings:
    """How the trainer looks at what was learned so far."""

    every: int = 100
    """Steps between two looks, as EasyPhoto does; 0 never looks, and the last checkpoint is taken."""
    prompts: tuple[str, ...] = (
        "a photo of {who}",
        "a portrait of {who}, studio light",
        "a photo of {who}, outdoors",
        "a photo of {who}, smiling",
    )
    """`{who}` is trigger and class word."""
    negative: str = "low quality, blurry"
    seeds: int = 1
    """Pictures of each prompt at every look; always the same seeds."""
    held_out: int = 2
    """Pictures of each prompt for the last decision, on seeds that no look has used."""
    steps: int = 20
    guidance: float = 6.0
    best: int = 3
    """Checkpoints at most, the best and those beside it in time, that are merged: together they may be better."""
    patience: int = 3
    """Looks without a gain after which learning ends; 0 goes on to the last step."""
    gain: float = 0.005
    """What counts as a gain, as a share of the distance at which two faces are taken for one person."""


@dataclass(frozen=True, slots=True)
class PriorSettings:
    """Prior preservation: pictures of anybody keep the class word from becoming the person."""

    weight: float = 0.0
    """Weight of their loss; 0 does without. 1 is what DreamBooth proposes; a step then costs twice as much."""
    images: int = 100
    """Drawn once per base and class word, and kept."""
    prompts: tuple[str, ...] = ("a photo of a {class_word}",)
    steps: int = 25
    guidance: float = 6.0


@dataclass(frozen=True, slots=True)
class TrainSettings:
    """How a person is learned."""

    steps: int = 0
    """0: 200 a photo, 800 at most."""
    rank: int = 0
    """Rank of the LoRA; 0: what the family of the base says, so that one slot serves every person."""
    rate: float = 1e-4
    text: bool = False
    """Teach the text encoders too, at half the rate."""
    token: bool = False
    """Textual inversion: the trigger becomes a new token with a meaning of its own."""
    token_rate: float = 1e-3
    lora: bool = True
    """False learns the token alone."""
    schedule: Literal["constant", "cosine"] = "constant"
    warmup: int = 0
    """Steps in which the rate rises to its full height."""
    batch: int = 0
    """Pictures a step; 0: as many of 4, 2, 1 as fit the free memory, 1 without a GPU."""
    checkpointing: Literal["auto", "off", "light", "full"] = "auto"
    """Gradient checkpointing: `light` takes half of what a step keeps away for a tenth more time, `full` nearly all of it for a
    third more; `auto` as little as fits the memory."""
    side: int = 0
    """Long side that pictures are learned at, pixels; 0: the base's own size."""
    flips: bool = True
    """Half of the pictures are mirrored."""
    caption_drop: float = 0.05
    """Share of pictures that are learned without their caption, so that guidance keeps working."""
    min_snr: float = 5.0
    """Gamma of Min-SNR weighting (Hang and others, 2023, propose 5); 0 weighs every noise level alike."""
    noise_offset: float = 0.0
    checkpoint_every: int = 50
    """Steps after which a killed worker would have to begin again."""
    seed: int = 0
    device: Literal["auto", "cpu", "cuda"] = "auto"
    precision: Literal["auto", "float32", "bfloat16"] = "auto"
    """What the frozen networks compute in; `auto`: bfloat16 on a GPU that has it."""
    exam: ValidationSettings = field(default_factory=ValidationSettings)
    prior: PriorSettings = field(default_factory=PriorSettings)


@dataclass(frozen=True, slots=True)
class DrawSettings:
    """How people are drawn by diffusion models, where a request does not say otherwise."""

    base: str = "sdxl"
    """Name of a base model of the store or of `bases`."""
    identities: tuple[str, ...] = ()
    """How the model is told who, of `lora`, `instantid`, `photomaker`, `photomaker_v2`, `faceid`, `faceid_plus`; empty:
    what was learned of the person."""
    preset: Preset = "balanced"
    device: Literal["auto", "cpu", "cuda"] = "auto"
    precision: Literal["auto", "float32", "bfloat16"] = "auto"
    memory: Literal["auto", "full", "sliced", "offload", "sequential"] = "auto"
    """How much of a base is on the GPU at once; `auto` asks how much is free."""
    compile: bool = False
    """Have PyTorch compile the networks' blocks: the first portrait of each way takes about a minute more, later ones less.
    Changing people compiles nothing. Needs a C++ compiler; a portrait may differ by a level from one drawn without."""
    idle_minutes: float = 15.0
    """A worker lets a base go, with all that was loaded for it, when it has not drawn for so long; 0 keeps it."""
    guard: Literal["off", "here", "always"] = "here"
    """Whether what is drawn of words must pass the safety checker: where that model is here, or always; `always` draws
    nothing without it."""
    redraws: int = 2
    """Drawings more at most, with new seeds, for those in which the person is not found to be themselves."""


@dataclass(frozen=True, slots=True)
class Settings:
    """All of it."""

    engines: EngineNames = field(default_factory=EngineNames)
    models: ModelStoreSettings = field(default_factory=ModelStoreSettings)
    quality: Thresholds = field(default_factory=Thresholds)
    prepare: PrepareSettings = field(default_factory=PrepareSettings)
    train: TrainSettings = field(default_factory=TrainSettings)
    draw: DrawSettings = field(default_factory=DrawSettings)
    bases: Mapping[str, BaseLocation] = field(default_factory=dict)
    """Base models beyond those of the store, by name."""
