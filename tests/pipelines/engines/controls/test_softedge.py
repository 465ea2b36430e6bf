"""HED on random weights in the published key names, compared with its published arithmetic written out."""

from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from torch.nn import functional

from pipelines.engines.controls.softedge import SoftEdge
from portrait.errors import EngineError

WIDTHS, CONVS = (4, 6, 8, 8, 8), (2, 2, 3, 3, 3)


def tiny(file: Path) -> dict[str, torch.Tensor]:
    """A checkpoint of fewer channels than the published one, which has 64 to 512."""
    torch.manual_seed(0)
    weights, given = {"norm": torch.tensor([122.0, 117.0, 104.0]).reshape(1, 3, 1, 1)}, 3
    for number, (width, count) in enumerate(zip(WIDTHS, CONVS, strict=True), start=1):
        for conv in range(count):
            weights[f"block{number}.convs.{conv}.weight"] = torch.randn(width, given, 3, 3) * (2 / 9 / given) ** 0.5
            weights[f"block{number}.convs.{conv}.bias"] = torch.randn(width) * 0.1
            given = width
        weights[f"block{number}.projection.weight"] = torch.randn(1, width, 1, 1) * 0.02
        weights[f"block{number}.projection.bias"] = torch.zeros(1)
    torch.save(weights, file)
    return weights


def published(weights: dict[str, torch.Tensor], image: np.ndarray) -> np.ndarray:
    """The edges as ControlNet 1.1 computes them, 0..255."""
    height, width = image.shape[:2]
    features = torch.from_numpy(image).permute(2, 0, 1)[None].float() - weights["norm"]
    edges = []
    for number, count in enumerate(CONVS, start=1):
        if number > 1:
            features = functional.max_pool2d(features, kernel_size=(2, 2), stride=(2, 2))
        for conv in range(count):
            name = f"block{number}.convs.{conv}"
            features = torch.relu(
                functional.conv2d(features, weights[f"{name}.weight"], weights[f"{name}.bias"], padding=1)
            )
        name = f"block{number}.projection"
        seen = functional.conv2d(features, weights[f"{name}.weight"], weights[f"{name}.bias"])
        edges.append(cv2.resize(seen[0, 0].numpy(), (width, height), interpolation=cv2.INTER_LINEAR))
    return np.clip(255 / (1 + np.exp(-np.mean(np.stack(edges, axis=2), axis=2).astype(np.float64))), 0, 255)


def test_edges_are_those_of_the_published_network(tmp_path: Path) -> None:
    weights = tiny(tmp_path / "ControlNetHED.pth")
    image = np.random.default_rng(0).integers(0, 255, (53, 38, 3), dtype=np.uint8)
    engine = SoftEdge(tmp_path / "ControlNetHED.pth")
    drawn = engine.process(image)
    assert drawn.shape == image.shape
    assert np.array_equal(drawn[..., 0], drawn[..., 2])
    assert np.abs(drawn[..., 0] - published(weights, image)).max() <= 1
    assert drawn.std() > 2
    assert np.abs(drawn.astype(int) - engine.process(255 - image)).max() > 2


@pytest.mark.parametrize("data", [b"nothing", None])
def test_a_file_that_is_broken_or_of_another_network_is_named(tmp_path: Path, data: bytes | None) -> None:
    file = tmp_path / "ControlNetHED.pth"
    torch.save({"weight": torch.zeros(1)}, file) if data is None else file.write_bytes(data)
    with pytest.raises(EngineError, match="cannot be used") as caught:
        SoftEdge(file)
    assert caught.value.code == "broken_model"
