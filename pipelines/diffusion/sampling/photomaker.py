"""PhotoMaker's networks, as its checkpoints have them: photos become tokens that are merged with the class word's."""

from collections.abc import Mapping
from typing import Any, Protocol

import torch
from diffusers.models.embeddings import IPAdapterPlusImageProjectionBlock
from torch import nn
from transformers import CLIPVisionConfig, CLIPVisionModelWithProjection

CLIP_HEAD_SIZE = 64
"""Channels of an attention head in CLIP's towers."""
PERCEIVER_HEAD_SIZE = 128
"""The same in V2's perceiver."""
ACTIVATION = "quick_gelu"


class PhotoMerger(Protocol):
    """Photos and words to words that mean the person."""

    tokens_per_photo: int
    """Tokens a photo."""

    def __call__(
        self, pixels: torch.Tensor, words: torch.Tensor, places: torch.Tensor, faces: torch.Tensor | None
    ) -> torch.Tensor:
        """The words with those at `places` replaced."""
        ...


class Mlp(nn.Module):
    """A norm, two layers, and what came in where widths allow."""

    def __init__(self, given: int, width: int, keeps: bool) -> None:
        super().__init__()
        self.layernorm = nn.LayerNorm(given)
        self.fc1, self.fc2 = nn.Linear(given, width), nn.Linear(width, width)
        self.has_residual = keeps

    def forward(self, given: torch.Tensor) -> torch.Tensor:
        """N×given to N×width."""
        made = self.fc2(nn.functional.gelu(self.fc1(self.layernorm(given))))
        return made + given if self.has_residual else made


class FuseModule(nn.Module):
    """A word and a photo to a word that means both."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.mlp1 = Mlp(2 * width, width, has_residual=False)
        self.mlp2 = Mlp(width, width, has_residual=True)
        self.layer_norm = nn.LayerNorm(width)

    def forward(self, words: torch.Tensor, photos: torch.Tensor) -> torch.Tensor:
        """N×width each."""
        return self.layer_norm(self.mlp2(self.mlp1(torch.cat([words, photos], dim=-1)) + words))


class PhotoMakerIdEncoder(CLIPVisionModelWithProjection):
    """CLIP with a second projection, for the second text encoder; one token a photo (V1)."""

    tokens_per_photo = 1

    def __init__(self, config: CLIPVisionConfig, second: int) -> None:
        super().__init__(config)
        self.visual_projection_2 = nn.Linear(config.hidden_size, second, bias=False)
        self.fuse_module = FuseModule(config.projection_dim + second)

    def forward(  # type: ignore[override] -- it answers another question than its parent
        self, pixels: torch.Tensor, words: torch.Tensor, places: torch.Tensor, faces: torch.Tensor | None
    ) -> torch.Tensor:
        """N photos, words 1×tokens×width, and where among them N·each words stand for the class."""
        merged = words.clone()
        merged[:, places] = self.fuse_module(words[0, places], self.tokens(pixels, faces))[None]
        return merged

    def tokens(self, pixels: torch.Tensor, faces: torch.Tensor | None) -> torch.Tensor:
        """What photos say, (N·each)×width."""
        seen = self.vision_model(pixels)[1]
        return torch.cat([self.visual_projection(seen), self.visual_projection_2(seen)], dim=-1)


class FacePerceiverResampler(nn.Module):
    """Looks at CLIP's patches with questions that come of a face."""

    def __init__(self, width: int, patch: int) -> None:
        super().__init__()
        self.proj_in, self.proj_out = nn.Linear(patch, width), nn.Linear(width, width)
        self.norm_out = nn.LayerNorm(width)
        blocks = [
            IPAdapterPlusImageProjectionBlock(width, PERCEIVER_HEAD_SIZE, width // PERCEIVER_HEAD_SIZE)
            for _ in range(4)
        ]
        self.layers = nn.ModuleList(blocks)

    def forward(self, asked: torch.Tensor, patches: torch.Tensor) -> torch.Tensor:
        """N×tokens×width."""
        given = self.proj_in(patches)
        for block in self.layers:
            asked = block(given, asked, asked)
        return self.norm_out(self.proj_out(asked))


class QFormerPerceiver(nn.Module):
    """A face embedding to tokens that ask, and their answers."""

    def __init__(self, face: int, wide: int, width: int, patch: int, each: int) -> None:
        super().__init__()
        self.token_proj = nn.Sequential(nn.Linear(face, wide), nn.GELU(), nn.Linear(wide, width * each))
        self.token_norm = nn.LayerNorm(width)
        self.perceiver_resampler = FacePerceiverResampler(width, patch)
        self.tokens_per_photo, self.width = each, width

    def forward(self, faces: torch.Tensor, patches: torch.Tensor) -> torch.Tensor:
        """N×each×width."""
        asked = self.token_norm(self.token_proj(faces).reshape(-1, self.tokens_per_photo, self.width))
        return asked + self.perceiver_resampler(asked, patches)


class PhotoMakerV2IdEncoder(PhotoMakerIdEncoder):
    """The same, led by a face embedding; two tokens a photo (V2)."""

    tokens_per_photo = 2

    def __init__(self, config: CLIPVisionConfig, second: int, face: int, wide: int) -> None:
        super().__init__(config, second)
        self.qformer_perceiver = QFormerPerceiver(
            face, wide, config.projection_dim + second, config.hidden_size, self.tokens_per_photo
        )

    def tokens(self, pixels: torch.Tensor, faces: torch.Tensor | None) -> torch.Tensor:
        """What photos say, (N·each)×width."""
        if faces is None:
            raise ValueError("a face embedding for each photo is needed")
        return self.qformer_perceiver(faces, self.vision_model(pixels)[0]).flatten(0, 1)


def build_id_encoder(weights: Mapping[str, torch.Tensor]) -> tuple[Any, dict[str, torch.Tensor]]:
    """The network that a checkpoint's weights fit, sized after them, and the weights in its names; KeyError if none."""
    hidden = weights["vision_model.embeddings.class_embedding"].shape[0]
    patch = weights["vision_model.embeddings.patch_embedding.weight"].shape[-1]
    places = weights["vision_model.embeddings.position_embedding.weight"].shape[0]
    layers = {name.split(".")[3] for name in weights if name.startswith("vision_model.encoder.layers.")}
    config = CLIPVisionConfig(
        hidden_size=hidden,
        intermediate_size=weights["vision_model.encoder.layers.0.mlp.fc1.weight"].shape[0],
        num_hidden_layers=len(layers),
        num_attention_heads=hidden // CLIP_HEAD_SIZE,
        patch_size=patch,
        image_size=patch * round((places - 1) ** 0.5),
        projection_dim=weights["visual_projection.weight"].shape[0],
        hidden_act=ACTIVATION,
    )
    second = weights["visual_projection_2.weight"].shape[0]
    asks = weights.get("qformer_perceiver.token_proj.0.weight")
    network = (
        PhotoMakerIdEncoder(config, second)
        if asks is None
        else PhotoMakerV2IdEncoder(config, second, asks.shape[1], asks.shape[0])
    )
    return network, _to_diffusers_names(weights)


def _to_diffusers_names(weights: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """The perceiver's layers in diffusers' names; the rest is called alike."""
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
