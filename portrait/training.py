"""The values of training a person: job, plan, validation results, result."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from portrait.arrays import Image
from portrait.types import Identity, TrainingSet


@dataclass(frozen=True, slots=True, eq=False)
class TrainingJob:
    """What to train: the training set, the base model and options."""

    training: TrainingSet
    base: str
    """Name of a base model of the settings or the store, or its path."""
    work_dir: Path
    """An existing folder of this job alone; a checkpoint of an interrupted run in it is resumed."""
    continue_from: Identity | None = None
    """An identity of the same person and base whose LoRA is trained further."""
    overrides: Mapping[str, int | float | bool] = field(default_factory=dict)
    """Values in place of the trainer's settings: steps, rank, rate, batch, seed, text, token, prior (the weight of prior
    preservation)."""


@dataclass(frozen=True, slots=True)
class ValidationResult:
    """Measures of one validation, which draws the person with fixed prompts and seeds. Its fields are keys of JSON files."""

    step: int
    distance: float
    """Mean distance of the drawn faces to the person; a picture without a face counts as twice a stranger's limit."""
    found: float
    """Share of pictures in which a face was found, 0..1."""
    among: float | None
    """Mean pairwise distance of the drawn faces; None with fewer than two."""
    collapsed: bool
    """Whether the drawn faces differ less than half as much as those of the photos: mode collapse."""


@dataclass(frozen=True, slots=True, eq=False)
class TrainingResult:
    """Files, losses and measures of a finished training."""

    lora: Path | None
    """LoRA in diffusers' names; None when only a token was trained."""
    kohya_lora: Path | None
    """The same in the names of kohya's trainers."""
    tokens: Path | None
    """Embedding of the trigger, where textual inversion was used."""
    steps: int
    """Steps that were run; fewer than planned when training ended early."""
    chosen: str
    """Which checkpoint was chosen: `step 600`, `merge of steps 400, 500, 600`."""
    trigger: str
    """The trigger word of the person."""
    losses: tuple[float, ...]
    """Loss of each step."""
    validations: tuple[ValidationResult, ...]
    test_results: Mapping[str, ValidationResult]
    """Final comparison of the candidates for `chosen`, by their names there, on seeds that no validation used."""
    sample_images: tuple[tuple[str, Image], ...]
    """Pictures of the last validation with their prompts."""
    notes: tuple[str, ...]
    """Notes for the person: no face found, ended early, a smaller plan after memory ran out."""
    facts: Mapping[str, object]
    """JSON: family, hash of the base, rank, batch, sizes, settings, package versions, seconds."""


Checkpointing = Literal["off", "light", "full"]


@dataclass(frozen=True, slots=True)
class TrainingPlan:
    """Steps, memory and time of a training, estimated before anything is loaded."""

    family: str
    steps: int
    batch: int
    checkpointing: Checkpointing
    """How much gradient checkpointing is used."""
    side: int
    """Long side in pixels."""
    buckets: Mapping[str, int]
    """Number of pictures by bucket, `width×height`."""
    device: str
    precision: str
    memory: float
    """Estimated peak memory in bytes."""
    free: float
    """Free memory in bytes."""
    seconds: float
    """Estimated time, without class pictures and validations."""
    base: str = ""
    """Name of the base that is learned on, which may be another than was named."""
