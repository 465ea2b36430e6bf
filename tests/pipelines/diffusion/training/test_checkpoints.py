"""Checkpoints are written completely, and never into a folder that was erased meanwhile."""

from pathlib import Path

import pytest
import torch

from pipelines.diffusion.training.checkpoints import CheckpointStore
from portrait.errors import OperatorError


def test_a_state_is_read_back_by_its_own_run_alone(tmp_path: Path) -> None:
    CheckpointStore(tmp_path, "one").save_state({"step": 3})
    assert [each.name for each in tmp_path.iterdir()] == ["state.pt"]
    assert (CheckpointStore(tmp_path, "one").load_state() or {})["step"] == 3
    assert CheckpointStore(tmp_path, "other").load_state() is None


def test_an_erased_person_does_not_come_back_with_a_checkpoint(tmp_path: Path) -> None:
    erased = CheckpointStore(tmp_path / "person" / "desk", "one")
    with pytest.raises(OperatorError, match="cannot be written"):
        erased.save_state({"step": 4})
    assert list(tmp_path.iterdir()) == []


def test_the_weights_of_a_step_are_read_back(tmp_path: Path) -> None:
    store = CheckpointStore(tmp_path)
    store.save_step(50, {"weight": torch.ones(2)})
    assert [each.name for each in (tmp_path / "steps").iterdir()] == ["000050.safetensors"]
    assert torch.equal(store.load_step(50)["weight"], torch.ones(2))
    store.clear()
    assert list(tmp_path.iterdir()) == []
