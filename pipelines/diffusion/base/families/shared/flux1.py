"""Flux1Family: what FLUX.1 and FLUX.1 Kontext have in common: transformer, latents, text encoders, names in files."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from diffusers import FluxTransformer2DModel
from transformers import AutoTokenizer

from pipelines.diffusion.base.device import execution_device
from pipelines.diffusion.base.families.shared.flow import FlowFamily
from pipelines.diffusion.base.family import Config, Geometry, LoraName, SizeConditioning, TextEmbeddings, tokenize
from pipelines.diffusion.base.parts import kohya
from pipelines.diffusion.base.parts.flux_names import DOUBLE, QKV, SINGLE, FluxNames, is_inside
from pipelines.diffusion.base.parts.latents import ScaledPatches, latent_scaling
from portrait.generation.sampling_facts import SamplingFacts

ATTENTION: Mapping[str, tuple[str, ...]] = {
    DOUBLE: (
        *("attn.to_q", "attn.to_k", "attn.to_v", "attn.to_out.0"),
        *("attn.add_q_proj", "attn.add_k_proj", "attn.add_v_proj", "attn.to_add_out"),
    ),
    SINGLE: ("attn.to_q", "attn.to_k", "attn.to_v", "proj_mlp", "proj_out"),
}
"""Layers of a block that LoRAs change: attention, and of single blocks all that is one layer with it in the makers' files."""
NAMES = FluxNames(
    outer={
        "x_embedder": "img_in",
        "context_embedder": "txt_in",
        "time_text_embed.timestep_embedder.linear_1": "time_in.in_layer",
        "time_text_embed.timestep_embedder.linear_2": "time_in.out_layer",
        "time_text_embed.text_embedder.linear_1": "vector_in.in_layer",
        "time_text_embed.text_embedder.linear_2": "vector_in.out_layer",
        "time_text_embed.guidance_embedder.linear_1": "guidance_in.in_layer",
        "time_text_embed.guidance_embedder.linear_2": "guidance_in.out_layer",
        "proj_out": "final_layer.linear",
    },
    blocks={
        DOUBLE: {
            "attn.to_out.0": "img_attn.proj",
            "attn.to_add_out": "txt_attn.proj",
            "ff.net.0.proj": "img_mlp.0",
            "ff.net.2": "img_mlp.2",
            "ff_context.net.0.proj": "txt_mlp.0",
            "ff_context.net.2": "txt_mlp.2",
            "norm1.linear": "img_mod.lin",
            "norm1_context.linear": "txt_mod.lin",
        },
        SINGLE: {"proj_out": "linear2", "norm.linear": "modulation.lin"},
    },
    stacks={DOUBLE: QKV, SINGLE: {"linear1": {"attn.to_q": 1, "attn.to_k": 1, "attn.to_v": 1, "proj_mlp": 4}}},
)
MOST_TOKENS, DISTILLED_TOKENS = 512, 256
"""Of a prompt to T5, and to bases that were distilled to few steps."""
GUIDANCE_IN_TRAINING = 1.0
"""The guidance scale that a denoiser is told while a LoRA is learned, as kohya's guide and diffusers' have it."""


