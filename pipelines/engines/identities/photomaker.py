"""PhotoMaker for SDXL: several photos merged with the word that says what the person is; V1, which reads no face embedding."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from pipelines.diffusion.base import prompts
from pipelines.diffusion.base.family import Words
from pipelines.diffusion.base.lease import Lease
from pipelines.diffusion.base.loading import Source
from pipelines.diffusion.sampling import adapters, clip_vision, photomaker, pipeline_call
from pipelines.diffusion.sampling.pipeline_call import Conditions, strength
from pipelines.engines import Engines
from pipelines.model_store.store import Models
from pipelines.settings import Settings
from portrait.errors import UserError, broken_model
from portrait.generation.parameters import Drawing
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

    def __init__(self, version: Version, file: Path, reader: adapters.Reader | None) -> None:
        self._version, self._file, self._reader = version, file, reader

    def words(self, person: Identity, words: str) -> str:
        """The class word and the trigger."""
        return f"{words} {TRIGGER}"

    def check(self, person: Identity, base: Source) -> None:
        """See `portrait.ports.Identifier`."""
        adapters.only(base, "sdxl", "PhotoMaker")
        adapters.tensors(self._file, GROUPS)
        self._photos(person)

    def prepare(self, lease: Lease, person: Identity, drawing: Drawing) -> Conditions:
        """Wear its LoRA, and merge the photos into the words from a certain step on."""
        share = strength(drawing.technique, self._version.name, START)
        start = min(int(share * drawing.done), LATEST)
        lease.add_lora(self._version.name, lambda: adapters.tensors(self._file, GROUPS)["lora_weights"], 1.0)
        encoder = lease.keep(f"id encoder {self._version.name}", lambda: self._encoder(lease))
        photos = self._photos(person)
        with torch.no_grad():
            merged = self._merged(lease, encoder, photos, prompts.plain(drawing.prompt))
            text = _MARK.sub("", prompts.plain(drawing.prompt), count=1)
            said, unsaid = lease.encode(text, prompts.plain(drawing.negative))
        return Conditions(
            arguments=lease.family.prompt(said, unsaid),
            callback=_merge(merged, start, pipeline_call.is_guided(drawing)),
            tensors=("prompt_embeds", "add_text_embeds"),
            facts={self._version.name: {"start": start, "photos": len(photos)}},
        )

    def _photos(self, person: Identity) -> list[Reference]:
        if self._reader is not None:
            return self._reader.references(person, PHOTOS)
        if not person.references:
            raise UserError("no_reference", "None of this person's photos shows their face well enough to draw from.")
        return list(person.references[:PHOTOS])

    def _encoder(self, lease: Lease) -> Any:
        try:
            network, weights = photomaker.built(adapters.tensors(self._file, GROUPS)["id_encoder"])
        except KeyError as error:
            raise broken_model(self._file, f"it has no {error.args[0]}") from error
        made = adapters.filled(network, weights, self._file)
        return made.requires_grad_(False).eval().to(lease.device, lease.dtype)

    def _merged(self, lease: Lease, encoder: photomaker.Merger, photos: list[Reference], prompt: str) -> Words:
        """The prompt's words with the class word repeated and replaced by the photos."""
        hidden, pooled, places = [], None, torch.zeros(0)
        for tokenizer_name, name in lease.family.encoders:
            numbers, places = _repeated(lease.parts[tokenizer_name], prompt, len(photos) * encoder.each)
            said = lease.parts[name](numbers.to(lease.device), output_hidden_states=True)
            hidden.append(said.hidden_states[-2])
            pooled = said[0]
        pixels = clip_vision.pixels([clip_vision.head(photo) for photo in photos]).to(lease.device, lease.dtype)
        faces = None
        if self._version.space:
            told = [torch.from_numpy(photo.face.embeddings[self._version.space]) for photo in photos]
            faces = torch.stack(told).to(lease.device, lease.dtype)
        return Words(encoder(pixels, torch.cat(hidden, dim=-1), places.to(lease.device), faces), pooled)


def _repeated(tokenizer: Any, prompt: str, times: int) -> tuple[torch.Tensor, torch.Tensor]:
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


def _merge(words: Words, start: int, guided: bool) -> Callable[[int, dict[str, Any]], None]:
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


def make(settings: Settings, models: Models, engines: Engines) -> PhotoMaker:
    """The networks are loaded with the first portrait."""
    return PhotoMaker(V1, models.file(V1.model, V1.file), None)


def status(settings: Settings, models: Models) -> list[str]:
    """What is still missing."""
    return models.missing(V1.model)
