"""InceptionV3 with which the Fréchet inception distance is published: 2048 features and 1008 classes per picture.

The layout is that of pytorch-fid's weights, which are TensorFlow's of 2015. It differs from torchvision's InceptionV3 in three
places: average pools leave padding out of their mean, the last block pools by its maximum, and there are 1008 classes.
"""

import pickle
from collections.abc import Callable, Mapping, Sequence
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
Kernel = int | tuple[int, int]
Branches = Mapping[str, Sequence[tuple[str, int, Kernel]]]
"""The convolutions of each branch in order: end of name, published channels, kernel; of blocks that shrink the last does."""

MODEL, FILE = "inception", "pt_inception-2015-12-05-6726825d.pth"
MODELS = (MODEL,)
SIDE = 299
CLASSES = 1008
BATCH = 8


class BasicConv2d(nn.Module):
    """Convolution, batch norm, ReLU; named as in torchvision."""

    def __init__(self, given: int, out: int, kernel: Kernel, stride: int = 1, pad: bool = True) -> None:
        super().__init__()
        size = (kernel, kernel) if isinstance(kernel, int) else kernel
        padding = (size[0] // 2, size[1] // 2) if pad else 0
        self.conv = nn.Conv2d(given, out, size, stride, padding, bias=False)
        self.bn = nn.BatchNorm2d(out, eps=0.001)

    def forward(self, picture: Tensor) -> Tensor:
        """N×C×H×W."""
        return functional.relu(self.bn(self.conv(picture)))


class InceptionBlock(nn.Module):
    """Parallel branches whose outputs are concatenated; each is a row of convolutions, and one pools first."""

    def __init__(self, in_channels: int, channels: Channels, pool: str, branches: Branches) -> None:
        super().__init__()
        self.pool = pool
        self.rows = [tuple(f"{name}{end}" for end, _, _ in row) for name, row in branches.items()]
        for name, row in branches.items():
            given = in_channels
            for number, (end, published, kernel) in enumerate(row, 1):
                shrinks, out = pool == "shrink" and number == len(row), channels(published)
                self.add_module(f"{name}{end}", BasicConv2d(given, out, kernel, 2 if shrinks else 1, not shrinks))
                if not end.endswith("a"):  # its `b` takes what it took
                    given = out

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
    branches: Branches = {
        "branch1x1": [("", 64, 1)],
        "branch5x5": [("_1", 48, 1), ("_2", 64, 5)],
        "branch3x3dbl": [("_1", 64, 1), ("_2", 96, 3), ("_3", 96, 3)],
        "branch_pool": [("", pool, 1)],
    }
    return InceptionBlock(in_channels, channels, "mean", branches)


def _inception_b(in_channels: int, channels: Channels) -> InceptionBlock:
    """Block B, 35×35 to 17×17 pixels."""
    branches: Branches = {
        "branch3x3": [("", 384, 3)],
        "branch3x3dbl": [("_1", 64, 1), ("_2", 96, 3), ("_3", 96, 3)],
    }
    return InceptionBlock(in_channels, channels, "shrink", branches)


def _inception_c(in_channels: int, channels: Channels, thin: int) -> InceptionBlock:
    """Block C, 17×17 pixels, by rows and columns of seven."""
    wide, tall = (1, 7), (7, 1)
    branches: Branches = {
        "branch1x1": [("", 192, 1)],
        "branch7x7": [("_1", thin, 1), ("_2", thin, wide), ("_3", 192, tall)],
        "branch7x7dbl": [
            ("_1", thin, 1),
            ("_2", thin, tall),
            ("_3", thin, wide),
            ("_4", thin, tall),
            ("_5", 192, wide),
        ],
        "branch_pool": [("", 192, 1)],
    }
    return InceptionBlock(in_channels, channels, "mean", branches)


def _inception_d(in_channels: int, channels: Channels) -> InceptionBlock:
    """Block D, 17×17 to 8×8 pixels."""
    branches: Branches = {
        "branch3x3": [("_1", 192, 1), ("_2", 320, 3)],
        "branch7x7x3": [("_1", 192, 1), ("_2", 192, (1, 7)), ("_3", 192, (7, 1)), ("_4", 192, 3)],
    }
    return InceptionBlock(in_channels, channels, "shrink", branches)


def _inception_e(in_channels: int, channels: Channels, pool: str) -> InceptionBlock:
    """Block E, 8×8 pixels."""
    branches: Branches = {
        "branch1x1": [("", 320, 1)],
        "branch3x3": [("_1", 384, 1), ("_2a", 384, (1, 3)), ("_2b", 384, (3, 1))],
        "branch3x3dbl": [("_1", 448, 1), ("_2", 384, 3), ("_3a", 384, (1, 3)), ("_3b", 384, (3, 1))],
        "branch_pool": [("", 192, 1)],
    }
    return InceptionBlock(in_channels, channels, pool, branches)


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
