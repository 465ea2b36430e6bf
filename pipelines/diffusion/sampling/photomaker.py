"""PhotoMaker's ID encoders, V1 and V2: photos to token embeddings that are merged with that of the class word."""

from collections.abc import Mapping
from typing import Any

import torch
from diffusers.models.embeddings import IPAdapterPlusImageProjectionBlock
from torch import nn
from transformers import CLIPVisionConfig, CLIPVisionModelWithProjection

CLIP_HEAD_SIZE = 64
"""Channels of an attention head in CLIP's vision encoders."""
PERCEIVER_HEAD_SIZE = 128
"""Channels of an attention head in V2's perceiver."""
ACTIVATION = "quick_gelu"


class Mlp(nn.Module):
    """A norm and two layers, with a residual connection where widths allow."""

    def __init__(self, given: int, width: int, has_residual: bool) -> None:
        super().__init__()
        self.layernorm = nn.LayerNorm(given)
        self.fc1, self.fc2 = nn.Linear(given, width), nn.Linear(width, width)
        self.has_residual = has_residual

    def forward(self, given: torch.Tensor) -> torch.Tensor:
        """N×given to N×width."""
        out = self.fc2(nn.functional.gelu(self.fc1(self.layernorm(given))))
        return out + given if self.has_residual else out


class FuseModule(nn.Module):
    """Merges the embeddings of a token and a photo."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.mlp1 = Mlp(2 * width, width, has_residual=False)
        self.mlp2 = Mlp(width, width, has_residual=True)
        self.layer_norm = nn.LayerNorm(width)

    def forward(self, tokens: torch.Tensor, photos: torch.Tensor) -> torch.Tensor:
        """N×width each."""
        return self.layer_norm(self.mlp2(self.mlp1(torch.cat([tokens, photos], dim=-1)) + tokens))


class PhotoMakerIdEncoder(CLIPVisionModelWithProjection):
    """CLIP's vision encoder with a second projection, for the second text encoder; one token per photo (V1)."""

    tokens_per_photo = 1

    def __init__(self, config: CLIPVisionConfig, second: int) -> None:
        super().__init__(config)
        self.visual_projection_2 = nn.Linear(config.hidden_size, second, bias=False)
        self.fuse_module = FuseModule(config.projection_dim + second)

    def forward(
        self, pixels: torch.Tensor, embeddings: torch.Tensor, indices: torch.Tensor, faces: torch.Tensor | None
    ) -> torch.Tensor:
        """Text embeddings 1×tokens×width with those at `indices`, N·tokens_per_photo, merged with N photos."""
        merged = embeddings.clone()
        merged[:, indices] = self.fuse_module(embeddings[0, indices], self.tokens(pixels, faces))[None]
        return merged

    def tokens(self, pixels: torch.Tensor, faces: torch.Tensor | None) -> torch.Tensor:
        """Embeddings of photos, (N·tokens_per_photo)×width."""
        features = self.vision_model(pixels)[1]
        return torch.cat([self.visual_projection(features), self.visual_projection_2(features)], dim=-1)


class FacePerceiverResampler(nn.Module):
    """Cross-attention from queries of a face to CLIP's patches."""

    def __init__(self, width: int, patch: int) -> None:
        super().__init__()
        self.proj_in, self.proj_out = nn.Linear(patch, width), nn.Linear(width, width)
        self.norm_out = nn.LayerNorm(width)
        heads = width // PERCEIVER_HEAD_SIZE
        blocks = [IPAdapterPlusImageProjectionBlock(width, PERCEIVER_HEAD_SIZE, heads) for _ in range(4)]
        self.layers = nn.ModuleList(blocks)

    def forward(self, queries: torch.Tensor, patches: torch.Tensor) -> torch.Tensor:
        """N×tokens×width."""
        given = self.proj_in(patches)
        for block in self.layers:
            queries = block(given, queries, queries)
        return self.norm_out(self.proj_out(queries))


