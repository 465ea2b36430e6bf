"""From a lesson and a plan to what learns: pictures and words encoded, their networks gone, the U-Net with its LoRA."""

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from pipelines.diffusion.base import device, lora, textual_inversion
from pipelines.diffusion.base.family import TARGETS, TEXT_TARGETS
from pipelines.diffusion.base.loading import Source, noise_schedule, parts
from pipelines.diffusion.base.textual_inversion import LearnedToken
from pipelines.diffusion.training import class_images, dataset, gradient_checkpointing, sample_images, text_embeddings
from pipelines.diffusion.training.dataset import Example
from pipelines.diffusion.training.loss import Objective
from pipelines.diffusion.training.sample_images import Pen
from pipelines.diffusion.training.step import Learner, Material, optimiser
from pipelines.diffusion.training.text_embeddings import Kept, Live, Wording
from pipelines.diffusion.training.validation import Examiner
from pipelines.settings import Train
from portrait.arrays import Image
from portrait.ports import Progress
from portrait.training import Lesson, TrainingPlan
from portrait.types import TrainingSet


@dataclass(frozen=True, slots=True, eq=False)
class Course:
    """A lesson with all that was decided about it."""

    lesson: Lesson
    base: Source
    base_hash: str
    plan: TrainingPlan
    knobs: Train
    cache: Path
    """Where class pictures are kept."""
    progress: Progress

    @property
    def device(self) -> torch.device:
        """Where it is learned."""
        return torch.device(self.plan.device)

    @property
    def precision(self) -> torch.dtype:
        """What frozen networks compute in."""
        return getattr(torch, self.plan.precision)

    @property
    def trigger(self) -> str:
        """The word that will stand for the person: the set's, or a new token."""
        given = self.lesson.training.trigger
        return textual_inversion.token_of(given) if self.knobs.token else given

    @property
    def who(self) -> str:
        """Trigger and class word."""
        return f"{self.trigger} {self.lesson.training.class_word}"

    def captions(self) -> list[str]:
        """Of the crops, with the trigger as it will be written."""
        training = self.lesson.training
        return [crop.caption.replace(training.trigger, self.trigger) for crop in training.crops]

    def name(self) -> str:
        """What a checkpoint must belong to: base, pictures, settings, and what was gone on from."""
        start = self.lesson.start
        learned = hashlib.sha256(start.lora.read_bytes()).hexdigest() if start is not None and start.lora else ""
        told = [self.base_hash, set_hash(self.lesson.training), asdict(self.knobs), learned]
        return hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()


def set_hash(training: TrainingSet) -> str:
    """SHA-256 of what is learned from: pixels and captions."""
    digest = hashlib.sha256()
    for crop in training.crops:
        digest.update(repr((crop.image.shape, crop.caption)).encode())
        digest.update(crop.image.tobytes())
    return digest.hexdigest()


def material(course: Course) -> Material:
    """Pictures of the person and of others, encoded; the VAE is gone afterwards."""
    knobs, plan, base = course.knobs, course.plan, course.base
    others = _others(course)
    vae = parts(base, torch.float32, ["vae"])["vae"].to(course.device)
    crops = course.lesson.training.crops
    own = list(zip([crop.image for crop in crops], course.captions(), strict=True))

    def examples(pictures: Sequence[tuple[Image, str]], flips: bool, batch: int, doing: str) -> list[Example]:
        sizes = dataset.sort([image for image, _ in pictures], plan.side, base.step, batch)
        return dataset.encode(vae, pictures, sizes, flips, lambda at, of: course.progress(at, of, f"Encoding {doing}"))

    made = Material(
        examples(own, knobs.flips, plan.batch, "photos"),
        examples(others, False, 1, "class pictures"),
        dataset.scaling(vae.config),
        plan.batch,
        knobs.seed,
    )
    vae = None
    device.sweep(course.device)
    return made


