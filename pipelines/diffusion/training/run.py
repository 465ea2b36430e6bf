"""TrainingRun: a training job with its base, plan and settings, and the dataset, learner and generator built for it."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch

from pipelines.diffusion.base import device, lora, textual_inversion
from pipelines.diffusion.base.family import TEXT_LORA_TARGETS, Family
from pipelines.diffusion.base.loading import load_components
from pipelines.diffusion.base.source import BaseSource
from pipelines.diffusion.base.textual_inversion import TokenEmbedding
from pipelines.diffusion.training import class_images, dataset, gradient_checkpointing, sample_images, text_embeddings
from pipelines.diffusion.training.dataset import Sample
from pipelines.diffusion.training.sample_images import SampleGenerator
from pipelines.diffusion.training.step import Dataset, Learner, make_optimizer
from pipelines.diffusion.training.text_embeddings import TextEmbedder
from pipelines.diffusion.training.validation import Validator
from pipelines.settings import TrainSettings
from portrait.arrays import Image
from portrait.ports import Progress
from portrait.training import TrainingJob, TrainingPlan
from portrait.types import Identity, TrainingSet


@dataclass(frozen=True, slots=True, eq=False)
class TrainingRun:
    """A training job with everything that was decided about it."""

    job: TrainingJob
    base: BaseSource
    base_hash: str
    plan: TrainingPlan
    settings: TrainSettings
    cache: Path
    """The folder in which class images are cached."""
    progress: Progress

    @property
    def device(self) -> torch.device:
        """The device it trains on."""
        return torch.device(self.plan.device)

    @property
    def dtype(self) -> torch.dtype:
        """The dtype that frozen networks compute in."""
        return getattr(torch, self.plan.precision)

    @property
    def trigger(self) -> str:
        """The word that will stand for the person: the training set's, or the placeholder token of textual inversion."""
        given = self.job.training.trigger
        return textual_inversion.placeholder_token(given) if self.settings.token else given

    @property
    def subject(self) -> str:
        """Trigger and class word, as prompts name the person."""
        return f"{self.trigger} {self.job.training.class_word}"

    def captions(self) -> list[str]:
        """The captions of the crops, with this run's trigger."""
        training = self.job.training
        return [crop.caption.replace(training.trigger, self.trigger) for crop in training.crops]

    def run_id(self) -> str:
        """SHA-256 of base, pictures, settings and the LoRA it continues from: only checkpoints of the same run are resumed."""
        start = self.job.continue_from
        lora_hash = hashlib.sha256(start.lora.read_bytes()).hexdigest() if start is not None and start.lora else ""
        parts = [self.base_hash, training_set_hash(self.job.training), asdict(self.settings), lora_hash]
        return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def training_set_hash(training: TrainingSet) -> str:
    """SHA-256 of the crops' pixels and captions."""
    digest = hashlib.sha256()
    for crop in training.crops:
        digest.update(repr((crop.image.shape, crop.caption)).encode())
        digest.update(crop.image.tobytes())
    return digest.hexdigest()


def build_dataset(run: TrainingRun) -> Dataset:
    """Encode the crops and the class images; the VAE is loaded for that and freed afterwards."""
    settings, plan, base = run.settings, run.plan, run.base
    class_pictures = _class_images(run)
    vae = load_components(base, torch.float32, ["vae"])["vae"].to(run.device)
    form = base.family.latents(vae)
    crops = run.job.training.crops
    crops_and_captions = list(zip([crop.image for crop in crops], run.captions(), strict=True))

    def encode(pictures: Sequence[tuple[Image, str]], flips: bool, batch: int, doing: str) -> list[Sample]:
        sizes = dataset.bucket_sizes([image for image, _ in pictures], plan.side, base.size_multiple, batch)
        return dataset.encode_samples(
            vae, form, pictures, sizes, flips, lambda at, of: run.progress(at, of, f"Encoding {doing}")
        )

    built = Dataset(
        encode(crops_and_captions, settings.flips, plan.batch, "photos"),
        encode(class_pictures, False, 1, "class pictures"),
        form,
        plan.batch,
        settings.seed,
    )
    vae = None
    device.release_memory(run.device)
    return built


def build_learner(run: TrainingRun, validator: Validator | None) -> Learner:
    """The denoiser with its LoRA, and the text encoders only where they are trained; starts from the job's earlier identity."""
    base, settings = run.base, run.settings
    text = _text_conditioning(run, validator)
    family = base.family
    denoiser = load_components(base, run.dtype, [family.denoiser])[family.denoiser]
    if settings.lora:
        lora.add_adapter(denoiser, lora_rank(run), family.lora_targets(denoiser), settings.seed)
    denoiser.to(run.device)
    gradient_checkpointing.enable(denoiser, run.plan.checkpointing, family.stored_products)
    encoders = text.encoders if settings.text else {}
    networks = ({family.denoiser: denoiser} if settings.lora else {}) | encoders
    learner = Learner(
        family=family,
        denoiser=denoiser,
        encoders=encoders,
        token_embeddings=text.token_embeddings,
        text_embedder=text.embedder,
        loss_function=family.loss(base.config("scheduler"), settings.min_snr),
        settings=settings,
        steps=run.plan.steps,
        device=run.device,
        dtype=run.dtype,
        optimizer=make_optimizer(networks, text.token_embeddings, settings),
        scaler=torch.amp.GradScaler(run.device.type, enabled=run.dtype == torch.float16),
    )
    if run.job.continue_from is not None:
        learner.load_weights(identity_weights(run.job.continue_from, base.family))
    return learner


