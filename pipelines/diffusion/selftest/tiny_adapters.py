"""Tiny checkpoints of everything that draws a person, in the layouts and key names of the published ones.

Written in a second, seeded, nothing is fetched. `tests/golden/golden.npz` holds what the published pipelines computed on
these very networks, so the order in which weights are drawn must not change. Widths differ on purpose (text encoders 48
and 80, pooled words 40, cross-attention 128): a swapped part or a missed projection then fails instead of drawing
something else.
"""

from pathlib import Path
from typing import Any

import torch
from diffusers import (
    ControlNetModel,
    DDIMScheduler,
    EulerDiscreteScheduler,
    Flux2KleinPipeline,
    Flux2Transformer2DModel,
    StableDiffusionPipeline,
    StableDiffusionXLImg2ImgPipeline,
    StableDiffusionXLPipeline,
    UNet2DConditionModel,
)
from transformers import (
    CLIPTextConfig,
    CLIPTextModel,
    CLIPTextModelWithProjection,
    CLIPVisionConfig,
    CLIPVisionModelWithProjection,
)

from pipelines.diffusion.base.families import flux2
from pipelines.diffusion.selftest import tiny

FIRST, SECOND, POOLED, CROSS, VISION, FACE = 48, 80, 40, 128, 64, 512
WORDS = (
    *("a", "photo", "of", "the", "man", "woman", "person", "portrait", "best", "quality"),
    *("img", "in", "sks", "and", "red", "low", "bad", "style", "film"),
)
NOISE: dict[str, Any] = {**tiny.BETAS, "steps_offset": 1}

XL: dict[str, Any] = {
    "in_channels": 4,
    "block_out_channels": (32, 64),
    "layers_per_block": 1,
    "down_block_types": ("DownBlock2D", "CrossAttnDownBlock2D"),
    "transformer_layers_per_block": (1, 2),
    "attention_head_dim": (2, 4),
    "use_linear_projection": True,
    "cross_attention_dim": CROSS,
    "addition_embed_type": "text_time",
    "addition_time_embed_dim": 8,
    "projection_class_embeddings_input_dim": 6 * 8 + POOLED,
}
SD15: dict[str, Any] = {
    "in_channels": 4,
    "block_out_channels": (32, 64),
    "layers_per_block": 1,
    "down_block_types": ("CrossAttnDownBlock2D", "DownBlock2D"),
    "attention_head_dim": 8,
    "cross_attention_dim": 32,
}

Weights = dict[str, torch.Tensor]


def build(root: Path) -> Path:
    """Write all of it under `root`, about 55 MB."""
    xl, sd = sdxl(root / "sdxl"), sd15(root / "sd15")
    for seed, kind in ((20, "canny"), (21, "depth"), (22, "pose")):
        controlnet(root / f"controlnet-{kind}-sdxl", seed, XL)
    controlnet(root / "controlnet-sd15", 3, SD15)
    instantid(root / "instantid", xl)
    for version in (1, 2):
        photomaker(root / "photomaker", xl, version)
    faceid(root / "faceid" / "ip-adapter-faceid_sd15.bin", sd)
    faceid(root / "faceid" / "ip-adapter-faceid_sdxl.bin", xl)
    faceid(root / "faceid" / "ip-adapter-faceid-plusv2_sdxl.bin", xl, plus=True)
    image_encoder(root / "image_encoder")
    for seed, whose in ((31, "user"), (32, "style")):
        lora(root / f"lora-{whose}", xl, seed)
    return root


