"""Protocols that engines implement, one small one for each kind of engine."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, TypeAlias, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from portrait.arrays import Image, Mask, Regions
from portrait.generation.parameters import GenerationParameters
from portrait.metrics import Numbers
from portrait.training import TrainingJob, TrainingPlan, TrainingResult
from portrait.types import Box, Candidate, Face, Identity, PortraitRequest, Reference


class Progress(Protocol):
    """Callback that reports the progress of long work; raises `Cancelled` to stop it."""

    def __call__(self, done: int, total: int, doing: str, preview: Image | None = None) -> None:
        """Report `done` of `total` steps, a sentence about the current one, and a preview picture where there is one."""
        ...


class FaceFinder(Protocol):
    """Detects faces in a picture and embeds them."""

    @property
    def space(self) -> str:
        """Name of the embedding space of its vectors: `dlib`, `buffalo_l` …"""
        ...

    @property
    def same_person(self) -> float:
        """Largest distance in that space at which two faces are taken for one person."""
        ...

    def faces(self, image: Image, embedded: int = 1) -> list[Face]:
        """Faces of an upright image, the largest first; the first `embedded` of them carry embeddings.

        Embedding is the slow part, so it is done only for the faces that matter.
        """
        ...

    def embed(self, image: Image, face: Face) -> Face:
        """A face that was found in `image`, with its embedding; without one where its landmarks allow none."""
        ...


@runtime_checkable
class HeadDetector(Protocol):
    """A face finder that also tells what looks like a face to its detector, whether or not a face is made out there."""

    def detect_heads(self, image: Image) -> list[Box]:
        """Boxes of heads: faces, and those that hats, glasses or hands hide."""
        ...


@dataclass(frozen=True, slots=True)
class Attributes:
    """What a network takes a face for; no proof of anything, but two photos of one person give nearly the same."""

    age: float
    """Years: the mean of the network's distribution over 0 to 80."""
    minor: float
    """Probability 0..1 that the person is below 18."""
    female: float
    """Probability 0..1."""


class AttributeEstimator(Protocol):
    """Estimates age and sex of a face."""

    def estimate(self, image: Image, face: Face) -> Attributes:
        """What a face of `image` is taken for; sane from about 60 px of face and up to 35° of yaw."""
        ...


class Matter(Protocol):
    """Matting: separates a person from the background."""

    @property
    def version(self) -> str:
        """Name and version of the engine as recipes hold it: `modnet 2`; another version draws other pixels."""
        ...

    def matte(self, image: Image, face: Face) -> Mask:
        """Alpha matte of the person of `face`: 0..1, as large as `image`."""
        ...

    def silhouette(self, image: Image, face: Face, others: Sequence[Face] | None = None) -> Mask:
        """A quick rough mask of the person of `face`, without other people: 0..1, as large as `image`; for judging and
        framing, not for composing. `others`: their faces, where it is known that there are no more."""
        ...


@runtime_checkable
class VersionedMatter(Matter, Protocol):
    """A matter that also makes the mattes of its earlier versions, for recipes that name them."""

    def as_version(self, version: str) -> "Matter | None":
        """This engine as it was in a version; None where it has no such one."""
        ...


@dataclass(frozen=True, slots=True, eq=False)
class AlignedFace:
    """A face in a square onto which its five landmarks were fitted."""

    image: Image
    """Square."""
    matrix: NDArray[np.float64]
    """2×3: from the pixels of the whole picture to those of the square."""


class FaceSwapper(Protocol):
    """Face swapping: a network that draws a person's face over another one, with that one's pose, expression and light."""

    @property
    def facts(self) -> Mapping[str, object]:
        """What recipes say of it, as JSON: `engine`, and `models` with their hashes. Another one draws other pixels."""
        ...

    def swap(self, image: Image, face: Face, sources: Sequence[Reference]) -> AlignedFace:
        """`face` of `image` as the person of the reference photos `sources`, of which the first one counts alone where there
        are no more. Raises `UserError` (`no_reference`) where none of them shows the face to this engine.
        """
        ...


class Restorer(Protocol):
    """Face restoration: improves a poor photo of a face without changing who it is."""

    def restore(self, image: Image, face: Face) -> Image:
        """The restored picture, as large as `image`; `face` is in its pixels."""
        ...


class Parser(Protocol):
    """Face parsing: labels the pixels of a face by region."""

    def parse(self, image: Image, face: Face) -> Regions:
        """Soft masks of the regions that the engine distinguishes, each as large as `image`."""
        ...


class Upscaler(Protocol):
    """Enlarges a picture."""

    def upscale(self, image: Image, factor: int) -> Image:
        """`factor` times as wide and high; every engine knows 2 and 4."""
        ...


class Refiner(Protocol):
    """Post-processes a whole drawn portrait."""

    def refine(self, image: Image, faces: Sequence[Face]) -> Image:
        """The refined picture, as large as `image` or larger; `faces` are in the pixels of `image`.

        Engines work at full strength; `pipelines.refine` blends the result over the input.
        """
        ...


