"""LoadedBase and Lease: a base that is loaded once and used by one request at a time, which leaves no state behind.

Face embeddings, a LoRA in the slot, IP-Adapters in the attention, new tokens: all of it is state on shared networks. A lease
undoes what its request did to them when the request ends, with or without an error.
"""

import inspect
import logging
import threading
import time
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import torch
from diffusers.loaders import lora_base
from diffusers.models.embeddings import MultiIPAdapterImageProjection

from pipelines.diffusion.base import checkpoint_files, device, lora, memory, prompts, quantised, textual_inversion
from pipelines.diffusion.base.family import TEXT_LORA_TARGETS, TextEmbeddings
from pipelines.diffusion.base.loading import load_pipeline, own_config
from pipelines.diffusion.base.loras import blocks
from pipelines.diffusion.base.loras.layers import LoraFactors, layers_of
from pipelines.diffusion.base.loras.reader import LoraError
from pipelines.diffusion.base.loras.slot import PERSON_SLOT, WHOLE, AdapterCache, LoraSlot
from pipelines.diffusion.base.memory import MemoryProfile
from pipelines.diffusion.base.parts.ip_attention import join_attention, match_image_embeds
from pipelines.diffusion.base.source import BaseSource
from portrait.generation.options import LoraChoice
from portrait.generation.parameters import Task
from portrait.generation.prompts import put_embeddings

_log = logging.getLogger("portrait.models")
_Network = TypeVar("_Network")


