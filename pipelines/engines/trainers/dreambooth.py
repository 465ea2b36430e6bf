"""DreamBooth: trains a LoRA, a new token, or both on a few photos of a person, with validation."""

import importlib.metadata
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import torch

from pipelines.diffusion.base import device, lora, textual_inversion
from pipelines.diffusion.base.loading import find_base_to_learn_on
from pipelines.diffusion.base.registry import family_by_name
from pipelines.diffusion.base.source import BaseSource
from pipelines.diffusion.training import dataset, estimate, run, validation
from pipelines.diffusion.training.checkpoints import CheckpointStore
from pipelines.diffusion.training.loop import TrainingHistory, TrainingLoop
from pipelines.diffusion.training.merge_loras import merge
from pipelines.diffusion.training.run import TrainingRun
from pipelines.diffusion.training.selection import CheckpointSelection, Selection
from pipelines.engines import Engines
from pipelines.model_store.store import ModelStore
from pipelines.settings import Settings, TrainSettings
from portrait.errors import EngineError, UserError
from portrait.ports import FaceFinder, Progress
from portrait.training import Checkpointing, TrainingJob, TrainingPlan, TrainingResult
from portrait.types import Identity

STEPS_PER_PHOTO, MAX_STEPS = 200, 800
"""EasyPhoto's, which converge at a rate of 1e-4."""
BATCHES = (4, 2, 1)
"""Batch sizes that are tried on a GPU, the largest first."""
CHECKPOINTING: tuple[Checkpointing, ...] = ("off", "light", "full")
"""Gradient checkpointing, from the most memory to the least."""
MEMORY_SHARE = 0.9
"""Share of the free memory that a plan may take."""
OVERRIDES = frozenset({"steps", "rank", "rate", "batch", "seed", "text", "token", "prior"})
PACKAGES = ("torch", "diffusers", "peft", "transformers")


class Dreambooth:
    """Trains a LoRA, a token or both on a diffusion base."""

    def __init__(
        self, bases: Callable[[str], BaseSource], finder: Callable[[], FaceFinder], settings: TrainSettings, cache: Path
    ) -> None:
        """`bases` finds the base to learn on, `finder` loads the face finder that validates, `cache` is for class images."""
        self._bases, self._finder, self._settings, self._cache = bases, finder, settings, cache

    def plan(self, job: TrainingJob) -> TrainingPlan:
        """What training will take; see `portrait.ports.Trainer`."""
        return _plan(self._bases(job.base), job, apply_overrides(self._settings, job.overrides))

    def train(self, job: TrainingJob, progress: Progress) -> TrainingResult:
        """Train; see `portrait.ports.Trainer`. When memory runs out, it goes on with smaller and smaller plans."""
        base = self._bases(job.base)
        settings = apply_overrides(self._settings, job.overrides)
        base_hash = base.sha256()
        before = job.continue_from.base_hash if job.continue_from is not None else ""
        if before and before != base_hash:
            raise UserError(
                "wrong_base", f"The identity was learned on another base than {base.name} is. Learn it anew."
            )
        training = TrainingRun(job, base, base_hash, _plan(base, job, settings), settings, self._cache, progress)
        training = _with_stored_plan(training)
        first = training.plan
        result = self._attempt(training)
        while not isinstance(result, TrainingResult):
            smaller = _next_smaller(training.plan)
            if smaller is None:
                raise _out_of_memory(result)
            device.release_memory(training.device)
            training = replace(training, plan=smaller)
            result = self._attempt(training)
        if training.plan == first:
            return result
        note = (
            f"Memory ran out: it was learned with a smaller plan, {training.plan.batch} pictures a step and "
            f"{training.plan.checkpointing} gradient checkpointing."
        )
        return replace(result, notes=(*result.notes, note))

    def merge(
        self, parts: Sequence[Identity], shares: Sequence[float], facts: Mapping[str, Any], work_dir: Path
    ) -> tuple[Path, Path, Path | None]:
        """Write the files of a merge; see `portrait.ports.Trainer`."""
        family, trigger = family_by_name(str(facts["base"]["family"])), str(facts["trigger"])
        weights, rows = _split_weights(merge([run.identity_weights(each, family) for each in parts], shares))
        files = lora.write_both(weights, family, facts["unet"], trigger, work_dir)
        return *files, _write_token(rows, trigger, work_dir)

    def _attempt(self, training: TrainingRun) -> "TrainingResult | str":
        """The result, or the first line of the error when memory ran out; everything it held is released by then."""
        try:
            return self._train(training)
        except (RuntimeError, MemoryError) as error:
            if not device.is_out_of_memory(error):
                raise
            return str(error).split("\n", 1)[0]

    def _train(self, training: TrainingRun) -> TrainingResult:
        """Encode the dataset, build the learner, train and validate, select weights, write files; resumes a broken run."""
        started = time.monotonic()
        store = CheckpointStore(training.job.work_dir, training.run_id())
        state = store.load_state()
        if state is None:
            store.clear()
        validator = validation.make_validator(
            self._finder, training.settings.exam, training.job.training, training.subject
        )
        samples = run.build_dataset(training)
        learner = run.build_learner(training, validator)
        history = TrainingHistory.from_state(state)
        if state is not None:
            learner.load_state(state)
        TrainingLoop(training, store, learner, samples, validator, history)()
        selection = CheckpointSelection(training, store, learner, validator, history)()
        return self._result(training, selection, history, time.monotonic() - started)

    def _result(
        self, training: TrainingRun, selection: Selection, history: TrainingHistory, seconds: float
    ) -> TrainingResult:
        """Write the files of the selected weights to the work folder, and describe the run."""
        base, work_dir = training.base, training.job.work_dir
        weights, rows = _split_weights(selection.weights)
        unet = base.family.kohya_config(base.denoiser_config)
        files = lora.write_both(weights, base.family, unet, training.trigger, work_dir) if weights else (None, None)
        return TrainingResult(
            lora=files[0],
            kohya_lora=files[1],
            tokens=_write_token(rows, training.trigger, work_dir),
            steps=len(history.losses),
            chosen=selection.name,
            trigger=training.trigger,
            losses=tuple(history.losses),
            validations=tuple(history.validations),
            test_results=selection.test_results,
            sample_images=history.sample_images,
            notes=tuple(history.notes),
            facts={
                "family": base.family.name,
                "base": base.name,
                "base_hash": training.base_hash,
                "draw_on": base.draw_on,
                "rank": lora.rank_of(weights),
                "unet": unet,
                "plan": asdict(training.plan),
                "settings": asdict(training.settings),
                "training_set": run.training_set_hash(training.job.training),
                "packages": {name: importlib.metadata.version(name) for name in PACKAGES},
                "seconds": round(seconds, 1),
            },
        )


