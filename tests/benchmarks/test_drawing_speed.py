"""A person with a LoRA on SDXL against a plain call of diffusers: on a GPU with the real shapes, and tiny on a CPU."""

import sys
from pathlib import Path

import pytest
import torch

from pipelines.diffusion.base import device
from tests.benchmarks import drawing

ON_GPU = pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU here")


@pytest.mark.gpu
@ON_GPU
def test_presets_are_faster_than_a_plain_call(tmp_path: Path) -> None:
    found = drawing.measure(tmp_path, "sdxl", torch.device("cuda"))
    sys.stdout.write("\n" + drawing.table(found) + "\n")
    assert found[drawing.PLAIN]["seconds"] / found["fast"]["seconds"] >= 7


@pytest.mark.bench
def test_everything_that_is_measured_draws(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(drawing, "ROUNDS", 1)
    monkeypatch.setattr(device, "COMPILE_BACKEND", "eager")
    monkeypatch.setattr(drawing, "STEPS", dict.fromkeys(drawing.STEPS, 2))
    torch.set_num_threads(1)
    found = drawing.measure(tmp_path, "tiny", torch.device("cpu"))
    assert list(found) == [drawing.PLAIN, "best", "balanced", "fast", *drawing.COMPILED]
    assert all(each["seconds"] > 0 for each in found.values())
    assert drawing.table(found).count("\n") == 7
