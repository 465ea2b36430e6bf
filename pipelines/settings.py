"""Settings of flows and engines: one frozen tree, read once by `tasks.settings` and handed down by `pipelines.build`.

The fields are the keys of the settings file.

A number here that is not a matter of taste says where it comes from; docs/judging.md has the measurements.
"""

import ipaddress
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

from portrait.generation.options import Preset
from portrait.generation.sampling_facts import NO_FACTS, SamplingFacts
from portrait.photos.reasons import Thresholds

Profile = Literal["research", "commercial"]
"""On what terms an installation works."""
PROFILES: Mapping[Profile, str] = {
    "research": "research: models and styles under any licence are used",
    "commercial": "commercial: only what may plainly be used commercially is used",
}
"""What each says, in words."""


@dataclass(frozen=True, slots=True)
class EngineNames:
    """The engine of each port: the name of a module in `pipelines/engines/FOLDER`."""

    faces: str = "blazeface"
    mattes: str = "modnet"
    """Where its model is missing, `selfie` stands in."""
    restorers: str = "classic"
    parsers: str = "mesh"
    upscalers: str = "lanczos"
    upscaler_model: str = ""
    """The upscaler of one's own that the engine `esrgan` runs; empty: the only one there is."""
    attributes: str = "dlib"
    """Age and sex of faces, by which photos of two people are told apart; empty: not estimated."""
    trainers: str = "dreambooth"
    faceswap: str = ""
    """Network that draws faces into templates, `inswapper` (non-commercial); empty: selfies are warped."""


@dataclass(frozen=True, slots=True)
class ModelStoreSettings:
    """Where model files lie and where they may be downloaded from."""

    folder: Path = Path("models")
    """Set by `tasks.settings` to `$PORTRAIT_HOME/models`."""
    use: Literal["any", "commercial"] = "any"
    """As `profile`, which says it for the whole installation: `commercial` is its `commercial`."""
    commercial_licences: tuple[str, ...] = ()
    """Licences by name, such as `LicenseRef-ours`, that were bought, or asked about: what is under them may be used
    commercially here. Those that allow it plainly, such as Apache-2.0, need not be named."""
    hub: str = "https://huggingface.co"
    """Hugging Face endpoint or a mirror of it; `HF_ENDPOINT` where no setting says it."""
    hub_token: str = field(default="", repr=False)
    """For gated repositories; from the environment only (`PORTRAIT_HUB_TOKEN`, else `HF_TOKEN`)."""
    hub_cache: Path | None = None
    """A cache of Hugging Face's programs, whose files are copied instead of fetched; `HF_HUB_CACHE`, or `hub` in `HF_HOME`,
    where no setting says it."""
    networks: tuple[str, ...] = ()
    """Networks beside the public internet from which own models may be fetched, by plain http too, such as `10.1.0.0/16`."""
    max_gigabytes: float = 40.0
    """Gigabytes of a file at most that is fetched from an address; SDXL's largest checkpoints have about 14."""

    def __post_init__(self) -> None:
        """Check the networks; raises `ValueError`."""
        for network in self.networks:
            ipaddress.ip_network(network)


@dataclass(frozen=True, slots=True)
class PrepareSettings:
    """How the photos of a training set are chosen and cropped."""

    most: int = 20
    """Photos chosen at most: more improve little and slow training down."""
    references: int = 5
    """Selfies that are stored at native resolution for painters and adapters."""
    trigger: str = "sks"
    """The rare token that stands for the person in prompts."""
    class_word: str = "person"
    """What the person is an instance of; never guessed from the photos."""
    white: bool = False
    """Put the person on white, so that training ignores the background."""
    small_face: int = 160
    """Width in pixels below which the faces of the first references get detail from a network, where its model is here; 0:
    none."""


@dataclass(frozen=True, slots=True)
class BaseLocation:
    """Where a base model that is not in the store lies; it is named by its key in `bases`."""

    path: Path
    """A hub folder, or a single file: `.safetensors`, or a pickled `.ckpt` of which only tensors are read."""
    configs: Path | None = None
    """A hub folder that describes a single file (weights are not read from it); None: the store's model of its family."""
    vae: str = ""
    """Name of a VAE of the model store that takes the place of its own; empty: `draw.vae`, `own`: its own all the same."""
    facts: SamplingFacts = NO_FACTS
    """How it wants to be sampled, for distilled bases and those of another noise schedule."""
    learn_on: str = ""
    """Name of the base that people are learned on in its place, as for a distilled one; empty: itself."""
    draw_on: str = ""
    """Name of the base that draws who was learned on it, where a request names none; empty: itself."""
    storage: Literal["", "as_computed", "float8"] = ""
    """As `draw.storage`, of this base; empty: what that says."""
    licence: str = ""
    """Its SPDX name, or LicenseRef-… where there is none; the profile `commercial` asks for it."""


