"""Stable Diffusion 3 and 3.5: a flow transformer that reads two CLIPs and T5, or does without T5; 1024 pixels.

Large, its distilled sibling [turbo] and Medium differ in their sizes, which their folders say, and in how they are sampled.
"""

import math
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import torch
from accelerate.utils import align_module_device
from diffusers import (
    SD3ControlNetModel,
    SD3MultiControlNetModel,
    SD3Transformer2DModel,
    StableDiffusion3ControlNetPipeline,
    StableDiffusion3Img2ImgPipeline,
    StableDiffusion3InpaintPipeline,
    StableDiffusion3PAGImg2ImgPipeline,
    StableDiffusion3PAGPipeline,
    StableDiffusion3Pipeline,
)

from pipelines.diffusion.base.device import execution_device
from pipelines.diffusion.base.families.shared.flow import FlowFamily
from pipelines.diffusion.base.families.shared.plain import windowed_controls
from pipelines.diffusion.base.family import (
    Abilities,
    Config,
    ControlNetUnit,
    Geometry,
    LoraName,
    SizeConditioning,
    TextEmbeddings,
    tokenize,
)
from pipelines.diffusion.base.parts import kohya
from pipelines.diffusion.base.parts.latents import LatentScaling, latent_scaling
from pipelines.diffusion.base.parts.loss import FlowMatchingLoss
from pipelines.diffusion.base.parts.sd3_names import makers_name, makers_weights
from portrait.errors import OperatorError, UserError
from portrait.generation.options import Preset
from portrait.generation.parameters import Task
from portrait.generation.sampling_facts import SamplingPreset

ATTENTION = ("to_q", "to_k", "to_v", "to_out.0", "add_q_proj", "add_k_proj", "add_v_proj", "to_add_out")
"""Layers of each block's joint attention, which diffusers' script trains; those of Medium's second attention it leaves."""
PRESETS: Mapping[Preset, SamplingPreset] = MappingProxyType(
    {
        "fast": SamplingPreset("own", 20, 4.5, 1.0),
        "balanced": SamplingPreset("own", 28, 4.5, 1.0),
        "best": SamplingPreset("own", 40, 4.5, 1.0),
    }
)
"""Its makers draw Large with in 28 steps at a guidance of 3.5, and Medium in 40 at 4.5."""
T5_TOKENS = 256
"""Of a prompt to T5; the stock pipeline has as many zeros where T5 is left out."""
SKIPPED_LAYERS = (7, 8, 9)
"""Of Medium's 24 layers, those that skip-layer guidance leaves out, as published."""
MEDIUM_LAYERS = 24
PERTURBED_LAYER = 13
"""Of 24 layers, the one whose attention is perturbed, as in diffusers' example; the stock default takes one too early, and with
it all whose numbers begin alike."""


@dataclass(frozen=True, slots=True)
class PreconditionedLoss(FlowMatchingLoss):
    """Flow matching by the picture that a prediction leads back to, as diffusers' script for Stable Diffusion 3 has it."""

    def __call__(self, prediction: torch.Tensor, target: torch.Tensor, timesteps: torch.Tensor) -> torch.Tensor:
        """The mean squared error over the batch, in which a sigma counts by its square."""
        error = (prediction.float() - target.float()).square().flatten(1).mean(dim=1)
        return (error * timesteps.float().square()).mean()


