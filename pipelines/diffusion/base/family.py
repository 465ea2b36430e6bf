"""Family: what a trainer, painter or converter must know of a family of base models, such as SDXL or FLUX.2."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol, TypeAlias

import PIL.Image
import torch
from diffusers import DiffusionPipeline

from pipelines.diffusion.base.parts.latents import LatentFormat
from pipelines.diffusion.base.parts.loss import Loss
from portrait.arrays import Image, Size
from portrait.generation.abilities import Abilities
from portrait.generation.options import Preset
from portrait.generation.parameters import Task
from portrait.generation.sampling_facts import SamplingFacts, SamplingPreset

LatentRgbFactors: TypeAlias = tuple[Sequence[Sequence[float]], Sequence[float]]
"""Channels×3 factors from latent channels to red, green and blue, and the colour of zero latents; 0..1."""
Config: TypeAlias = Callable[[str], Mapping[str, Any]]
"""Gives the configuration of a component of a base."""


@dataclass(frozen=True, slots=True)
class Geometry:
    """The sizes that a base draws in."""

    native_side: int
    """Side of the square it was trained at, pixels."""
    cell: int
    """Pixels to each latent along a side."""
    size_multiple: int
    """Sides are multiples of this many pixels."""
    channels: int
    """That the denoiser takes."""
    start_side: int = 0
    """Side of the square of as many pixels as a drawing that begins from a picture has, where stock pipelines shrink larger
    pictures; 0: as `native_side`."""


@dataclass(frozen=True, slots=True, eq=False)
class TextEmbeddings:
    """Embeddings of N prompts or captions by a family's text encoders."""

    hidden: torch.Tensor
    """N×tokens×width."""
    pooled: torch.Tensor | None = None
    """N×width, in families that have it."""
    mask: torch.Tensor | None = None
    """N×tokens, true where a token counts, in families whose prompts are of different lengths."""

    def select(self, indices: Sequence[int]) -> "TextEmbeddings":
        """The embeddings at some indices."""
        index = torch.tensor(indices, device=self.hidden.device)
        return self._changed(lambda tensor: tensor[index])

    def to(self, device: torch.device, dtype: torch.dtype) -> "TextEmbeddings":
        """The same embeddings on a device, in a dtype."""
        pooled = None if self.pooled is None else self.pooled.to(device, dtype)
        mask = None if self.mask is None else self.mask.to(device)
        return TextEmbeddings(self.hidden.to(device, dtype), pooled, mask)

    def copy_to_cpu(self) -> "TextEmbeddings":
        """A copy in main memory, in the same dtype."""
        return self._changed(lambda tensor: tensor.to("cpu", copy=True))

    def _changed(self, change: Callable[[torch.Tensor], torch.Tensor]) -> "TextEmbeddings":
        hidden = change(self.hidden)
        pooled = None if self.pooled is None else change(self.pooled)
        return TextEmbeddings(hidden, pooled, None if self.mask is None else change(self.mask))


def concatenate_embeddings(parts: Sequence[TextEmbeddings]) -> TextEmbeddings:
    """Embeddings of several prompts as one; where lengths differ, the shorter are padded with zeros that do not count."""
    longest = max(each.hidden.shape[1] for each in parts)
    unequal = any(each.mask is not None or each.hidden.shape[1] < longest for each in parts)
    pooled = [each.pooled for each in parts if each.pooled is not None]
    return TextEmbeddings(
        torch.cat([_pad_tokens(each.hidden, longest) for each in parts]),
        torch.cat(pooled) if pooled else None,
        torch.cat([_pad_tokens(_mask_of(each), longest) for each in parts]) if unequal else None,
    )


def _mask_of(embeddings: TextEmbeddings) -> torch.Tensor:
    if embeddings.mask is not None:
        return embeddings.mask
    return torch.ones(embeddings.hidden.shape[:2], dtype=torch.bool, device=embeddings.hidden.device)


def _pad_tokens(tensor: torch.Tensor, length: int) -> torch.Tensor:
    missing = tensor.new_zeros((tensor.shape[0], length - tensor.shape[1], *tensor.shape[2:]))
    return torch.cat([tensor, missing], dim=1)