class QFormerPerceiver(nn.Module):
    """A face embedding to queries, and what they attend to in CLIP's patches."""

    def __init__(self, face: int, wide: int, width: int, patch: int, tokens_per_photo: int) -> None:
        super().__init__()
        self.token_proj = nn.Sequential(nn.Linear(face, wide), nn.GELU(), nn.Linear(wide, width * tokens_per_photo))
        self.token_norm = nn.LayerNorm(width)
        self.perceiver_resampler = FacePerceiverResampler(width, patch)
        self.tokens_per_photo, self.width = tokens_per_photo, width

    def forward(self, faces: torch.Tensor, patches: torch.Tensor) -> torch.Tensor:
        """N×tokens_per_photo×width."""
        queries = self.token_norm(self.token_proj(faces).reshape(-1, self.tokens_per_photo, self.width))
        return queries + self.perceiver_resampler(queries, patches)


class PhotoMakerV2IdEncoder(PhotoMakerIdEncoder):
    """The same with queries from a face embedding; two tokens per photo (V2)."""

    tokens_per_photo = 2

    def __init__(self, config: CLIPVisionConfig, second: int, face: int, wide: int) -> None:
        super().__init__(config, second)
        width = config.projection_dim + second
        self.qformer_perceiver = QFormerPerceiver(face, wide, width, config.hidden_size, self.tokens_per_photo)

    def tokens(self, pixels: torch.Tensor, faces: torch.Tensor | None) -> torch.Tensor:
        """Embeddings of photos, (N·tokens_per_photo)×width."""
        if faces is None:
            raise ValueError("a face embedding for each photo is needed")
        return self.qformer_perceiver(faces, self.vision_model(pixels)[0]).flatten(0, 1)


def build_id_encoder(weights: Mapping[str, torch.Tensor]) -> tuple[Any, dict[str, torch.Tensor]]:
    """The ID encoder sized after a checkpoint's weights, and the weights under its key names; KeyError for others."""
    hidden = weights["vision_model.embeddings.class_embedding"].shape[0]
    patch = weights["vision_model.embeddings.patch_embedding.weight"].shape[-1]
    positions = weights["vision_model.embeddings.position_embedding.weight"].shape[0]
    layers = {name.split(".")[3] for name in weights if name.startswith("vision_model.encoder.layers.")}
    config = CLIPVisionConfig(
        hidden_size=hidden,
        intermediate_size=weights["vision_model.encoder.layers.0.mlp.fc1.weight"].shape[0],
        num_hidden_layers=len(layers),
        num_attention_heads=hidden // CLIP_HEAD_SIZE,
        patch_size=patch,
        image_size=patch * round((positions - 1) ** 0.5),
        projection_dim=weights["visual_projection.weight"].shape[0],
        hidden_act=ACTIVATION,
    )
    second = weights["visual_projection_2.weight"].shape[0]
    query_weight = weights.get("qformer_perceiver.token_proj.0.weight")
    network = (
        PhotoMakerIdEncoder(config, second)
        if query_weight is None
        else PhotoMakerV2IdEncoder(config, second, query_weight.shape[1], query_weight.shape[0])
    )
    return network, _to_diffusers_names(weights)


def _to_diffusers_names(weights: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Weights with the perceiver's layers under diffusers' key names; the others are named alike."""
    start = "qformer_perceiver.perceiver_resampler.layers."
    parts = {
        "0.norm1": "ln0",
        "0.norm2": "ln1",
        "0.to_q": "attn.to_q",
        "0.to_out": "attn.to_out.0",
        "1.0": "ff.0",
        "1.1": "ff.1.net.0.proj",
        "1.3": "ff.1.net.2",
    }
    named: dict[str, torch.Tensor] = {}
    for name, weight in weights.items():
        if not name.startswith(start):
            if not name.endswith("position_ids"):
                named[name] = weight
            continue
        layer, _, rest = name.removeprefix(start).partition(".")
        part, _, end = rest.rpartition(".")
        if part == "0.to_kv":
            named[f"{start}{layer}.attn.to_k.{end}"], named[f"{start}{layer}.attn.to_v.{end}"] = weight.chunk(2)
        else:
            named[f"{start}{layer}.{parts[part]}.{end}"] = weight
    return named
