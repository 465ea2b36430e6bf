"""A base loaded once, and lent to one request at a time; whatever a request armed is cleared when it leaves, however it leaves.

Tokens of a face, a LoRA in the slot, adapters in the attention, new words: all of it is state on networks that are shared.
"""

import copy
import gc
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, TypeVar

import torch
from diffusers import MultiControlNetModel

from pipelines.diffusion.base import compiling, device, memory, prompts, textual_inversion
from pipelines.diffusion.base.family import TARGETS, TEXT_TARGETS, Words
from pipelines.diffusion.base.loading import Source, load
from pipelines.diffusion.base.lora_slot import NAME, People, Slot
from pipelines.diffusion.base.memory import Profile
from portrait.generation.parameters import Task

_Network = TypeVar("_Network")
_Call = Callable[..., Any]


class LoadedBase:
    """A base with all that was loaded for it: control networks, adapters, people."""

    def __init__(
        self, source: Source, dtype: torch.dtype, where: torch.device, profile: Profile = "full", compiled: bool = False
    ) -> None:
        """`compiled` networks are those of a base that is whole on the device: what moves a layer away breaks them."""
        self.compiled = compiled and profile in ("full", "sliced")
        self.source, self.family, self.dtype, self.device = source, source.family, dtype, where
        self.profile: Profile = profile
        self.pipeline: Any = load(source, dtype)
        self.pipeline.set_progress_bar_config(disable=True)
        for part in self.pipeline.components.values():
            if isinstance(part, torch.nn.Module):
                part.requires_grad_(False).eval()
        memory.place(self.pipeline, profile, where)
        if self.compiled:
            compiling.blocks(self.pipeline.unet)
        self.people = People(dtype, where)
        self.kept: dict[str, Any] = {}
        self.slots = {"unet": Slot(self.pipeline.unet, self.family.rank, TARGETS)}
        for _, encoder in self.family.encoders:
            self.slots[encoder] = Slot(self.pipeline.components[encoder], self.family.rank, TEXT_TARGETS)
        self._plain = dict(self.pipeline.unet.attn_processors)
        self._active: dict[str, float] | None = {}
        self._lock = threading.Lock()

    @contextmanager
    def lease(self) -> Iterator["Lease"]:
        """Lend it; a second request waits."""
        with self._lock:
            lease = Lease(self)
            try:
                yield lease
            finally:
                lease.clear()

    def activate(self, adapters: Mapping[str, float]) -> None:
        """Let just these LoRAs of the U-Net take part, by name and strength."""
        if self._active == adapters:
            return
        unet = self.pipeline.unet
        if adapters:
            unet.enable_lora()
            unet.set_adapters(list(adapters), list(adapters.values()))
        elif getattr(unet, "peft_config", None):
            unet.disable_lora()
        self._active = dict(adapters)

    def unsettle(self) -> None:
        """Say that a library has switched LoRAs on or off by itself, as loading one does."""
        self._active = None

    def plain(self) -> None:
        """Attention as it was when the base was loaded."""
        unet = self.pipeline.unet
        unet.encoder_hid_proj = None
        unet.config.encoder_hid_dim_type = None  # diffusers itself writes it so
        unet.set_attn_processor(dict(self._plain))

    def close(self) -> None:
        """Let it go, and give its memory back."""
        with self._lock:
            self.kept.clear()
            self.slots.clear()
            self.pipeline = None
            gc.collect()
            device.sweep(self.device)


