"""InceptionV3 as the Fréchet distance of pictures is published with: 2048 features and 1008 classes a picture.

The layout is that of pytorch-fid's weights, which are TensorFlow's of 2015. It differs from the usual InceptionV3 in three
places: average pools leave padding out of their mean, the last block pools by its maximum, and there are 1008 classes.
"""

import pickle
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from pipelines.engines import Engines
from pipelines.model_store.store import Models
from pipelines.settings import Settings
from portrait.arrays import Image
from portrait.errors import broken_model
from portrait.metrics import Numbers

Wide = Callable[[int], int]
"""Published channels to those of this network."""

MODEL, FILE = "inception", "pt_inception-2015-12-05-6726825d.pth"
SIDE = 299
CLASSES = 1008
BATCH = 8


class Conv(nn.Module):
    """Convolution, batch norm, ReLU."""

    def __init__(self, given: int, made: int, kernel: int | tuple[int, int], stride: int = 1, pad: bool = True) -> None:
        super().__init__()
        tall, wide = (kernel, kernel) if isinstance(kernel, int) else kernel
        padding = (tall // 2, wide // 2) if pad else 0
        self.conv = nn.Conv2d(given, made, (tall, wide), stride, padding, bias=False)
        self.bn = nn.BatchNorm2d(made, eps=0.001)

    def forward(self, picture: Tensor) -> Tensor:
        """N×C×H×W."""
        return functional.relu(self.bn(self.conv(picture)))


class Block(nn.Module):
    """Branches side by side; each is a row of convolutions, and one pools first."""

    def __init__(self, pool: str) -> None:
        super().__init__()
        self.pool = pool
        self.rows: list[tuple[str, ...]] = []

    def branch(self, *convolutions: tuple[str, Conv]) -> None:
        """Add a row of named convolutions."""
        for name, each in convolutions:
            self.add_module(name, each)
        self.rows.append(tuple(name for name, _ in convolutions))

    def forward(self, picture: Tensor) -> Tensor:
        """N×C×H×W to N×C'×H'×W', the pooling branch last."""
        made = [self._row(picture, row) for row in self.rows if row != ("branch_pool",)]
        pooled = _pooled(picture, self.pool)
        made.append(self._row(pooled, ("branch_pool",)) if "branch_pool" in dict(self.named_children()) else pooled)
        return torch.cat(made, 1)

    def _row(self, picture: Tensor, row: tuple[str, ...]) -> Tensor:
        """A row in order; two names that end in `a` and `b` after each other are done side by side."""
        for name in row:
            if name.endswith("b") and f"{name[:-1]}a" in row:
                continue
            each = self.get_submodule(name)
            if name.endswith("a") and f"{name[:-1]}b" in row:
                picture = torch.cat([each(picture), self.get_submodule(f"{name[:-1]}b")(picture)], 1)
            else:
                picture = each(picture)
        return picture


def _pooled(picture: Tensor, how: str) -> Tensor:
    if how == "shrink":
        return functional.max_pool2d(picture, 3, 2)
    if how == "max":
        return functional.max_pool2d(picture, 3, 1, 1)
    return functional.avg_pool2d(picture, 3, 1, 1, count_include_pad=False)


class InceptionV3(nn.Module):
    """The whole network; `share` of the published width, for tests."""

    def __init__(self, share: float = 1.0, classes: int = CLASSES) -> None:
        super().__init__()

        def wide(channels: int) -> int:
            return max(1, round(channels * share))

        self.Conv2d_1a_3x3 = Conv(3, wide(32), 3, 2, pad=False)
        self.Conv2d_2a_3x3 = Conv(wide(32), wide(32), 3, pad=False)
        self.Conv2d_2b_3x3 = Conv(wide(32), wide(64), 3)
        self.Conv2d_3b_1x1 = Conv(wide(64), wide(80), 1)
        self.Conv2d_4a_3x3 = Conv(wide(80), wide(192), 3, pad=False)
        self.Mixed_5b = _first(wide(192), wide, 32)
        self.Mixed_5c = _first(wide(64) * 2 + wide(96) + wide(32), wide, 64)
        large = wide(64) * 3 + wide(96)
        self.Mixed_5d = _first(large, wide, 64)
        self.Mixed_6a = _shrink(large, wide)
        large += wide(384) + wide(96)
        for name, narrow in (("b", 128), ("c", 160), ("d", 160), ("e", 192)):
            self.add_module(f"Mixed_6{name}", _second(large, wide, narrow))
            large = wide(192) * 4
        self.Mixed_7a = _shrink_again(large, wide)
        large += wide(320) + wide(192)
        self.Mixed_7b = _third(large, wide, "mean")
        large = wide(320) + wide(384) * 4 + wide(192)
        self.Mixed_7c = _third(large, wide, "max")
        self.fc = nn.Linear(large, classes)

    def forward(self, pictures: Tensor) -> tuple[Tensor, Tensor]:
        """N×3×299×299 in −1..1 to N×2048 features and N×1008 logits.

        Logits are without bias, as the first inception scores took them.
        """
        made = self.Conv2d_2b_3x3(self.Conv2d_2a_3x3(self.Conv2d_1a_3x3(pictures)))
        made = self.Conv2d_4a_3x3(self.Conv2d_3b_1x1(functional.max_pool2d(made, 3, 2)))
        made = functional.max_pool2d(made, 3, 2)
        for name in ("5b", "5c", "5d", "6a", "6b", "6c", "6d", "6e", "7a", "7b", "7c"):
            made = self.get_submodule(f"Mixed_{name}")(made)
        features = made.mean((2, 3))
        return features, functional.linear(features, self.fc.weight)


def _first(given: int, wide: Wide, pool: int) -> Block:
    """35×35 pixels."""
    block = Block("mean")
    block.branch(("branch1x1", Conv(given, wide(64), 1)))
    block.branch(("branch5x5_1", Conv(given, wide(48), 1)), ("branch5x5_2", Conv(wide(48), wide(64), 5)))
    block.branch(
        ("branch3x3dbl_1", Conv(given, wide(64), 1)),
        ("branch3x3dbl_2", Conv(wide(64), wide(96), 3)),
        ("branch3x3dbl_3", Conv(wide(96), wide(96), 3)),
    )
    block.branch(("branch_pool", Conv(given, wide(pool), 1)))
    return block


def _shrink(given: int, wide: Wide) -> Block:
    """35×35 to 17×17 pixels."""
    block = Block("shrink")
    block.branch(("branch3x3", Conv(given, wide(384), 3, 2, pad=False)))
    block.branch(
        ("branch3x3dbl_1", Conv(given, wide(64), 1)),
        ("branch3x3dbl_2", Conv(wide(64), wide(96), 3)),
        ("branch3x3dbl_3", Conv(wide(96), wide(96), 3, 2, pad=False)),
    )
    return block


def _second(given: int, wide: Wide, narrow: int) -> Block:
    """17×17 pixels, by rows and columns of seven."""
    block, thin, full = Block("mean"), wide(narrow), wide(192)
    block.branch(("branch1x1", Conv(given, full, 1)))
    block.branch(
        ("branch7x7_1", Conv(given, thin, 1)),
        ("branch7x7_2", Conv(thin, thin, (1, 7))),
        ("branch7x7_3", Conv(thin, full, (7, 1))),
    )
    block.branch(
        ("branch7x7dbl_1", Conv(given, thin, 1)),
        ("branch7x7dbl_2", Conv(thin, thin, (7, 1))),
        ("branch7x7dbl_3", Conv(thin, thin, (1, 7))),
        ("branch7x7dbl_4", Conv(thin, thin, (7, 1))),
        ("branch7x7dbl_5", Conv(thin, full, (1, 7))),
    )
    block.branch(("branch_pool", Conv(given, full, 1)))
    return block


def _shrink_again(given: int, wide: Wide) -> Block:
    """17×17 to 8×8 pixels."""
    block, full = Block("shrink"), wide(192)
    block.branch(("branch3x3_1", Conv(given, full, 1)), ("branch3x3_2", Conv(full, wide(320), 3, 2, pad=False)))
    block.branch(
        ("branch7x7x3_1", Conv(given, full, 1)),
        ("branch7x7x3_2", Conv(full, full, (1, 7))),
        ("branch7x7x3_3", Conv(full, full, (7, 1))),
        ("branch7x7x3_4", Conv(full, full, 3, 2, pad=False)),
    )
    return block


def _third(given: int, wide: Wide, pool: str) -> Block:
    """8×8 pixels."""
    block, full = Block(pool), wide(384)
    block.branch(("branch1x1", Conv(given, wide(320), 1)))
    block.branch(
        ("branch3x3_1", Conv(given, full, 1)),
        ("branch3x3_2a", Conv(full, full, (1, 3))),
        ("branch3x3_2b", Conv(full, full, (3, 1))),
    )
    block.branch(
        ("branch3x3dbl_1", Conv(given, wide(448), 1)),
        ("branch3x3dbl_2", Conv(wide(448), full, 3)),
        ("branch3x3dbl_3a", Conv(full, full, (1, 3))),
        ("branch3x3dbl_3b", Conv(full, full, (3, 1))),
    )
    block.branch(("branch_pool", Conv(given, wide(192), 1)))
    return block


class Inception:
    """Features and classes of pictures; on the GPU where there is one."""

    def __init__(self, network: InceptionV3) -> None:
        self._device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self._network = network.eval().to(self._device)

    def classify(self, images: Sequence[Image]) -> tuple[Numbers, Numbers]:
        """Features and shares of classes; see `portrait.ports.Classifier`."""
        features, shares = [], []
        for start in range(0, len(images), BATCH):
            pictures = torch.cat([resized(image) for image in images[start : start + BATCH]]).to(self._device)
            with torch.inference_mode():
                seen, logits = self._network(pictures)
            features.append(seen.double().cpu().numpy())
            shares.append(torch.softmax(logits.double(), 1).cpu().numpy())
        return np.concatenate(features), np.concatenate(shares)


def resized(image: Image) -> Tensor:
    """A picture as 1×3×299×299 in −1..1, its shape given up: bilinear and without averaging, as the published way does.

    Other ways of reducing change the distance by more than many a model does (Parmar and others 2022, 2104.11222).
    """
    whole = torch.from_numpy(np.ascontiguousarray(image)).permute(2, 0, 1)[None].float() / 255
    return functional.interpolate(whole, (SIDE, SIDE), mode="bilinear", align_corners=False) * 2 - 1


def load(path: Path) -> InceptionV3:
    """The network from published weights; raises `EngineError` (`broken_model`)."""
    try:
        weights = torch.load(path, map_location="cpu", weights_only=True)
        with torch.device("meta"):
            network = InceptionV3()
        network.load_state_dict(weights, assign=True)
    except (OSError, RuntimeError, pickle.UnpicklingError, EOFError, AttributeError, TypeError) as error:
        raise broken_model(path, str(error), MODEL) from error
    return network


def make(settings: Settings, models: Models, engines: Engines) -> Inception:
    """Load the network."""
    return Inception(load(models.file(MODEL, FILE)))


def status(settings: Settings, models: Models) -> list[str]:
    """What is still missing."""
    return models.missing(MODEL)
