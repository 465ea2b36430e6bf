"""Segmentation through the published classes of transformers, in their tiny layout."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import ConvNextConfig, SegformerImageProcessorPil, UperNetConfig, UperNetForSemanticSegmentation

from pipelines.engines.controls.segmentation import PALETTE, Segmentation
from portrait.errors import EngineError


def tiny(folder: Path, classes: int = 150) -> Path:
    """UperNet with a small ConvNeXt, as its folder lies on the hub."""
    torch.manual_seed(0)
    stages: dict[str, Any] = {"out_features": ["stage1", "stage2", "stage3", "stage4"]}
    backbone = ConvNextConfig(depths=[1, 1, 1, 1], hidden_sizes=[8, 8, 16, 16], **stages)
    labels: dict[str, Any] = {"num_labels": classes}
    config = UperNetConfig(
        backbone_config=backbone, hidden_size=16, use_auxiliary_head=False, auxiliary_in_channels=16, **labels
    )
    UperNetForSemanticSegmentation(config).save_pretrained(folder)
    SegformerImageProcessorPil(size={"height": 64, "width": 64}).save_pretrained(folder)
    return folder


def test_each_pixel_has_the_colour_of_its_class(tmp_path: Path) -> None:
    image = np.random.default_rng(0).integers(0, 255, (60, 44, 3), dtype=np.uint8)
    drawn = Segmentation(tiny(tmp_path)).process(image)
    network = UperNetForSemanticSegmentation.from_pretrained(tmp_path)
    processor = SegformerImageProcessorPil.from_pretrained(tmp_path)
    with torch.no_grad():
        output = network(**processor(images=[image], return_tensors="pt"))
    classes = processor.post_process_semantic_segmentation(output, target_sizes=[(60, 44)])[0].numpy()
    assert len(np.unique(classes)) > 1
    assert drawn.dtype == np.uint8
    assert np.array_equal(drawn, PALETTE[classes])


def test_people_walls_and_sky_have_the_colours_that_controlnet_knows() -> None:
    assert PALETTE.shape == (150, 3)
    assert [PALETTE[place].tolist() for place in (0, 2, 12)] == [[120, 120, 120], [6, 230, 230], [150, 5, 61]]
    assert PALETTE[-1].tolist() == [92, 0, 255]


def test_a_network_of_other_classes_is_refused(tmp_path: Path) -> None:
    with pytest.raises(EngineError, match="classes, not ADE20K's 150") as caught:
        Segmentation(tiny(tmp_path, 19))
    assert caught.value.code == "broken_model"
