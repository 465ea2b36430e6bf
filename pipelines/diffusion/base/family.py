"""What sets one family of base models apart from another."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeAlias

import torch
from diffusers import DiffusionPipeline

from portrait.arrays import Size
from portrait.generation.parameters import Task

LatentRgbFactors: TypeAlias = tuple[Sequence[Sequence[float]], Sequence[float]]
"""Channels×3, what one unit of each channel adds to red, green and blue, and what they are without; 0..1."""


@dataclass(frozen=True, slots=True, eq=False)
class TextEmbeddings:
    """What the text encoders make of captions."""

    hidden: torch.Tensor
    """N×tokens×width: what cross-attention looks at."""
    pooled: torch.Tensor | None = None
    """N×width, in families that have it."""

    def select(self, places: Sequence[int]) -> "TextEmbeddings":
        """Some of them."""
        chosen = torch.tensor(places, device=self.hidden.device)
        return TextEmbeddings(self.hidden[chosen], None if self.pooled is None else self.pooled[chosen])

    def to(self, device: torch.device, dtype: torch.dtype) -> "TextEmbeddings":
        """The same elsewhere."""
        return TextEmbeddings(
            self.hidden.to(device, dtype), None if self.pooled is None else self.pooled.to(device, dtype)
        )


@dataclass(frozen=True, slots=True)
class SizeConditioning:
    """How large a picture was and is."""

    original: Size
    """Pixels of the crop before it was brought to its bucket."""
    bucket: Size


class Family(Protocol):
    """All that a trainer, a painter or the converter must know of a family."""

    name: str
    pipeline: type[DiffusionPipeline]
    """The stock text-to-image pipeline."""
    pipelines: Mapping[tuple[Task, bool, bool], type[DiffusionPipeline]]
    """The others, by what they begin from, whether with control networks, and whether with perturbed attention."""
    detection_key: str
    """A weight that every single file of this family has, and none of another."""
    architecture: str
    """As model cards call it (`modelspec.architecture`)."""
    kohya_version: str
    """As kohya's trainers call it (`ss_base_model_version`)."""
    text_encoders: Sequence[tuple[str, str]]
    """Component names of tokenizers and their text encoders."""
    latent_rgb_factors: LatentRgbFactors
    """What its latents look like; see `previews`."""
    rank: int
    """Of every LoRA that is learned on it: one fixed rank lets one slot serve every person."""

    def encode(self, parts: Mapping[str, Any], captions: Sequence[str], skip: int = 0) -> TextEmbeddings:
        """What its text encoders make of captions; `parts` holds tokenizers and encoders by component name.

        `skip` leaves out their last layers, so many more than usual.
        """
        ...

    def added_cond_kwargs(
        self, words: TextEmbeddings, frames: Sequence[SizeConditioning]
    ) -> dict[str, torch.Tensor] | None:
        """What its U-Net is told beyond words (`added_cond_kwargs`)."""
        ...

    def prompt_arguments(self, words: TextEmbeddings, negative: TextEmbeddings) -> dict[str, torch.Tensor]:
        """Arguments of the pipeline for encoded prompts."""
        ...

    def single_file_text_encoders(self, parts: Mapping[str, Any]) -> dict[str, torch.Tensor]:
        """The text encoders' weights in the names of single files."""
        ...

    def kohya_module_name(self, module: str, config: Mapping[str, Any]) -> str:
        """What kohya's trainers call a module, named by diffusers as `unet.…` or `text_encoder.…`."""
        ...


LORA_TARGETS = ("to_q", "to_k", "to_v", "to_out.0")
"""Attention of the U-Net: what FaceChain and diffusers' script teach."""
TEXT_LORA_TARGETS = ("q_proj", "k_proj", "v_proj", "out_proj")
"""The same of CLIP."""


def tokenize(tokenizer: Any, captions: Sequence[str], device: torch.device) -> torch.Tensor:
    """N×length numbers of tokens, padded and cut to the length that the encoder was trained with."""
    given = tokenizer(
        list(captions),
        padding="max_length",
        max_length=tokenizer.model_max_length,
        truncation=True,
        return_tensors="pt",
    )
    return given.input_ids.to(device)