@dataclass(frozen=True, slots=True)
class ValidationSettings:
    """Validation during training, and the choice of the final weights."""

    every: int = 100
    """Steps between two validations, as EasyPhoto does; 0: no validation, and the last checkpoint is taken."""
    prompts: tuple[str, ...] = (
        "a photo of {who}",
        "a portrait of {who}, studio light",
        "a photo of {who}, outdoors",
        "a photo of {who}, smiling",
    )
    """`{who}` stands for trigger and class word."""
    negative: str = "low quality, blurry"
    seeds: int = 1
    """Pictures of each prompt at every validation; always the same seeds."""
    held_out: int = 2
    """Pictures of each prompt for the final choice, on seeds that no validation has used."""
    steps: int = 20
    guidance: float = 6.0
    best: int = 3
    """Checkpoints at most, the best and those beside it in time, that are merged: together they may be better."""
    patience: int = 3
    """Validations without a gain after which training ends early; 0: it goes on to the last step."""
    gain: float = 0.005
    """What counts as a gain, as a share of the distance at which two faces are taken for one person."""


@dataclass(frozen=True, slots=True)
class PriorSettings:
    """Prior preservation: class images of anybody keep the class word from becoming the person."""

    weight: float = 0.0
    """Weight of their loss; 0: none. DreamBooth proposes 1; a step then costs twice as much."""
    images: int = 100
    """Class images, generated once per base and class word, and stored."""
    prompts: tuple[str, ...] = ("a photo of a {class_word}",)
    steps: int = 25
    guidance: float = 6.0


@dataclass(frozen=True, slots=True)
class TrainSettings:
    """How a base model is trained on a person."""

    steps: int = 0
    """0: 200 a photo, 800 at most."""
    rank: int = 0
    """Rank of the LoRA; 0: the default of the base's family, so that one adapter slot serves every person."""
    rate: float = 1e-4
    text: bool = False
    """Train the text encoders too, at half the rate."""
    token: bool = False
    """Textual inversion: the trigger becomes a new token with a trained embedding."""
    token_rate: float = 1e-3
    lora: bool = True
    """False trains the token alone."""
    schedule: Literal["constant", "cosine"] = "constant"
    warmup: int = 0
    """Steps in which the rate rises to its full value."""
    batch: int = 0
    """Pictures a step; 0: as many of 4, 2, 1 as fit the free memory, 1 without a GPU."""
    checkpointing: Literal["auto", "off", "light", "full"] = "auto"
    """Gradient checkpointing: `light` saves half of a step's activations for a tenth more time, `full` nearly all of them for a
    third more; `auto` as little as fits the memory."""
    side: int = 0
    """Long side of training pictures in pixels; 0: the base's own size."""
    flips: bool = False
    """Half of the pictures are mirrored, with left and right exchanged in their captions. Faces are not symmetric: a mirrored
    parting or mole is somebody else's."""
    caption_drop: float = 0.05
    """Share of pictures that are trained without their caption, so that classifier-free guidance keeps working."""
    min_snr: float = 5.0
    """Gamma of Min-SNR weighting (Hang and others, 2023, propose 5); 0 weighs every noise level alike."""
    noise_offset: float = 0.0
    checkpoint_every: int = 50
    """Steps between two saved states: the most that a killed worker has to repeat."""
    seed: int = 0
    device: Literal["auto", "cpu", "cuda"] = "auto"
    precision: Literal["auto", "float32", "bfloat16", "float16"] = "auto"
    """What the frozen networks compute in; `auto`: bfloat16 on a GPU that computes in it (Ampere, 2020, and later), else
    float32: in float16 small gradients become zero."""
    exam: ValidationSettings = field(default_factory=ValidationSettings)
    prior: PriorSettings = field(default_factory=PriorSettings)