class StableDiffusion3(FlowFamily):
    """The family of Stable Diffusion 3 and 3.5."""

    name = "sd3"
    pipeline = StableDiffusion3Pipeline
    pipeline_names = ("StableDiffusion3Pipeline",)
    pipelines = MappingProxyType(
        {
            ("text", True, False): StableDiffusion3ControlNetPipeline,
            ("text", False, True): StableDiffusion3PAGPipeline,
            ("image", False, False): StableDiffusion3Img2ImgPipeline,
            ("image", False, True): StableDiffusion3PAGImg2ImgPipeline,
            ("inpaint", False, False): StableDiffusion3InpaintPipeline,
        }
    )
    detection_key = "joint_blocks.0.context_block.attn.qkv.weight"
    architecture = "stable-diffusion-3"
    kohya_version = "sd3"
    text_encoders = (
        ("tokenizer", "text_encoder"),
        ("tokenizer_2", "text_encoder_2"),
        ("tokenizer_3", "text_encoder_3"),
    )
    denoiser_class = SD3Transformer2DModel
    abilities = Abilities(sentences=True, cutoff=True, max_controls=8, control_windows=True, skip_layer_guidance=True)
    presets = PRESETS
    rank = 16
    stored_products = 3000
    """Products of Medium's 1536 numbers and Large's 2432 are recomputed, and those of four times as many are stored."""
    guides_in_batches = True
    control_class = SD3ControlNetModel
    optional_components = ("tokenizer_3", "text_encoder_3")
    redecoded_tasks: Sequence[Task] = ("inpaint",)
    """The stock pipeline leaves the shift out, and the whole picture changes its colour."""

    def geometry(self, config: Config) -> Geometry:
        """The VAE's latents, which the transformer takes in patches; 64 pixels are a multiple that keeps buckets few.

        Raises `OperatorError` (`bad_base`) for transformers with further channels.
        """
        transformer, vae = config("transformer"), config("vae")
        channels, own = int(transformer["in_channels"]), int(vae["latent_channels"])
        if channels != own:
            raise OperatorError(
                "bad_base",
                f"The transformer of this base takes {channels} channels, and its VAE gives {own}: it was made to draw into a "
                "part of a picture alone. Choose another base of the family sd3; all of them draw into parts.",
            )
        cell = 2 ** (len(vae["block_out_channels"]) - 1)
        side, least = int(transformer["sample_size"]) * cell, cell * int(transformer["patch_size"])
        return Geometry(side, cell, max(least, 64) if side >= 512 else least, channels)

    def lora_targets(self, denoiser: Any) -> Sequence[str]:
        """Full names: `to_q` is also a layer of a block's second attention."""
        names = (name.removesuffix(".base_layer") for name, _ in denoiser.named_modules())
        return [name for name in dict.fromkeys(names) if name.partition(".attn.")[2] in ATTENTION]

    def loss(self, scheduler: Mapping[str, Any], min_snr_gamma: float) -> PreconditionedLoss:
        """With the schedule's own shift, whatever the size of a picture."""
        shift = math.log(float(scheduler["shift"]))
        return PreconditionedLoss(shift, shift)

    def latents(self, vae: Any) -> LatentScaling:
        """One scale and shift."""
        return latent_scaling(vae.config)

    def encode(self, components: Mapping[str, Any], captions: Sequence[str], clip_skip: int = 0) -> TextEmbeddings:
        """Both CLIPs' penultimate states side by side, padded to the width of T5's, which follow; or of zeros without T5."""
        hidden, pooled = [], []
        for tokenizer, name in self.text_encoders[:2]:
            encoder = components[name]
            ids = tokenize(components[tokenizer], captions, execution_device(encoder))
            output = encoder(ids, output_hidden_states=True)
            hidden.append(output.hidden_states[-2 - clip_skip])
            pooled.append(output[0])
        clips = torch.cat(hidden, dim=-1)
        width = int(components["transformer"].config["joint_attention_dim"])
        clips = torch.nn.functional.pad(clips, (0, width - clips.shape[-1]))
        words = _t5_states(components, captions)
        if words is None:
            words = clips.new_zeros(len(captions), T5_TOKENS, width)
        return TextEmbeddings(torch.cat([clips, words.to(clips)], dim=1), torch.cat(pooled, dim=-1))

    def count_unread(self, components: Mapping[str, Any], prompt: str) -> int:
        """Those that T5 does not read, or CLIP where the base does without T5."""
        tokenizer, most = components.get("tokenizer_3"), T5_TOKENS
        if components.get("text_encoder_3") is None or tokenizer is None:
            tokenizer = components["tokenizer"]
            most = int(tokenizer.model_max_length)
        return max(0, len(tokenizer(prompt).input_ids) - most)

    def blank_embeddings(self, config: Config, dtype: torch.dtype) -> TextEmbeddings:
        """As many tokens as prompts are padded to, whether with T5 or without."""
        sizes = config("transformer")
        tokens = int(config("text_encoder")["max_position_embeddings"]) + T5_TOKENS
        hidden = torch.zeros(1, tokens, int(sizes["joint_attention_dim"]), dtype=dtype)
        return TextEmbeddings(hidden, torch.zeros(1, int(sizes["pooled_projection_dim"]), dtype=dtype))

    def predict(
        self,
        denoiser: Any,
        noised: torch.Tensor,
        timesteps: torch.Tensor,
        embeddings: TextEmbeddings,
        sizes: Sequence[SizeConditioning],
    ) -> torch.Tensor:
        """The way from picture to noise."""
        return denoiser(
            hidden_states=noised,
            timestep=1000 * timesteps,
            encoder_hidden_states=embeddings.hidden,
            pooled_projections=embeddings.pooled,
            return_dict=False,
        )[0]

    def prompt_arguments(self, embeddings: TextEmbeddings, negative: TextEmbeddings | None) -> dict[str, Any]:
        """The stock pipeline's arguments for encoded prompts."""
        arguments: dict[str, Any] = {"prompt_embeds": embeddings.hidden, "pooled_prompt_embeds": embeddings.pooled}
        if negative is None:
            return arguments
        without = {"negative_prompt_embeds": negative.hidden, "negative_pooled_prompt_embeds": negative.pooled}
        return arguments | without

    def skip_layer_arguments(self, scale: float, config: Mapping[str, Any]) -> dict[str, Any]:
        """As published for Medium; of transformers with other layers those at the same share of the way."""
        layers = sorted({_share_of_layers(each, config) for each in SKIPPED_LAYERS})
        return {
            "skip_guidance_layers": layers,
            "skip_layer_guidance_scale": scale,
            "skip_layer_guidance_start": 0.01,
            "skip_layer_guidance_stop": 0.2,
        }

    def perturbed_arguments(self, config: Mapping[str, Any]) -> dict[str, Any]:
        """The joint attention of one block past the middle, by a pattern that fits no other."""
        return {"pag_applied_layers": rf"transformer_blocks\.{_share_of_layers(PERTURBED_LAYER, config)}\.attn$"}

    def prepare_control(self, name: str, network: Any, denoiser: Any) -> Any:
        """With the places of the base where it has none of its own, which stock pipelines would copy from offloaded weights.

        Raises `UserError` (`wrong_family`) for a network of a transformer of another size.
        """
        sizes = ("num_attention_heads", "attention_head_dim", "pooled_projection_dim")
        if any(network.config[each] != denoiser.config[each] for each in sizes):
            raise UserError(
                "wrong_family",
                f"The control network {name} was made for another size of Stable Diffusion 3 than this base: choose a base "
                "that it was made for, or leave the control out.",
            )
        if network.pos_embed is None:
            with ExitStack() as weights:
                for part in denoiser.pos_embed.modules():
                    weights.enter_context(align_module_device(part))
                places = network._get_pos_embed_from_transformer(denoiser)
            network.pos_embed = places.requires_grad_(False).to(network.device, network.dtype)
            network.register_to_config(use_pos_embed=True)
        return network

    def join_controls(self, networks: Sequence[Any]) -> Any:
        """One as it is; raises `UserError` (`bad_technique`) for several of unlike depth, which would be cut short together."""
        if len(networks) == 1:
            return networks[0]
        if len({len(each.transformer_blocks) for each in networks}) > 1:
            raise UserError(
                "bad_technique",
                "These controls do not act together: their networks have different numbers of layers. Leave all but one out.",
            )
        return SD3MultiControlNetModel(networks)

    def control_arguments(self, task: Task, units: Sequence[ControlNetUnit]) -> dict[str, Any]:
        """Images, scales and windows; of a single network without lists, as the stock pipeline expects."""
        return windowed_controls(units)

    def single_file_weights(self, components: Mapping[str, Any]) -> dict[str, torch.Tensor]:
        """The transformer alone, as its makers name it."""
        return makers_weights(components["transformer"].state_dict(), components["transformer"].config)

    def kohya_weights(self, weights: Mapping[str, torch.Tensor], config: Mapping[str, Any]) -> dict[str, torch.Tensor]:
        """Names of the makers' layers; the factors of stacked layers become those of one, block by block."""

        def in_kohya(module: str) -> kohya.StackedName | None:
            found = makers_name(module.removeprefix("transformer."), config)
            return None if found is None else found.renamed(f"lora_unet_{found.name.replace('.', '_')}")

        return kohya.rename_stacked(weights, in_kohya)

    def kohya_config(self, config: Mapping[str, Any]) -> dict[str, Any]:
        """How many layers there are: of the last one scale and shift are the other way round."""
        return {"num_layers": config["num_layers"]}

    def lora_names(self, layer: str, config: Mapping[str, Any]) -> Sequence[LoraName]:
        """Those of the makers."""
        found = makers_name(layer, config)
        return [] if found is None else [LoraName(found.name, found.place, len(found.heights))]


def _t5_states(components: Mapping[str, Any], captions: Sequence[str]) -> torch.Tensor | None:
    """T5's states N×256×width, padding among them; None where the base does without T5."""
    encoder, tokenizer = components.get("text_encoder_3"), components.get("tokenizer_3")
    if encoder is None or tokenizer is None:
        return None
    padded = {"padding": "max_length", "truncation": True, "max_length": T5_TOKENS}
    ids = tokenizer(list(captions), return_tensors="pt", **padded).input_ids
    return encoder(ids.to(execution_device(encoder)))[0]


def _share_of_layers(layer: int, config: Mapping[str, Any]) -> int:
    """The layer of a transformer that is as far on the way as one of Medium's; never the last, whose words nothing reads."""
    count = int(config["num_layers"])
    return min(layer * count // MEDIUM_LAYERS, max(count - 2, 0))


FAMILY = StableDiffusion3()