@runtime_checkable
class PersonRefiner(Protocol):
    """A refiner that draws people's own faces into a portrait; `pipelines.refine` keeps what makes them more like them."""

    def facts(self) -> Mapping[str, object]:
        """What recipes say of its models, as JSON; empty where it has none."""
        ...

    def refine_person(self, image: Image, face: Face, person: Identity) -> Image:
        """The picture with `face` as that person's own, as large as `image`; raises `UserError` where it cannot be drawn."""
        ...


AnyRefiner: TypeAlias = Refiner | PersonRefiner


@runtime_checkable
class ChangedRefiner(Protocol):
    """A refiner that can still work as in version 0.1.0, for its recipes."""

    def refine_as_before(self, image: Image, faces: Sequence[Face]) -> Image:
        """The picture as version 0.1.0 refined it."""
        ...


@runtime_checkable
class ChangedRestorer(Protocol):
    """A restorer that can still work as in version 0.1.0, for its recipes."""

    def restore_as_before(self, image: Image, face: Face) -> Image:
        """The picture as version 0.1.0 restored it."""
        ...


class Classifier(Protocol):
    """Classifies pictures, for FID, KID and inception score."""

    def classify(self, images: Sequence[Image]) -> tuple[Numbers, Numbers]:
        """Features N×D, and class probabilities N×K that sum to 1."""
        ...


class ImageTextEncoder(Protocol):
    """Encodes pictures and texts into one feature space, as CLIP does."""

    def encode_images(self, images: Sequence[Image]) -> Numbers:
        """Features N×D of the pictures."""
        ...

    def encode_texts(self, texts: Sequence[str]) -> Numbers:
        """Features N×D of the texts, of the same D as those of pictures."""
        ...


class Painter(Protocol):
    """Draws a person in a style."""

    def paint(self, request: PortraitRequest, progress: Progress) -> list[Candidate]:
        """At least `request.count` candidates; the same request gives the same pixels. With `request.only` that one, with the
        pixels that it has among the others, or none where there is no such candidate.

        Raises `UserError` when the style cannot be drawn with these people: a template's face in profile, no reference
        with shoulders.
        """
        ...


@runtime_checkable
class StreamingPainter(Protocol):
    """A painter that gives each candidate as soon as it is drawn."""

    def draw_each(self, request: PortraitRequest, progress: Progress) -> Iterator[Candidate]:
        """The candidates of `paint` one by one; drawing goes on when the next one is asked for."""
        ...


@runtime_checkable
class ReproduciblePainter(Protocol):
    """A painter that can check whether a recipe can still be reproduced with the installed models."""

    def check_models(self, request: PortraitRequest, facts: Mapping[str, Any]) -> None:
        """Raise `OperatorError` (`model_differs`) unless the models are those of `drawn`, the facts of a recipe."""
        ...


class IdentityAdapter(Protocol):
    """Conditions a diffusion model on a person: LoRA, InstantID, PhotoMaker, IP-Adapter FaceID."""

    def describe(self, person: Identity, description: str) -> str:
        """The words that stand for the person in a prompt, with those of this adapter added to `description`."""
        ...

    def check(self, person: Identity, base: Any) -> None:
        """Raise an error if this person cannot be drawn on this base, before anything is loaded.

        `UserError` (`not_learned`, `wrong_base`, `broken_identity`, `no_reference`), `OperatorError` (`wrong_family`,
        `missing_model`), `EngineError` (`broken_model`).
        """
        ...

    def prepare(self, lease: Any, person: Identity, parameters: GenerationParameters) -> Any:
        """Load the adapter into a leased base; returns `pipelines.diffusion.sampling.pipeline_call.Conditions`,
        the arguments of the pipeline call that condition it."""
        ...


class Guard(Protocol):
    """Safety checker: decides which pictures may be used and delivered."""

    def allows(self, image: Image) -> bool:
        """Whether a picture may be drawn from or delivered."""
        ...


class ControlPreprocessor(Protocol):
    """Preprocessor of a ControlNet: makes a control map of a photo."""

    def process(self, image: Image) -> Image:
        """The control map, as large as `image`: Canny edges, an OpenPose skeleton, a depth map …"""
        ...


class Trainer(Protocol):
    """Trains a LoRA or token embedding of a person on a base model."""

    def plan(self, job: TrainingJob) -> TrainingPlan:
        """Steps, memory and time of the training, without loading weights."""
        ...

    def train(self, job: TrainingJob, progress: Progress) -> TrainingResult:
        """Train, resuming from a checkpoint in the job's `work_dir` if there is one; writes the result's files there.

        Reports step, loss and time left, and stops within one step when `progress` raises. Raises `EngineError`
        (`out_of_memory`, `diverged`), `UserError` (`wrong_base`).
        """
        ...

    def merge(
        self, parts: Sequence[Identity], shares: Sequence[float], facts: Mapping[str, Any], work_dir: Path
    ) -> tuple[Path, Path, Path | None]:
        """Merge identities of one base and trigger by `shares` that sum to 1; writes their files to `work_dir`.

        Returns the LoRA in both names, and the mean of the learned tokens where the parts have one. `facts` are those of
        `identity.json`. Raises `UserError` (`cannot_merge`, `broken_identity`).
        """
        ...
