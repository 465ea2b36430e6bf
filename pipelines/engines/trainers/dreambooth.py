"""DreamBooth: a LoRA, a new token, or both learn a person from a few photos, and are looked at on the way."""

import importlib.metadata
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from pipelines.diffusion.base import device, lora, textual_inversion
from pipelines.diffusion.base.family import Family
from pipelines.diffusion.base.loading import Source, find
from pipelines.diffusion.base.registry import of_name
from pipelines.diffusion.training import dataset, estimate, job, validation
from pipelines.diffusion.training.checkpoints import Desk
from pipelines.diffusion.training.job import Course
from pipelines.diffusion.training.merge_loras import merge
from pipelines.diffusion.training.step import Learner, Material
from pipelines.diffusion.training.validation import Examiner, Sheet
from pipelines.engines import Engines
from pipelines.model_store.store import Models
from pipelines.settings import Settings, Train
from portrait.errors import EngineError, UserError
from portrait.ports import FaceFinder, Progress
from portrait.training import Checkpointing, Learned, Lesson, Look, TrainingPlan

STEPS_A_PHOTO, MOST_STEPS = 200, 800
"""EasyPhoto's, which converge at a rate of 1e-4."""
BATCHES = (4, 2, 1)
FILLED = 0.9
"""Share of the free memory that a plan may take."""
WISHES = frozenset({"steps", "rank", "rate", "batch", "seed", "text", "token", "prior"})
PACKAGES = ("torch", "diffusers", "peft", "transformers")


