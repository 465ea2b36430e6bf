from pathlib import Path

import pytest

from portrait.errors import OperatorError
from tasks.queue.device import detect_device, servable_queues


def tool(folder: Path, script: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine whose nvidia-smi does this."""
    program = folder / "nvidia-smi"
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(folder))


def test_without_the_driver_it_is_the_cpu(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert detect_device({}) == "cpu"


def test_a_driver_that_does_not_work_is_no_gpu(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tool(tmp_path, "echo 'NVIDIA-SMI has failed'; exit 9", monkeypatch)
    assert detect_device({}) == "cpu"


def test_gpus_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tool(tmp_path, "echo 'NVIDIA L4'; echo 'NVIDIA L4'; echo 'NVIDIA H200'", monkeypatch)
    assert detect_device({}) == "2 × NVIDIA L4, NVIDIA H200"
    assert detect_device({"CUDA_VISIBLE_DEVICES": ""}) == "cpu"


def test_queues_of_the_gpu_need_one_or_leave_to_do_without() -> None:
    assert servable_queues(["cpu", "gpu.train"], "NVIDIA L4", False) == ["cpu", "gpu.train"]
    assert servable_queues(["cpu", "gpu.train"], "cpu", False) == ["cpu"]
    assert servable_queues(["gpu.train"], "cpu", True) == ["gpu.train"]
    with pytest.raises(OperatorError, match="cpu_for_gpu_queues"):
        servable_queues(["gpu.train", "gpu.generate"], "cpu", False)
