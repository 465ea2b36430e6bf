"""PhotoMaker V1 for SDXL: embeddings of several photos are merged with that of the class word; no face embedding."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from pipelines.diffusion.base import checkpoint_files, prompts
from pipelines.diffusion.base.family import TextEmbeddings
from pipelines.diffusion.base.lease import Lease
from pipelines.diffusion.base.loading import require_family
from pipelines.diffusion.base.source import BaseSource
from pipelines.diffusion.sampling import clip_vision, photomaker, pipeline_call
from pipelines.diffusion.sampling.pipeline_call import Conditioning, strength_of
from pipelines.diffusion.sampling.reference_faces import ReferenceEmbedder
from pipelines.engines import Engines
from pipelines.model_store.store import ModelStore
from pipelines.settings import Settings
from portrait.errors import UserError, broken_model
from portrait.generation.parameters import GenerationParameters
from portrait.types import Identity, Reference

TRIGGER = "img"
"""Trigger word after the class word in the prompt: `a photo of a man img`."""
PHOTOS = 4
"""Most photos; each takes one or two of the 75 tokens of a prompt."""
STRENGTH = 1.0
START_MERGE_STEP, LATEST_MERGE_STEP = 0.2, 30
"""Share of the steps before the photos are merged, and the latest step: those of the published demo."""
_TRIGGER = re.compile(rf" {TRIGGER}\b")
GROUPS = ("id_encoder", "lora_weights")


@dataclass(frozen=True, slots=True)
class Version:
    """PhotoMaker V1 or V2."""

    name: str
    model: str
    file: str
    space: str = ""
    """Space of the face embedding it takes; empty for none."""


V1 = Version("photomaker", "photomaker", "photomaker-v1.bin")
MODELS = (V1.model,)


class PhotoMaker:
    """Conditions on up to four photos, without training."""

    def __init__(self, version: Version, file: Path, embedder: ReferenceEmbedder | None) -> None:
        self._version, self._file, self._embedder = version, file, embedder

    def describe(self, person: Identity, description: str) -> str:
        """The description, which ends in the class word, and the trigger word."""
        return f"{description} {TRIGGER}"

    def check(self, person: Identity, base: BaseSource) -> None:
        """Raise what keeps the person from being drawn on this base; see `portrait.ports.IdentityAdapter`."""
        require_family(base, "sdxl", "PhotoMaker")
        checkpoint_files.load_checkpoint(self._file, GROUPS)
        self._photos(person)

    def prepare(self, lease: Lease, person: Identity, parameters: GenerationParameters) -> Conditioning:
        """Load its LoRA, and merge the photos into the text embeddings from a certain step on."""
        strength = strength_of(parameters.options, self._version.name, STRENGTH)
        prompt, negative = (lease.put_embeddings(text) for text in self._prompts(person, parameters))
        if strength > 0:
            lease.load_lora(self._version.name, lambda: self._load("lora_weights"), 1.0)
        words = lease.encode_prompts(_TRIGGER.sub("", prompt, count=1), negative)
        arguments = lease.family.prompt_arguments(*words)
        if strength == 0:
            return Conditioning(arguments, facts={self._version.name: {"strength": strength}})
        start = first_merged_step(parameters, strength)
        encoder = lease.get_or_load(f"id encoder {self._version.name}", lambda: self._encoder(lease))
        photos = self._photos(person)
        with torch.no_grad():
            merged = self._merge_photos(lease, encoder, photos, prompt)
        return Conditioning(
            arguments=arguments,
            callback=_merge_callback(merged, start, pipeline_call.uses_guidance(parameters)),
            tensors=("prompt_embeds", "add_text_embeds"),
            facts={self._version.name: {"strength": strength, "start": start, "photos": len(photos)}},
        )

    def _prompts(self, person: Identity, parameters: GenerationParameters) -> tuple[str, str]:
        """The prompt and its negative without weights; a prompt that does not name the person begins with them."""
        prompt = prompts.strip_weights(parameters.prompt)
        if not _TRIGGER.search(prompt):
            prompt = f"{person.class_word or 'person'} {TRIGGER}, {prompt}"
        return prompt, prompts.strip_weights(parameters.negative)

    def _photos(self, person: Identity) -> list[Reference]:
        if self._embedder is not None:
            return self._embedder.embed_references(person, PHOTOS)
        if not person.references:
            raise UserError("no_reference", "None of this person's photos shows their face well enough to draw from.")
        return list(person.references[:PHOTOS])

    def _load(self, group: str) -> dict[str, torch.Tensor]:
        return checkpoint_files.load_checkpoint(self._file, GROUPS)[group]

    def _encoder(self, lease: Lease) -> Any:
        try:
            network, weights = photomaker.build_id_encoder(self._load("id_encoder"))
        except KeyError as error:
            raise broken_model(self._file, f"it has no {error.args[0]}") from error
        loaded = checkpoint_files.load_state_dict(network, weights, self._file)
        return loaded.requires_grad_(False).eval().to(lease.dtype)

    def _merge_photos(
        self, lease: Lease, encoder: photomaker.PhotoMakerIdEncoder, photos: list[Reference], prompt: str
    ) -> TextEmbeddings:
        """The prompt's embeddings with the class word repeated and replaced by the photos."""
        hidden, pooled, indices = [], None, torch.zeros(0)
        times = len(photos) * encoder.tokens_per_photo
        for tokenizer_name, name in lease.family.text_encoders:
            ids, indices = _repeat_class_word(lease.components[tokenizer_name], prompt, times)
            output = lease.components[name](ids.to(lease.device), output_hidden_states=True)
            hidden.append(output.hidden_states[-2])
            pooled = output[0]
        heads = [clip_vision.crop_head(photo) for photo in photos]
        pixels = clip_vision.preprocess(heads).to(lease.device, lease.dtype)
        faces = None
        if self._version.space:
            vectors = [torch.from_numpy(photo.face.embeddings[self._version.space]) for photo in photos]
            faces = torch.stack(vectors).to(lease.device, lease.dtype)
        return TextEmbeddings(encoder(pixels, torch.cat(hidden, dim=-1), indices.to(lease.device), faces), pooled)


