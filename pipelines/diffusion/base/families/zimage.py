"""Z-Image: a flow transformer that draws words, into pictures, and along control images; Qwen3 reads its words; 1024 pixels.

The base is learned on and draws with guidance; its distilled sibling, Z-Image-Turbo, draws in nine steps without.
"""

from collections.abc import Mapping, Sequence
from math import log
from types import MappingProxyType
from typing import Any

import torch
from diffusers import (
    ZImageControlNetInpaintPipeline,
    ZImageControlNetPipeline,
    ZImageImg2ImgPipeline,
    ZImageInpaintPipeline,
    ZImagePipeline,
    ZImageTransformer2DModel,
)

from pipelines.diffusion.base.families.shared.flow import FlowFamily
from pipelines.diffusion.base.family import (
    Abilities,
    Config,
    Geometry,
    LoraName,
    SizeConditioning,
    TextEmbeddings,
)
from pipelines.diffusion.base.parts import qwen3
from pipelines.diffusion.base.parts.latents import LatentScaling, latent_scaling
from pipelines.diffusion.base.parts.loss import FlowMatchingLoss
from pipelines.diffusion.base.parts.zimage_control import ZImageUnionControlNet
from portrait.generation.options import Preset
from portrait.generation.sampling_facts import SamplingFacts, SamplingPreset

PRESETS: Mapping[Preset, SamplingPreset] = MappingProxyType(
    {
        "fast": SamplingPreset("own", 20, 4.0, 1.0),
        "balanced": SamplingPreset("own", 28, 4.0, 1.0),
        "best": SamplingPreset("own", 50, 4.0, 1.0),
    }
)
"""Of the base, which its makers draw with in 28 to 50 steps at a guidance of 3 to 5."""
TURBO = SamplingFacts(steps=9, guidance=0.0, max_guidance=0.0, scheduler="own")
TURBO_SHIFT = 3.0
"""The shift of sigmas in Z-Image-Turbo's scheduler, which alone tells it from the base: that has 6."""
TAUGHT_SHIFT = 2.0
"""The shift of sigmas with which kohya's trainer learns, for any size."""
ATTENTION = ("attention.to_q", "attention.to_k", "attention.to_v", "attention.to_out.0")
"""Layers of a block that LoRAs change; those of the refiners before the blocks are left, as kohya's trainer leaves them."""
STACKED = ("attention.to_q", "attention.to_k", "attention.to_v")
"""Layers that are one in the files of other programs, `attention.qkv`."""
RENAMED = {
    "attention.to_out.0": "attention.out",
    "attention.norm_q": "attention.q_norm",
    "attention.norm_k": "attention.k_norm",
    "all_x_embedder.2-1": "x_embedder",
    "all_final_layer.2-1": "final_layer",
}
"""What other programs call modules."""


