"""Key names in LoRA files: of which network, of which module and which factor a tensor is, in the names of every program.

diffusers writes `unet.….to_q.lora_A.weight`, earlier `unet.….to_q.lora.down.weight` and
`….attn1.processor.to_q_lora.down.weight`; PEFT `base_model.model.….to_q.lora_A.weight`; kohya's trainers
`lora_unet_…_to_q.lora_down.weight`, with the blocks of diffusers for SD 1.5 and those of single files for SDXL; OneTrainer the
same with `lora_unet.….to_q`, or `unet.…`, `clip_l.…`, `clip_g.…`. Of transformers diffusers writes
`transformer.….to_q.lora_A.weight`, and kohya's trainers `lora_unet_double_blocks_…`, with the blocks of the makers' files.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal, TypeAlias

Factor: TypeAlias = Literal["down", "up", "alpha"]

FACTORS: tuple[tuple[str, Factor], ...] = (
    (r"[._]lora[._](?:linear_layer\.)?down\.weight$", "down"),
    (r"[._]lora[._](?:linear_layer\.)?up\.weight$", "up"),
    (r"\.lora_A(?:\.[\w-]+)?\.weight$", "down"),
    (r"\.lora_B(?:\.[\w-]+)?\.weight$", "up"),
    (r"(?:[._]lora(?:[._]linear_layer)?)?\.(?:network_)?alpha$", "alpha"),
)
"""By a pattern of what key names end with."""
PEFT_PREFIX = "base_model.model."
PARTS = (
    (r"lora_unet[._]|unet\.|(?:model\.)?diffusion_model\.", "unet"),
    (r"(?:lora_)?transformer(?:\.|_(?!blocks[._]))", "transformer"),
    (r"lora_te3[._]|text_encoder_3\.", "text_encoder_3"),
    (r"lora_te2[._]|text_encoder_2\.|clip_g\.", "text_encoder_2"),
    (r"lora_te1?[._]|text_encoder\.|clip_l\.", "text_encoder"),
    (r"(?=(?:down_blocks|up_blocks|mid_block|input_blocks|middle_block|output_blocks)[._])", "unet"),
    (r"(?=text_model[._])", "text_encoder"),
    (r"(?=(?:single_)?transformer_blocks[._])", "transformer"),
    (
        r"(?=(?:layers|noise_refiner|context_refiner)[._]\d+[._](?:attention|feed_forward|adaLN_modulation)[._])",
        "transformer",
    ),
    (r"(?=(?:double|single|joint)_blocks[._])", "unet"),
)
"""By a pattern of what module names begin with: the component of a pipeline. PEFT's own files do not name a network."""
OTHER_METHODS = (
    (r"hada_", "a LoHa"),
    (r"lokr_", "a LoKr"),
    (r"oft_|boft", "an OFT"),
    (r"dora_scale|lora_magnitude_vector", "a DoRA"),
    (r"lora_mid", "a LoRA with a third factor (CP, Tucker)"),
    (r"\.diff(_b)?$|[._]w_norm$", "a LyCORIS of whole weights (full)"),
    (r"on_input$", "an IA3"),
    (r"\.[ab][12]\.weight$", "a GLoRA"),
    (r"lora_embedding_[AB]|^bundle_emb", "a LoRA with embeddings in it"),
    (r"lora_(B|up)(\.[\w-]+)?\.bias$", "a LoRA with biases"),
)
"""By a pattern of key names: what is no plain LoRA."""
ARCHITECTURES = (
    (r"to_qkv_mlp_proj", "FLUX.2"),
    (r"double_blocks|single_blocks|single_transformer_blocks", "FLUX"),
    (r"joint_blocks|lora_te3[._]|text_encoder_3\.", "Stable Diffusion 3"),
    (r"(^|[._])transformer_blocks[._]\d+[._](img|txt)_(mlp|mod)", "Qwen-Image"),
    (r"(^|[._])(layers|noise_refiner|context_refiner)[._]\d+[._]attention[._]", "Z-Image or Lumina"),
    (r"lora_prior|prior_unet|prior\.", "Stable Cascade"),
    (
        r"^(base_model\.model\.)?(lora_)?transformer[._]",
        "a transformer (FLUX, Stable Diffusion 3, Qwen-Image or the like)",
    ),
    (r"(cross|self)_attn[._](q|k|v|o)\.", "a transformer (Wan or the like)"),
)
"""By a pattern of key names: the bases with another network than a U-Net that a LoRA was made for."""
OTHER_FILES = (
    (r"^(model\.diffusion_model|first_stage_model|cond_stage_model|conditioner)\.", "a whole base model"),
    (r"^(emb_params|clip_[lg])$|^<.+>$", "an embedding (textual inversion)"),
    (r"^(encoder|decoder)\.(conv_in|down|up|mid)", "a VAE"),
    (r"^(control_model|controlnet_)", "a ControlNet"),
    (r"^(image_proj|ip_adapter)\.", "an IP-Adapter"),
    (r"^(conv_in|time_embedding|down_blocks)\.", "a U-Net"),
)
"""By a pattern of key names: files that hold no LoRA at all."""


@dataclass(frozen=True, slots=True)
class KeyName:
    """What a key says: component of a pipeline, module, factor."""

    part: str
    """`unet`, `transformer`, `text_encoder` and those with a number; kohya's trainers call every denoiser `unet`."""
    module: str
    """As `module_key` gives it."""
    factor: Factor


def parse_key(key: str) -> KeyName | None:
    """What a key of a LoRA file names; None where it names no factor or no network that is known."""
    for ending, factor in FACTORS:
        end = re.search(ending, key)
        if end is None:
            continue
        stem = key[: end.start()].removeprefix(PEFT_PREFIX)
        begins = ((found.end(), part) for start, part in PARTS if (found := re.match(start, stem)))
        return next((KeyName(part, module_key(stem[at:]), factor) for at, part in begins), None)
    return None


def module_key(module: str) -> str:
    """A module's name as all programs' names agree on it: with underscores alone, and without what wraps it."""
    return module.replace(".processor.", ".").replace(".", "_").removeprefix("text_model_")


def other_method(keys: Iterable[str]) -> str:
    """What a file is that adapts a base in another way than a LoRA does; empty where it does not."""
    return _first_match(OTHER_METHODS, keys)


def other_architecture(keys: Iterable[str]) -> str:
    """For what bases a file was made that have no U-Net; empty where nothing says so."""
    return _first_match(ARCHITECTURES, keys)


def other_file(keys: Iterable[str]) -> str:
    """What a file is that holds no LoRA; empty where that is not known."""
    return _first_match(OTHER_FILES, keys)


def _first_match(patterns: Iterable[tuple[str, str]], keys: Iterable[str]) -> str:
    known = sorted(keys)
    return next((name for pattern, name in patterns if any(re.search(pattern, key) for key in known)), "")
