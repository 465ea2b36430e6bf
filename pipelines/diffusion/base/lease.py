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
from pipelines.diffusion.base.family import LORA_TARGETS, TEXT_LORA_TARGETS, TextEmbeddings
from pipelines.diffusion.base.loading import BaseSource, load_pipeline
from pipelines.diffusion.base.lora_slot import ADAPTER, AdapterCache, LoraSlot
from pipelines.diffusion.base.memory import MemoryProfile
from portrait.generation.parameters import Task

_Network = TypeVar("_Network")
_Call = Callable[..., Any]


class LoadedBase:
    """A base with all that was loaded for it: control networks, adapters, people."""

    def __init__(
        self,
        source: BaseSource,
        dtype: torch.dtype,
        where: torch.device,
        profile: MemoryProfile = "full",
        compiled: bool = False,
    ) -> None:
        """`compiled` networks are those of a base that is whole on the device: what moves a layer away breaks them."""
        self.compiled = compiled and profile in ("full", "sliced")
        self.source, self.family, self.dtype, self.device = source, source.family, dtype, where
        self.profile: MemoryProfile = profile
        self.pipeline: Any = load_pipeline(source, dtype)
        self.pipeline.set_progress_bar_config(disable=True)
        for part in self.pipeline.components.values():
            if isinstance(part, torch.nn.Module):
                part.requires_grad_(False).eval()
        memory.place_pipeline(self.pipeline, profile, where)
        if self.compiled:
            compiling.compile_blocks(self.pipeline.unet)
        self.adapter_cache = AdapterCache(dtype, where)
        self.networks: dict[str, Any] = {}
        self.lora_slots = {"unet": LoraSlot(self.pipeline.unet, self.family.rank, LORA_TARGETS)}
        for _, encoder in self.family.text_encoders:
            self.lora_slots[encoder] = LoraSlot(self.pipeline.components[encoder], self.family.rank, TEXT_LORA_TARGETS)
        self._attention_processors = dict(self.pipeline.unet.attn_processors)
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
                lease.release()

    def set_active_loras(self, adapters: Mapping[str, float]) -> None:
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

    def forget_active_loras(self) -> None:
        """Say that a library has switched LoRAs on or off by itself, as loading one does."""
        self._active = None

    def reset_attention(self) -> None:
        """Attention as it was when the base was loaded."""
        unet = self.pipeline.unet
        unet.encoder_hid_proj = None
        unet.config.encoder_hid_dim_type = None  # diffusers itself writes it so
        unet.set_attn_processor(dict(self._attention_processors))

    def close(self) -> None:
        """Let it go, and give its memory back."""
        with self._lock:
            self.networks.clear()
            self.lora_slots.clear()
            self.pipeline = None
            gc.collect()
            device.release_memory(self.device)