class ZImage(FlowFamily):
    """The family of Z-Image and Z-Image-Turbo.

    Guidance makes batches of two, but its pipelines look at each step whether there is any, so that the batch is cut to one by
    itself where guidance ends.
    """

    name = "zimage"
    pipeline = ZImagePipeline
    pipeline_names = ("ZImagePipeline",)
    pipelines = MappingProxyType(
        {
            ("image", False, False): ZImageImg2ImgPipeline,
            ("inpaint", False, False): ZImageInpaintPipeline,
            ("text", True, False): ZImageControlNetPipeline,
            ("inpaint", True, False): ZImageControlNetInpaintPipeline,
        }
    )
    detection_key = "layers.0.adaLN_modulation.0.weight"
    architecture = "z-image"
    kohya_version = "zimage"
    text_encoders = (("tokenizer", "text_encoder"),)
    denoiser_class = ZImageTransformer2DModel
    control_class = ZImageUnionControlNet
    abilities = Abilities(sentences=True, cutoff=True, max_controls=1)
    presets = PRESETS
    guided_above = 0.0
    rank = 32
    stored_products = 5000
    """Products of 3840 numbers are recomputed, and those of 10240 on are stored."""

    def config_facts(self, config: Config) -> SamplingFacts:
        """Nine steps without guidance where the scheduler is that of Z-Image-Turbo."""
        return TURBO if config("scheduler").get("shift") == TURBO_SHIFT else SamplingFacts()

    def geometry(self, config: Config) -> Geometry:
        """The transformer joins 2×2 latents; 64 pixels are a multiple that keeps buckets few."""
        vae = config("vae")
        cell, side = 2 ** (len(vae["block_out_channels"]) - 1), int(vae["sample_size"])
        return Geometry(
            side, cell, max(2 * cell, 64) if side >= 512 else 2 * cell, int(config("transformer")["in_channels"])
        )

    def lora_targets(self, denoiser: Any) -> Sequence[str]:
        """Full names: their endings are also those of layers in the refiners."""
        names = (name.removesuffix(".base_layer") for name, _ in denoiser.named_modules())
        return [name for name in dict.fromkeys(names) if name.startswith("layers.") and name.endswith(ATTENTION)]

    def loss(self, scheduler: Mapping[str, Any], min_snr_gamma: float) -> FlowMatchingLoss:
        """Flow matching, with the same shift for any size."""
        return FlowMatchingLoss(log(TAUGHT_SHIFT), log(TAUGHT_SHIFT))

    def latents(self, vae: Any) -> LatentScaling:
        """One scale and shift."""
        return latent_scaling(vae.config)

    def encode(self, components: Mapping[str, Any], captions: Sequence[str], clip_skip: int = 0) -> TextEmbeddings:
        """Qwen3's state before its last layer, where the captions are; the transformer sees no padding."""
        tokens = qwen3.tokenize(components["tokenizer"], captions, thinking=True)
        hidden, mask = qwen3.penultimate_state(components["text_encoder"], tokens)
        return TextEmbeddings(hidden, mask=mask)

    def count_unread(self, components: Mapping[str, Any], prompt: str) -> int:
        """Those that Qwen3 does not read."""
        return qwen3.count_unread(components["tokenizer"], prompt, thinking=True)

    def blank_embeddings(self, config: Config, dtype: torch.dtype) -> TextEmbeddings:
        """As many tokens as a prompt may have."""
        width = int(config("transformer")["cap_feat_dim"])
        return TextEmbeddings(torch.zeros(1, qwen3.MOST_TOKENS, width, dtype=dtype))

    def predict(
        self,
        denoiser: Any,
        noised: torch.Tensor,
        timesteps: torch.Tensor,
        embeddings: TextEmbeddings,
        sizes: Sequence[SizeConditioning],
    ) -> torch.Tensor:
        """The way from picture to noise: the transformer counts time from the noise on, and says the way back."""
        pictures = list(noised.unsqueeze(2).unbind())  # of one frame each
        predicted = denoiser(pictures, 1 - timesteps, _captions(embeddings), return_dict=False)[0]
        return -torch.stack(predicted).squeeze(2)

    def prompt_arguments(self, embeddings: TextEmbeddings, negative: TextEmbeddings | None) -> dict[str, Any]:
        """Lists, of prompts as long as each is."""
        without = {} if negative is None else {"negative_prompt_embeds": _captions(negative)}
        return {"prompt_embeds": _captions(embeddings), **without}

    def single_file_weights(self, components: Mapping[str, Any]) -> dict[str, torch.Tensor]:
        """The transformer alone, under the names that ComfyUI reads."""
        weights, named = components["transformer"].state_dict(), dict[str, torch.Tensor]()
        for name, weight in weights.items():
            path, _, kind = name.rpartition(".")
            block, found, inner = path.partition(".attention.")
            if found + inner in _dotted(STACKED):
                parts = [weights[f"{block}.{each}.{kind}"] for each in STACKED]
                named[f"{block}.attention.qkv.{kind}"] = torch.cat(parts)
            else:
                named[f"{_renamed(path)}.{kind}" if path else kind] = weight
        return named

    def lora_names(self, layer: str, config: Mapping[str, Any]) -> Sequence[LoraName]:
        """Those of programs that have query, key and value in one."""
        stacked = next((each for each in STACKED if layer.endswith(f".{each}")), "")
        if stacked:
            block = layer.removesuffix(stacked)
            return [LoraName(f"{block}attention.qkv", STACKED.index(stacked), len(STACKED))]
        return [LoraName(name)] if (name := _renamed(layer)) != layer else []


def _captions(embeddings: TextEmbeddings) -> list[torch.Tensor]:
    """Each prompt's tokens×width, without padding."""
    if embeddings.mask is None:
        return list(embeddings.hidden.unbind())
    return [hidden[mask] for hidden, mask in zip(embeddings.hidden, embeddings.mask, strict=True)]


def _dotted(names: Sequence[str]) -> set[str]:
    return {f".{name}" for name in names}


def _renamed(path: str) -> str:
    """A module's path in other programs' files."""
    for ours, theirs in RENAMED.items():
        if path == ours or path.endswith(f".{ours}") or path.startswith(f"{ours}."):
            return path.replace(ours, theirs)
    return path


FAMILY = ZImage()