@dataclass(frozen=True, slots=True)
class SizeConditioning:
    """The sizes that SDXL is conditioned on."""

    original: Size
    """Pixels of the crop before it was scaled to its bucket."""
    bucket: Size


@dataclass(frozen=True, slots=True, eq=False)
class DrawingStart:
    """What a drawing begins from."""

    size: Size
    picture: PIL.Image.Image
    mask: PIL.Image.Image | None
    """White where the picture changes; None: everywhere."""
    strength: float
    steps: int
    steps_done: int
    """Of the steps, those that the strength leaves."""


@dataclass(frozen=True, slots=True, eq=False)
class ControlNetUnit:
    """A control network with its control image, scale, and share of the steps 0..1 in which it acts."""

    network: Any
    image: Image
    scale: float
    start: float = 0.0
    end: float = 1.0
    kind: str = ""
    """Name of the control: a network that follows several is told which."""


@dataclass(frozen=True, slots=True)
class LoraName:
    """A name by which LoRA files call a layer, alone or together with others whose results they stack."""

    name: str
    place: int = 0
    """Of the layer's results among those that are stacked."""
    of: int = 1
    """How many layers are stacked."""


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
    """Name of a weight that every single file of this family has, and none of another that is not built alike."""
    single_file: Literal["whole", "denoiser"]
    """What its single files hold: all networks, or the denoiser alone."""
    architecture: str
    """Its name in model cards (`modelspec.architecture`)."""
    kohya_version: str
    """Its name in kohya's trainers (`ss_base_model_version`)."""
    text_encoders: Sequence[tuple[str, str]]
    """Component names of tokenizers and their text encoders."""
    denoiser: str
    """Component name of the network that takes the noise away: `unet` or `transformer`."""
    denoiser_class: type[Any]
    abilities: Abilities
    presets: Mapping[Preset, SamplingPreset]
    latent_rgb_factors: LatentRgbFactors
    """For previews of its latents; see `previews`. Empty where none are known."""
    freeu_scales: Mapping[str, float]
    """FreeU's scales as its authors published them: `s1`, `s2`, `b1`, `b2`; empty where they published none."""
    half_vae: str
    """Model of the store with a VAE that does not overflow in float16, where the family's own does; empty where it does not."""
    rank: int
    """Rank of LoRAs trained on it, unless settings say otherwise: with one rank the LoRA slot never has to grow."""
    stored_products: int
    """Numbers summed for each number of a result, from which on light gradient checkpointing stores it."""
    guides_in_batches: bool
    """Whether classifier-free guidance makes a batch of two, rather than two passes."""
    guided_above: float
    """The guidance scale from which on there is guidance: 1 in most, 0 where the stock pipeline adds to the prediction."""
    reads_references: bool
    """Whether the text encoders see the reference pictures, so that the stock pipeline encodes the prompt."""
    control_class: type[Any] | None
    """The stock class of its control networks; None where it has none."""
    text_width: int
    """Width of the text that its denoisers attend to, where another family's bases name the same pipeline; 0: any."""
    optional_components: Sequence[str]
    """Components that a base draws without when the settings say so (`draw.t5`)."""
    redecoded_tasks: Sequence[Task]
    """Tasks whose stock pipeline does not decode latents as the VAE encoded them, so that they are decoded by `latents`."""

    def facts(self, index: Mapping[str, Any]) -> SamplingFacts:
        """How a base wants to be sampled, as far as its `model_index.json` says so."""
        ...

    def config_facts(self, config: Config) -> SamplingFacts:
        """The same as far as the configurations of its components say so, where the index does not."""
        ...

    def embeds_guidance(self, denoiser: Mapping[str, Any]) -> bool:
        """Whether such a denoiser is told the guidance scale, instead of drawing with and without the prompt."""
        ...

    def geometry(self, config: Config) -> Geometry:
        """The sizes of a base, by the configurations of its components."""
        ...

    def own_components(self, folder: Path) -> dict[str, Any]:
        """Components of a hub folder that the stock pipeline's `from_pretrained` cannot load here, by name."""
        ...

    def lora_targets(self, denoiser: Any) -> Sequence[str]:
        """Names of the denoiser's layers that LoRAs of people change, or what those names end with."""
        ...

    def loss(self, scheduler: Mapping[str, Any], min_snr_gamma: float) -> Loss:
        """The objective that a base is trained with; `scheduler` is its configuration."""
        ...

    def latents(self, vae: Any) -> LatentFormat:
        """The latents of a base, by its VAE."""
        ...

    def encode(self, components: Mapping[str, Any], captions: Sequence[str], clip_skip: int = 0) -> TextEmbeddings:
        """Encode captions; `components` holds tokenizers and text encoders by component name.

        The denoiser is among them, of which its configuration alone may be there; components that a base does without may be
        missing or None.

        `clip_skip` is the number of last layers left out, beyond those the family always leaves out.
        """
        ...

    def count_unread(self, components: Mapping[str, Any], prompt: str) -> int:
        """Tokens at the end of a prompt that `encode` cuts off."""
        ...

    def blank_embeddings(self, config: Config, dtype: torch.dtype) -> TextEmbeddings:
        """Embeddings of a caption in the shapes that `encode` gives, without content."""
        ...

    def predict(
        self,
        denoiser: Any,
        noised: torch.Tensor,
        timesteps: torch.Tensor,
        embeddings: TextEmbeddings,
        sizes: Sequence[SizeConditioning],
    ) -> torch.Tensor:
        """What the denoiser says of latents N×channels×h×w, in the same shape."""
        ...

    def prompt_arguments(self, embeddings: TextEmbeddings, negative: TextEmbeddings | None) -> dict[str, Any]:
        """The stock pipeline's arguments for encoded prompts; without a negative one nothing is guided."""
        ...

    def guidance_arguments(self, guidance: float) -> dict[str, Any]:
        """The stock pipeline's arguments for a guidance scale."""
        ...

    def skip_layer_arguments(self, scale: float, config: Mapping[str, Any]) -> dict[str, Any]:
        """The stock pipeline's arguments for skip-layer guidance; `config` is the denoiser's."""
        ...

    def perturbed_arguments(self, config: Mapping[str, Any]) -> dict[str, Any]:
        """What a stock pipeline for perturbed attention is made with beside its components; `config` is the denoiser's."""
        ...

    def prepare_control(self, name: str, network: Any, denoiser: Any) -> Any:
        """A control network as it acts on a base, once loaded; raises `UserError` (`wrong_family`) where it does not fit."""
        ...

    def join_controls(self, networks: Sequence[Any]) -> Any:
        """Control networks as the one that the stock pipeline takes; one that is there several times acts for each."""
        ...

    def control_arguments(self, task: Task, units: Sequence[ControlNetUnit]) -> dict[str, Any]:
        """The stock pipeline's arguments for control networks; only asked where there are some."""
        ...

    def size_arguments(self, size: Size) -> dict[str, Any]:
        """The stock pipeline's arguments for the size of a drawing of words."""
        ...

    def start_arguments(self, start: DrawingStart) -> dict[str, Any]:
        """The stock pipeline's arguments for what a drawing begins from."""
        ...

    def reference_arguments(self, task: Task, pictures: Sequence[PIL.Image.Image]) -> dict[str, Any]:
        """The stock pipeline's arguments for reference pictures; only asked of families that draw from them."""
        ...

    def unpack(self, latents: torch.Tensor, size: Size) -> torch.Tensor:
        """Latents of a pipeline's callback as N×channels×h×w; `size` is that of the picture."""
        ...

    def single_file_weights(self, components: Mapping[str, Any]) -> dict[str, torch.Tensor]:
        """The weights of networks by component under the key names of single files."""
        ...

    def kohya_weights(self, weights: Mapping[str, torch.Tensor], config: Mapping[str, Any]) -> dict[str, torch.Tensor]:
        """A LoRA in diffusers' names (`unet.….lora_A.weight`) under those of kohya's trainers; `config` is the denoiser's."""
        ...

    def kohya_config(self, config: Mapping[str, Any]) -> dict[str, Any]:
        """What of the denoiser's configuration `kohya_weights` needs."""
        ...

    def lora_names(self, layer: str, config: Mapping[str, Any]) -> Sequence[LoraName]:
        """Further names of a layer of the denoiser in LoRA files."""
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
