"""The networks of the face world: Stable Diffusion 1.5's layout with 5 million weights."""

from typing import Any, Literal, TypeAlias

from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL
from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
from diffusers.schedulers.scheduling_ddim import DDIMScheduler
from transformers import CLIPTextConfig, CLIPTextModel

from tests.faceworld.words import LENGTH
from tests.faceworld.world import SIDE

Prediction: TypeAlias = Literal["v_prediction", "epsilon"]
"""What the U-Net predicts."""
FACTOR = 4
"""Pixels to one latent."""
LATENTS = 8
"""Channels: with four, eyes and glasses are lost."""
WIDTH = 96
"""Of the text encoder."""


def autoencoder() -> AutoencoderKL:
    """Two halvings; noise starts low, so that the picture is trained first."""
    # Read from the configuration, as a stored one is: the signature knows tuples of one level only.
    settings: dict[str, Any] = {
        "down_block_types": ("DownEncoderBlock2D",) * 3,
        "up_block_types": ("UpDecoderBlock2D",) * 3,
        "block_out_channels": (16, 32, 64),
        "layers_per_block": 1,
        "latent_channels": LATENTS,
        "norm_num_groups": 8,
        "sample_size": SIDE,
    }
    network = AutoencoderKL.from_config(settings)
    assert isinstance(network, AutoencoderKL)
    assert network.quant_conv is not None
    assert network.quant_conv.bias is not None
    network.quant_conv.bias.data[LATENTS:] = -6.0
    return network


def denoiser() -> UNet2DConditionModel:
    """Two levels, 12 and 6 latents wide, and text everywhere."""
    return UNet2DConditionModel(
        sample_size=SIDE // FACTOR,
        in_channels=LATENTS,
        out_channels=LATENTS,
        down_block_types=("CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "CrossAttnUpBlock2D"),
        block_out_channels=(64, 128),
        layers_per_block=1,
        cross_attention_dim=WIDTH,
        attention_head_dim=4,
        norm_num_groups=16,
    )


def text_encoder(vocabulary: int) -> CLIPTextModel:
    """Two layers; the last id is the one that ends a text. Attention is eager: twice as fast here as the fused one."""
    settings = CLIPTextConfig(
        vocab_size=vocabulary,
        hidden_size=WIDTH,
        intermediate_size=WIDTH * 4,
        num_hidden_layers=2,
        num_attention_heads=4,
        max_position_embeddings=LENGTH,
        projection_dim=WIDTH,
        bos_token_id=vocabulary - 2,
        eos_token_id=vocabulary - 1,
        pad_token_id=vocabulary - 1,
    )
    settings._attn_implementation = "eager"
    return CLIPTextModel(settings)


def schedule(prediction: Prediction) -> DDIMScheduler:
    """Stable Diffusion's own noise schedule."""
    return DDIMScheduler(
        beta_start=0.00085,
        beta_end=0.012,
        beta_schedule="scaled_linear",
        prediction_type=prediction,
        clip_sample=False,
        set_alpha_to_one=False,
        steps_offset=1,
    )