class Flux1Family(FlowFamily):
    """A family of FLUX.1; a base whose denoiser is not told the guidance scale was distilled to four steps without any."""

    detection_key = "double_blocks.0.img_mod.lin.weight"
    text_encoders = (("tokenizer", "text_encoder"), ("tokenizer_2", "text_encoder_2"))
    denoiser_class = FluxTransformer2DModel
    rank = 16
    stored_products = 4000
    """Products of 3072 numbers are recomputed, and those of 12288 and more are stored."""

    def config_facts(self, config: Config) -> SamplingFacts:
        """Four steps without guidance for [schnell], of which the index says nothing."""
        denoiser = config("transformer")
        told = not denoiser or self.embeds_guidance(denoiser)
        return SamplingFacts() if told else SamplingFacts(steps=4, guidance=1.0, max_guidance=1.0, scheduler="own")

    def geometry(self, config: Config) -> Geometry:
        """Patches of 2×2 of the VAE's latents; 64 pixels are a multiple that keeps buckets few."""
        vae = config("vae")
        cell, side = 2 ** len(vae["block_out_channels"]), int(vae["sample_size"])
        return Geometry(side, cell, max(cell, 64) if side >= 512 else cell, int(config("transformer")["in_channels"]))

    def own_components(self, folder: Path) -> dict[str, Any]:
        """T5's tokenizer of a distilled base, whose prompts end after 256 tokens; the folder says more."""
        if self.embeds_guidance(json.loads((folder / "transformer" / "config.json").read_text("utf-8"))):
            return {}
        tokenizer: Any = AutoTokenizer.from_pretrained(folder / "tokenizer_2", local_files_only=True)
        tokenizer.model_max_length = min(int(tokenizer.model_max_length), DISTILLED_TOKENS)
        return {"tokenizer_2": tokenizer}

    def lora_targets(self, denoiser: Any) -> Sequence[str]:
        """Full names: `proj_out` is also what the whole transformer ends with."""
        names = (name.removesuffix(".base_layer") for name, _ in denoiser.named_modules())
        return [name for name in dict.fromkeys(names) if is_inside(name, ATTENTION)]

    def latents(self, vae: Any) -> ScaledPatches:
        """With one scale and shift, packed."""
        return ScaledPatches(latent_scaling(vae.config))

    def encode(self, components: Mapping[str, Any], captions: Sequence[str], clip_skip: int = 0) -> TextEmbeddings:
        """T5's states, padding among them, and the pooled state of CLIP."""
        clip, t5 = components["text_encoder"], components["text_encoder_2"]
        ids = tokenize(components["tokenizer"], captions, execution_device(clip))
        words = components["tokenizer_2"](
            list(captions),
            padding="max_length",
            max_length=_most_tokens(components),
            truncation=True,
            return_tensors="pt",
        ).input_ids.to(execution_device(t5))
        return TextEmbeddings(t5(words)[0], clip(ids).pooler_output)

    def count_unread(self, components: Mapping[str, Any], prompt: str) -> int:
        """Those that T5 does not read."""
        return max(0, len(components["tokenizer_2"](prompt).input_ids) - _most_tokens(components))

    def blank_embeddings(self, config: Config, dtype: torch.dtype) -> TextEmbeddings:
        """As many tokens as a prompt is padded to."""
        sizes = config("transformer")
        tokens = MOST_TOKENS if self.embeds_guidance(sizes) else DISTILLED_TOKENS
        hidden = torch.zeros(1, tokens, int(sizes["joint_attention_dim"]), dtype=dtype)
        return TextEmbeddings(hidden, torch.zeros(1, int(sizes["pooled_projection_dim"]), dtype=dtype))

    def predict(
        self,
        denoiser: Any,
        noised: torch.Tensor,
        timesteps: torch.Tensor,
        embeddings: TextEmbeddings,
        sizes: Sequence[SizeConditioning],
    ) -> torch.Tensor:
        """The way from picture to noise; latents are tokens with their row and column, words have no place."""
        height, width = noised.shape[-2:]
        told = self.embeds_guidance(denoiser.config)
        predicted = denoiser(
            hidden_states=noised.flatten(2).transpose(1, 2),
            timestep=timesteps,
            guidance=torch.full((len(noised),), GUIDANCE_IN_TRAINING, device=noised.device) if told else None,
            pooled_projections=embeddings.pooled,
            encoder_hidden_states=embeddings.hidden,
            txt_ids=torch.zeros(embeddings.hidden.shape[1], 3, device=noised.device),
            img_ids=_places(height, width, noised.device),
            return_dict=False,
        )[0]
        return predicted.transpose(1, 2).reshape(noised.shape)

    def prompt_arguments(self, embeddings: TextEmbeddings, negative: TextEmbeddings | None) -> dict[str, Any]:
        """The stock pipeline's arguments for an encoded prompt: nothing is drawn without it."""
        return {"prompt_embeds": embeddings.hidden, "pooled_prompt_embeds": embeddings.pooled}

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


def _places(height: int, width: int, where: torch.device) -> torch.Tensor:
    """The places of tokens, (height·width)×3: picture, row, column."""
    return torch.cartesian_prod(
        *(torch.arange(count, device=where, dtype=torch.float32) for count in (1, height, width))
    )


def _most_tokens(components: Mapping[str, Any]) -> int:
    """Tokens of a prompt that T5 reads."""
    return min(int(components["tokenizer_2"].model_max_length), MOST_TOKENS)
