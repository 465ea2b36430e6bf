"""DepthAnything through the published class, in its tiny layout."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import DepthAnythingConfig, DepthAnythingForDepthEstimation, Dinov2Config, DPTImageProcessorPil

from pipelines.engines.controls.depth import DepthAnything
from portrait.errors import EngineError


def tiny(folder: Path) -> Path:
    """DepthAnything Anything in two layers, as its folder lies on the hub."""
    torch.manual_seed(0)
    shape: dict[str, Any] = {
        "hidden_size": 16,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "mlp_ratio": 2,
        "image_size": 28,
        "patch_size": 14,
        "out_features": ["stage1", "stage2"],
        "reshape_hidden_states": False,
        "apply_layernorm": True,
    }
    config = DepthAnythingConfig(
        backbone_config=Dinov2Config(**shape),
        reassemble_hidden_size=16,
        reassemble_factors=[1, 1],
        neck_hidden_sizes=[8, 8],
        fusion_hidden_size=8,
        head_hidden_size=4,
    )
    DepthAnythingForDepthEstimation(config).save_pretrained(folder)
    DPTImageProcessorPil(
        size={"height": 28, "width": 28}, keep_aspect_ratio=True, ensure_multiple_of=14, do_pad=False
    ).save_pretrained(folder)
    return folder


def test_depth_is_grey_as_large_as_the_picture_and_uses_the_full_range(tmp_path: Path) -> None:
    image = np.random.default_rng(0).integers(0, 255, (60, 44, 3), dtype=np.uint8)
    drawn = DepthAnything(tiny(tmp_path)).process(image)
    assert drawn.shape == image.shape
    assert np.array_equal(drawn[..., 0], drawn[..., 2])
    assert drawn.min() < 10
    assert drawn.max() > 245


def test_a_folder_that_is_broken_is_named(tmp_path: Path) -> None:
    folder = tiny(tmp_path)
    (folder / "model.safetensors").write_bytes(b"nothing")
    with pytest.raises(EngineError, match="cannot be used") as caught:
        DepthAnything(folder)
    assert caught.value.code == "broken_model"
