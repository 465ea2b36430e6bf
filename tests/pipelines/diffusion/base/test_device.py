"""The dtype that a device computes in, and the memory that is free as the system means it."""

from collections.abc import Mapping
from pathlib import Path

import pytest
import torch

from pipelines.diffusion.base import device

CUDA, CPU = torch.device("cuda"), torch.device("cpu")
GIGA = 1 << 30


def emulating(including_emulation: bool = True) -> bool:
    """What PyTorch says on a GPU before Ampere."""
    return including_emulation


def computing(including_emulation: bool = True) -> bool:
    """What it says on Ampere and later."""
    return True


@pytest.mark.parametrize(
    ("support", "where", "training", "dtype"),
    [
        (computing, CUDA, False, torch.bfloat16),
        (computing, CUDA, True, torch.bfloat16),
        (emulating, CUDA, False, torch.float16),
        (emulating, CUDA, True, torch.float32),
        (computing, CPU, False, torch.float32),
    ],
)
def test_bfloat16_is_chosen_only_where_the_device_computes_in_it(
    monkeypatch: pytest.MonkeyPatch, support: object, where: torch.device, training: bool, dtype: torch.dtype
) -> None:
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", support)
    assert device.choose_dtype("auto", where, training=training) == dtype
    for name in ("float32", "bfloat16", "float16"):
        assert device.choose_dtype(name, where, training=training) == getattr(torch, name)


def write_group(folder: Path, files: Mapping[str, object]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        (folder / name).write_text(f"{content}\n")


def test_pages_of_files_that_were_read_count_as_free_in_a_control_group(tmp_path: Path) -> None:
    root, membership = tmp_path / "cgroup", tmp_path / "membership"
    membership.write_text("0::/jobs/one\n")
    stat = f"anon {GIGA}\ninactive_file {5 * GIGA}\nactive_file 0"
    write_group(root / "jobs/one", {"memory.max": 8 * GIGA, "memory.current": 7 * GIGA, "memory.stat": stat})
    write_group(root / "jobs", {"memory.max": "max", "memory.current": 7 * GIGA, "memory.stat": stat})
    assert device.control_group_memory(root, membership) == [6 * GIGA]
    write_group(root / "jobs", {"memory.max": 9 * GIGA, "memory.current": 8 * GIGA, "memory.stat": "inactive_file 0"})
    assert min(device.control_group_memory(root, membership)) == GIGA, "the group around it leaves less"


def test_control_groups_of_the_first_version_and_of_containers_are_read(tmp_path: Path) -> None:
    root, membership = tmp_path / "cgroup", tmp_path / "membership"
    membership.write_text("9:name=systemd:/\n4:cpu,memory:/docker/abc\n0::/\n")
    files = {
        "memory.limit_in_bytes": 4 * GIGA,
        "memory.usage_in_bytes": 3 * GIGA,
        "memory.stat": f"inactive_file 7\ntotal_inactive_file {2 * GIGA}",
    }
    write_group(root / "memory", files)  # a container's own group is mounted there
    assert device.control_group_memory(root, membership) == [3 * GIGA]


def test_without_limits_all_that_is_available_is_free(tmp_path: Path) -> None:
    assert device.control_group_memory(tmp_path, tmp_path / "no such file") == []
    (tmp_path / "membership").write_text("0::/\n")
    assert device.control_group_memory(tmp_path, tmp_path / "membership") == []
    assert device.free_memory(CPU) > 0