class Lease:
    """What one request may do with a base."""

    def __init__(self, loaded: LoadedBase) -> None:
        self.loaded, self.family = loaded, loaded.family
        self.dtype, self.device = loaded.dtype, loaded.device
        self.components: dict[str, Any] = dict(loaded.pipeline.components)
        """Tokenizers and encoders by component name, with the words that this request brought."""
        self.active_loras: dict[str, float] = {}
        self._cleanups = ExitStack()

    def release(self) -> None:
        """Undo all of it, the last first; goes on when something cannot be undone, and raises that in the end."""
        with self._cleanups:
            self._cleanups.callback(self.loaded.set_active_loras, {})
            if self.loaded.profile in ("offload", "sequential"):
                self._cleanups.callback(self.loaded.pipeline.maybe_free_model_hooks)

    def add_cleanup(self, call: _Call, *given: object) -> None:
        """Have something undone when the request leaves."""
        self._cleanups.callback(call, *given)

    def get_or_load(self, name: str, make: Callable[[], _Network]) -> _Network:
        """Something that stays with the base for further requests."""
        if name not in self.loaded.networks:
            made = self.loaded.networks[name] = make()
            if self.loaded.compiled and isinstance(made, torch.nn.Module):
                compiling.compile_blocks(made)
        return self.loaded.networks[name]

    def load_person_lora(self, file: Path, strength: float) -> None:
        """Put a person's LoRA into the slots."""
        for part, factors in self.loaded.adapter_cache.get(file).items():
            slot = self.loaded.lora_slots[part]
            self.add_cleanup(slot.clear)
            slot.load(factors, strength)
            self.loaded.forget_active_loras()
        self.active_loras[ADAPTER] = 1.0

    def load_lora(self, name: str, given: Any, strength: float) -> None:
        """Use a LoRA that belongs to an adapter or a style; `given` is a path or weights, asked for once."""

        def loaded() -> bool:
            self.loaded.pipeline.load_lora_weights(given() if callable(given) else given, adapter_name=name)
            self.loaded.forget_active_loras()
            return True

        self.get_or_load(f"lora {name}", loaded)
        self.active_loras[name] = strength

    def load_textual_inversion(self, file: Path, trigger: str) -> None:
        """Know a word that textual inversion has given a meaning."""
        rows = textual_inversion.load_embeddings(file, self.family)
        for tokenizer_name, encoder_name in self.family.text_encoders:
            tokenizer, encoder = copy.deepcopy(self.components[tokenizer_name]), self.components[encoder_name]
            tokenizer.add_tokens([textual_inversion.placeholder_token(trigger)])
            self.components[tokenizer_name] = tokenizer
            table = encoder.get_input_embeddings()
            self.add_cleanup(encoder.set_input_embeddings, table)
            number = tokenizer.convert_tokens_to_ids(textual_inversion.placeholder_token(trigger))
            encoder.set_input_embeddings(
                textual_inversion.TokenEmbedding(table, number, rows[encoder_name]).to(self.device)
            )

    def load_ip_adapter(self, name: str, weights: Callable[[], Any], scale: float) -> Any:
        """Let the attention look at image tokens too (IP-Adapter); gives the layer that makes them. Loaded once.

        Afterwards every call needs `ip_adapter_image_embeds`.
        """
        unet = self.loaded.pipeline.unet
        self.add_cleanup(self.loaded.reset_attention)
        attention, projection = self.get_or_load(f"attention {name}", lambda: self._adapted(weights()))
        unet.encoder_hid_proj = projection
        unet.config.encoder_hid_dim_type = "ip_image_proj"
        unet.set_attn_processor(dict(attention))
        self.loaded.pipeline.set_ip_adapter_scale(scale)
        layer = projection.image_projection_layers[0]
        hook = unet.register_forward_pre_hook(_match_image_embeds(layer), with_kwargs=True)
        self.add_cleanup(hook.remove)
        return layer

    def _adapted(self, weights: Any) -> tuple[dict[str, Any], Any]:
        pipeline = self.loaded.pipeline
        pipeline.load_ip_adapter(weights, subfolder="", weight_name="", image_encoder_folder=None)
        self.loaded.forget_active_loras()
        return dict(pipeline.unet.attn_processors), pipeline.unet.encoder_hid_proj

    def encode_prompts(self, prompt: str, negative: str, skip: int = 0) -> tuple[TextEmbeddings, TextEmbeddings]:
        """What the text encoders make of both."""
        said, unsaid = prompts.encode_prompts(self.family, self.components, prompt, negative, skip)
        return said.to(self.device, self.dtype), unsaid.to(self.device, self.dtype)

    def get_pipeline(self, networks: list[Any], perturbed: bool, task: Task = "text") -> Any:
        """The stock pipeline for a call, of the base's own parts; `networks` are control networks."""
        if not networks and not perturbed and task == "text":
            return self.loaded.pipeline
        if perturbed:
            self.add_cleanup(
                self.loaded.reset_attention
            )  # what perturbs stays in the attention when a call is broken off
        kind = self.family.pipelines[task, bool(networks), perturbed]
        parts = {name: part for name, part in self.loaded.pipeline.components.items() if name != "controlnet"}
        if "safety_checker" in parts:
            parts["requires_safety_checker"] = False
        if networks:
            parts["controlnet"] = networks[0] if len(networks) == 1 else MultiControlNetModel(networks)
        made = kind(**parts)
        made.set_progress_bar_config(disable=True)
        if self.loaded.profile in ("offload", "sequential"):
            memory.place_pipeline(made, self.loaded.profile, self.device)
            self.add_cleanup(made.remove_all_hooks)
        return made


def match_batch(told: torch.Tensor, batch: int) -> torch.Tensor:
    """What speaks against and for a person, for a batch of one picture: against, for, and for once more where attention is
    perturbed; what speaks for the person alone when guidance has ended."""
    more = batch - told.shape[0]
    return told[-batch:] if more <= 0 else torch.cat([told, *[told[-1:]] * more])


def _match_image_embeds(layer: Any) -> _Call:
    """Image tokens follow the batch when guidance ends early: what speaks for the person stays."""

    def before(unet: Any, given: tuple[Any, ...], named: dict[str, Any]) -> tuple[tuple[Any, ...], dict[str, Any]]:
        sample = given[0] if given else named["sample"]
        batch = int(sample.shape[0])
        told = dict(named.get("added_cond_kwargs") or {})
        if "image_embeds" in told:
            told["image_embeds"] = [each[-batch:] for each in told["image_embeds"]]
            named = {**named, "added_cond_kwargs": told}
        if getattr(layer, "clip_embeds", None) is not None:
            layer.clip_embeds = match_batch(layer.clip_embeds, batch)
        return given, named

    return before
