"""Tiny bases of each family in the published layouts: random weights, seeded, written in a second.

The two text encoders of SDXL differ in width from each other and from the cross-attention, so that a swapped or forgotten
part fails loudly instead of drawing something else.
"""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from diffusers import (
    AutoencoderKL,
    AutoencoderKLFlux2,
    DDIMScheduler,
    EulerDiscreteScheduler,
    FlowMatchEulerDiscreteScheduler,
    Flux2KleinPipeline,
    Flux2Transformer2DModel,
    StableDiffusionPipeline,
    StableDiffusionXLPipeline,
    UNet2DConditionModel,
)
from tokenizers import pre_tokenizers
from transformers import (
    CLIPTextConfig,
    CLIPTextModel,
    CLIPTextModelWithProjection,
    CLIPTokenizer,
    Qwen2Tokenizer,
    Qwen3Config,
    Qwen3ForCausalLM,
)

SIDE = 64
"""Native size in pixels: 8 latents, VAE factor 8."""
START, END = "<|startoftext|>", "<|endoftext|>"
WORDS = (
    *("a", "photo", "of", "the", "person", "man", "woman", "sks", "in", "studio", "light", "outdoors"),
    *("portrait", "smiling", "wearing", "red", "blue", "suit"),
)
BETAS: dict[str, Any] = {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear"}


def sd15(folder: Path, prediction: str = "epsilon", seed: int = 1) -> Path:
    """A Stable Diffusion 1.5 in a hub folder."""
    torch.manual_seed(seed)
    shape: dict[str, Any] = {
        "sample_size": SIDE // 8,
        "block_out_channels": (32, 64),
        "layers_per_block": 1,
        "cross_attention_dim": 32,
        "attention_head_dim": 8,
        "down_block_types": ("CrossAttnDownBlock2D", "DownBlock2D"),
        "up_block_types": ("UpBlock2D", "CrossAttnUpBlock2D"),
    }
    noise = {**BETAS, "steps_offset": 1, "prediction_type": prediction}
    parts: dict[str, Any] = {
        "unet": UNet2DConditionModel(**shape),
        "vae": vae(),
        "text_encoder": CLIPTextModel(text_config(32, 32)),
        "tokenizer": tokenizer(folder / "tokenizer"),
        "scheduler": DDIMScheduler(**noise, clip_sample=False, set_alpha_to_one=False),
        "safety_checker": None,
        "feature_extractor": None,
    }
    StableDiffusionPipeline(**parts, requires_safety_checker=False).save_pretrained(folder)
    tokenizer(folder / "tokenizer")
    return folder


def sdxl(folder: Path, prediction: str = "epsilon", seed: int = 0) -> Path:
    """An SDXL in a hub folder."""
    torch.manual_seed(seed)
    shape: dict[str, Any] = {
        "sample_size": SIDE // 8,
        "block_out_channels": (32, 64),
        "layers_per_block": 1,
        "down_block_types": ("DownBlock2D", "CrossAttnDownBlock2D"),
        "up_block_types": ("CrossAttnUpBlock2D", "UpBlock2D"),
        "attention_head_dim": (2, 4),
        "use_linear_projection": True,
        "addition_embed_type": "text_time",
        "addition_time_embed_dim": 8,
        "transformer_layers_per_block": (1, 2),
        "projection_class_embeddings_input_dim": 6 * 8 + 40,
        "cross_attention_dim": 112,
    }
    noise = {**BETAS, "steps_offset": 1, "prediction_type": prediction}
    parts: dict[str, Any] = {
        "unet": UNet2DConditionModel(**shape),
        "vae": vae(),
        "text_encoder": CLIPTextModel(text_config(48, 48)),
        "text_encoder_2": CLIPTextModelWithProjection(text_config(64, 40)),
        "tokenizer": tokenizer(folder / "tokenizer"),
        "tokenizer_2": tokenizer(folder / "tokenizer_2", pad="!"),
        "scheduler": EulerDiscreteScheduler(**noise, timestep_spacing="leading"),
    }
    StableDiffusionXLPipeline(**parts).save_pretrained(folder)
    tokenizer(folder / "tokenizer")
    tokenizer(folder / "tokenizer_2", pad="!")
    return folder


def flux2(folder: Path, distilled: bool = False, seed: int = 2) -> Path:
    """A FLUX.2 [klein] in a hub folder."""
    torch.manual_seed(seed)
    width, length = 16, 96
    transformer = Flux2Transformer2DModel(
        patch_size=1,
        in_channels=16,
        num_layers=1,
        num_single_layers=2,
        attention_head_dim=16,
        num_attention_heads=2,
        joint_attention_dim=3 * width,
        timestep_guidance_channels=32,
        axes_dims_rope=(4, 4, 4, 4),
        guidance_embeds=False,
    )
    autoencoder = flux2_vae()
    words = qwen_tokenizer(length)
    config = Qwen3Config(
        vocab_size=len(words),
        hidden_size=width,
        intermediate_size=2 * width,
        num_hidden_layers=4,
        num_attention_heads=2,
        num_key_value_heads=2,
        head_dim=8,
        max_position_embeddings=1024,
        tie_word_embeddings=True,
    )
    parts: dict[str, Any] = {
        "transformer": transformer,
        "vae": autoencoder,
        "text_encoder": Qwen3ForCausalLM(config),
        "tokenizer": words,
        "scheduler": FlowMatchEulerDiscreteScheduler(
            shift=3.0, use_dynamic_shifting=True, time_shift_type="exponential"
        ),
    }
    Flux2KleinPipeline(**parts, is_distilled=distilled).save_pretrained(folder)
    return folder


def flux2_vae() -> AutoencoderKLFlux2:
    """Four levels, for the real factor of 8, and statistics that are not those of unit spread."""
    network = AutoencoderKLFlux2(
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
        block_out_channels=(8, 8, 16, 16),
        layers_per_block=1,
        latent_channels=4,
        norm_num_groups=4,
        sample_size=SIDE,
    )
    network.bn.running_mean = torch.randn(16) / 4
    network.bn.running_var = 0.5 + torch.rand(16)
    return network.eval()


END_OF_TURN = "<|im_end|>"
QWEN_TEMPLATE = (
    "{% for each in messages %}<|im_start|>{{ each.role }}\n{{ each.content }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n"
    "{% if enable_thinking is defined and not enable_thinking %}<think>\n\n</think>\n\n{% endif %}{% endif %}"
)
"""What a user says, and the beginning of an answer without thoughts: the form of Qwen3's."""


def qwen_tokenizer(length: int) -> Qwen2Tokenizer:
    """Qwen's layout with single letters as tokens; `length` is the longest prompt, in tokens."""
    return Qwen2Tokenizer(
        vocab={letter: number for number, letter in enumerate(sorted(pre_tokenizers.ByteLevel.alphabet()))},
        merges=[],
        eos_token=END_OF_TURN,
        pad_token=END,
        unk_token=END,
        additional_special_tokens=["<|im_start|>", END_OF_TURN, "<think>", "</think>"],
        chat_template=QWEN_TEMPLATE,
        model_max_length=length,
        padding_side="right",
    )


def vae() -> AutoencoderKL:
    """Four levels, for the real factor of 8."""
    shape: dict[str, Any] = {
        "block_out_channels": (16, 16, 32, 32),
        "latent_channels": 4,
        "norm_num_groups": 8,
        "down_block_types": ("DownEncoderBlock2D",) * 4,
        "up_block_types": ("UpDecoderBlock2D",) * 4,
        "sample_size": SIDE,
        "force_upcast": False,
    }
    return AutoencoderKL(**shape)


def tokenizer(folder: Path, pad: str = END, words: Sequence[str] = WORDS) -> CLIPTokenizer:
    """CLIP's layout: bytes, bytes that end a word, merges, and the two marks last."""
    tokens, merges = vocabulary(words)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "vocab.json").write_text(json.dumps(tokens))
    lines = [" ".join(pair) for pair in merges]
    (folder / "merges.txt").write_text("\n".join(["#version: 0.2", *lines]) + "\n")
    settings = {
        "tokenizer_class": "CLIPTokenizer",
        "model_max_length": 77,
        "bos_token": START,
        "eos_token": END,
        "unk_token": END,
        "pad_token": pad,
        "do_lower_case": True,
    }
    (folder / "tokenizer_config.json").write_text(json.dumps(settings))
    return CLIPTokenizer.from_pretrained(folder)