def first_merged_step(parameters: GenerationParameters, strength: float) -> int:
    """The last step without the photos, from 0: PhotoMaker's `start_merge_step`.

    By the strength where the options give no share: 1 as published, 2 as early as can be, towards 0 ever later.
    """
    share = parameters.options.start_merge_step
    if share is not None:
        return min(int(share * parameters.steps_done), LATEST_MERGE_STEP)
    later = (1 - START_MERGE_STEP) * (1 - strength) if strength < 1 else START_MERGE_STEP * (1 - strength)
    return int((START_MERGE_STEP + later) * parameters.steps_done)


def _repeat_class_word(tokenizer: Any, prompt: str, times: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Token ids of the prompt without the trigger, the class word's last token repeated, and the indices of those.

    Raises `UserError` (`bad_technique`) when the prompt is too long to hold the photos' tokens.
    """
    before, after = _TRIGGER.split(prompt, maxsplit=1)
    head = tokenizer(before, add_special_tokens=False).input_ids
    tail = tokenizer(after, add_special_tokens=False).input_ids
    ids = [tokenizer.bos_token_id, *head[:-1], *head[-1:] * times, *tail, tokenizer.eos_token_id]
    length, first = tokenizer.model_max_length, len(head)
    if first + times >= length:
        raise UserError("bad_technique", "The prompt is too long for PhotoMaker: name the person nearer to its start.")
    ids = [*ids[:length], *[tokenizer.pad_token_id] * (length - len(ids))]
    return torch.tensor([ids]), torch.arange(first, first + times)


def _merge_callback(embeddings: TextEmbeddings, start: int, guided: bool) -> Callable[[int, dict[str, Any]], None]:
    """A callback that writes the merged embeddings over the positive ones, in place: some pipelines do not read them back.

    Positive are all but the first of a guided batch; under perturbed attention there are two. Photos are merged into the
    first 77 tokens; those after them in a longer prompt stay.
    """

    def after(step: int, tensors: dict[str, Any]) -> None:
        if step != start or embeddings.pooled is None:
            return
        for name, merged in (("prompt_embeds", embeddings.hidden), ("add_text_embeds", embeddings.pooled)):
            tensors[name][int(guided) :, : merged.shape[1]] = merged.to(tensors[name])

    return after


def make(settings: Settings, models: ModelStore, engines: Engines) -> PhotoMaker:
    """PhotoMaker V1; the networks are loaded with the first portrait."""
    return PhotoMaker(V1, models.file(V1.model, V1.file), None)
