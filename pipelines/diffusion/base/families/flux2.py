"""FLUX.2 [klein]: a flow transformer that draws words, reference pictures, or both; Qwen3 reads its words; 1024 pixels.

The base is learned on; its distilled sibling draws in four steps without guidance, and LoRAs of the base fit it.
"""

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
from pipelines.diffusion.base.parts.flux_names import DOUBLE, QKV, SINGLE, FluxNames, is_inside
from pipelines.diffusion.base.parts.latents import PatchedLatents, patched_latents
from portrait.generation.options import Preset
from portrait.generation.parameters import Task
from portrait.generation.sampling_facts import SamplingFacts, SamplingPreset

ATTENTION: Mapping[str, tuple[str, ...]] = {
    DOUBLE: (
        *("attn.to_q", "attn.to_k", "attn.to_v", "attn.to_out.0"),
        *("attn.add_q_proj", "attn.add_k_proj", "attn.add_v_proj", "attn.to_add_out"),
    ),
    SINGLE: ("attn.to_qkv_mlp_proj", "attn.to_out"),
}
"""Layers of a block that LoRAs change; without the results of single blocks likeness suffers (unsloth's issue 8267)."""
NAMES = FluxNames(
    outer={
        "x_embedder": "img_in",
        "context_embedder": "txt_in",
        "time_guidance_embed.timestep_embedder.linear_1": "time_in.in_layer",
        "time_guidance_embed.timestep_embedder.linear_2": "time_in.out_layer",
        "double_stream_modulation_img.linear": "double_stream_modulation_img.lin",
        "double_stream_modulation_txt.linear": "double_stream_modulation_txt.lin",
        "single_stream_modulation.linear": "single_stream_modulation.lin",
        "proj_out": "final_layer.linear",
    },
    blocks={
        DOUBLE: {
            "attn.to_out.0": "img_attn.proj",
            "attn.to_add_out": "txt_attn.proj",
            "ff.linear_in": "img_mlp.0",
            "ff.linear_out": "img_mlp.2",
            "ff_context.linear_in": "txt_mlp.0",
            "ff_context.linear_out": "txt_mlp.2",
        },
        SINGLE: {"attn.to_qkv_mlp_proj": "linear1", "attn.to_out": "linear2"},
    },
    stacks={DOUBLE: QKV},
)
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
        return [name for name in dict.fromkeys(names) if is_inside(name, ATTENTION)]

    def latents(self, vae: Any) -> PatchedLatents:
        """Normalised by the statistics in the VAE."""
        return patched_latents(vae)

    def encode(self, components: Mapping[str, Any], captions: Sequence[str], clip_skip: int = 0) -> TextEmbeddings:
        """Three of Qwen3's hidden states side by side, padding among them: so the transformer was trained."""
        tokens = qwen3.tokenize(components["tokenizer"], captions)
        return TextEmbeddings(qwen3.hidden_states(components["text_encoder"], tokens))

    def count_unread(self, components: Mapping[str, Any], prompt: str) -> int:
        """Those that Qwen3 does not read."""
        return qwen3.count_unread(components["tokenizer"], prompt)

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
        return NAMES.rename(components["transformer"].state_dict())

    def kohya_weights(self, weights: Mapping[str, torch.Tensor], config: Mapping[str, Any]) -> dict[str, torch.Tensor]:
        """Names of the makers' layers; the factors of stacked layers become those of one, block by block."""
        return kohya.rename_stacked(weights, NAMES.in_kohya)

    def lora_names(self, layer: str, config: Mapping[str, Any]) -> Sequence[LoraName]:
        """Those of the makers."""
        found = NAMES.of(layer)
        return [] if found is None else [LoraName(found.name, found.place, len(found.heights))]


def _places(height: int, width: int, length: int, where: torch.device) -> torch.Tensor:
    """The places of tokens, (height·width·length)×4: picture, row, column, word."""
    axes = (torch.arange(count, device=where) for count in (1, height, width, length))
    return torch.cartesian_prod(*axes)


FAMILY = Flux2()