def apply_overrides(settings: TrainSettings, overrides: Mapping[str, int | float | bool]) -> TrainSettings:
    """The settings with a job's overrides; raises `UserError` (`bad_lesson`) for one that does not exist."""
    changes: dict[str, Any] = dict(overrides)
    for name in changes.keys() - OVERRIDES:
        raise UserError("bad_lesson", f"A training cannot set {name!r}, only {', '.join(sorted(OVERRIDES))}.")
    if "prior" in changes:
        changes["prior"] = replace(settings.prior, weight=float(changes["prior"]))
    changed = replace(settings, **changes)
    if not (changed.lora or changed.text or changed.token):
        raise UserError("bad_lesson", "Nothing would be learned: turn on train.lora, train.text or train.token.")
    return changed


def make(settings: Settings, models: ModelStore, engines: Engines) -> Dreambooth:
    """The trainer; nothing is loaded until it trains."""
    cache = settings.models.folder.parent / "cache" / "class-pictures"
    return Dreambooth(lambda name: find_base_to_learn_on(name, settings, models), engines.finder, settings.train, cache)


def _plan(base: BaseSource, job: TrainingJob, settings: TrainSettings) -> TrainingPlan:
    """Size, batch, memory and time of a job on this machine; raises `UserError` (`bad_lesson`) for one that cannot be done."""
    if job.continue_from is not None and job.continue_from.tokens is not None and not settings.token:
        raise UserError("bad_lesson", "The identity has a learned token: learn it further with train.token = true.")
    _check_abilities(base, settings)
    crops = job.training.crops
    where = device.choose_device(settings.device)
    dtype = device.choose_dtype(settings.precision, where, training=True)
    side = (settings.side or base.native_side) // base.size_multiple * base.size_multiple
    cost = estimate.estimate_cost(base, settings.rank or base.family.rank, side, dtype, where.type)
    free = device.free_memory(where)
    batch, checkpointing = _choose_batch(cost, settings, free, where.type)
    steps = settings.steps or min(STEPS_PER_PHOTO * len(crops), MAX_STEPS)
    sizes = dataset.bucket_sizes([crop.image for crop in crops], side, base.size_multiple, batch)
    buckets = [f"{size.width}×{size.height}" for size in sizes]
    twice = 2 if settings.prior.weight else 1
    return TrainingPlan(
        base=base.name,
        family=base.family.name,
        steps=steps,
        batch=batch,
        checkpointing=checkpointing,
        side=side,
        buckets={name: buckets.count(name) for name in dict.fromkeys(buckets)},
        device=where.type,
        precision=str(dtype).removeprefix("torch."),
        memory=cost.peak_bytes(batch * twice, checkpointing),
        free=free,
        seconds=steps * cost.step_flops(batch * twice, checkpointing) / estimate.measure_flops_per_second(where, dtype),
    )