class LoadedBase:
    """A base with everything loaded for it: control networks, adapters, LoRAs of people."""

    def __init__(
        self,
        source: BaseSource,
        dtype: torch.dtype,
        where: torch.device,
        profile: MemoryProfile = "full",
        compiled: bool = False,
    ) -> None:
        """Load the base to `where`; `compiled` is ignored when networks are offloaded, which breaks compiled blocks, and where
        weights rest in another form than they are computed in.
        """
        began = time.monotonic()
        kept = source.storage == "as_computed" and not source.is_gguf
        self.compiled = compiled and kept and profile in ("full", "sliced")
        self.source, self.family, self.dtype, self.device = source, source.family, dtype, where
        self.profile: MemoryProfile = profile
        self.pipeline: Any = load_pipeline(source, dtype)
        self.pipeline.set_progress_bar_config(disable=True)
        for component in self.pipeline.components.values():
            if isinstance(component, torch.nn.Module):
                component.requires_grad_(False).eval()
        if source.storage == "float8":
            quantised.rest_in_float8(self.denoiser, dtype)
        memory.place_pipeline(self.pipeline, profile, where)
        if self.compiled:
            device.compile_blocks(self.denoiser)
        place = torch.device("cpu") if profile in memory.OFFLOADED else where
        self.adapter_cache = AdapterCache(lambda: layers_of(source), dtype, place)
        self.networks: dict[str, Any] = {}
        self.prompt_cache = prompts.PromptCache()
        self.tokenizer_with = textual_inversion.keep_tokenizers(source.family, self.pipeline.components)
        self._slots: list[dict[str, LoraSlot]] = []
        self._attention_processors = dict(getattr(self.denoiser, "attn_processors", {}))
        self._active: dict[str, float] | None = {}
        self._lock = threading.Lock()
        _log_event("loaded", source.name, round(time.monotonic() - began, 3))

    @property
    def denoiser(self) -> Any:
        """The network that takes the noise away."""
        return self.pipeline.components[self.family.denoiser]

    @property
    def _lora_encoders(self) -> list[str]:
        """Text encoders that LoRAs may change, by component name."""
        return [name for _, name in self.family.text_encoders] if self.family.abilities.text_encoders else []

    def lora_slots(self, number: int) -> Mapping[str, LoraSlot]:
        """The slots of one LoRA by component: number 0 is for people, the others are for LoRAs of styles and prompts."""
        while len(self._slots) <= number:
            person, name = not self._slots, PERSON_SLOT if not self._slots else f"slot{len(self._slots)}"
            rank = self.family.rank if person else 0
            targets = self.family.lora_targets(self.denoiser) if person else ()
            slots = {self.family.denoiser: LoraSlot(self.denoiser, rank, targets, name)}
            texts = TEXT_LORA_TARGETS if person else ()
            for each in self._lora_encoders:
                slots[each] = LoraSlot(self.pipeline.components[each], rank, texts, name)
            self._slots.append(slots)
        return self._slots[number]

    @contextmanager
    def lease(self) -> Iterator["Lease"]:
        """A lease for one request; a second request waits until the first one ends."""
        with self._lock:
            lease = Lease(self)
            try:
                yield lease
            finally:
                lease.release()

    def add_network(self, name: str, network: object) -> None:
        """Hold a network, or what was made of networks, beside the base; a network is placed as the profile says."""
        if isinstance(network, torch.nn.Module):
            memory.place_network(network, self.profile, self.device)
            if self.compiled:
                device.compile_blocks(network)
        self.networks[name] = network

    def free_device(self) -> None:
        """Send every network to main memory where the profile has one on the device at a time."""
        if self.profile == "offload":
            self.pipeline.maybe_free_model_hooks()
            self._move_networks(torch.device("cpu"))

    def move(self, where: torch.device) -> None:
        """Move the base and all held beside it, where nothing is offloaded."""
        self.pipeline.to(where)
        self._move_networks(where)

    def _move_networks(self, where: torch.device) -> None:
        for network in self.networks.values():
            if isinstance(network, torch.nn.Module):
                network.to(where)

    def suspend_offloading(self) -> AbstractContextManager[None]:
        """Within it layers may be added to the base's networks."""
        return memory.suspend_offloading(self.pipeline, self.profile, self.device)

    def set_active_loras(self, adapters: Mapping[str, float]) -> None:
        """Have exactly these LoRAs active, by name and strength, in each of the networks that they change."""
        if self._active == adapters:
            return
        denoiser = self.denoiser
        of_denoiser = _own_adapters(denoiser, adapters)
        if of_denoiser:
            denoiser.enable_lora()
            denoiser.set_adapters(list(of_denoiser), list(of_denoiser.values()))
        elif getattr(denoiser, "peft_config", None):
            denoiser.disable_lora()
        for name in self._lora_encoders:
            encoder = self.pipeline.components[name]
            of_encoder = _own_adapters(encoder, adapters)
            if of_encoder:
                lora_base.enable_lora_for_text_encoder(encoder)
                lora_base.set_adapters_for_text_encoder(list(of_encoder), encoder, list(of_encoder.values()))
            elif getattr(encoder, "peft_config", None):
                lora_base.disable_lora_for_text_encoder(encoder)
        self._active = dict(adapters)

    def forget_active_loras(self) -> None:
        """Record that a library may have switched LoRAs on or off, as loading one does."""
        self._active = None

    def reset_attention(self) -> None:
        """Restore the attention processors with which the base was loaded."""
        denoiser = self.denoiser
        if self.family.denoiser == "unet":
            denoiser.encoder_hid_proj = None
            denoiser.config.encoder_hid_dim_type = None  # diffusers itself writes it so
        denoiser.set_attn_processor(dict(self._attention_processors))

    def close(self) -> None:
        """Unload the base and free its memory."""
        with self._lock:
            self.networks.clear()
            self._slots.clear()
            self.pipeline = None
            _log_event("unloaded", self.source.name, 0.0)
            device.release_memory(self.device)


def _log_event(event: str, base: str, seconds: float) -> None:
    """Log that a base was loaded or unloaded; a worker counts these lines."""
    _log.info("base %s was %s", base, event, extra={"event": event, "model": base, "seconds": seconds})


