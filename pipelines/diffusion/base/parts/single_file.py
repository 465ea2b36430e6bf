"""Key names of weights in single files (CompVis, Stability AI), from those of diffusers and transformers."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open

RESNET = {
    "norm1": "in_layers.0",
    "conv1": "in_layers.2",
    "time_emb_proj": "emb_layers.1",
    "norm2": "out_layers.0",
    "conv2": "out_layers.3",
    "conv_shortcut": "skip_connection",
}
UNET = {
    "time_embedding.linear_1": "time_embed.0",
    "time_embedding.linear_2": "time_embed.2",
    "add_embedding.linear_1": "label_emb.0.0",
    "add_embedding.linear_2": "label_emb.0.2",
    "conv_in": "input_blocks.0.0",
    "conv_norm_out": "out.0",
    "conv_out": "out.2",
}
ATTENTION = {"group_norm": "norm", "to_q": "q", "to_k": "k", "to_v": "v", "to_out.0": "proj_out"}
OPEN_CLIP = {
    "layer_norm1": "ln_1",
    "layer_norm2": "ln_2",
    "mlp.fc1": "mlp.c_fc",
    "mlp.fc2": "mlp.c_proj",
    "self_attn.out_proj": "attn.out_proj",
}


CONV_IN = "model.diffusion_model.input_blocks.0.0.weight"
"""Name of the U-Net's first weight, whose second side is as long as the channels that it takes."""


def read_in_channels(file: Path) -> int:
    """Channels that the U-Net of a single file takes, 4, or 9 where it was trained to inpaint; 0 where it has no U-Net."""
    if file.suffix == ".safetensors":
        with safe_open(file, framework="pt") as stream:
            return int(stream.get_slice(CONV_IN).get_shape()[1]) if CONV_IN in list(stream.keys()) else 0
    stored = torch.load(file, map_location="meta", weights_only=True, mmap=True)
    weights = stored.get("state_dict", stored)
    return int(weights[CONV_IN].shape[1]) if CONV_IN in weights else 0


def unet_name(name: str, config: Mapping[str, Any]) -> str:
    """The name of a weight or module of a U-Net: `down_blocks.1.resnets.0.norm1` is `input_blocks.4.0.in_layers.0` in SD 1.5.

    Blocks are numbered consecutively: each level has its layers and one downsampler; an upsampler belongs to its last layer.
    """
    for ours, theirs in UNET.items():
        if name == ours or name.startswith(ours + "."):
            return theirs + name[len(ours) :]
    layers = int(config["layers_per_block"])
    if found := re.match(r"mid_block\.(resnets|attentions)\.(\d+)", name):
        place = 1 if found[1] == "attentions" else 2 * int(found[2])
        return f"middle_block.{place}{_block_name(name[found.end() :])}"
    if found := re.match(r"down_blocks\.(\d+)\.(resnets|attentions|downsamplers)\.(\d+)", name):
        first = 1 + int(found[1]) * (layers + 1)
        if found[2] == "downsamplers":
            return f"input_blocks.{first + layers}.0.op{name[found.end() :].removeprefix('.conv')}"
        part = int(found[2] == "attentions")
        return f"input_blocks.{first + int(found[3])}.{part}{_block_name(name[found.end() :])}"
    found = re.match(r"up_blocks\.(\d+)\.(resnets|attentions|upsamplers)\.(\d+)", name)
    if not found:
        raise ValueError(f"a U-Net has no weight {name}")
    level, first = int(found[1]), int(found[1]) * (layers + 1)
    if found[2] == "upsamplers":
        part = 2 if str(config["up_block_types"][level]).startswith("CrossAttn") else 1
        return f"output_blocks.{first + layers}.{part}{name[found.end() :]}"
    part = int(found[2] == "attentions")
    return f"output_blocks.{first + int(found[3])}.{part}{_block_name(name[found.end() :])}"