def vocabulary(words: Sequence[str] = WORDS) -> tuple[dict[str, int], list[tuple[str, str]]]:
    """Tokens with their numbers, and the merges that build each of `WORDS` letter by letter."""
    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    tokens = [*letters, *(letter + "</w>" for letter in letters)]
    merges: list[tuple[str, str]] = []
    for word in words:
        *head, last = word
        parts = [*head, last + "</w>"]
        while len(parts) > 1:
            pair = (parts[0], parts[1])
            if pair not in merges:
                merges.append(pair)
                tokens.append("".join(pair))
            parts[:2] = ["".join(pair)]
    return {token: number for number, token in enumerate([*tokens, START, END])}, merges


def text_config(width: int, projection: int, layers: int = 2, words: Sequence[str] = WORDS) -> CLIPTextConfig:
    """A text encoder of a few layers."""
    tokens, _ = vocabulary(words)
    return CLIPTextConfig(
        vocab_size=len(tokens),
        hidden_size=width,
        intermediate_size=2 * width,
        num_attention_heads=4,
        num_hidden_layers=layers,
        projection_dim=projection,
        max_position_embeddings=77,
        hidden_act="quick_gelu",
        bos_token_id=tokens[START],
        eos_token_id=tokens[END],
        pad_token_id=tokens[END],
    )