class Lease:
    """What one request does with a base; everything is undone by `release`."""

    def __init__(self, loaded: LoadedBase) -> None:
        self.loaded, self.family = loaded, loaded.family
        self.dtype, self.device = loaded.dtype, loaded.device
        self.components: dict[str, Any] = dict(loaded.pipeline.components)
        """Tokenizers and encoders by component name, with the tokens that this request added."""
        self.active_loras: dict[str, float] = {}
        """LoRAs that this request uses, with their strengths."""
        self._style_loras = 0
        self._own_encoders = True
        """Whether the text encoders and tokenizers are those of the base, as this request found them."""
        self._tokens: tuple[str, ...] = ()
        self._embeddings: dict[str, str] = {}
        """Tokens that stand for embeddings in this request's prompts, by name."""
        self._ip_adapters: list[tuple[dict[str, Any], Any, float]] = []
        """Attention processors, image projection layer and scale of each IP-Adapter that this request uses."""
        self._cleanups = ExitStack()

    def release(self) -> None:
        """Run all cleanups, the last first; continues when one fails, and raises its error in the end."""
        with self._cleanups:
            self._cleanups.callback(self.loaded.set_active_loras, {})
            self._cleanups.callback(self.loaded.free_device)

    def add_cleanup(self, call: Callable[..., Any], *given: object) -> None:
        """Register a call that undoes something when the request ends."""
        self._cleanups.callback(call, *given)

    def get_or_load(self, name: str, load: Callable[[], _Network]) -> _Network:
        """A network or other object that stays loaded with the base for later requests; `load` is called once per name."""
        if name not in self.loaded.networks:
            self.loaded.add_network(name, load())
        return self.loaded.networks[name]

    def load_network(self, name: str, network_class: type[_Network], folder: Path) -> _Network:
        """A network of a folder, which stays loaded; see `get_or_load` and `checkpoint_files.load_network`."""
        load = partial(checkpoint_files.load_network, network_class, folder, self.dtype, torch.device("cpu"))
        return self.get_or_load(name, load)

    def load_person_lora(self, file: Path, strength: float, block_weights: Sequence[float] = ()) -> None:
        """Load a person's LoRA into the first slots; raises `UserError` (`broken_identity`, `wrong_base`, `bad_blocks`)."""
        try:
            factors = self.loaded.adapter_cache.get(file)
        except LoraError as fault:
            raise lora.person_error(file, fault) from fault
        self._load_factors(0, factors, LoraChoice(file.stem, strength, blocks=tuple(block_weights)))

    def load_style_lora(self, file: Path, choice: LoraChoice) -> None:
        """Load the LoRA of a style or prompt into slots of its own.

        Raises `UserError` (`bad_lora`, `unsupported_lora`, `wrong_base`, `bad_blocks`).
        """
        try:
            factors = self.loaded.adapter_cache.get(file)
        except LoraError as fault:
            raise fault.of_file(file) from fault
        self._style_loras += 1
        self._load_factors(self._style_loras, factors, choice)

    def _load_factors(self, number: int, factors: Mapping[str, LoraFactors], choice: LoraChoice) -> None:
        """Copy a LoRA into the slots of a number, and have it active until the request ends."""
        config, denoiser = self.loaded.source.denoiser_config, self.family.denoiser
        by_block = blocks.weights_by_block(choice.blocks, config) if choice.blocks else {}
        slots = self.loaded.lora_slots(number)
        self._own_encoders &= set(factors) <= {denoiser}
        for part, of_part in factors.items():
            slot = slots[part]
            text = part != denoiser and choice.text_strength is not None
            strength = choice.text_strength if text and choice.text_strength is not None else choice.strength
            weights = blocks.module_weights(part, of_part.pairs, by_block, config) if by_block else WHOLE
            self.add_cleanup(slot.clear)
            with self.loaded.suspend_offloading() if slot.must_grow(of_part) else nullcontext():
                slot.load(of_part, strength, weights)
            self.loaded.forget_active_loras()
        self._activate_lora(slots[denoiser].name, 1.0)

    def load_lora(self, name: str, source: Any, strength: float) -> None:
        """Use a LoRA of an adapter; `source` is a path, or a call that gives weights; it is read once."""

        def load() -> bool:
            with self.loaded.suspend_offloading(), quantised.as_computed(self.loaded.denoiser):
                self.loaded.pipeline.load_lora_weights(source() if callable(source) else source, adapter_name=name)
            self.loaded.forget_active_loras()
            return True

        self.get_or_load(f"lora {name}", load)
        encoders = (self.components[each] for _, each in self.family.text_encoders)
        self._own_encoders &= not any(_own_adapters(encoder, {name: strength}) for encoder in encoders)
        self._activate_lora(name, strength)

    def _activate_lora(self, name: str, strength: float) -> None:
        """Have a LoRA active from now on: prompts are encoded before anything is drawn, and it may change text encoders."""
        self.active_loras[name] = strength
        self.loaded.set_active_loras(self.active_loras)

    def load_textual_inversion(self, file: Path, trigger: str) -> None:
        """Add the token of a textual inversion file to this request's tokenizers and encoders."""
        rows = textual_inversion.load_embeddings(file, self.family)
        token = textual_inversion.placeholder_token(trigger)
        self._add_tokens([token], {encoder: row[None] for encoder, row in rows.items()})

    def load_embedding(self, name: str, file: Path) -> None:
        """Have an embedding stand for its name in prompts; raises `UserError` (`bad_embedding`, `wrong_base`)."""
        vectors = textual_inversion.load_vectors(name, file, self.loaded.source)
        count = len(next(iter(vectors.values())))
        tokens = [f"<embedding_{len(self._embeddings)}_{number}>" for number in range(count)]
        self._add_tokens(tokens, vectors)
        self._embeddings[name] = " ".join(tokens)

    def _add_tokens(self, tokens: list[str], vectors: Mapping[str, torch.Tensor]) -> None:
        """Take tokenizers with these tokens too, and add their vectors, by encoder name, to the encoders' tables."""
        self._own_encoders, self._tokens = False, (*self._tokens, *tokens)
        for tokenizer_name, encoder_name in self.family.text_encoders:
            tokenizer, encoder = self.loaded.tokenizer_with(tokenizer_name, self._tokens), self.components[encoder_name]
            self.components[tokenizer_name] = tokenizer
            table = encoder.get_input_embeddings()
            self.add_cleanup(encoder.set_input_embeddings, table)
            # The libraries ask an encoder's first weight for device and dtype, and this is the first: it is as the others are.
            where = self.device if table.weight.is_meta else table.weight.device
            rows = vectors[encoder_name].to(where, table.weight.dtype)
            first = tokenizer.convert_tokens_to_ids(tokens[0])
            encoder.set_input_embeddings(textual_inversion.FurtherTokens(table, first, rows))

    def put_embeddings(self, prompt: str) -> str:
        """A prompt with the tokens of this request's embeddings in place of their names."""
        return put_embeddings(prompt, self._embeddings)

    def load_ip_adapter(self, name: str, weights: Callable[[], Any], scale: float) -> Any:
        """Use an IP-Adapter, loaded once per name; returns its image projection layer, ready to run on the device.

        A second one acts beside the first. Afterwards every pipeline call needs `ip_adapter_image_embeds`: one tensor for each
        adapter, in the order in which they were loaded.
        """
        unet = self.loaded.denoiser
        self.add_cleanup(self.loaded.reset_attention)
        attention, projection = self.get_or_load(f"attention {name}", lambda: self._load_ip_adapter(weights()))
        layer = projection.image_projection_layers[0]
        self._ip_adapters.append((attention, layer, scale))
        processors, layers, scales = zip(*self._ip_adapters, strict=True)
        unet.encoder_hid_proj = None  # the processors of its layers are not those of the U-Net
        unet.set_attn_processor(join_attention(processors))
        unet.encoder_hid_proj = projection if len(layers) == 1 else MultiIPAdapterImageProjection(layers)
        unet.config.encoder_hid_dim_type = "ip_image_proj"
        self.loaded.pipeline.set_ip_adapter_scale(list(scales))
        hook = unet.register_forward_pre_hook(match_image_embeds(layer), with_kwargs=True)
        self.add_cleanup(hook.remove)
        if self.loaded.profile == "offload":
            layer.to(self.device)  # the hook of the U-Net does not know when a part of it runs
        return layer

    def _load_ip_adapter(self, weights: Any) -> tuple[dict[str, Any], Any]:
        pipeline = self.loaded.pipeline
        with self.loaded.suspend_offloading():
            pipeline.load_ip_adapter(weights, subfolder="", weight_name="", image_encoder_folder=None)
        self.loaded.forget_active_loras()
        projection, pipeline.unet.encoder_hid_proj = pipeline.unet.encoder_hid_proj, None
        return dict(pipeline.unet.attn_processors), projection

    def encode_prompts(self, prompt: str, negative: str, clip_skip: int = 0) -> tuple[TextEmbeddings, TextEmbeddings]:
        """Embeddings of a prompt and its negative, on the device."""
        texts = self.put_embeddings(prompt), self.put_embeddings(negative)
        encode = partial(prompts.encode_prompts, self.family, self.components, *texts, clip_skip)
        positive, unconditional = self._encoded((*texts, clip_skip), encode)
        return positive, unconditional

    def encode_prompt(self, prompt: str) -> TextEmbeddings:
        """Embeddings of a prompt where nothing is guided, on the device; for families that do without a negative one then."""
        return self._encoded((prompt,), lambda: [prompts.encode_prompt(self.family, self.components, prompt)])[0]

    def _encoded(self, words: Hashable, encode: Callable[[], Sequence[TextEmbeddings]]) -> list[TextEmbeddings]:
        """Embeddings on the device; kept ones, unless this request changed what words mean."""
        found = self.loaded.prompt_cache.get(words, encode) if self._own_encoders else encode()
        return [each.to(self.device, self.dtype) for each in found]

    def get_pipeline(self, controlnets: list[Any], perturbed: bool, task: Task = "text") -> Any:
        """The stock pipeline for a task, made of the base's components; `controlnets` are control networks.

        It works by the hooks that these networks have.
        """
        self.loaded.free_device()  # of what identity adapters ran
        if not controlnets and not perturbed and task == "text":
            return self.loaded.pipeline
        if perturbed:
            # Perturbed attention stays in place when a call is interrupted.
            self.add_cleanup(self.loaded.reset_attention)
        pipeline_class = self.family.pipelines[task, bool(controlnets), perturbed]
        stock = self.loaded.pipeline
        taken = inspect.signature(pipeline_class.__init__).parameters
        held = {name: part for name, part in stock.components.items() if name != "controlnet"}
        # Not every stock pipeline of a family has room for what the base draws without.
        components = {name: part for name, part in held.items() if part is not None or name in taken}
        components |= own_config(pipeline_class, stock)
        components |= self.family.perturbed_arguments(self.loaded.denoiser.config) if perturbed else {}
        if "safety_checker" in components:
            components["requires_safety_checker"] = False
        if controlnets:
            components["controlnet"] = self.family.join_controls(controlnets)
        pipeline = pipeline_class(**components)
        pipeline.set_progress_bar_config(disable=True)
        for network in controlnets:
            memory.fetch_shared(network, self.loaded.denoiser, self.device)
        return pipeline


def _own_adapters(network: Any, adapters: Mapping[str, float]) -> dict[str, float]:
    """Those of the adapters that a network has."""
    known = getattr(network, "peft_config", {})
    return {name: strength for name, strength in adapters.items() if name in known}
