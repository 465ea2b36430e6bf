"""InceptionV3 with which the Fréchet inception distance is published: 2048 features and 1008 classes per picture.

The layout is that of pytorch-fid's weights, which are TensorFlow's of 2015. It differs from torchvision's InceptionV3 in three
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
from pipelines.model_store.store import ModelStore
from pipelines.settings import Settings
from portrait.arrays import Image
from portrait.errors import broken_model
from portrait.metrics import Numbers

Channels = Callable[[int], int]
"""Published channels to those of this network."""

MODEL, FILE = "inception", "pt_inception-2015-12-05-6726825d.pth"
SIDE = 299
CLASSES = 1008
BATCH = 8


class BasicConv2d(nn.Module):
    """Convolution, batch norm, ReLU; named as in torchvision."""

    def __init__(
        self, in_channels: int, out_channels: int, kernel: int | tuple[int, int], stride: int = 1, pad: bool = True
    ) -> None:
        super().__init__()
        size = (kernel, kernel) if isinstance(kernel, int) else kernel
        padding = (size[0] // 2, size[1] // 2) if pad else 0
        self.conv = nn.Conv2d(in_channels, out_channels, size, stride, padding, bias=False)
        self.bn = nn.BatchNorm2d(out_channels, eps=0.001)

    def forward(self, picture: Tensor) -> Tensor:
        """N×C×H×W."""
        return functional.relu(self.bn(self.conv(picture)))


class InceptionBlock(nn.Module):
    """Parallel branches whose outputs are concatenated; each is a row of convolutions, and one pools first."""

    def __init__(self, pool: str) -> None:
        super().__init__()
        self.pool = pool
        self.rows: list[tuple[str, ...]] = []

    def branch(self, *convolutions: tuple[str, BasicConv2d]) -> None:
        """Add a row of named convolutions."""
        for name, each in convolutions:
            self.add_module(name, each)
        self.rows.append(tuple(name for name, _ in convolutions))

    def forward(self, picture: Tensor) -> Tensor:
        """N×C×H×W to N×C'×H'×W', the pooling branch last."""
        outputs = [self._run_row(picture, row) for row in self.rows if row != ("branch_pool",)]
        pooled = _pool(picture, self.pool)
        if "branch_pool" in dict(self.named_children()):
            pooled = self._run_row(pooled, ("branch_pool",))
        return torch.cat([*outputs, pooled], 1)

    def _run_row(self, picture: Tensor, row: tuple[str, ...]) -> Tensor:
        """Run a row in order; two names in succession that end in `a` and `b` are run in parallel and concatenated."""
        for name in row:
            if name.endswith("b") and f"{name[:-1]}a" in row:
                continue
            each = self.get_submodule(name)
            if name.endswith("a") and f"{name[:-1]}b" in row:
                picture = torch.cat([each(picture), self.get_submodule(f"{name[:-1]}b")(picture)], 1)
            else:
                picture = each(picture)
        return picture


def _pool(picture: Tensor, mode: str) -> Tensor:
    if mode == "shrink":
        return functional.max_pool2d(picture, 3, 2)
    if mode == "max":
        return functional.max_pool2d(picture, 3, 1, 1)
    return functional.avg_pool2d(picture, 3, 1, 1, count_include_pad=False)


