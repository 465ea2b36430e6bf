"""The cost of a training step, against a script that keeps VAE and text encoders in its loop."""

import json
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from tests import tiny
from tests.benchmarks import training
from tests.benchmarks.plugin import Record

ROUNDS = {"small": 30, "sd15": 4}
SIDES = {"small": 128, "sd15": 512}
VARIANTS = {"small": ["off", "script"], "sd15": ["off", "light", "script"]}
FASTER, LIGHTER = {"small": 1.2, "sd15": 1.35}, 0.8
"""Of the last way before the script. Beside a small base PyTorch itself is what takes memory."""
PEAKS = {"small": 0.8, "sd15": 5.5}
"""Gigabytes."""
GIVING_BACK = {"MALLOC_ARENA_MAX": "1", "MALLOC_MMAP_THRESHOLD_": "131072"}
"""What is dropped goes back at once, so that the peak is that of what is held and not of what the C library hoards."""


@pytest.mark.bench
@pytest.mark.parametrize("size", ["small", "sd15"])
def test_a_step_costs_less_than_a_scripts(size: str, tmp_path: Path, figure: Record) -> None:
    folder, side, names = training.write(tmp_path / size, size), SIDES[size], VARIANTS[size]
    variants = {}
    for name in names:
        (tmp_path / name).mkdir()
        variants[name] = training.learning(name, folder, side, tmp_path / name)
    wall: dict[str, list[float]] = {name: [] for name in variants}
    cpu: dict[str, list[float]] = {name: [] for name in variants}
    for number in range(ROUNDS[size] + 1):
        for name, variant in variants.items():
            began, spent = time.perf_counter(), time.process_time()
            variant.step(number)
            if number:  # the first warms up
                wall[name].append(time.perf_counter() - began)
                cpu[name].append(time.process_time() - spent)
    peaks = {name: peak(folder, name, side) for name in variants}
    report(
        f"\n| {size}, {side} px, batch 1 | wall s | CPU s a step | CPU × | peak GB | share |\n|---|---|---|---|---|---|"
    )
    faster = {name: statistics.median(cpu["script"]) / statistics.median(cpu[name]) for name in variants}
    lighter = {name: peaks[name] / peaks["script"] for name in variants}
    for name in variants:
        seconds = f"{statistics.median(wall[name]):.3f} | {statistics.median(cpu[name]):.3f} | {faster[name]:.2f}"
        report(f"| {name} | {seconds} | {peaks[name] / 1e9:.2f} | {lighter[name]:.2f} |")
    what = f"A learning step, {size}, {SIDES[size]} px"
    figure(f"{what}: CPU time of a script over ours", faster[names[-2]], "×", at_least=FASTER[size])
    figure(f"{what}: peak of a process of its own", peaks[names[-2]] / 1e9, "GB", at_most=PEAKS[size])
    if size == "sd15":
        figure(f"{what}: peak over that of a script", lighter["light"], "×", at_most=LIGHTER)


def report(line: str) -> None:
    sys.stdout.write(line + "\n")


def peak(folder: Path, variant: str, side: int) -> float:
    """Bytes at the peak of a process of its own."""
    command = [sys.executable, "-m", "tests.benchmarks.training", str(folder), variant, str(side), "2"]
    output = subprocess.run(command, capture_output=True, text=True, check=True, env=os.environ | GIVING_BACK)
    return float(json.loads(output.stdout)["peak"])


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU")
def test_training_at_sdxl_size_on_a_gpu(tmp_path: Path) -> None:
    """800 steps at 1024 px on random weights against a script's loop: seconds, report by 40 steps, and memory."""
    found = training.measure(training.write_sdxl(tmp_path / "sdxl"), 1024, 40, torch.device("cuda"), tmp_path)
    report(training.table(found))
    assert found["script"].seconds / found["ours"].seconds > 1.2


@pytest.mark.bench
def test_everything_that_is_measured_on_a_gpu_trains(tmp_path: Path) -> None:
    torch.set_num_threads(1)
    found = training.measure(tiny.sdxl(tmp_path / "sdxl"), 64, 2, torch.device("cpu"), tmp_path)
    assert list(found) == ["script", "ours"]
    assert all(each.seconds > 0 for each in found.values())
    assert training.table(found).count("\n") == 4
