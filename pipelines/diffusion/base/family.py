"""Family: what a trainer, painter or converter must know of a family of base models, such as SD 1.5 or SDXL."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeAlias

import torch
from diffusers import DiffusionPipeline

from portrait.arrays import Size
from portrait.generation.parameters import Task

LatentRgbFactors: TypeAlias = tuple[Sequence[Sequence[float]], Sequence[float]]
"""Channels×3 factors from latent channels to red, green and blue, and the colour of zero latents; 0..1."""


@dataclass(frozen=True, slots=True, eq=False)
class TextEmbeddings:
    """Embeddings of N prompts or captions by a family's text encoders."""

    hidden: torch.Tensor
    """N×tokens×width, for cross-attention."""
    pooled: torch.Tensor | None = None
    """N×width, in families that have it."""

    def select(self, indices: Sequence[int]) -> "TextEmbeddings":
        """The embeddings at some indices."""
        index = torch.tensor(indices, device=self.hidden.device)
        return TextEmbeddings(self.hidden[index], None if self.pooled is None else self.pooled[index])

    def to(self, device: torch.device, dtype: torch.dtype) -> "TextEmbeddings":
        """The same embeddings on a device, in a dtype."""
        pooled = None if self.pooled is None else self.pooled.to(device, dtype)
        return TextEmbeddings(self.hidden.to(device, dtype), pooled)


@dataclass(frozen=True, slots=True)
class SizeConditioning:
    """The sizes that SDXL is conditioned on."""

    original: Size
    """Pixels of the crop before it was scaled to its bucket."""
    bucket: Size


class Family(Protocol):
    """What differs between families of base models."""

    name: str
    pipeline: type[DiffusionPipeline]
    """The stock text-to-image pipeline."""
    pipeline_names: Sequence[str]
    """Classes in `model_index.json` of its hub folders: the stock pipeline, and those of bases trained for one purpose."""
    pipelines: Mapping[tuple[Task, bool, bool], type[DiffusionPipeline]]
    """The other stock pipelines, by task, whether with control networks, and whether with perturbed attention."""
    detection_key: str
    """Name of a weight that every single file of this family has, and none of another."""
    architecture: str
    """Its name in model cards (`modelspec.architecture`)."""
    kohya_version: str
    """Its name in kohya's trainers (`ss_base_model_version`)."""
    text_encoders: Sequence[tuple[str, str]]
    """Component names of tokenizers and their text encoders."""
    latent_rgb_factors: LatentRgbFactors
    """For previews of its latents; see `previews`."""
    half_vae: str
    """Model of the store with a VAE that does not overflow in float16, where the family's own does; empty where it does not."""
    rank: int
    """Rank of LoRAs trained on it, unless settings say otherwise: with one rank the LoRA slot never has to grow."""

    def encode(self, components: Mapping[str, Any], captions: Sequence[str], clip_skip: int = 0) -> TextEmbeddings:
        """Encode captions; `components` holds tokenizers and text encoders by component name.

        `clip_skip` is the number of last layers left out, beyond those the family always leaves out.
        """
        ...

    def added_cond_kwargs(
        self, embeddings: TextEmbeddings, sizes: Sequence[SizeConditioning]
    ) -> dict[str, torch.Tensor] | None:
        """The U-Net's `added_cond_kwargs`; None where it takes none."""
        ...

    def prompt_arguments(self, embeddings: TextEmbeddings, negative: TextEmbeddings) -> dict[str, torch.Tensor]:
        """The stock pipeline's arguments for encoded prompts."""
        ...

    def single_file_text_encoders(self, components: Mapping[str, Any]) -> dict[str, torch.Tensor]:
        """The text encoders' weights under the key names of single files."""
        ...

    def kohya_module_name(self, module: str, config: Mapping[str, Any]) -> str:
        """A module's name in kohya's files, from that in diffusers (`unet.…`, `text_encoder.…`); `config` is the U-Net's."""
        ...


LORA_TARGETS = ("to_q", "to_k", "to_v", "to_out.0")
"""Attention layers of the U-Net: those that FaceChain and diffusers' script train."""
TEXT_LORA_TARGETS = ("q_proj", "k_proj", "v_proj", "out_proj")
"""Attention layers of CLIP."""


def tokenize(tokenizer: Any, captions: Sequence[str], device: torch.device) -> torch.Tensor:
    """N×length token ids, padded and truncated to the length that the encoder was trained with."""
    encoded = tokenizer(
        list(captions),
        padding="max_length",
        max_length=tokenizer.model_max_length,
        truncation=True,
        return_tensors="pt",
    )
    return encoded.input_ids.to(device)
