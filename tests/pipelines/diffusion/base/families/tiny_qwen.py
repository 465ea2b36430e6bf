"""A tiny Qwen-Image and Qwen-Image-Edit in the published layouts, with the control network that follows several kinds."""

import json
from pathlib import Path
from typing import Any

import torch
from diffusers import (
    AutoencoderKLQwenImage,
    FlowMatchEulerDiscreteScheduler,
    QwenImageControlNetModel,
    QwenImagePipeline,
    QwenImageTransformer2DModel,
)
from tokenizers import pre_tokenizers
from transformers import Qwen2_5_VLConfig, Qwen2_5_VLForConditionalGeneration, Qwen2Tokenizer

END, END_OF_TURN = "<|endoftext|>", "<|im_end|>"
MARKS = (
    "<|im_start|>",
    END_OF_TURN,
    "<|vision_start|>",
    "<|vision_end|>",
    "<|vision_pad|>",
    "<|image_pad|>",
    "<|video_pad|>",
)
WIDTH = 16
TRANSFORMER: dict[str, Any] = {
    "patch_size": 2,
    "in_channels": 16,
    "out_channels": 4,
    "num_layers": 2,
    "attention_head_dim": 16,
    "num_attention_heads": 3,
    "joint_attention_dim": WIDTH,
    "axes_dims_rope": (8, 4, 4),
}
IMAGES = {
    "image_processor_type": "Qwen2VLImageProcessor",
    "processor_class": "Qwen2VLProcessor",
    "patch_size": 14,
    "temporal_patch_size": 2,
    "merge_size": 2,
    "min_pixels": 28 * 28,
    "max_pixels": 12845056,
}
VIDEOS = {"video_processor_type": "Qwen2VLVideoProcessor"}


def write(folder: Path, edit: bool = False, seed: int = 4) -> Path:
    """The base in a hub folder: the one for words, or with `edit` the one for pictures beside them, as 2511 is built."""
    torch.manual_seed(seed)
    QwenImagePipeline(**_parts(edit)).save_pretrained(folder)
    if edit:
        _as_edit(folder)
    return folder


def control() -> QwenImageControlNetModel:
    """A control network whose results are not zero."""
    torch.manual_seed(9)
    shape: dict[str, Any] = {**TRANSFORMER, "num_layers": 1}
    network = QwenImageControlNetModel(**shape)
    layers: list[Any] = [network.controlnet_x_embedder, *network.controlnet_blocks]
    for layer in layers:
        torch.nn.init.normal_(layer.weight, std=0.3)
    return network.eval()


def _parts(edit: bool) -> dict[str, Any]:
    words = _tokenizer()
    return {
        "transformer": QwenImageTransformer2DModel(**TRANSFORMER, zero_cond_t=edit),
        "vae": AutoencoderKLQwenImage(
            base_dim=8,
            z_dim=4,
            dim_mult=[1, 1, 2, 2],
            num_res_blocks=1,
            temperal_downsample=[False, True, True],
            latents_mean=[0.1, -0.2, 0.3, 0.0],
            latents_std=[1.5, 0.7, 1.0, 2.0],
        ),
        "text_encoder": _encoder(words),
        "tokenizer": words,
        "scheduler": FlowMatchEulerDiscreteScheduler(
            use_dynamic_shifting=True,
            base_shift=0.5,
            max_shift=0.9,
            base_image_seq_len=256,
            max_image_seq_len=8192,
            shift_terminal=0.02,
            time_shift_type="exponential",
        ),
    }


def _tokenizer() -> Qwen2Tokenizer:
    """Qwen's layout with single letters as tokens, so that what is cut off is a part of the template's first words."""
    return Qwen2Tokenizer(
        vocab={letter: number for number, letter in enumerate(sorted(pre_tokenizers.ByteLevel.alphabet()))},
        merges=[],
        eos_token=END_OF_TURN,
        pad_token=END,
        unk_token=END,
        additional_special_tokens=list(MARKS),
        model_max_length=131072,
        padding_side="right",
    )


def _encoder(words: Qwen2Tokenizer) -> Qwen2_5_VLForConditionalGeneration:
    known = {name: words.convert_tokens_to_ids(f"<|{name}|>") for name in ("image_pad", "video_pad", "vision_pad")}
    places = {"mrope_section": [1, 1, 2], "rope_type": "default", "type": "default"}
    shape = {"hidden_size": WIDTH, "intermediate_size": 2 * WIDTH, "vocab_size": len(words)}
    build: Any = Qwen2_5_VLConfig  # it takes the tokens of its published configurations, and says only some
    config = build(
        text_config={
            **shape,
            "num_hidden_layers": 2,
            "num_attention_heads": 2,
            "num_key_value_heads": 2,
            "rope_scaling": places,
            "bos_token_id": None,
            "eos_token_id": words.eos_token_id,
        },
        vision_config={
            "depth": 2,
            "hidden_size": WIDTH,
            "intermediate_size": WIDTH,
            "num_heads": 2,
            "out_hidden_size": WIDTH,
            "patch_size": 14,
            "spatial_merge_size": 2,
            "window_size": 112,
            "fullatt_block_indexes": [1],
        },
        image_token_id=known["image_pad"],
        video_token_id=known["video_pad"],
        vision_token_id=known["vision_pad"],
        vision_start_token_id=words.convert_tokens_to_ids("<|vision_start|>"),
        vision_end_token_id=words.convert_tokens_to_ids("<|vision_end|>"),
    )
    return Qwen2_5_VLForConditionalGeneration(config)


def _as_edit(folder: Path) -> None:
    """Names the other pipeline, with a processor that is published with a half for videos."""
    index = folder / "model_index.json"
    read = json.loads(index.read_text())
    read |= {"_class_name": "QwenImageEditPlusPipeline", "processor": ["transformers", "Qwen2VLProcessor"]}
    index.write_text(json.dumps(read))
    _tokenizer().save_pretrained(folder / "processor")
    (folder / "processor" / "preprocessor_config.json").write_text(json.dumps(IMAGES))
    (folder / "processor" / "video_preprocessor_config.json").write_text(json.dumps(VIDEOS))
    (folder / "processor" / "chat_template.jinja").write_text("{{ messages }}")