class InceptionV3(nn.Module):
    """The network; `width` is a factor of the published channels, for tests."""

    def __init__(self, width: float = 1.0, classes: int = CLASSES) -> None:
        super().__init__()

        def channels(published: int) -> int:
            return max(1, round(published * width))

        self.Conv2d_1a_3x3 = BasicConv2d(3, channels(32), 3, 2, pad=False)
        self.Conv2d_2a_3x3 = BasicConv2d(channels(32), channels(32), 3, pad=False)
        self.Conv2d_2b_3x3 = BasicConv2d(channels(32), channels(64), 3)
        self.Conv2d_3b_1x1 = BasicConv2d(channels(64), channels(80), 1)
        self.Conv2d_4a_3x3 = BasicConv2d(channels(80), channels(192), 3, pad=False)
        self.Mixed_5b = _inception_a(channels(192), channels, 32)
        self.Mixed_5c = _inception_a(channels(64) * 2 + channels(96) + channels(32), channels, 64)
        large = channels(64) * 3 + channels(96)
        self.Mixed_5d = _inception_a(large, channels, 64)
        self.Mixed_6a = _inception_b(large, channels)
        large += channels(384) + channels(96)
        for name, narrow in (("b", 128), ("c", 160), ("d", 160), ("e", 192)):
            self.add_module(f"Mixed_6{name}", _inception_c(large, channels, narrow))
            large = channels(192) * 4
        self.Mixed_7a = _inception_d(large, channels)
        large += channels(320) + channels(192)
        self.Mixed_7b = _inception_e(large, channels, "mean")
        large = channels(320) + channels(384) * 4 + channels(192)
        self.Mixed_7c = _inception_e(large, channels, "max")
        self.fc = nn.Linear(large, classes)

    def forward(self, pictures: Tensor) -> tuple[Tensor, Tensor]:
        """N×3×299×299 in −1..1 to N×2048 features and N×1008 logits.

        Logits are without bias, as the first inception scores took them.
        """
        maps = self.Conv2d_2b_3x3(self.Conv2d_2a_3x3(self.Conv2d_1a_3x3(pictures)))
        maps = self.Conv2d_4a_3x3(self.Conv2d_3b_1x1(functional.max_pool2d(maps, 3, 2)))
        maps = functional.max_pool2d(maps, 3, 2)
        for name in ("5b", "5c", "5d", "6a", "6b", "6c", "6d", "6e", "7a", "7b", "7c"):
            maps = self.get_submodule(f"Mixed_{name}")(maps)
        features = maps.mean((2, 3))
        return features, functional.linear(features, self.fc.weight)


def _inception_a(in_channels: int, channels: Channels, pool: int) -> InceptionBlock:
    """Block A, 35×35 pixels."""
    block = InceptionBlock("mean")
    block.branch(("branch1x1", BasicConv2d(in_channels, channels(64), 1)))
    block.branch(
        ("branch5x5_1", BasicConv2d(in_channels, channels(48), 1)),
        ("branch5x5_2", BasicConv2d(channels(48), channels(64), 5)),
    )
    block.branch(
        ("branch3x3dbl_1", BasicConv2d(in_channels, channels(64), 1)),
        ("branch3x3dbl_2", BasicConv2d(channels(64), channels(96), 3)),
        ("branch3x3dbl_3", BasicConv2d(channels(96), channels(96), 3)),
    )
    block.branch(("branch_pool", BasicConv2d(in_channels, channels(pool), 1)))
    return block


def _inception_b(in_channels: int, channels: Channels) -> InceptionBlock:
    """Block B, 35×35 to 17×17 pixels."""
    block = InceptionBlock("shrink")
    block.branch(("branch3x3", BasicConv2d(in_channels, channels(384), 3, 2, pad=False)))
    block.branch(
        ("branch3x3dbl_1", BasicConv2d(in_channels, channels(64), 1)),
        ("branch3x3dbl_2", BasicConv2d(channels(64), channels(96), 3)),
        ("branch3x3dbl_3", BasicConv2d(channels(96), channels(96), 3, 2, pad=False)),
    )
    return block


def _inception_c(in_channels: int, channels: Channels, narrow: int) -> InceptionBlock:
    """Block C, 17×17 pixels, by rows and columns of seven."""
    block, thin, full = InceptionBlock("mean"), channels(narrow), channels(192)
    block.branch(("branch1x1", BasicConv2d(in_channels, full, 1)))
    block.branch(
        ("branch7x7_1", BasicConv2d(in_channels, thin, 1)),
        ("branch7x7_2", BasicConv2d(thin, thin, (1, 7))),
        ("branch7x7_3", BasicConv2d(thin, full, (7, 1))),
    )
    block.branch(
        ("branch7x7dbl_1", BasicConv2d(in_channels, thin, 1)),
        ("branch7x7dbl_2", BasicConv2d(thin, thin, (7, 1))),
        ("branch7x7dbl_3", BasicConv2d(thin, thin, (1, 7))),
        ("branch7x7dbl_4", BasicConv2d(thin, thin, (7, 1))),
        ("branch7x7dbl_5", BasicConv2d(thin, full, (1, 7))),
    )
    block.branch(("branch_pool", BasicConv2d(in_channels, full, 1)))
    return block


