from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

from pipelines.engines.features import inception
from pipelines.engines.features.inception import BasicConv2d, InceptionClassifier, InceptionV3, load_weights, preprocess
from pipelines.model_store.store import ModelStore
from pipelines.settings import ModelStoreSettings, Settings
from portrait.errors import EngineError
from tests.fakes import picture

PUBLISHED = {
    "Conv2d_1a_3x3.conv.weight": (32, 3, 3, 3),
    "Conv2d_2b_3x3.bn.running_var": (64,),
    "Conv2d_3b_1x1.conv.weight": (80, 64, 1, 1),
    "Conv2d_4a_3x3.conv.weight": (192, 80, 3, 3),
    "Mixed_5b.branch5x5_2.conv.weight": (64, 48, 5, 5),
    "Mixed_5b.branch_pool.conv.weight": (32, 192, 1, 1),
    "Mixed_5d.branch3x3dbl_1.conv.weight": (64, 288, 1, 1),
    "Mixed_6a.branch3x3.conv.weight": (384, 288, 3, 3),
    "Mixed_6b.branch7x7_2.conv.weight": (128, 128, 1, 7),
    "Mixed_6c.branch7x7dbl_2.conv.weight": (160, 160, 7, 1),
    "Mixed_6e.branch7x7dbl_5.conv.weight": (192, 192, 1, 7),
    "Mixed_7a.branch7x7x3_4.conv.weight": (192, 192, 3, 3),
    "Mixed_7b.branch3x3_2a.conv.weight": (384, 384, 1, 3),
    "Mixed_7b.branch1x1.conv.weight": (320, 1280, 1, 1),
    "Mixed_7c.branch3x3dbl_3b.conv.weight": (384, 384, 3, 1),
    "Mixed_7c.branch_pool.conv.weight": (192, 2048, 1, 1),
    "fc.weight": (1008, 2048),
}
"""Some of the published file's tensors; the whole network was held against torchvision's, of which it is a variant."""


@pytest.fixture(scope="module")
def tiny() -> InceptionV3:
    torch.manual_seed(0)
    network = InceptionV3(width=1 / 8, classes=10).eval()
    for each in network.modules():
        # As torch sets them out, forty layers without trained norms would fade every picture to nothing.
        if isinstance(each, nn.Conv2d):
            nn.init.kaiming_normal_(each.weight, nonlinearity="relu")
    return network


def test_the_layout_is_the_published_one() -> None:
    with torch.device("meta"):
        weights = InceptionV3().state_dict()
    assert {name: tuple(weights[name].shape) for name in PUBLISHED} == PUBLISHED
    assert len(weights) == 94 * 6 + 2
    assert (
        sum(each.numel() for name, each in weights.items() if "running" not in name and "tracked" not in name)
        == 23_850_960
    )


def test_pictures_give_features_and_class_probabilities(tiny: InceptionV3) -> None:
    images = [picture(1 + number % 5, number, side=100 + number) for number in range(10)]
    features, probabilities = InceptionClassifier(tiny).classify(images)
    assert features.shape == (10, 256)
    assert probabilities.sum(1) == pytest.approx(np.ones(10))
    alone, _ = InceptionClassifier(tiny).classify(images[9:])
    assert features[9] == pytest.approx(alone[0], rel=1e-3, abs=1e-3)
    assert np.linalg.norm(features[0] - features[1]) > 1e-4


def test_pictures_are_resized_bilinearly_to_299_and_range_from_minus_one_to_one() -> None:
    image = np.zeros((299, 299, 3), np.uint8)
    image[0, 0] = (255, 128, 0)
    pixels = preprocess(image)
    assert pixels.shape == (1, 3, 299, 299)
    assert pixels[0, :, 0, 0].tolist() == pytest.approx([1, 128 / 127.5 - 1, -1], abs=1e-6)
    assert preprocess(picture(1, 1, side=40)).shape == (1, 3, 299, 299)


def test_average_pools_leave_the_padding_out_and_the_last_block_takes_the_maximum(tiny: InceptionV3) -> None:
    assert [tiny.get_submodule(f"Mixed_{name}").pool for name in ("5b", "6a", "6e", "7a", "7b", "7c")] == [
        *("mean", "shrink", "mean", "shrink", "mean", "max"),
    ]
    ones = torch.ones(1, 1, 4, 4)
    assert inception._pool(ones, "mean").min() == 1
    assert functional.avg_pool2d(ones, 3, 1, 1).min() < 1


def test_a_batch_norm_has_tensorflows_epsilon() -> None:
    assert BasicConv2d(3, 4, 1).bn.eps == 0.001


def test_a_file_of_the_published_layout_is_loaded_and_another_one_refused(tmp_path: Path, tiny: InceptionV3) -> None:
    settings = Settings(models=ModelStoreSettings(folder=tmp_path))
    place = tmp_path / inception.MODEL / inception.FILE
    place.parent.mkdir()
    torch.save({name: torch.zeros(shape.shape) for name, shape in _meta().items()}, place)
    network = load_weights(place)
    assert network.fc.weight.shape == (1008, 2048)
    assert not network.fc.weight.is_meta
    assert ModelStore(settings.models).file(inception.MODEL, inception.FILE) == place
    torch.save(tiny.state_dict(), place)
    for broken in (None, b"nothing"):
        if broken is not None:
            place.write_bytes(broken)
        with pytest.raises(EngineError, match="models pull inception") as caught:
            load_weights(place)
        assert caught.value.code == "broken_model"


def _meta() -> dict[str, torch.Tensor]:
    with torch.device("meta"):
        return InceptionV3().state_dict()
