"""Bytes of networks by the headers of their files, and the memory profile that is chosen from them."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from pipelines.diffusion.base import memory
from pipelines.diffusion.base.loading import open_base
from pipelines.diffusion.base.memory import MemoryProfile
from pipelines.engines.trainers import dreambooth
from pipelines.settings import TrainSettings
from portrait.training import Checkpointing, TrainingJob
from tests import klein
from tests.pipelines.engines import tiny_training

GB = 1e9
CUDA = torch.device("cuda")
CONTEXT = 0.7 * GB
"""Of the memory of a card what PyTorch and the screen take before anything is loaded."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return klein.write(tmp_path_factory.mktemp("hub") / "klein", distilled=False)


@pytest.mark.parametrize("stored", ["BF16", "F8_E4M3"])
def test_bytes_are_those_of_the_dtype_that_is_loaded_whatever_the_files_hold(tmp_path: Path, stored: str) -> None:
    base = open_base("klein", klein.write(tmp_path / "klein", distilled=True, dtype=stored))
    for dtype in (torch.bfloat16, torch.float32):
        assert memory.component_bytes(base, dtype) == {name: dtype.itemsize * n for name, n in klein.COUNTS.items()}
    assert memory.weight_bytes(base, torch.bfloat16) == pytest.approx(15.96 * GB, rel=1e-3)
    # A transformer alone in its file takes the place of the folder's own.
    file = tmp_path / "half.safetensors"
    klein.write_weights(file, klein.COUNTS["transformer"] // 2, stored)
    single = memory.component_bytes(replace(base, path=file), torch.bfloat16)
    assert single == memory.component_bytes(base, torch.bfloat16) | {
        "transformer": klein.COUNTS["transformer"] // 2 * 2
    }


PROFILES: dict[int, MemoryProfile] = {8: "sequential", 12: "offload", 16: "offload", 24: "full", 48: "full"}
PLANS: dict[int, tuple[int, Checkpointing]] = {12: (1, "full"), 16: (1, "full"), 24: (2, "light"), 48: (1, "off")}


def test_profiles_of_klein_by_the_memory_of_cards(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    base, found = open_base("klein", folder), {}
    for card in PROFILES:
        monkeypatch.setattr(memory.device, "free_memory", lambda where, card=card: card * GB - CONTEXT)
        found[card] = memory.choose_profile(base, torch.bfloat16, CUDA)
    assert found == PROFILES


def test_plans_of_klein_by_the_memory_of_cards(folder: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(dreambooth.device, "choose_device", lambda setting: CUDA)
    monkeypatch.setattr(dreambooth.device, "choose_dtype", lambda setting, where, training: torch.bfloat16)
    monkeypatch.setattr(dreambooth.estimate, "measure_flops_per_second", lambda where, dtype: 1e14)
    trainer = tiny_training.trainer(folder.parent, TrainSettings())
    job = TrainingJob(tiny_training.training_set(), "klein", tmp_path)
    found = {}
    for card in PLANS:
        monkeypatch.setattr(dreambooth.device, "free_memory", lambda where, card=card: card * GB - CONTEXT)
        plan = found[card] = trainer.plan(job)
        assert (plan.base, plan.side, plan.precision) == ("klein", 1024, "bfloat16")
    assert {card: (plan.batch, plan.checkpointing) for card, plan in found.items()} == PLANS
    assert found[12].memory > found[12].free, "the smallest plan does not fit 12 GB"
    assert all(found[card].memory < found[card].free for card in (16, 24, 48))
