"""Control image of soft edges, white on black: HED (Xie and Tu, 2015) as ControlNet 1.1 trained it anew; Apache-2.0."""

from collections.abc import Mapping
from pathlib import Path

import cv2
import numpy as np
import torch
from torch import nn

from pipelines.diffusion.base import checkpoint_files
from pipelines.engines import Engines
from pipelines.model_store.store import ModelStore
from pipelines.settings import Settings
from portrait.arrays import Image
from portrait.errors import broken_model

MODELS = ("hed",)
FILE = "ControlNetHED.pth"
BLOCKS = 5
"""Blocks of the network, each at half the size of the one before, and each with edges of its own."""


class EdgeBlock(nn.Module):
    """Convolutions of one size, and the edges that are seen there."""

    def __init__(self, given: int, width: int, count: int) -> None:
        super().__init__()
        self.convs = nn.Sequential(*(nn.Conv2d(given if n == 0 else width, width, 3, padding=1) for n in range(count)))
        self.projection = nn.Conv2d(width, 1, 1)

    def forward(self, given: torch.Tensor) -> torch.Tensor:
        """Features N×width×h×w of N×given×h×w."""
        for conv in self.convs:
            given = nn.functional.relu(conv(given))
        return given


class EdgeNetwork(nn.Module):
    """HED, sized after a checkpoint's weights."""

    def __init__(self, weights: Mapping[str, torch.Tensor]) -> None:
        """Raises KeyError for weights of another network."""
        super().__init__()
        self.norm = nn.Parameter(torch.zeros(1, 3, 1, 1))
        for number in range(1, BLOCKS + 1):
            width, given = weights[f"block{number}.convs.0.weight"].shape[:2]
            count = sum(name.startswith(f"block{number}.convs.") and name.endswith("weight") for name in weights)
            self.add_module(f"block{number}", EdgeBlock(given, width, count))

    def forward(self, pixels: torch.Tensor) -> list[torch.Tensor]:
        """Edges N×1×h×w of pixels N×3×H×W, 0..255, at each size, before the sigmoid."""
        features, edges = pixels - self.norm, []
        for number in range(1, BLOCKS + 1):
            if number > 1:
                features = nn.functional.max_pool2d(features, 2)
            block = self.get_submodule(f"block{number}")
            features = block(features)
            edges.append(block.get_submodule("projection")(features))
        return edges


class SoftEdge:
    """Computes soft edges."""

    def __init__(self, file: Path) -> None:
        """Load a checkpoint; raises `EngineError` (`broken_model`)."""
        try:
            weights = torch.load(file, map_location="cpu", weights_only=True)
            network = EdgeNetwork(weights)
        except (*checkpoint_files.BROKEN, AttributeError, TypeError) as error:
            raise broken_model(file, str(error).split("\n")[0]) from error
        self._network = checkpoint_files.load_state_dict(network, weights, file).requires_grad_(False).eval()

    def process(self, image: Image) -> Image:
        """Edges in grey, 255 where they are surest, as large as the picture; see `portrait.ports.ControlPreprocessor`."""
        height, width = image.shape[:2]
        with torch.no_grad():
            found = self._network(torch.from_numpy(image.copy()).permute(2, 0, 1)[None].float())
        edges = [cv2.resize(each[0, 0].numpy(), (width, height), interpolation=cv2.INTER_LINEAR) for each in found]
        grey = 1 / (1 + np.exp(-np.mean(edges, axis=0).astype(np.float64)))
        return np.repeat((grey * 255).astype(np.uint8)[..., None], 3, axis=2)


def make(settings: Settings, models: ModelStore, engines: Engines) -> SoftEdge:
    """Load the network."""
    return SoftEdge(models.file(*MODELS, FILE))