def sdxl(folder: Path) -> UNet2DConditionModel:
    """An SDXL base."""
    torch.manual_seed(0)
    unet = UNet2DConditionModel(
        sample_size=32, out_channels=4, up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"), **XL
    )
    parts: dict[str, Any] = {
        "unet": unet,
        "vae": tiny.vae(),
        "text_encoder": CLIPTextModel(text_config(FIRST, FIRST)),
        "text_encoder_2": CLIPTextModelWithProjection(text_config(SECOND, POOLED)),
        "tokenizer": tiny.tokenizer(folder / "tokenizer", words=WORDS),
        "tokenizer_2": tiny.tokenizer(folder / "tokenizer_2", pad="!", words=WORDS),
        "scheduler": EulerDiscreteScheduler(**NOISE, timestep_spacing="leading"),
    }
    StableDiffusionXLPipeline(**parts).save_pretrained(folder)
    tiny.tokenizer(folder / "tokenizer", words=WORDS)
    tiny.tokenizer(folder / "tokenizer_2", pad="!", words=WORDS)
    return unet


def sd15(folder: Path) -> UNet2DConditionModel:
    """A Stable Diffusion 1.5 base."""
    torch.manual_seed(1)
    unet = UNet2DConditionModel(
        sample_size=32, out_channels=4, up_block_types=("UpBlock2D", "CrossAttnUpBlock2D"), **SD15
    )
    parts: dict[str, Any] = {
        "unet": unet,
        "vae": tiny.vae(),
        "text_encoder": CLIPTextModel(text_config(32, 32)),
        "tokenizer": tiny.tokenizer(folder / "tokenizer", words=WORDS),
        "scheduler": DDIMScheduler(**NOISE, clip_sample=False, set_alpha_to_one=False),
        "safety_checker": None,
        "feature_extractor": None,
    }
    StableDiffusionPipeline(**parts, requires_safety_checker=False).save_pretrained(folder)
    tiny.tokenizer(folder / "tokenizer", words=WORDS)
    return unet


def text_config(width: int, projection: int) -> CLIPTextConfig:
    """A text encoder of three layers, so that the last but one is not the first."""
    return tiny.text_config(width, projection, layers=3, words=WORDS)


def controlnet(folder: Path, seed: int, shape: dict[str, Any]) -> None:
    """A ControlNet; what is zero in a fresh one, which therefore does nothing, is given noise."""
    torch.manual_seed(seed)
    network = ControlNetModel(conditioning_embedding_out_channels=(8, 8, 16, 32), **shape)
    silent = ("controlnet_down_blocks", "controlnet_mid_block", "controlnet_cond_embedding.conv_out")
    with torch.no_grad():
        for name, weight in network.named_parameters():
            if name.startswith(silent):
                weight.normal_(0, 0.1)
    network.save_pretrained(folder)


def instantid(folder: Path, unet: UNet2DConditionModel) -> None:
    """`ControlNetModel/` and `ip-adapter.bin`."""
    controlnet(folder / "ControlNetModel", 105, XL)
    torch.manual_seed(5)
    projection = resampler(64, FACE, CROSS, heads=1, queries=16)
    torch.save({"image_proj": projection, "ip_adapter": image_attention(unet)}, folder / "ip-adapter.bin")


