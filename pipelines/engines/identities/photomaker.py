"""PhotoMaker for SDXL: several photos merged with the word that says what the person is; V1, which reads no face embedding."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from pipelines.diffusion.base import checkpoint_files, prompts
from pipelines.diffusion.base.family import TextEmbeddings
from pipelines.diffusion.base.lease import Lease
from pipelines.diffusion.base.loading import BaseSource, require_family
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
"""Follows the class word in the prompt: `a photo of a man img`."""
PHOTOS = 4
"""At most; each takes one or two of the 75 tokens of a prompt."""
START, LATEST = 0.2, 30
"""Share of the steps before the photos are merged, and the step at the latest: the published demo's."""
_MARK = re.compile(rf" {TRIGGER}\b")
GROUPS = ("id_encoder", "lora_weights")


@dataclass(frozen=True, slots=True)
class Version:
    """What sets V1 and V2 apart."""

    name: str
    model: str
    file: str
    space: str = ""
    """Of the face embedding it reads; empty when it reads none."""


V1 = Version("photomaker", "photomaker", "photomaker-v1.bin")


class PhotoMaker:
    """Learns a person from a few photos at once, without training."""

    def __init__(self, version: Version, file: Path, reader: ReferenceEmbedder | None) -> None:
        self._version, self._file, self._embedder = version, file, reader

    def describe(self, person: Identity, description: str) -> str:
        """The class word and the trigger."""
        return f"{description} {TRIGGER}"

    def check(self, person: Identity, base: BaseSource) -> None:
        """See `portrait.ports.Identifier`."""
        require_family(base, "sdxl", "PhotoMaker")
        checkpoint_files.load_checkpoint(self._file, GROUPS)
        self._photos(person)

    def prepare(self, lease: Lease, person: Identity, parameters: GenerationParameters) -> Conditioning:
        """Wear its LoRA, and merge the photos into the words from a certain step on."""
        share = strength_of(parameters.options, self._version.name, START)
        start = min(int(share * parameters.steps_done), LATEST)
        lease.load_lora(
            self._version.name, lambda: checkpoint_files.load_checkpoint(self._file, GROUPS)["lora_weights"], 1.0
        )
        encoder = lease.get_or_load(f"id encoder {self._version.name}", lambda: self._encoder(lease))
        photos = self._photos(person)
        with torch.no_grad():
            merged = self._merge_photos(lease, encoder, photos, prompts.strip_weights(parameters.prompt))
            text = _MARK.sub("", prompts.strip_weights(parameters.prompt), count=1)
            said, unsaid = lease.encode_prompts(text, prompts.strip_weights(parameters.negative))
        return Conditioning(
            arguments=lease.family.prompt_arguments(said, unsaid),
            callback=_merge_callback(merged, start, pipeline_call.uses_guidance(parameters)),
            tensors=("prompt_embeds", "add_text_embeds"),
            facts={self._version.name: {"start": start, "photos": len(photos)}},
        )

    def _photos(self, person: Identity) -> list[Reference]:
        if self._embedder is not None:
            return self._embedder.embed_references(person, PHOTOS)
        if not person.references:
            raise UserError("no_reference", "None of this person's photos shows their face well enough to draw from.")
        return list(person.references[:PHOTOS])

    def _encoder(self, lease: Lease) -> Any:
        try:
            network, weights = photomaker.build_id_encoder(
                checkpoint_files.load_checkpoint(self._file, GROUPS)["id_encoder"]
            )
        except KeyError as error:
            raise broken_model(self._file, f"it has no {error.args[0]}") from error
        made = checkpoint_files.load_state_dict(network, weights, self._file)
        return made.requires_grad_(False).eval().to(lease.device, lease.dtype)

    def _merge_photos(
        self, lease: Lease, encoder: photomaker.PhotoMerger, photos: list[Reference], prompt: str
    ) -> TextEmbeddings:
        """The prompt's words with the class word repeated and replaced by the photos."""
        hidden, pooled, places = [], None, torch.zeros(0)
        for tokenizer_name, name in lease.family.text_encoders:
            numbers, places = _repeat_class_word(
                lease.components[tokenizer_name], prompt, len(photos) * encoder.tokens_per_photo
            )
            said = lease.components[name](numbers.to(lease.device), output_hidden_states=True)
            hidden.append(said.hidden_states[-2])
            pooled = said[0]
        pixels = clip_vision.preprocess([clip_vision.crop_head(photo) for photo in photos]).to(
            lease.device, lease.dtype
        )
        faces = None
        if self._version.space:
            told = [torch.from_numpy(photo.face.embeddings[self._version.space]) for photo in photos]
            faces = torch.stack(told).to(lease.device, lease.dtype)
        return TextEmbeddings(encoder(pixels, torch.cat(hidden, dim=-1), places.to(lease.device), faces), pooled)


def _repeat_class_word(tokenizer: Any, prompt: str, times: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Numbers of the prompt's tokens without the trigger, the class word's last token repeated, and where those lie.

    Raises `UserError` (`bad_technique`) when the prompt is too long for the photos to find room.
    """
    before, after = _MARK.split(prompt, maxsplit=1)
    head = tokenizer(before, add_special_tokens=False).input_ids
    tail = tokenizer(after, add_special_tokens=False).input_ids
    numbers = [tokenizer.bos_token_id, *head[:-1], *head[-1:] * times, *tail, tokenizer.eos_token_id]
    most, first = tokenizer.model_max_length, len(head)
    if first + times >= most:
        raise UserError("bad_technique", "The prompt is too long for PhotoMaker: name the person nearer to its start.")
    numbers = [*numbers[:most], *[tokenizer.pad_token_id] * (most - len(numbers))]
    return torch.tensor([numbers]), torch.arange(first, first + times)


def _merge_callback(words: TextEmbeddings, start: int, guided: bool) -> Callable[[int, dict[str, Any]], None]:
    """Write the merged words over all that speaks for the person, in place: some stock pipelines do not read them back.

    That is all but the first where there is guidance, and twice the same where attention is perturbed. Photos are merged
    into the first 77 tokens; what a longer prompt says after them stays.
    """

    def after(step: int, tensors: dict[str, Any]) -> None:
        if step != start or words.pooled is None:
            return
        for name, merged in (("prompt_embeds", words.hidden), ("add_text_embeds", words.pooled)):
            tensors[name][int(guided) :, : merged.shape[1]] = merged.to(tensors[name])

    return after


def make(settings: Settings, models: ModelStore, engines: Engines) -> PhotoMaker:
    """The networks are loaded with the first portrait."""
    return PhotoMaker(V1, models.file(V1.model, V1.file), None)


def status(settings: Settings, models: ModelStore) -> list[str]:
    """What is still missing."""
    return models.missing(V1.model)