def _inception_d(in_channels: int, channels: Channels) -> InceptionBlock:
    """Block D, 17×17 to 8×8 pixels."""
    block, full = InceptionBlock("shrink"), channels(192)
    block.branch(
        ("branch3x3_1", BasicConv2d(in_channels, full, 1)),
        ("branch3x3_2", BasicConv2d(full, channels(320), 3, 2, pad=False)),
    )
    block.branch(
        ("branch7x7x3_1", BasicConv2d(in_channels, full, 1)),
        ("branch7x7x3_2", BasicConv2d(full, full, (1, 7))),
        ("branch7x7x3_3", BasicConv2d(full, full, (7, 1))),
        ("branch7x7x3_4", BasicConv2d(full, full, 3, 2, pad=False)),
    )
    return block


def _inception_e(in_channels: int, channels: Channels, pool: str) -> InceptionBlock:
    """Block E, 8×8 pixels."""
    block, full = InceptionBlock(pool), channels(384)
    block.branch(("branch1x1", BasicConv2d(in_channels, channels(320), 1)))
    block.branch(
        ("branch3x3_1", BasicConv2d(in_channels, full, 1)),
        ("branch3x3_2a", BasicConv2d(full, full, (1, 3))),
        ("branch3x3_2b", BasicConv2d(full, full, (3, 1))),
    )
    block.branch(
        ("branch3x3dbl_1", BasicConv2d(in_channels, channels(448), 1)),
        ("branch3x3dbl_2", BasicConv2d(channels(448), full, 3)),
        ("branch3x3dbl_3a", BasicConv2d(full, full, (1, 3))),
        ("branch3x3dbl_3b", BasicConv2d(full, full, (3, 1))),
    )
    block.branch(("branch_pool", BasicConv2d(in_channels, channels(192), 1)))
    return block


class InceptionClassifier:
    """Computes features and class probabilities of pictures; on the GPU where there is one."""

    def __init__(self, network: InceptionV3) -> None:
        self._device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self._network = network.eval().to(self._device)

    def classify(self, images: Sequence[Image]) -> tuple[Numbers, Numbers]:
        """Features N×2048 and class probabilities N×1008; see `portrait.ports.ImageClassifier`."""
        features, probabilities = [], []
        for start in range(0, len(images), BATCH):
            pictures = torch.cat([preprocess(image) for image in images[start : start + BATCH]]).to(self._device)
            with torch.inference_mode():
                batch, logits = self._network(pictures)
            features.append(batch.double().cpu().numpy())
            probabilities.append(torch.softmax(logits.double(), 1).cpu().numpy())
        return np.concatenate(features), np.concatenate(probabilities)


def preprocess(image: Image) -> Tensor:
    """A picture as 1×3×299×299 in −1..1, its aspect ratio ignored: bilinear without antialiasing, as published.

    Another resampling changes the distance by more than many a model does (Parmar and others 2022, 2104.11222).
    """
    pixels = torch.from_numpy(np.ascontiguousarray(image)).permute(2, 0, 1)[None].float() / 255
    return functional.interpolate(pixels, (SIDE, SIDE), mode="bilinear", align_corners=False) * 2 - 1


def load_weights(path: Path) -> InceptionV3:
    """The network with published weights; raises `EngineError` (`broken_model`)."""
    try:
        weights = torch.load(path, map_location="cpu", weights_only=True)
        with torch.device("meta"):
            network = InceptionV3()
        network.load_state_dict(weights, assign=True)
    except (OSError, RuntimeError, pickle.UnpicklingError, EOFError, AttributeError, TypeError) as error:
        raise broken_model(path, str(error), MODEL) from error
    return network


def make(settings: Settings, models: ModelStore, engines: Engines) -> InceptionClassifier:
    """Load the network."""
    return InceptionClassifier(load_weights(models.file(MODEL, FILE)))


def status(settings: Settings, models: ModelStore) -> list[str]:
    """Missing model files, one sentence each; empty when the engine is ready."""
    return models.missing(MODEL)