def photomaker(folder: Path, unet: UNet2DConditionModel, version: int) -> None:
    """`photomaker-v1.bin`: a token a photo, from CLIP alone; `photomaker-v2.bin`: two, and a face embedding."""
    torch.manual_seed(11)
    width = FIRST + SECOND
    tower = CLIPVisionModelWithProjection(vision_config(layers=2, heads=1, intermediate=2 * VISION, projection=FIRST))
    weights = {name: each.clone() for name, each in tower.state_dict().items() if not name.endswith("position_ids")}
    weights["visual_projection_2.weight"] = linear(SECOND, VISION)
    for part, given in (("mlp1", 2 * width), ("mlp2", width)):
        name = f"fuse_module.{part}"
        weights |= norm(f"{name}.layernorm", given)
        weights |= biased(f"{name}.fc1", width, given)
        weights |= biased(f"{name}.fc2", width, width)
    weights |= norm("fuse_module.layer_norm", width)
    if version == 2:
        weights |= biased("qformer_perceiver.token_proj.0", 4 * FACE, FACE)
        weights |= biased("qformer_perceiver.token_proj.2", 2 * width, 4 * FACE)
        weights |= norm("qformer_perceiver.token_norm", width)
        inner = resampler(width, VISION, width, heads=width // 128, side=128)
        weights |= {f"qformer_perceiver.perceiver_resampler.{name}": each for name, each in inner.items()}
    folder.mkdir(parents=True, exist_ok=True)
    adapter = attention_lora(unet, 12)
    torch.save({"id_encoder": weights, "lora_weights": adapter}, folder / f"photomaker-v{version}.bin")


def faceid(file: Path, unet: UNet2DConditionModel, plus: bool = False) -> None:
    """IP-Adapter-FaceID with its LoRA inside; `plus` has a resampler over CLIP's patches too."""
    torch.manual_seed(8)
    cross = int(unet.config["cross_attention_dim"])
    projection = biased("proj.0", 2 * FACE, FACE) | biased("proj.2", 4 * cross, 2 * FACE) | norm("norm", cross)
    if plus:
        more = resampler(cross, VISION, cross, heads=max(1, cross // 64))
        projection |= {f"perceiver_resampler.{name}": each for name, each in more.items()}
    attention = image_attention(unet)
    for place, name in enumerate(unet.attn_processors):
        width = width_at(unet, name)
        inputs = width if name.endswith("attn1.processor") else cross
        for part, given in (("q", width), ("k", inputs), ("v", inputs), ("out", width)):
            attention[f"{place}.to_{part}_lora.down.weight"] = torch.randn(4, given) * 0.2
            attention[f"{place}.to_{part}_lora.up.weight"] = torch.randn(width, 4) * 0.2
    file.parent.mkdir(parents=True, exist_ok=True)
    torch.save({"image_proj": projection, "ip_adapter": attention}, file)


def image_encoder(folder: Path) -> None:
    """The CLIP vision encoder of FaceID Plus."""
    torch.manual_seed(9)
    CLIPVisionModelWithProjection(vision_config(layers=3, heads=4, intermediate=96, projection=48)).save_pretrained(
        folder
    )


def refiner(folder: Path, seed: int = 50) -> Path:
    """SDXL's refiner in half-precision names: one text encoder, the second, and a score instead of a target size."""
    torch.manual_seed(seed)
    shape = {**XL, "cross_attention_dim": SECOND, "projection_class_embeddings_input_dim": 5 * 8 + POOLED}
    unet = UNet2DConditionModel(
        sample_size=32, out_channels=4, up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"), **shape
    )
    parts: dict[str, Any] = {
        "unet": unet,
        "vae": tiny.vae(),
        "text_encoder": None,
        "text_encoder_2": CLIPTextModelWithProjection(text_config(SECOND, POOLED)),
        "tokenizer": None,
        "tokenizer_2": tiny.tokenizer(folder / "tokenizer_2", pad="!", words=WORDS),
        "scheduler": EulerDiscreteScheduler(**NOISE, timestep_spacing="leading"),
    }
    pipeline = StableDiffusionXLImg2ImgPipeline(
        **parts, requires_aesthetics_score=True, force_zeros_for_empty_prompt=False
    )
    pipeline.save_pretrained(folder, variant="fp16")
    tiny.tokenizer(folder / "tokenizer_2", pad="!", words=WORDS)
    (folder / "tokenizer_2" / "special_tokens_map.json").write_text("{}")
    return folder


def vision_config(layers: int, heads: int, intermediate: int, projection: int) -> CLIPVisionConfig:
    """A CLIP tower for pictures of 224 pixels."""
    return CLIPVisionConfig(
        hidden_size=VISION,
        intermediate_size=intermediate,
        num_attention_heads=heads,
        num_hidden_layers=layers,
        patch_size=14,
        image_size=224,
        projection_dim=projection,
    )


def lora(folder: Path, unet: UNet2DConditionModel, seed: int, rank: int = 4) -> Path:
    """A person's or a style's LoRA as diffusers writes it."""
    weights: Any = {name.removeprefix("unet."): each for name, each in attention_lora(unet, seed, rank).items()}
    StableDiffusionXLPipeline.save_lora_weights(folder, unet_lora_layers=weights)
    return folder / "pytorch_lora_weights.safetensors"


def flux2_lora(folder: Path, base: Path, seed: int, rank: int = 4) -> Path:
    """A person's LoRA for the FLUX.2 of a hub folder, as diffusers writes it."""
    transformer: Any = Flux2Transformer2DModel.from_pretrained(base / "transformer")
    torch.manual_seed(seed)
    weights: Any = {}
    for name in flux2.FAMILY.lora_targets(transformer):
        out, given = transformer.get_submodule(name).weight.shape
        weights[f"{name}.lora_A.weight"] = torch.randn(rank, given) * 0.3
        weights[f"{name}.lora_B.weight"] = torch.randn(out, rank) * 0.3
    Flux2KleinPipeline.save_lora_weights(folder, transformer_lora_layers=weights)
    return folder / "pytorch_lora_weights.safetensors"


def attention_lora(unet: UNet2DConditionModel, seed: int, rank: int = 4) -> Weights:
    """Random factors of every attention layer, in PEFT's names."""
    torch.manual_seed(seed)
    weights: Weights = {}
    for name, module in unet.named_modules():
        if "attn" in name and name.endswith((".to_q", ".to_k", ".to_v", ".to_out.0")):
            weight: Any = module.weight
            out, given = weight.shape
            weights[f"unet.{name}.lora_A.weight"] = torch.randn(rank, given) * 0.3
            weights[f"unet.{name}.lora_B.weight"] = torch.randn(out, rank) * 0.3
    return weights


def image_attention(unet: UNet2DConditionModel) -> Weights:
    """Keys and values for image tokens, numbered by their place among the attention processors."""
    weights: Weights = {}
    for place, name in enumerate(unet.attn_processors):
        if name.endswith("attn2.processor"):
            for part in ("k", "v"):
                shape = (width_at(unet, name), int(unet.config["cross_attention_dim"]))
                weights[f"{place}.to_{part}_ip.weight"] = torch.randn(*shape) * 0.2
    return weights


def width_at(unet: UNet2DConditionModel, processor: str) -> int:
    """Channels where an attention processor sits, read from its name."""
    widths = list(unet.config["block_out_channels"])
    block = processor.split(".")
    if block[0] == "mid_block":
        return widths[-1]
    return (widths[::-1] if block[0] == "up_blocks" else widths)[int(block[1])]


def resampler(width: int, given: int, out: int, heads: int, queries: int = 0, side: int = 64) -> Weights:
    """The Resampler of IP-Adapter Plus, InstantID and PhotoMaker V2, four layers deep."""
    inner = heads * side
    weights: Weights = {}
    if queries:
        weights["latents"] = torch.randn(1, queries, width) / width**0.5
    weights |= biased("proj_in", width, given) | biased("proj_out", out, width) | norm("norm_out", out)
    for layer in range(4):
        attention, forward = f"layers.{layer}.0", f"layers.{layer}.1"
        weights |= norm(f"{attention}.norm1", width) | norm(f"{attention}.norm2", width)
        weights[f"{attention}.to_q.weight"] = linear(inner, width)
        weights[f"{attention}.to_kv.weight"] = linear(2 * inner, width)
        weights[f"{attention}.to_out.weight"] = linear(width, inner)
        weights |= norm(f"{forward}.0", width)
        weights[f"{forward}.1.weight"] = linear(4 * width, width)
        weights[f"{forward}.3.weight"] = linear(width, 4 * width)
    return weights


def linear(out: int, given: int) -> torch.Tensor:
    """A matrix that keeps the size of what it maps."""
    return torch.randn(out, given) * given**-0.5


def biased(name: str, out: int, given: int) -> Weights:
    """A linear layer."""
    weight = linear(out, given)
    return {f"{name}.weight": weight, f"{name}.bias": 0.1 * (torch.randn(out) * out**-0.5)}


def norm(name: str, width: int) -> Weights:
    """A layer norm."""
    weight = 1 + 0.1 * torch.randn(width)
    return {f"{name}.weight": weight, f"{name}.bias": 0.1 * torch.randn(width)}
