"""FLUX.2 [klein]: a flow transformer that draws words, reference pictures, or both; Qwen3 reads its words; 1024 pixels.

The base is learned on; its distilled sibling draws in four steps without guidance, and LoRAs of the base fit it.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from types import MappingProxyType
from typing import Any

import PIL.Image
import torch
from diffusers import Flux2KleinInpaintPipeline, Flux2KleinPipeline, Flux2Transformer2DModel

from pipelines.diffusion.base.families.shared.flow import FlowFamily
from pipelines.diffusion.base.family import (
    Abilities,
    Config,
    DrawingStart,
    Geometry,
    LoraName,
    SizeConditioning,
    TextEmbeddings,
)
from pipelines.diffusion.base.parts import kohya, qwen3
from pipelines.diffusion.base.parts.latents import PatchedLatents, patched_latents
from portrait.generation.options import Preset
from portrait.generation.parameters import Task
from portrait.generation.sampling_facts import SamplingFacts, SamplingPreset

ATTENTION = {
    "transformer_blocks": (
        *("attn.to_q", "attn.to_k", "attn.to_v", "attn.to_out.0"),
        *("attn.add_q_proj", "attn.add_k_proj", "attn.add_v_proj", "attn.to_add_out"),
    ),
    "single_transformer_blocks": ("attn.to_qkv_mlp_proj", "attn.to_out"),
}
"""Layers of a block that LoRAs change; without the results of single blocks likeness suffers (unsloth's issue 8267)."""
DOUBLE = {
    "attn.to_out.0": "img_attn.proj",
    "attn.to_add_out": "txt_attn.proj",
    "ff.linear_in": "img_mlp.0",
    "ff.linear_out": "img_mlp.2",
    "ff_context.linear_in": "txt_mlp.0",
    "ff_context.linear_out": "txt_mlp.2",
}
"""Layers of a double block by their makers' names."""
STACKED = {
    "img_attn.qkv": ("attn.to_q", "attn.to_k", "attn.to_v"),
    "txt_attn.qkv": ("attn.add_q_proj", "attn.add_k_proj", "attn.add_v_proj"),
}
"""Layers that are one in the makers' files."""
SINGLE = {"attn.to_qkv_mlp_proj": "linear1", "attn.to_out": "linear2"}
NORMS = {
    "transformer_blocks": {
        "attn.norm_q": "img_attn.norm.query_norm",
        "attn.norm_k": "img_attn.norm.key_norm",
        "attn.norm_added_q": "txt_attn.norm.query_norm",
        "attn.norm_added_k": "txt_attn.norm.key_norm",
    },
    "single_transformer_blocks": {"attn.norm_q": "norm.query_norm", "attn.norm_k": "norm.key_norm"},
}
OUTER = {
    "x_embedder": "img_in",
    "context_embedder": "txt_in",
    "time_guidance_embed.timestep_embedder.linear_1": "time_in.in_layer",
    "time_guidance_embed.timestep_embedder.linear_2": "time_in.out_layer",
    "double_stream_modulation_img.linear": "double_stream_modulation_img.lin",
    "double_stream_modulation_txt.linear": "double_stream_modulation_txt.lin",
    "single_stream_modulation.linear": "single_stream_modulation.lin",
    "proj_out": "final_layer.linear",
}
BLOCK = re.compile(r"(single_transformer_blocks|transformer_blocks)\.(\d+)\.(.+)")
BLOCK_NAMES = {"transformer_blocks": "double_blocks", "single_transformer_blocks": "single_blocks"}
PRESETS: Mapping[Preset, SamplingPreset] = MappingProxyType(
    {
        "fast": SamplingPreset("own", 20, 4.0, 1.0),
        "balanced": SamplingPreset("own", 28, 4.0, 1.0),
        "best": SamplingPreset("own", 50, 4.0, 1.0),
    }
)
"""Of the base, which its makers draw with in 50 steps at a guidance of 4."""
DISTILLED = SamplingFacts(steps=4, guidance=1.0, max_guidance=1.0, scheduler="own")
START_SIDE = 960
"""Sides in steps of 64 pixels around it stay below the 1024² pixels to which the stock pipeline shrinks start pictures."""


class Flux2(FlowFamily):
    """The family of FLUX.2 [klein]."""

    name = "flux2"
    pipeline = Flux2KleinPipeline
    pipeline_names = ("Flux2KleinPipeline",)
    pipelines = MappingProxyType(
        {
            ("image", False, False): Flux2KleinInpaintPipeline,
            ("inpaint", False, False): Flux2KleinInpaintPipeline,
        }
    )
    detection_key = "single_stream_modulation.lin.weight"
    architecture = "flux-2-klein"
    kohya_version = "flux2_klein"
    text_encoders = (("tokenizer", "text_encoder"),)
    denoiser_class = Flux2Transformer2DModel
    abilities = Abilities(references=4, instructions=True, sentences=True, cutoff=True)
    presets = PRESETS
    rank = 32
    stored_products = 4000
    """Of klein's products those of 3072 numbers are recomputed, and those from 9216 on are stored."""

    def facts(self, index: Mapping[str, Any]) -> SamplingFacts:
        """Four steps without guidance where the base was distilled."""
        return DISTILLED if index.get("is_distilled") else SamplingFacts()

    def geometry(self, config: Config) -> Geometry:
        """Patches of 2×2 of the VAE's latents; 64 pixels are a multiple that keeps buckets few."""
        vae = config("vae")
        cell, side = 2 ** len(vae["block_out_channels"]), int(vae["sample_size"])
        multiple = max(cell, 64) if side >= 512 else cell
        start = START_SIDE * side // 1024 if side >= 1024 else 0
        return Geometry(side, cell, multiple, int(config("transformer")["in_channels"]), start)

    def lora_targets(self, denoiser: Any) -> Sequence[str]:
        """Full names: `attn.to_out` is a layer of single blocks, and a list of layers in double ones."""
        names = (name.removesuffix(".base_layer") for name, _ in denoiser.named_modules())
        return [name for name in dict.fromkeys(names) if _is_attention(name)]

    def latents(self, vae: Any) -> PatchedLatents:
        """Normalised by the statistics in the VAE."""
        return patched_latents(vae)

    def encode(self, components: Mapping[str, Any], captions: Sequence[str], clip_skip: int = 0) -> TextEmbeddings:
        """Three of Qwen3's hidden states side by side, padding among them: so the transformer was trained."""
        tokens = qwen3.tokenize(components["tokenizer"], captions)
        return TextEmbeddings(qwen3.hidden_states(components["text_encoder"], tokens))

    def blank_embeddings(self, config: Config, dtype: torch.dtype) -> TextEmbeddings:
        """As many tokens as a prompt is padded to."""
        width = int(config("transformer")["joint_attention_dim"])
        return TextEmbeddings(torch.zeros(1, qwen3.MOST_TOKENS, width, dtype=dtype))

    def predict(
        self,
        denoiser: Any,
        noised: torch.Tensor,
        timesteps: torch.Tensor,
        embeddings: TextEmbeddings,
        sizes: Sequence[SizeConditioning],
    ) -> torch.Tensor:
        """The way from picture to noise; latents are tokens with their place, words have a place in their row."""
        height, width = noised.shape[-2:]
        predicted = denoiser(
            hidden_states=noised.flatten(2).transpose(1, 2),
            timestep=timesteps,
            guidance=None,
            encoder_hidden_states=embeddings.hidden,
            txt_ids=_places(1, 1, embeddings.hidden.shape[1], noised.device),
            img_ids=_places(height, width, 1, noised.device),
            return_dict=False,
        )[0]
        return predicted.transpose(1, 2).reshape(noised.shape)

    def prompt_arguments(self, embeddings: TextEmbeddings, negative: TextEmbeddings | None) -> dict[str, Any]:
        """The stock pipeline's arguments for encoded prompts."""
        without = {} if negative is None else {"negative_prompt_embeds": negative.hidden}
        return {"prompt_embeds": embeddings.hidden, **without}

    def start_arguments(self, start: DrawingStart) -> dict[str, Any]:
        """With a mask, white all over without one: there is no pipeline for whole pictures."""
        white = PIL.Image.new("L", (start.size.width, start.size.height), 255)
        return super().start_arguments(replace(start, mask=start.mask or white))

    def reference_arguments(self, task: Task, pictures: Sequence[PIL.Image.Image]) -> dict[str, Any]:
        """Beside a start picture they have an argument of their own."""
        return {"image" if task == "text" else "image_reference": list(pictures)} if pictures else {}

    def single_file_weights(self, components: Mapping[str, Any]) -> dict[str, torch.Tensor]:
        """The transformer alone, as its makers publish it."""
        return _makers_weights(components["transformer"].state_dict())

    def kohya_weights(self, weights: Mapping[str, torch.Tensor], config: Mapping[str, Any]) -> dict[str, torch.Tensor]:
        """Names of the makers' layers; the factors of stacked layers become those of one, block by block."""
        factors = kohya.factors_of(weights)
        named: dict[str, torch.Tensor] = {}
        for module, (down, up) in factors.items():
            for each in self.lora_names(module.removeprefix("transformer."), config):
                key = f"lora_unet_{each.name.replace('.', '_')}"
                if each.of == 1:
                    named |= kohya.module_weights(key, down, up)
                elif f"{key}.alpha" not in named:
                    named |= kohya.module_weights(key, *_stack(factors, module))
        return named

    def lora_names(self, layer: str, config: Mapping[str, Any]) -> Sequence[LoraName]:
        """Those of the makers."""
        found = BLOCK.fullmatch(layer)
        if found is None:
            return [LoraName(OUTER[layer])] if layer in OUTER else []
        block, inner = f"{BLOCK_NAMES[found[1]]}.{found[2]}", found[3]
        alone = DOUBLE if found[1] == "transformer_blocks" else SINGLE
        if inner in alone:
            return [LoraName(f"{block}.{alone[inner]}")]
        stacks = ((name, layers) for name, layers in STACKED.items() if inner in layers)
        return [LoraName(f"{block}.{name}", layers.index(inner), len(layers)) for name, layers in stacks]


def _is_attention(layer: str) -> bool:
    found = BLOCK.fullmatch(layer)
    return found is not None and found[3] in ATTENTION[found[1]]


def _places(height: int, width: int, length: int, where: torch.device) -> torch.Tensor:
    """The places of tokens, (height·width·length)×4: picture, row, column, word."""
    axes = (torch.arange(count, device=where) for count in (1, height, width, length))
    return torch.cartesian_prod(*axes)


def _stack(factors: Mapping[str, tuple[torch.Tensor, torch.Tensor]], module: str) -> tuple[torch.Tensor, torch.Tensor]:
    """The factors of the layers that are stacked with a module, as those of one; layers that a LoRA leaves are zero."""
    block, _, inner = module.partition(".attn.")
    layers = next(each for each in STACKED.values() if f"attn.{inner}" in each)
    pairs = [factors.get(f"{block}.{each}") for each in layers]
    rows = factors[module][1].shape[0]
    ups = [torch.zeros(rows, 0) if pair is None else pair[1] for pair in pairs]
    return torch.cat([pair[0] for pair in pairs if pair is not None]), torch.block_diag(*ups)


def _makers_weights(weights: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """A transformer's weights under its makers' names."""
    named: dict[str, torch.Tensor] = {}
    for name, weight in weights.items():
        path, _, kind = name.rpartition(".")
        found = BLOCK.fullmatch(path)
        if path == "norm_out.linear":
            scale, shift = weight.chunk(2)
            named[f"final_layer.adaLN_modulation.1.{kind}"] = torch.cat([shift, scale])
        elif found is None:
            named[f"{OUTER[path]}.{kind}"] = weight
        elif found[3] in NORMS[found[1]]:
            named[f"{BLOCK_NAMES[found[1]]}.{found[2]}.{NORMS[found[1]][found[3]]}.scale"] = weight
        else:
            [layer] = FAMILY.lora_names(path, {})
            stacked = STACKED.get(layer.name.split(".", 2)[2], ())
            beside = [weights[f"{found[1]}.{found[2]}.{each}.{kind}"] for each in stacked]
            named[f"{layer.name}.{kind}"] = torch.cat(beside) if beside else weight
    return named


FAMILY = Flux2()
