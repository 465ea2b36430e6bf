"""A tiny Stable Diffusion 3.5 in the published layout, its control networks, and drawings through both programs."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import torch
from diffusers import (
    AutoencoderKL,
    FlowMatchEulerDiscreteScheduler,
    SD3ControlNetModel,
    SD3Transformer2DModel,
    StableDiffusion3Pipeline,
)
from transformers import CLIPTextModelWithProjection, T5Config, T5EncoderModel, T5Tokenizer

from pipelines.diffusion.base import lora
from pipelines.diffusion.base.lease import LoadedBase
from pipelines.diffusion.base.registry import family_by_name
from pipelines.diffusion.base.source import BaseSource
from pipelines.diffusion.sampling import pipeline_call
from pipelines.diffusion.sampling.pipeline_call import Conditioning
from portrait.arrays import Image, Size
from portrait.generation.options import GenerationOptions
from portrait.generation.parameters import GenerationParameters
from tests import tiny

FAMILY = family_by_name("sd3")
PROMPT, NEGATIVE = "a photo of a man", "low quality"
SIZE, STEPS, GUIDANCE, SEED = Size(96, 64), 2, 4.0, 3
WIDTH, INNER, POOLED = 112, 32, 40 + 24
"""Of the words that the transformer reads, of the transformer, and of both CLIPs' pooled states."""
SHAPE: dict[str, Any] = {
    "sample_size": tiny.SIDE // 8,
    "patch_size": 2,
    "in_channels": 16,
    "out_channels": 16,
    "attention_head_dim": 8,
    "num_attention_heads": 4,
    "caption_projection_dim": INNER,
    "joint_attention_dim": WIDTH,
    "pooled_projection_dim": POOLED,
    "pos_embed_max_size": 24,
}


def sd3(folder: Path, channels: int = 16, layers: int = 3) -> Path:
    """A Medium, with a second attention in all blocks but the last, in a hub folder."""
    torch.manual_seed(5)
    levels: dict[str, Any] = {
        "block_out_channels": (8, 8, 16, 16),
        "down_block_types": ("DownEncoderBlock2D",) * 4,
        "up_block_types": ("UpDecoderBlock2D",) * 4,
    }
    vae = AutoencoderKL(
        **levels,
        latent_channels=16,
        norm_num_groups=4,
        sample_size=tiny.SIDE,
        use_quant_conv=False,
        use_post_quant_conv=False,
        scaling_factor=1.5305,
        shift_factor=0.6,  # ten times the published one, so that nothing forgets it unnoticed
    )
    shape = {**SHAPE, "in_channels": channels, "num_layers": layers, "qk_norm": "rms_norm"}
    parts: dict[str, Any] = {
        "transformer": SD3Transformer2DModel(**shape, dual_attention_layers=tuple(range(layers - 1))),
        "vae": vae,
        "text_encoder": CLIPTextModelWithProjection(tiny.text_config(32, 40)),
        "text_encoder_2": CLIPTextModelWithProjection(tiny.text_config(48, 24)),
        "text_encoder_3": T5EncoderModel(
            T5Config(vocab_size=40, d_model=WIDTH, d_ff=32, d_kv=8, num_heads=4, num_layers=2)
        ),
        "tokenizer": tiny.tokenizer(folder / "tokenizer"),
        "tokenizer_2": tiny.tokenizer(folder / "tokenizer_2", pad="!"),
        "tokenizer_3": t5_tokenizer(),
        "scheduler": FlowMatchEulerDiscreteScheduler(shift=3.0),
        "image_encoder": None,
        "feature_extractor": None,
    }
    spread(parts["transformer"])
    StableDiffusion3Pipeline(**parts).save_pretrained(folder)
    tiny.tokenizer(folder / "tokenizer")
    tiny.tokenizer(folder / "tokenizer_2", pad="!")
    return folder