def lora_rank(run: TrainingRun) -> int:
    """The rank of the LoRA: of the identity it continues from, else of the settings, else of the family."""
    start = run.job.continue_from
    if start is not None and start.lora is not None:
        return lora.rank_of(lora.load_weights(start.lora))
    return run.settings.rank or run.base.family.rank


def build_generator(run: TrainingRun, denoiser: Any, embedder: TextEmbedder) -> SampleGenerator:
    """A sample generator with this denoiser, as it is now; the VAE is loaded for it and freed with it."""
    components = load_components(run.base, run.dtype, ["vae", "scheduler"])
    components["vae"].to(run.device)
    components[run.base.family.denoiser] = denoiser
    return sample_images.make_generator(run.base, components, embedder, run.device, run.plan.side)


@dataclass(frozen=True, slots=True, eq=False)
class _TextConditioning:
    """What turns captions into embeddings, and what of it is trained."""

    embedder: TextEmbedder
    encoders: dict[str, Any]
    token_embeddings: dict[str, TokenEmbedding]


def _text_components(run: TrainingRun) -> dict[str, Any]:
    """Tokenizers and text encoders, on the device; of the denoiser the configuration, which says how wide its words are."""
    base = run.base
    components = load_components(base, run.dtype, [name for pair in base.text_encoders for name in pair])
    for _, name in base.text_encoders:
        components[name].to(run.device)
    return {**components, base.family.denoiser: SimpleNamespace(config=base.denoiser_config)}


def _text_conditioning(run: TrainingRun, validator: Validator | None) -> _TextConditioning:
    """All captions encoded beforehand, their encoders freed; or encoders that are trained."""
    base, settings, training = run.base, run.settings, run.job.training
    components = _text_components(run)
    encoders = {name: components[name] for _, name in base.text_encoders}
    if not (settings.text or settings.token):
        own = run.captions()
        mirrored = [dataset.mirror_caption(caption) for caption in own] if settings.flips else []
        captions = ["", *own, *mirrored, *class_images.captions(settings.prior, training.class_word)]
        captions += validator.captions() if validator else []
        cached = text_embeddings.cache_text_embeddings(base.family, components, captions)
        encoders.clear()
        components.clear()
        device.release_memory(run.device)
        return _TextConditioning(cached, {}, {})
    rows = (
        textual_inversion.add_token(base.family, components, run.trigger, training.class_word) if settings.token else {}
    )
    for number, name in enumerate(sorted(encoders)):
        encoders[name].to(run.device)
        if settings.text:
            lora.add_adapter(encoders[name], lora_rank(run), TEXT_LORA_TARGETS, settings.seed + 1 + number)
    return _TextConditioning(partial(base.family.encode, components), encoders, rows)


def identity_weights(identity: Identity, family: Family) -> lora.Weights:
    """The weights of an identity as `Learner.get_weights` gives them; raises `UserError` (`broken_identity`, `wrong_base`)."""
    weights = {} if identity.lora is None else lora.load_weights(identity.lora)
    if identity.tokens is not None:
        rows = textual_inversion.load_embeddings(identity.tokens, family)
        weights |= {f"token.{name}": row for name, row in rows.items()}
    return weights


def _class_images(run: TrainingRun) -> list[tuple[Image, str]]:
    """Class images, generated now where they are missing; empty without prior preservation."""
    prior, training, plan = run.settings.prior, run.job.training, run.plan
    if not prior.weight or not prior.images:
        return []
    folder = class_images.cache_folder(run.cache, run.base_hash, prior, training.class_word, plan.side)
    if class_images.missing_numbers(folder, prior):
        class_images.generate(folder, _base_generator(run), prior, training.class_word, run.progress)
        device.release_memory(run.device)
    return class_images.load(folder, prior, training.class_word)


def _base_generator(run: TrainingRun) -> SampleGenerator:
    """A sample generator with the untrained base."""
    base, settings = run.base, run.settings
    components = _text_components(run)
    texts = class_images.captions(settings.prior, run.job.training.class_word)
    cached = text_embeddings.cache_text_embeddings(base.family, components, [class_images.NEGATIVE, *texts])
    denoiser = load_components(base, run.dtype, [base.family.denoiser])[base.family.denoiser]
    return build_generator(run, denoiser.to(run.device), cached)
