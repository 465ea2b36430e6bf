"""Trains a few steps with tiny networks, in every precision and strength of checkpointing, compared with the CPU."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import get_args, get_type_hints

import numpy as np
import torch

from pipelines.diffusion.base.loading import find_base
from pipelines.diffusion.selftest import results
from pipelines.diffusion.selftest.results import Fault, Result
from pipelines.diffusion.training import run
from pipelines.diffusion.training.run import TrainingRun
from pipelines.model_store.store import ModelStore
from pipelines.settings import Settings, TrainSettings, ValidationSettings
from portrait.arrays import Image
from portrait.training import Checkpointing, TrainingJob, TrainingPlan
from portrait.types import Crop, TrainingSet

SIDE, STEPS, RANK, RATE = 64, 4, 4, 1e-2
LOSS_TOLERANCE = {torch.float32: 1e-4, torch.float16: 3e-3, torch.bfloat16: 4e-3}
"""Difference of a loss to the CPU's in float32, as a share of it, up to which it counts as the same.

Measured on these networks on a CPU (x86, PyTorch 2.13), the largest of all cases: 0 in float32, 6e-4 in float16, 7e-4 in
bfloat16; about five times that, and for float32 what summing in another order may add on a GPU.
"""
WEIGHT_TOLERANCE = {torch.float32: 2e-2, torch.float16: 0.2, torch.bfloat16: 0.5}
"""The same for `moved_differently`; measured: 0, 0.04 and 0.1. AdamW's first steps have the size of the rate, whatever the
gradient, so rounding turns the smallest ones around."""


@dataclass(frozen=True, slots=True)
class TrainingCase:
    """One kind of training."""

    name: str
    base: str
    """Of the tiny store."""
    text: bool = False
    """Whether the text encoders and a new token are trained too."""


CASES = (
    TrainingCase("SDXL LoRA", "xl"),
    TrainingCase("SD 1.5 LoRA", "sd"),
    TrainingCase("SDXL LoRA, text encoders and token", "xl", text=True),
    TrainingCase("FLUX.2 LoRA", "flux"),
)


@dataclass(frozen=True, slots=True)
class Trained:
    """What a few steps have done."""

    losses: tuple[float, ...]
    weights: Mapping[str, torch.Tensor]
    """On the CPU, in float32."""


@dataclass(frozen=True, slots=True)
class Strength:
    """Precision and checkpointing of a training."""

    dtype: torch.dtype
    checkpointing: Checkpointing

    @property
    def name(self) -> str:
        """As settings call it: `bfloat16, checkpointing light`."""
        return f"{str(self.dtype).removeprefix('torch.')}, checkpointing {self.checkpointing}"


def strengths(dtypes: Sequence[torch.dtype]) -> list[Strength]:
    """Every strength of checkpointing in every precision that can be chosen for training."""
    known = get_args(get_type_hints(TrainSettings)["precision"])
    chosen = [dtype for dtype in dtypes if str(dtype).removeprefix("torch.") in known]
    return [Strength(dtype, each) for dtype in chosen for each in get_args(Checkpointing)]


class TrainingChecks:
    """Trains each case on the CPU once, and compares with it what a device learns."""

    def __init__(
        self, settings: Settings, work_dir: Path, where: torch.device, cases: Sequence[TrainingCase] = CASES
    ) -> None:
        """`settings` name the tiny store; `work_dir` is a folder for nothing else."""
        self._settings, self._work_dir, self._where, self._cases = settings, work_dir, where, cases
        self._expected: dict[str, Trained] = {}

    def train_expected(self) -> Result:
        """Train every case on the CPU in float32, without checkpointing."""

        def check() -> tuple[str, list[Fault]]:
            for case in self._cases:
                self._expected[case.name] = self._train(case, Strength(torch.float32, "off"), torch.device("cpu"))
            return f"{len(self._expected)} trainings", []

        return results.run_check("Training on the CPU, to compare with", check)

    def __call__(self, strength: Strength) -> Iterator[Result]:
        """A result for each case."""
        for case in self._cases:
            if case.name in self._expected:
                name = f"Training {case.name}, {strength.name}"
                yield results.run_check(name, partial(self._check_case, name, case, strength))

    def _check_case(self, name: str, case: TrainingCase, strength: Strength) -> tuple[str, list[Fault]]:
        trained, expected = self._train(case, strength, self._where), self._expected[case.name]
        loss = max(abs(one / other - 1) for one, other in zip(trained.losses, expected.losses, strict=True))
        weights = moved_differently(trained.weights, expected.weights)
        found = f"losses within {loss:.1g}, weights within {weights:.1g} of the CPU's"
        for difference, tolerances in ((loss, LOSS_TOLERANCE), (weights, WEIGHT_TOLERANCE)):
            if not difference <= tolerances[strength.dtype]:
                return found, [results.wrong_fault(name, difference, tolerances[strength.dtype])]
        return found, []

    def _train(self, case: TrainingCase, strength: Strength, where: torch.device) -> Trained:
        base = find_base(case.base, self._settings, ModelStore(self._settings.models))
        precision = str(strength.dtype).removeprefix("torch.")
        settings = _knobs(case)
        plan = TrainingPlan(
            family=base.family.name,
            steps=STEPS,
            batch=1,
            checkpointing=strength.checkpointing,
            side=SIDE,
            buckets={},
            device=where.type,
            precision=precision,
            memory=0.0,
            free=0.0,
            seconds=0.0,
        )
        job = TrainingJob(_photos(), case.base, self._work_dir)
        training = TrainingRun(job, base, "", plan, settings, self._work_dir, _ignore_progress)
        dataset, learner = run.build_dataset(training), run.build_learner(training, None)
        learner.denoiser.train()
        losses = tuple(learner.train_step(dataset, step) for step in range(STEPS))
        return Trained(losses, {name: each.float() for name, each in learner.get_weights().items()})


def moved_differently(one: Mapping[str, torch.Tensor], other: Mapping[str, torch.Tensor]) -> float:
    """How far two sets of weights that were trained from the same start lie apart, as a share of the norm of `other`.

    Only second factors of LoRAs count, which start at zero: what they are is what was learned.
    """
    names = [name for name in other if "lora_B" in name or "lora.up" in name]
    apart = sum(float((one[name] - other[name]).square().sum()) for name in names)
    whole = sum(float(other[name].square().sum()) for name in names)
    return (apart / whole) ** 0.5


def _knobs(case: TrainingCase) -> TrainSettings:
    """The same for every device."""
    plain = TrainSettings(rank=RANK, rate=RATE, batch=1, caption_drop=0, exam=ValidationSettings(every=0))
    return replace(plain, text=case.text, token=case.text, flips=False)


def _photos() -> TrainingSet:
    """Two pictures of noise."""
    crops = tuple(Crop(_picture(seed), "a photo of sks man", "") for seed in (1, 2))
    return TrainingSet(crops, (), {}, (), "sks", "man")


def _picture(seed: int) -> Image:
    coarse = np.random.default_rng(seed).integers(0, 255, (8, 8, 3), dtype=np.uint8)
    return np.ascontiguousarray(coarse.repeat(SIDE // 8, axis=0).repeat(SIDE // 8, axis=1))


def _ignore_progress(done: int, total: int, doing: str, preview: Image | None = None) -> None:
    """Nobody is told."""