class Lease:
    """What one request may do with a base."""

    def __init__(self, loaded: LoadedBase) -> None:
        self.loaded, self.family = loaded, loaded.family
        self.dtype, self.device = loaded.dtype, loaded.device
        self.parts: dict[str, Any] = dict(loaded.pipeline.components)
        """Tokenizers and encoders by component name, with the words that this request brought."""
        self.adapters: dict[str, float] = {}
        self._undo = ExitStack()

    def clear(self) -> None:
        """Undo all of it, the last first; goes on when something cannot be undone, and raises that in the end."""
        with self._undo:
            self._undo.callback(self.loaded.activate, {})
            if self.loaded.profile in ("offload", "sequential"):
                self._undo.callback(self.loaded.pipeline.maybe_free_model_hooks)

    def undo(self, call: _Call, *given: object) -> None:
        """Have something undone when the request leaves."""
        self._undo.callback(call, *given)

    def keep(self, name: str, make: Callable[[], _Network]) -> _Network:
        """Something that stays with the base for further requests."""
        if name not in self.loaded.kept:
            made = self.loaded.kept[name] = make()
            if self.loaded.compiled and isinstance(made, torch.nn.Module):
                compiling.blocks(made)
        return self.loaded.kept[name]

    def wear(self, file: Path, strength: float) -> None:
        """Put a person's LoRA into the slots."""
        for part, factors in self.loaded.people.get(file).items():
            slot = self.loaded.slots[part]
            self.undo(slot.clear)
            slot.wear(factors, strength)
            self.loaded.unsettle()
        self.adapters[NAME] = 1.0

    def add_lora(self, name: str, given: Any, strength: float) -> None:
        """Use a LoRA that belongs to an adapter or a style; `given` is a path or weights, asked for once."""

        def loaded() -> bool:
            self.loaded.pipeline.load_lora_weights(given() if callable(given) else given, adapter_name=name)
            self.loaded.unsettle()
            return True

        self.keep(f"lora {name}", loaded)
        self.adapters[name] = strength

    def learn(self, file: Path, trigger: str) -> None:
        """Know a word that textual inversion has given a meaning."""
        rows = textual_inversion.read(file, self.family)
        for tokenizer_name, encoder_name in self.family.encoders:
            tokenizer, encoder = copy.deepcopy(self.parts[tokenizer_name]), self.parts[encoder_name]
            tokenizer.add_tokens([textual_inversion.token_of(trigger)])
            self.parts[tokenizer_name] = tokenizer
            table = encoder.get_input_embeddings()
            self.undo(encoder.set_input_embeddings, table)
            number = tokenizer.convert_tokens_to_ids(textual_inversion.token_of(trigger))
            encoder.set_input_embeddings(
                textual_inversion.LearnedToken(table, number, rows[encoder_name]).to(self.device)
            )

    def attend(self, name: str, weights: Callable[[], Any], scale: float) -> Any:
        """Let the attention look at image tokens too (IP-Adapter); gives the layer that makes them. Loaded once.

        Afterwards every call needs `ip_adapter_image_embeds`.
        """
        unet = self.loaded.pipeline.unet
        self.undo(self.loaded.plain)
        attention, projection = self.keep(f"attention {name}", lambda: self._adapted(weights()))
        unet.encoder_hid_proj = projection
        unet.config.encoder_hid_dim_type = "ip_image_proj"
        unet.set_attn_processor(dict(attention))
        self.loaded.pipeline.set_ip_adapter_scale(scale)
        layer = projection.image_projection_layers[0]
        hook = unet.register_forward_pre_hook(_halving(layer), with_kwargs=True)
        self.undo(hook.remove)
        return layer

    def _adapted(self, weights: Any) -> tuple[dict[str, Any], Any]:
        pipeline = self.loaded.pipeline
        pipeline.load_ip_adapter(weights, subfolder="", weight_name="", image_encoder_folder=None)
        self.loaded.unsettle()
        return dict(pipeline.unet.attn_processors), pipeline.unet.encoder_hid_proj

    def encode(self, prompt: str, negative: str, skip: int = 0) -> tuple[Words, Words]:
        """What the text encoders make of both."""
        said, unsaid = prompts.encode(self.family, self.parts, prompt, negative, skip)
        return said.to(self.device, self.dtype), unsaid.to(self.device, self.dtype)

    def pipe(self, networks: list[Any], perturbed: bool, task: Task = "text") -> Any:
        """The stock pipeline for a call, of the base's own parts; `networks` are control networks."""
        if not networks and not perturbed and task == "text":
            return self.loaded.pipeline
        if perturbed:
            self.undo(self.loaded.plain)  # what perturbs stays in the attention when a call is broken off
        kind = self.family.pipelines[task, bool(networks), perturbed]
        parts = {name: part for name, part in self.loaded.pipeline.components.items() if name != "controlnet"}
        if "safety_checker" in parts:
            parts["requires_safety_checker"] = False
        if networks:
            parts["controlnet"] = networks[0] if len(networks) == 1 else MultiControlNetModel(networks)
        made = kind(**parts)
        made.set_progress_bar_config(disable=True)
        if self.loaded.profile in ("offload", "sequential"):
            memory.place(made, self.loaded.profile, self.device)
            self.undo(made.remove_all_hooks)
        return made


def following(told: torch.Tensor, batch: int) -> torch.Tensor:
    """What speaks against and for a person, for a batch of one picture: against, for, and for once more where attention is
    perturbed; what speaks for the person alone when guidance has ended."""
    more = batch - told.shape[0]
    return told[-batch:] if more <= 0 else torch.cat([told, *[told[-1:]] * more])


def _halving(layer: Any) -> _Call:
    """Image tokens follow the batch when guidance ends early: what speaks for the person stays."""

    def before(unet: Any, given: tuple[Any, ...], named: dict[str, Any]) -> tuple[tuple[Any, ...], dict[str, Any]]:
        sample = given[0] if given else named["sample"]
        batch = int(sample.shape[0])
        told = dict(named.get("added_cond_kwargs") or {})
        if "image_embeds" in told:
            told["image_embeds"] = [each[-batch:] for each in told["image_embeds"]]
            named = {**named, "added_cond_kwargs": told}
        if getattr(layer, "clip_embeds", None) is not None:
            layer.clip_embeds = following(layer.clip_embeds, batch)
        return given, named

    return before
