"""What an engine must be able to do: one small protocol each."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from portrait.arrays import Image, Mask
from portrait.generation.parameters import GenerationParameters
from portrait.metrics import Numbers
from portrait.training import TrainingJob, TrainingPlan, TrainingResult
from portrait.types import Candidate, Face, Identity, PortraitRequest, Regions


class Progress(Protocol):
    """Hears how far long work has come; raises `Cancelled` to stop it."""

    def __call__(self, done: int, total: int, doing: str, preview: Image | None = None) -> None:
        """Report `done` of `total` steps and what is being done, in the person's words."""
        ...


class FaceFinder(Protocol):
    """Finds faces."""

    @property
    def space(self) -> str:
        """The embedding space of the vectors it gives: `dlib`, `buffalo_l` …"""
        ...

    @property
    def same_person(self) -> float:
        """Largest distance in that space at which two faces are taken for one person."""
        ...

    def faces(self, image: Image, embedded: int = 1) -> list[Face]:
        """Faces of an upright image, the largest first; the first `embedded` of them carry embeddings.

        An embedding is the slow part, so only the faces that count are given one.
        """
        ...


class Matter(Protocol):
    """Separates a person from the background."""

    def matte(self, image: Image, face: Face) -> Mask:
        """How much of each pixel belongs to the person of `face`, 0..1, as large as `image`."""
        ...


class Restorer(Protocol):
    """Makes a poor photo of a face better without changing who it is."""

    def restore(self, image: Image, face: Face) -> Image:
        """The same picture, same size; `face` is in its pixels."""
        ...


class Parser(Protocol):
    """Says which pixels of a face are what."""

    def parse(self, image: Image, face: Face) -> Regions:
        """Soft masks of the regions that the engine can tell apart, each as large as `image`."""
        ...


class Upscaler(Protocol):
    """Enlarges a picture."""

    def upscale(self, image: Image, factor: int) -> Image:
        """`factor` times as wide and high; every engine knows 2 and 4."""
        ...


class Refiner(Protocol):
    """Makes a drawn portrait better as a whole."""

    def refine(self, image: Image, faces: Sequence[Face]) -> Image:
        """The picture at full strength, as large as it was or larger; `faces` are in its pixels.

        How much of it is taken is not the engine's to say: see `pipelines.refine`.
        """
        ...


class Classifier(Protocol):
    """Says what pictures show, among classes it knows."""

    def classify(self, images: Sequence[Image]) -> tuple[Numbers, Numbers]:
        """Features N×D, and shares of classes N×K that sum to 1."""
        ...


class ImageTextEncoder(Protocol):
    """Sees pictures and words in one space."""

    def encode_images(self, images: Sequence[Image]) -> Numbers:
        """Features N×D."""
        ...

    def words(self, texts: Sequence[str]) -> Numbers:
        """Features N×D of the same D."""
        ...


class Painter(Protocol):
    """Draws a person in a style."""

    def paint(self, request: PortraitRequest, progress: Progress) -> list[Candidate]:
        """At least `request.count` candidates, deterministic in the request; raises `UserError` when the style cannot be
        drawn with these people (a template's face in profile, no reference with shoulders)."""
        ...


@runtime_checkable
class ReproduciblePainter(Protocol):
    """A painter that draws with models that may have been replaced since."""

    def check_models(self, request: PortraitRequest, drawn: Mapping[str, Any]) -> None:
        """Raise `OperatorError` (`model_differs`) unless its models are those that a recipe's facts name."""
        ...


class IdentityAdapter(Protocol):
    """Tells a diffusion model who is to be drawn."""

    def describe(self, person: Identity, description: str) -> str:
        """What stands for the person in a prompt; `words` does so far."""
        ...

    def check(self, person: Identity, base: Any) -> None:
        """Raise what would keep this person from being drawn on this base, before anything is loaded.

        `UserError` (`not_learned`, `wrong_base`, `broken_identity`, `no_reference`), `OperatorError` (`wrong_family`,
        `missing_model`), `EngineError` (`broken_model`).
        """
        ...

    def prepare(self, lease: Any, person: Identity, parameters: GenerationParameters) -> Any:
        """Arm a leased base and give what the call is told beside: `pipelines.diffusion.sampling.pipeline_call.Conditions`."""
        ...


class Guard(Protocol):
    """Keeps pictures back that may not be delivered."""

    def allows(self, image: Image) -> bool:
        """Whether it may be drawn from, and whether it may be delivered."""
        ...


class ControlPreprocessor(Protocol):
    """Draws what a diffusion model shall follow of a photo."""

    def process(self, image: Image) -> Image:
        """The same size; canny's outlines, a pose's limbs, a depth map."""
        ...


class Trainer(Protocol):
    """Teaches a base model a person."""

    def plan(self, job: TrainingJob) -> TrainingPlan:
        """What it will take, without loading weights."""
        ...

    def train(self, job: TrainingJob, progress: Progress) -> TrainingResult:
        """Learn, going on from what the lesson's desk holds; the files of the result lie on the desk.

        Reports step, loss and time left, and stops within one step when `progress` raises. Raises `EngineError`
        (`out_of_memory`, `diverged`), `UserError` (`wrong_base`).
        """
        ...

    def merge(
        self, loras: Sequence[Path], weights: Sequence[float], facts: Mapping[str, Any], work_dir: Path
    ) -> tuple[Path, Path]:
        """The mean update of several LoRAs of one base, by shares that sum to one: both files, written to `desk`.

        `facts` are those of `identity.json`. Raises `UserError` (`cannot_merge`).
        """
        ...
