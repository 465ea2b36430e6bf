"""The values of learning a person: what is asked for, what it will take, what came of it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from portrait.arrays import Image
from portrait.types import Identity, TrainingSet


@dataclass(frozen=True, slots=True, eq=False)
class TrainingJob:
    """What a trainer is to learn."""

    training: TrainingSet
    base: str
    """Name of a base model of the settings or the store, or where one lies."""
    work_dir: Path
    """A folder that is there and belongs to this lesson; what it holds of an earlier, broken run is gone on from."""
    continue_from: Identity | None = None
    """An identity of the same person and base to go on from."""
    overrides: Mapping[str, int | float | bool] = field(default_factory=dict)
    """What the trainer shall do otherwise than its settings say: steps, rank, rate, batch, seed, text, token, prior (the
    weight of prior preservation)."""


@dataclass(frozen=True, slots=True)
class ValidationResult:
    """What one validation found: the person drawn with the same prompts and seeds."""

    step: int
    distance: float
    """Mean distance of the drawn faces to the person; a picture without a face counts as twice a stranger's limit."""
    found: float
    """Share of pictures in which a face was found, 0..1."""
    among: float | None
    """Mean distance of the drawn faces to each other; None with fewer than two."""
    collapsed: bool
    """Whether the drawn faces differ less than half as much as those of the photos: one picture over and over."""


@dataclass(frozen=True, slots=True, eq=False)
class TrainingResult:
    """What came of a lesson."""

    lora: Path | None
    """In diffusers' names; None when only a token was learned."""
    kohya_lora: Path | None
    """The same in the names of kohya's trainers."""
    tokens: Path | None
    steps: int
    """Steps that were done; fewer than planned when learning ended early."""
    chosen: str
    """What was taken, in words: `step 600`, `merge of steps 400, 500, 600`."""
    trigger: str
    """The word that now stands for the person."""
    losses: tuple[float, ...]
    """Of each step."""
    validations: tuple[ValidationResult, ...]
    test_results: Mapping[str, ValidationResult]
    """What was compared in the end, by its words, on seeds that no look had used."""
    sample_images: tuple[tuple[str, Image], ...]
    """The last look's pictures with their prompts."""
    notes: tuple[str, ...]
    """What the person should know: no face found, ended early, a smaller plan after memory ran out."""
    facts: Mapping[str, object]
    """JSON: family, hash of the base, rank, batch, sizes, settings, package versions, seconds."""


Checkpointing = Literal["off", "light", "full"]


@dataclass(frozen=True, slots=True)
class TrainingPlan:
    """What training will take, before anything is loaded."""

    family: str
    steps: int
    batch: int
    checkpointing: Checkpointing
    """What is computed again on the way back, so that it need not be kept."""
    side: int
    """Long side in pixels."""
    buckets: Mapping[str, int]
    """Pictures by resolution, `width×height`."""
    device: str
    precision: str
    memory: float
    """Bytes at most, estimated."""
    free: float
    """Bytes that are free."""
    seconds: float
    """Estimated, without drawing class pictures and looks."""