def _check_abilities(base: BaseSource, settings: TrainSettings) -> None:
    """Raise `UserError` (`bad_lesson`) for what cannot be trained on bases of its family."""
    able = base.family.abilities
    if base.family.reads_references:
        raise UserError(
            "bad_lesson",
            f"{base.name} ({base.family.name}) reads words together with pictures, and is not learned on: learn on the base "
            "for words that it was made of, whose LoRAs fit it.",
        )
    wishes = {
        "a new token (train.token)": settings.token and not able.tokens,
        "text encoders (train.text)": settings.text and not able.text_encoders,
        "an offset of the noise (train.noise_offset)": settings.noise_offset != 0 and not able.noise_offset,
    }
    unknown = [name for name, wished in wishes.items() if wished]
    if unknown:
        raise UserError(
            "bad_lesson", f"{base.name} ({base.family.name}) is not trained with {' and '.join(unknown)}: leave it out."
        )


def _with_stored_plan(training: TrainingRun) -> TrainingRun:
    """The run with the batch and checkpointing of its newest checkpoint, from which it goes on."""
    state = CheckpointStore(training.job.work_dir, training.run_id()).load_state()
    return training if state is None else replace(training, plan=replace(training.plan, **state["plan"]))


def _next_smaller(plan: TrainingPlan) -> TrainingPlan | None:
    """The plan that takes less memory: half the batch, then stronger checkpointing; None for the smallest."""
    if plan.batch > 1:
        return replace(plan, batch=plan.batch // 2)
    stronger = CHECKPOINTING[CHECKPOINTING.index(plan.checkpointing) + 1 :]
    return replace(plan, checkpointing=stronger[0]) if stronger else None


def _choose_batch(
    cost: estimate.TrainingCost, settings: TrainSettings, free: float, device_type: str
) -> tuple[int, Checkpointing]:
    """Batch and checkpointing: the largest batch that fits `free` bytes, with the least checkpointing."""
    batches = [settings.batch] if settings.batch else list(BATCHES) if device_type == "cuda" else [1]
    modes = CHECKPOINTING if settings.checkpointing == "auto" else (settings.checkpointing,)
    twice = 2 if settings.prior.weight else 1
    plans: list[tuple[int, Checkpointing]] = [(batch, mode) for mode in modes for batch in batches]
    fitting = (plan for plan in plans if cost.peak_bytes(plan[0] * twice, plan[1]) <= MEMORY_SHARE * free)
    return next(fitting, plans[-1])


def _split_weights(trained: Mapping[str, torch.Tensor]) -> tuple[lora.Weights, dict[str, torch.Tensor]]:
    """LoRA factors, and the rows of a token by encoder, of what `Learner.get_weights` gives."""
    rows = {name.removeprefix("token."): each for name, each in trained.items() if name.startswith("token.")}
    return {name: each for name, each in trained.items() if not name.startswith("token.")}, rows


def _write_token(rows: Mapping[str, torch.Tensor], trigger: str, work_dir: Path) -> Path | None:
    """Write a learned token; None without one."""
    return textual_inversion.save_embeddings(rows, trigger, work_dir / "tokens.safetensors") if rows else None


def _out_of_memory(why: str) -> EngineError:
    return EngineError(
        "out_of_memory",
        f"There is not enough memory to learn on this base, not even with the smallest plan ({why}). "
        "Choose a smaller base or side (train.side), or close other programs.",
    )