@dataclass(frozen=True, slots=True)
class DrawSettings:
    """How diffusion models draw people, where a request does not say otherwise."""

    base: str = "sdxl"
    """Name of a base model of the store or of `bases`."""
    identities: tuple[str, ...] = ()
    """Identity adapters, of `lora`, `reference`, `instantid`, `photomaker`, `photomaker_v2`, `faceid`, `faceid_plus`; empty:
    what was trained of the person, with their photos as references where the base draws from such."""
    preset: Preset = "balanced"
    vae: str = ""
    """Name of a VAE of the model store, for bases of its family; empty: each base's own."""
    t5: bool = True
    """Whether Stable Diffusion 3 reads prompts with T5 too, its largest text encoder; without it words count for less."""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    precision: Literal["auto", "float32", "bfloat16", "float16"] = "auto"
    """What networks compute in; `auto`: bfloat16 on a GPU that computes in it (Ampere, 2020, and later), float16 on others,
    float32 without one."""
    memory: Literal["auto", "full", "sliced", "offload", "sequential"] = "auto"
    """How much of a base is on the GPU at once; `auto` asks how much is free."""
    storage: Literal["as_computed", "float8"] = "as_computed"
    """How the weights of a base's denoiser rest in memory: in the precision that it computes in, or in 8 bits, half of the
    memory of bfloat16 for a small loss (docs/drawing.md). GGUF files stay as they are."""
    compile: bool = False
    """Have PyTorch compile the networks' blocks: the first portrait of each mode takes about a minute more, later ones less.
    Changing people compiles nothing. Needs a C++ compiler; a portrait may differ by a level from one drawn without."""
    idle_minutes: float = 15.0
    """Minutes without a drawing after which a worker unloads a base, with all that was loaded for it, and without a job after
    which its process makes room for one that holds no engines; 0: never."""
    guard: Literal["off", "here", "always"] = "here"
    """Whether what a diffusion model draws must pass the safety checker: `here`, where that model is in the store; `always`,
    and nothing is drawn without it."""
    redraws: int = 2
    """Most drawings that are added, with new seeds, for those whose face is not the person's."""


@dataclass(frozen=True, slots=True)
class GuardSettings:
    """Guards: what may not be uploaded, drawn or delivered; docs/guards.md."""

    pictures: str = "open_nsfw"
    """The engine that looks at every picture that comes in, is drawn or is delivered; empty: none does."""
    threshold: float = 0.8
    """Probability from which the engine's verdict keeps a picture back, as its publisher proposes."""
    missing: Literal["profile", "open", "closed"] = "profile"
    """Where a guard's model is missing, or it fails: `open` goes on without it, `closed` lets nothing pass; `profile`: open in
    `research`, closed in `commercial`."""
    words: bool = True
    """Whether what people write into prompts is refused where it asks for something sexual, or names somebody of `names`."""
    names: Path | None = None
    """A text file of names that may not stand in people's prompts, one a line, `#` before a remark; None: no names."""
    age: bool = True
    """Whether somebody who may be a child is drawn only with the consent of a parent or guardian."""

    def __post_init__(self) -> None:
        """Check the threshold; raises `ValueError`."""
        if not 0 < self.threshold <= 1:
            raise ValueError("a threshold is more than 0 and at most 1")


@dataclass(frozen=True, slots=True)
class MarkSettings:
    """How files that leave are marked as what they are; docs/marks.md."""

    folder: Path = Path("marks")
    """Where the installation's own keys lie. Set by `tasks.settings` to `$PORTRAIT_HOME/marks`."""
    credentials: bool = True
    """Whether files carry signed content credentials (C2PA)."""
    invisible: bool = True
    """Whether portraits carry an invisible mark in their pixels; ID photos never do."""
    label: str = ""
    """Words that portraits show in a corner, such as `AI generated`; empty: none. ID photos never do."""
    aigc: bool = False
    """Whether files carry the label `AIGC` in XMP that China's GB 45438-2025 asks for."""
    producer: str = ""
    """Who produces, as that label says it: the name or the code of the provider."""
    certificate: Path | None = None
    """A PEM file with the certificate that signs in place of the installation's own, and those above it."""
    key: Path | None = None
    """The PEM file of its private key, without a password."""


@dataclass(frozen=True, slots=True)
class Settings:
    """All settings of flows and engines."""

    profile: Profile = "research"
    """Terms that the whole installation keeps: `commercial` refuses what may not plainly be used commercially wherever it would
    be fetched, loaded, published or ordered, and names what may."""
    engines: EngineNames = field(default_factory=EngineNames)
    models: ModelStoreSettings = field(default_factory=ModelStoreSettings)
    quality: Thresholds = field(default_factory=Thresholds)
    prepare: PrepareSettings = field(default_factory=PrepareSettings)
    train: TrainSettings = field(default_factory=TrainSettings)
    draw: DrawSettings = field(default_factory=DrawSettings)
    marks: MarkSettings = field(default_factory=MarkSettings)
    guards: GuardSettings = field(default_factory=GuardSettings)
    bases: Mapping[str, BaseLocation] = field(default_factory=dict)
    """Base models beyond those of the store, by name."""

    def __post_init__(self) -> None:
        """Have `profile` and `models.use` say the same: one of them suffices for the stricter."""
        if "commercial" in (self.profile, self.models.use):
            object.__setattr__(self, "profile", "commercial")
            object.__setattr__(self, "models", replace(self.models, use="commercial"))

    @property
    def guards_closed(self) -> bool:
        """Whether nothing passes a guard that is missing or fails."""
        return self.guards.missing == "closed" or (self.guards.missing == "profile" and self.profile == "commercial")