def t5_tokenizer() -> T5Tokenizer:
    """T5's layout with single letters as tokens."""
    special = [("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0), ("▁", -2.0)]
    letters = [(letter, -3.0) for letter in "abcdefghijklmnopqrstuvwxyz"]
    return T5Tokenizer(vocab=[*special, *letters], extra_ids=0, model_max_length=512)


def spread(network: torch.nn.Module) -> None:
    """Have words and controls count for more than they do in a network whose last layers are small."""
    with torch.no_grad():
        for name, weight in network.named_parameters():
            if weight.ndim > 1:
                weight.mul_(2.0 if "norm" in name or "embed" in name else 1.5)


def control(seed: int, published: bool = False, layers: int = 1) -> SD3ControlNetModel:
    """A control network: of InstantX's kind, or as Stability published them for Large, without words and places."""
    torch.manual_seed(seed)
    own = {"joint_attention_dim": None, "use_pos_embed": False, "pos_embed_type": None} if published else {}
    network = SD3ControlNetModel(
        **SHAPE | own, num_layers=layers, force_zeros_for_pooled_projection=not published, qk_norm=None
    )
    with torch.no_grad():
        for weight in [*network.controlnet_blocks.parameters(), *network.pos_embed_input.parameters()]:
            weight.copy_(torch.randn(weight.shape) / 4)
    return network.requires_grad_(False).eval()


def load(base: BaseSource, profile: Any = "full", compiled: bool = False) -> LoadedBase:
    """A base on the CPU."""
    return LoadedBase(base, torch.float32, torch.device("cpu"), profile, compiled)


def picture(seed: int, size: Size = SIZE) -> Image:
    """Noise in cells of 8 pixels."""
    coarse = np.random.default_rng(seed).integers(0, 255, (size.height // 8, size.width // 8, 3), dtype=np.uint8)
    return np.ascontiguousarray(coarse.repeat(8, axis=0).repeat(8, axis=1))


def person_lora(loaded: LoadedBase, seed: int, folder: Path) -> tuple[Path, Path]:
    """A LoRA of all layers that people are learned in, as a training writes it: diffusers' names and kohya's."""
    random, weights = torch.Generator().manual_seed(seed), dict[str, torch.Tensor]()
    for name in FAMILY.lora_targets(loaded.denoiser):
        layer = loaded.denoiser.get_submodule(name)
        layer = getattr(layer, "base_layer", layer)
        weights[f"transformer.{name}.lora_A.weight"] = torch.randn(4, layer.in_features, generator=random) / 4
        weights[f"transformer.{name}.lora_B.weight"] = torch.randn(layer.out_features, 4, generator=random) / 4
    folder.mkdir(parents=True, exist_ok=True)
    return lora.write_both(weights, FAMILY, FAMILY.kohya_config(loaded.denoiser.config), "sks", folder)


def draw(
    loaded: LoadedBase,
    lora_file: Path | None = None,
    controls: Sequence[Any] = (),
    on_step: Callable[[int], None] = lambda done: None,
    **changes: Any,
) -> np.ndarray:
    """A picture through this project; `changes` are fields of the parameters."""
    given: dict[str, Any] = {"prompt": PROMPT, "negative": NEGATIVE, "size": SIZE, "seed": SEED, "steps": STEPS}
    given |= {"guidance": GUIDANCE, "options": GenerationOptions(cutoff=1.0), **changes}
    with loaded.lease() as lease:
        if lora_file is not None:
            lease.load_person_lora(lora_file, 1.0)
        conditionings = [Conditioning(controlnets=controls)]
        return pipeline_call.generate_image(lease, GenerationParameters(**given), conditionings, on_step)


def stock(pipe: Any, **changes: Any) -> np.ndarray:
    """The same through a stock pipeline, which encodes the words itself; `changes` are arguments of its call."""
    given: dict[str, Any] = {"prompt": PROMPT, "negative_prompt": NEGATIVE, "num_inference_steps": STEPS}
    given |= {"width": SIZE.width, "height": SIZE.height, "guidance_scale": GUIDANCE, "output_type": "np"}
    torch.manual_seed(SEED)
    return pipe(**given | changes, generator=torch.Generator("cpu").manual_seed(SEED)).images[0]


def quiet(pipe: Any) -> Any:
    """A stock pipeline without its bar."""
    pipe.set_progress_bar_config(disable=True)
    return pipe


def as_pictures(*images: Image) -> list[PIL.Image.Image]:
    """Pictures as stock pipelines take them."""
    return [PIL.Image.fromarray(each) for each in images]


def apart(one: np.ndarray, other: np.ndarray) -> float:
    """The largest difference of two pictures."""
    return float(np.abs(one - other).max())