class Dreambooth:
    """Teaches a diffusion base a person."""

    def __init__(
        self, bases: Callable[[str], Source], finder: Callable[[], FaceFinder], knobs: Train, cache: Path
    ) -> None:
        self._bases, self._finder, self._knobs, self._cache = bases, finder, knobs, cache

    def plan(self, lesson: Lesson) -> TrainingPlan:
        """What it will take; see `portrait.ports.Trainer`."""
        return _plan(self._bases(lesson.base), lesson, wished(self._knobs, lesson.wishes))

    def train(self, lesson: Lesson, progress: Progress) -> Learned:
        """Learn; see `portrait.ports.Trainer`. When memory runs out, once more with a smaller plan."""
        base = self._bases(lesson.base)
        knobs = wished(self._knobs, lesson.wishes)
        hashed = base.hash()
        before = lesson.start.base_hash if lesson.start is not None else ""
        if before and before != hashed:
            raise UserError(
                "wrong_base", f"The identity was learned on another base than {base.name} is. Learn it anew."
            )
        course = Course(lesson, base, hashed, _plan(base, lesson, knobs), knobs, self._cache, progress)
        tried = self._attempt(course)
        if isinstance(tried, Learned):
            return tried
        if course.plan.checkpointing == "full" and course.plan.batch == 1:
            raise _too_small(tried)
        device.sweep(course.device)
        smaller = replace(course.plan, batch=max(1, course.plan.batch // 2), checkpointing="full")
        again = self._attempt(replace(course, plan=smaller))
        if not isinstance(again, Learned):
            raise _too_small(again)
        return replace(again, notes=(*again.notes, "Memory ran out once: it was learned with a smaller plan."))

    def merge(
        self, loras: Sequence[Path], shares: Sequence[float], facts: Mapping[str, Any], desk: Path
    ) -> tuple[Path, Path]:
        """Both files of a merge; see `portrait.ports.Trainer`."""
        weights = merge([lora.read(each) for each in loras], shares)
        return _write(weights, of_name(str(facts["base"]["family"])), facts["unet"], str(facts["trigger"]), desk)

    def _attempt(self, course: Course) -> "Learned | str":
        """Learn, or say what memory ran out for; what was held is let go by then."""
        try:
            return self._learn(course)
        except (RuntimeError, MemoryError) as error:
            if not device.short_of_memory(error):
                raise
            return str(error).split("\n", 1)[0]

    def _learn(self, course: Course) -> Learned:
        """The story: encode, let encoders go, learn and look, choose, keep."""
        began = time.monotonic()
        desk = Desk(course.lesson.desk, course.name())
        state = desk.load()
        if state is None:
            desk.clear()
        else:
            course = replace(course, plan=replace(course.plan, **state["plan"]))
        examiner = validation.examiner(self._finder, course.knobs.exam, course.lesson.training, course.who)
        material = job.material(course)
        learner = job.learner(course, examiner)
        log = _Log.of(state)
        if state is not None:
            learner.wear(state["weights"])
            learner.optimiser.load_state_dict(state["optimiser"])
        _Loop(course, desk, learner, material, examiner, log)()
        chosen = _Choice(course, desk, learner, examiner, log)()
        return self._result(course, chosen, log, time.monotonic() - began)

    def _result(self, course: Course, chosen: "_Chosen", log: "_Log", seconds: float) -> Learned:
        """Files on the desk, and all there is to know."""
        base, desk = course.base, course.lesson.desk
        weights = {name: each for name, each in chosen.weights.items() if not name.startswith("token.")}
        rows = {name.removeprefix("token."): each for name, each in chosen.weights.items() if name.startswith("token.")}
        shape = {name: base.config("unet")[name] for name in ("layers_per_block", "up_block_types")}
        files = _write(weights, base.family, shape, course.trigger, desk) if weights else (None, None)
        return Learned(
            lora=files[0],
            webui=files[1],
            tokens=textual_inversion.write(rows, course.trigger, desk / "tokens.safetensors") if rows else None,
            steps=len(log.losses),
            chosen=chosen.name,
            trigger=course.trigger,
            losses=tuple(log.losses),
            looks=tuple(log.looks),
            held_out=chosen.held_out,
            sheet=log.sheet,
            notes=tuple(log.notes),
            facts={
                "family": base.family.name,
                "base": base.name,
                "base_hash": course.base_hash,
                "rank": lora.rank_of(weights),
                "unet": shape,
                "plan": asdict(course.plan),
                "settings": asdict(course.knobs),
                "training_set": job.set_hash(course.lesson.training),
                "packages": {name: importlib.metadata.version(name) for name in PACKAGES},
                "seconds": round(seconds, 1),
            },
        )


@dataclass(slots=True)
class _Log:
    """What happened so far; kept in every checkpoint."""

    losses: list[float] = field(default_factory=list)
    looks: list[Look] = field(default_factory=list)
    sheet: Sheet = ()
    notes: list[str] = field(default_factory=list)

    @staticmethod
    def of(state: Mapping[str, Any] | None) -> "_Log":
        """As a checkpoint has it."""
        if state is None:
            return _Log()
        sheet = tuple((text, image.numpy()) for text, image in state["sheet"])
        return _Log(list(state["losses"]), [Look(**each) for each in state["looks"]], sheet)

    def state(self) -> dict[str, Any]:
        """As a checkpoint takes it."""
        return {
            "losses": list(self.losses),
            "looks": [asdict(look) for look in self.looks],
            "sheet": [(text, torch.from_numpy(np.ascontiguousarray(image))) for text, image in self.sheet],
        }


@dataclass(frozen=True, slots=True, eq=False)
class _Loop:
    """Learns step by step."""

    course: Course
    desk: Desk
    learner: Learner
    material: Material
    examiner: Examiner | None
    log: _Log

    def __call__(self) -> None:
        """Until the last step or a plateau; every step reports, and may be the last when somebody wishes so."""
        knobs, steps = self.course.knobs, self.course.plan.steps
        clock, first = time.monotonic(), len(self.log.losses)
        self.learner.unet.train()
        for step in range(first, steps):
            if self._enough():
                break
            self.log.losses.append(self.learner.learn(self.material, step))
            done = step + 1
            looked = self._look(done)
            if looked or done == steps or done % max(1, knobs.checkpoint_every) == 0:
                self._save()
            left = (time.monotonic() - clock) / (done - first) * (steps - done)
            shown = self.log.sheet[0][1] if self.log.sheet else None
            loss = f"{self.log.losses[-1]:.4f}"
            told = f"Learning at loss {loss}, step {done} of {steps}, {_words(left)} left"
            self.course.progress(done, steps, told, shown)
        if self._enough() and len(self.log.losses) < steps:
            self.log.notes.append(f"It stopped at step {len(self.log.losses)}: nothing was gained any more.")

    def _look(self, done: int) -> bool:
        knobs, steps = self.course.knobs.exam, self.course.plan.steps
        if self.examiner is None or (done % knobs.every and done != steps):
            return False
        tell = self._telling(done)
        with _still(self.learner) as unet, self.learner.computing():
            pen = job.pen(self.course, unet, self.learner.wording)
            look, self.log.sheet = self.examiner.look(pen, done, tell)
        self.log.looks.append(look)
        self.desk.keep(done, self.learner.worn())
        return True

    def _telling(self, done: int) -> Callable[[int, int], None]:
        steps, progress = self.course.plan.steps, self.course.progress
        return lambda at, of: progress(done, steps, f"Examining step {done}, picture {at + 1} of {of}")

    def _enough(self) -> bool:
        knobs = self.course.knobs.exam
        return self.examiner is not None and validation.plateau(self.log.looks, knobs.patience, self.examiner.gain)

    def _save(self) -> None:
        plan = {"batch": self.course.plan.batch, "checkpointing": self.course.plan.checkpointing}
        learned = {"weights": self.learner.worn(), "optimiser": self.learner.optimiser.state_dict()}
        self.desk.save({"plan": plan, **learned, **self.log.state()})


@dataclass(frozen=True, slots=True, eq=False)
class _Chosen:
    """What is taken."""

    name: str
    weights: lora.Weights
    held_out: Mapping[str, Look]


@dataclass(frozen=True, slots=True, eq=False)
class _Choice:
    """The best checkpoint, the last one, or the best merged with those beside it: whichever does best on unseen seeds."""

    course: Course
    desk: Desk
    learner: Learner
    examiner: Examiner | None
    log: _Log

    def __call__(self) -> _Chosen:
        """Without a face to measure: the last one, and a note that says so."""
        last = len(self.log.losses)
        if self.examiner is None or not any(look.found for look in self.log.looks):
            if self.course.knobs.exam.every:
                self.log.notes.append("No face could be measured in what was drawn: the last checkpoint was taken.")
            return _Chosen(f"step {last}", self.learner.worn(), {})
        ranked = validation.best(self.log.looks)
        if not self.course.knobs.exam.held_out:
            return _Chosen(f"step {ranked[0].step}", self.desk.kept(ranked[0].step), {})
        few = validation.neighbours(self.log.looks, self.course.knobs.exam.best, self.examiner.slack)
        candidates = self._candidates(ranked[0].step, last, [look.step for look in few])
        scores = self._scores(self.examiner, candidates)
        name = min(scores, key=lambda each: (scores[each].collapsed, scores[each].distance))
        return _Chosen(name, candidates[name], scores)

    def _candidates(self, best: int, last: int, few: Sequence[int]) -> dict[str, lora.Weights]:
        found = {f"step {step}": self.desk.kept(step) for step in dict.fromkeys([best, last])}
        if len(few) > 1:
            loras = [self.desk.kept(step) for step in few]
            named = ", ".join(str(step) for step in few)
            found[f"merge of steps {named}"] = merge(loras, [1 / len(few)] * len(few))
        return found

    def _scores(self, examiner: Examiner, candidates: Mapping[str, lora.Weights]) -> dict[str, Look]:
        scores = {}
        with _still(self.learner) as unet, self.learner.computing():
            pen = job.pen(self.course, unet, self.learner.wording)
            for place, (name, weights) in enumerate(candidates.items()):
                self.learner.wear(weights)
                tell = self._telling(place, len(candidates), name)
                scores[name] = examiner.last_look(pen, len(self.log.losses), tell)
        return scores

    def _telling(self, place: int, of: int, name: str) -> Callable[[int, int], None]:
        progress = self.course.progress
        return lambda at, pictures: progress(place * pictures + at, of * pictures, f"Choosing by drawing with {name}")


class _still:  # noqa: N801 -- reads as a statement
    """The U-Net as it is used for drawing, and back."""

    def __init__(self, learner: Learner) -> None:
        self._unet = learner.unet

    def __enter__(self) -> Any:
        return self._unet.eval()

    def __exit__(self, *_: object) -> None:
        self._unet.train()


def wished(knobs: Train, wishes: Mapping[str, int | float | bool]) -> Train:
    """Settings with what a lesson wants otherwise; raises `UserError` (`bad_lesson`)."""
    changes: dict[str, Any] = dict(wishes)
    for name in changes.keys() - WISHES:
        raise UserError("bad_lesson", f"A lesson cannot wish for {name!r}, only for {', '.join(sorted(WISHES))}.")
    if "prior" in changes:
        changes["prior"] = replace(knobs.prior, weight=float(changes["prior"]))
    return replace(knobs, **changes)


def make(settings: Settings, models: Models, engines: Engines) -> Dreambooth:
    """Nothing is loaded until something is learned."""
    cache = settings.models.folder.parent / "cache" / "class-pictures"
    return Dreambooth(lambda name: find(name, settings, models), engines.finder, settings.train, cache)


def status(settings: Settings, models: Models) -> list[str]:
    """Nothing but its libraries, and those are here; which bases are is asked base by base."""
    return []


def _plan(base: Source, lesson: Lesson, knobs: Train) -> TrainingPlan:
    """What a lesson will take here."""
    crops = lesson.training.crops
    where = device.choose(knobs.device)
    dtype = device.precision(knobs.precision, where)
    side = (knobs.side or base.side) // base.step * base.step
    cost = estimate.cost(base, knobs.rank or base.family.rank, side, dtype, where.type)
    free = device.free(where)
    batch, checkpointing = _fitting(cost, knobs, free, where.type)
    steps = knobs.steps or min(STEPS_A_PHOTO * len(crops), MOST_STEPS)
    sizes = dataset.sort([crop.image for crop in crops], side, base.step, batch)
    named = [f"{size.width}×{size.height}" for size in sizes]
    twice = 2 if knobs.prior.weight else 1
    return TrainingPlan(
        family=base.family.name,
        steps=steps,
        batch=batch,
        checkpointing=checkpointing,
        side=side,
        buckets={name: named.count(name) for name in dict.fromkeys(named)},
        device=where.type,
        precision=str(dtype).removeprefix("torch."),
        memory=cost.memory(batch * twice, checkpointing),
        free=free,
        seconds=steps * cost.work(batch * twice, checkpointing) / estimate.speed(where, dtype),
    )


def _fitting(cost: estimate.Cost, knobs: Train, free: float, kind: str) -> tuple[int, Checkpointing]:
    """Batch and checkpointing: the largest batch that fits with the least checkpointing."""
    batches = [knobs.batch] if knobs.batch else list(BATCHES) if kind == "cuda" else [1]
    modes = ("off", "light", "full") if knobs.checkpointing == "auto" else (knobs.checkpointing,)
    twice = 2 if knobs.prior.weight else 1
    options: list[tuple[int, Checkpointing]] = [(batch, mode) for mode in modes for batch in batches]
    return next((each for each in options if cost.memory(each[0] * twice, each[1]) <= FILLED * free), options[-1])


def _write(
    weights: lora.Weights, family: Family, shape: Mapping[str, Any], trigger: str, desk: Path
) -> tuple[Path, Path]:
    """A LoRA in both namings."""
    told = lora.webui_metadata(family, lora.rank_of(weights), trigger, trigger)
    named = lora.webui(weights, family, shape)
    return lora.write(weights, desk / "lora.safetensors"), lora.write(named, desk / "lora-webui.safetensors", told)


def _too_small(why: str) -> EngineError:
    return EngineError(
        "out_of_memory",
        f"There is not enough memory to learn on this base, not even with the smallest plan ({why}). "
        "Choose a smaller base or side (train.side), or close other programs.",
    )


def _words(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 90 else f"{seconds / 60:.0f} min"
