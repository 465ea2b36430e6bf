"""The networks of the flow world: FLUX.2 [klein]'s layout with 5 million weights."""

from typing import Any

import torch
from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL
from diffusers.models.autoencoders.autoencoder_kl_flux2 import AutoencoderKLFlux2
from diffusers.models.transformers.transformer_flux2 import Flux2Transformer2DModel
from diffusers.pipelines.flux2.pipeline_flux2_klein import Flux2KleinPipeline
from diffusers.schedulers.scheduling_flow_match_euler_discrete import FlowMatchEulerDiscreteScheduler
from torch import Tensor
from transformers import Qwen3Config, Qwen3ForCausalLM

from tests.faceworld.networks import LATENTS
from tests.faceworld.world import SIDE

CHANNELS = 4 * LATENTS
"""Of a latent of 8×8 pixels: the four of the autoencoder that lie in it."""
WIDTH = 64
"""Of the text encoder."""


def transformer() -> Flux2Transformer2DModel:
    """Two double blocks and five single ones of six heads."""
    return Flux2Transformer2DModel(
        patch_size=1,
        in_channels=CHANNELS,
        num_layers=2,
        num_single_layers=5,
        attention_head_dim=32,
        num_attention_heads=6,
        joint_attention_dim=3 * WIDTH,
        timestep_guidance_channels=64,
        axes_dims_rope=(8, 8, 8, 8),
        guidance_embeds=False,
    )


def text_encoder(vocabulary: int) -> Qwen3ForCausalLM:
    """Four layers, of which the first three are read."""
    settings = Qwen3Config(
        vocab_size=vocabulary,
        hidden_size=WIDTH,
        intermediate_size=2 * WIDTH,
        num_hidden_layers=4,
        num_attention_heads=4,
        num_key_value_heads=4,
        head_dim=16,
        max_position_embeddings=1024,
        tie_word_embeddings=True,
    )
    return Qwen3ForCausalLM(settings)


def autoencoder(trained: AutoencoderKL) -> AutoencoderKLFlux2:
    """The world's autoencoder in FLUX.2's layout; the statistics of its latents are still to be set."""
    settings: dict[str, Any] = {
        name: trained.config[name]
        for name in ("down_block_types", "up_block_types", "block_out_channels", "layers_per_block", "norm_num_groups")
    }
    network = AutoencoderKLFlux2(**settings, latent_channels=LATENTS, sample_size=SIDE)
    network.load_state_dict(trained.state_dict(), strict=False)
    return network.eval().requires_grad_(False)


def encode(network: AutoencoderKLFlux2, pictures: Tensor) -> Tensor:
    """Pictures N×3×H×W, -1..1, as latents N×32×H/8×W/8 that are not normalised yet."""
    return Flux2KleinPipeline._patchify_latents(network.encode(pictures).latent_dist.mode())  # pyrefly: ignore[missing-attribute] -- no tuple


def set_statistics(network: AutoencoderKLFlux2, latents: Tensor) -> None:
    """Write down by what latents are normalised."""
    network.bn.running_mean = latents.mean(dim=(0, 2, 3))
    network.bn.running_var = latents.var(dim=(0, 2, 3))


def normalise(network: AutoencoderKLFlux2, latents: Tensor) -> Tensor:
    """Latents as the transformer sees them."""
    mean, variance = network.bn.running_mean, network.bn.running_var
    assert mean is not None
    assert variance is not None
    deviation = torch.sqrt(variance + network.config["batch_norm_eps"])
    return (latents - mean[:, None, None]) / deviation[:, None, None]


def scheduler() -> FlowMatchEulerDiscreteScheduler:
    """As that of FLUX.2."""
    return FlowMatchEulerDiscreteScheduler(shift=3.0, use_dynamic_shifting=True, time_shift_type="exponential")