def learner(course: Course, examiner: Examiner | None) -> Learner:
    """The U-Net with its LoRA, and text encoders only where they learn."""
    base, knobs = course.base, course.knobs
    spoken = _spoken(course, examiner)
    unet = parts(base, course.precision, ["unet"])["unet"]
    if knobs.lora:
        lora.attach(unet, rank(course), TARGETS, knobs.seed)
    unet.to(course.device)
    gradient_checkpointing.apply(unet, course.plan.checkpointing)
    encoders = spoken.encoders if knobs.text else {}
    networks = ({"unet": unet} if knobs.lora else {}) | encoders
    made = Learner(
        family=base.family,
        unet=unet,
        encoders=encoders,
        rows=spoken.rows,
        wording=spoken.wording,
        objective=Objective(noise_schedule(base), knobs.min_snr),
        knobs=knobs,
        steps=course.plan.steps,
        device=course.device,
        precision=course.precision,
        optimiser=optimiser(networks, spoken.rows, knobs),
    )
    if course.lesson.start is not None:
        made.wear(_before(course))
    return made


def rank(course: Course) -> int:
    """Of the identity that is gone on from, of the settings, or of the family."""
    start = course.lesson.start
    if start is not None and start.lora is not None:
        return lora.rank_of(lora.read(start.lora))
    return course.knobs.rank or course.base.family.rank


def pen(course: Course, unet: Any, words: Wording) -> Pen:
    """What draws with the U-Net as it is now; the VAE comes for it and goes with it."""
    held = parts(course.base, course.precision, ["vae", "scheduler"])
    held["vae"].to(course.device)
    return sample_images.pen(course.base, {**held, "unet": unet}, words, course.device, course.plan.side)


@dataclass(frozen=True, slots=True, eq=False)
class _Spoken:
    """How captions become words."""

    wording: Wording
    encoders: dict[str, Any]
    rows: dict[str, LearnedToken]


def _spoken(course: Course, examiner: Examiner | None) -> _Spoken:
    """Words that were encoded once, their encoders gone; or encoders that learn."""
    base, knobs, training = course.base, course.knobs, course.lesson.training
    wanted = [name for pair in base.family.encoders for name in pair]
    held = parts(base, course.precision, wanted)
    encoders = {name: held[name].to(course.device) for _, name in base.family.encoders}
    if not (knobs.text or knobs.token):
        said = ["", *course.captions(), *class_images.captions(knobs.prior, training.class_word)]
        kept = text_embeddings.keep(base.family, held, said + (examiner.captions() if examiner else []))
        encoders.clear()
        held.clear()
        device.sweep(course.device)
        return _Spoken(kept, {}, {})
    rows = textual_inversion.add(base.family, held, course.trigger, training.class_word) if knobs.token else {}
    for place, name in enumerate(sorted(encoders)):
        encoders[name].to(course.device)
        if knobs.text:
            lora.attach(encoders[name], rank(course), TEXT_TARGETS, knobs.seed + 1 + place)
    return _Spoken(Live(base.family, held), encoders, rows)


def _before(course: Course) -> lora.Weights:
    """What the identity that is gone on from had learned."""
    start = course.lesson.start
    found: lora.Weights = {}
    if start is not None and start.lora is not None:
        found |= lora.read(start.lora)
    if start is not None and start.tokens is not None:
        rows = textual_inversion.read(start.tokens, course.base.family)
        found |= {f"token.{name}": row for name, row in rows.items()}
    return found


def _others(course: Course) -> list[tuple[Image, str]]:
    """Class pictures, drawn now where they are missing; empty without prior preservation."""
    prior, training, plan = course.knobs.prior, course.lesson.training, course.plan
    if not prior.weight or not prior.images:
        return []
    place = class_images.folder(course.cache, course.base_hash, prior, training.class_word, plan.side)
    if class_images.missing(place, prior):
        class_images.draw(place, _fresh_pen(course), prior, training.class_word, _preserving(course.progress))
        device.sweep(course.device)
    return class_images.read(place, prior, training.class_word)


def _fresh_pen(course: Course) -> Pen:
    """The base as it came."""
    base, knobs = course.base, course.knobs
    wanted = [name for pair in base.family.encoders for name in pair]
    held = parts(base, course.precision, wanted)
    for _, name in base.family.encoders:
        held[name].to(course.device)
    texts = class_images.captions(knobs.prior, course.lesson.training.class_word)
    kept: Kept = text_embeddings.keep(base.family, held, [class_images.NEGATIVE, *texts])
    return pen(course, parts(base, course.precision, ["unet"])["unet"].to(course.device), kept)


def _preserving(progress: Progress) -> Callable[[int, int], None]:
    return lambda at, of: progress(at, of, f"Preserving others, class picture {at + 1} of {of}")