def vae_name(name: str, levels: int) -> str:
    """The name of a weight of a VAE; in the decoder levels are counted from the other end."""
    name = name.replace("conv_norm_out", "norm_out")
    name = re.sub(r"down_blocks\.(\d+)\.resnets\.", r"down.\1.block.", name)
    name = re.sub(r"down_blocks\.(\d+)\.downsamplers\.0\.", r"down.\1.downsample.", name)
    name = re.sub(r"up_blocks\.(\d+)\.resnets\.", lambda m: f"up.{levels - 1 - int(m[1])}.block.", name)
    name = re.sub(r"up_blocks\.(\d+)\.upsamplers\.0\.", lambda m: f"up.{levels - 1 - int(m[1])}.upsample.", name)
    name = re.sub(r"mid_block\.resnets\.(\d+)\.", lambda m: f"mid.block_{int(m[1]) + 1}.", name)
    name = name.replace("conv_shortcut", "nin_shortcut")
    if "mid_block.attentions.0." in name:
        head, _, tail = name.partition("mid_block.attentions.0.")
        for ours, theirs in ATTENTION.items():
            if tail.startswith(ours + "."):
                tail = theirs + tail[len(ours) :]
                break
        name = f"{head}mid.attn_1.{tail}"
    return name


def unet_weights(weights: Mapping[str, torch.Tensor], config: Mapping[str, Any]) -> dict[str, torch.Tensor]:
    """A U-Net's weights under the key names of a single file."""
    return {f"model.diffusion_model.{unet_name(name, config)}": weight for name, weight in weights.items()}


def vae_weights(weights: Mapping[str, torch.Tensor], config: Mapping[str, Any]) -> dict[str, torch.Tensor]:
    """A VAE's weights under the key names of a single file, where its attention is stored as 1×1 convolutions."""
    levels = len(config["block_out_channels"])
    named = {f"first_stage_model.{vae_name(name, levels)}": weight for name, weight in weights.items()}
    return {
        name: weight[..., None, None] if ".attn_1." in name and weight.ndim == 2 else weight
        for name, weight in named.items()
    }


def clip_weights(encoder: Any, prefix: str) -> dict[str, torch.Tensor]:
    """CLIP's weights under transformers' published names, which all begin with `text_model`."""
    weights = encoder.state_dict()
    return {
        prefix + (name if name.startswith("text_model.") else f"text_model.{name}"): weight
        for name, weight in weights.items()
    }


def open_clip_weights(encoder: Any, prefix: str) -> dict[str, torch.Tensor]:
    """CLIP's weights under OpenCLIP's names: query, key and value are one weight, and the projection is transposed."""
    weights = {name.removeprefix("text_model."): weight for name, weight in encoder.state_dict().items()}
    named = {
        "positional_embedding": weights["embeddings.position_embedding.weight"],
        "token_embedding.weight": weights["embeddings.token_embedding.weight"],
        "ln_final.weight": weights["final_layer_norm.weight"],
        "ln_final.bias": weights["final_layer_norm.bias"],
    }
    if "text_projection.weight" in weights:  # of an encoder whose pooled words are read
        named["text_projection"] = weights["text_projection.weight"].T.contiguous()
    for name, weight in weights.items():
        found = re.match(r"encoder\.layers\.(\d+)\.(.+)\.(weight|bias)$", name)
        if not found:
            continue
        block = f"transformer.resblocks.{found[1]}"
        if found[2] == "self_attn.q_proj":
            three = [weights[name.replace("q_proj", part)] for part in ("q_proj", "k_proj", "v_proj")]
            named[f"{block}.attn.in_proj_{found[3]}"] = torch.cat(three)
        elif found[2] in OPEN_CLIP:
            named[f"{block}.{OPEN_CLIP[found[2]]}.{found[3]}"] = weight
    return {prefix + name: weight for name, weight in named.items()}


def _block_name(rest: str) -> str:
    """The rest of a name inside a block: residual layers are named differently, attention the same."""
    for ours, theirs in RESNET.items():
        if rest == f".{ours}" or rest.startswith(f".{ours}."):
            return f".{theirs}{rest[len(ours) + 1 :]}"
    return rest
