"""The test of a device, with the CPU in its place: what is sound passes, and five planted faults are each named."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import AutoencoderKL

from pipelines.build import open_engines
from pipelines.diffusion.base import device, memory
from pipelines.diffusion.base.lease import Lease, LoadedBase
from pipelines.diffusion.selftest import drawing, hardware, learning, tiny, tiny_adapters, tiny_store
from pipelines.diffusion.selftest.drawing import DrawingCase, DrawingChecks, DrawingSetup, Placement
from pipelines.diffusion.selftest.learning import Strength, TrainingCase, TrainingChecks
from pipelines.diffusion.selftest.results import Result
from pipelines.settings import BaseLocation

CPU = torch.device("cpu")
TEXT = DrawingCase("SD 1.5 text", "sd")
FULL, HALF = Placement(torch.float32, "full"), Placement(torch.float16, "full")
OFFLOAD = Placement(torch.float32, "offload")

pytestmark = pytest.mark.networks


@pytest.fixture(scope="module")
def setup(one_thread: None, tmp_path_factory: pytest.TempPathFactory) -> DrawingSetup:
    settings = tiny_store.fill(tmp_path_factory.mktemp("self-test"))
    return DrawingSetup(settings, open_engines(settings).identity_adapter, tiny_store.made_up_person(1))


@pytest.fixture(scope="module")
def draws(setup: DrawingSetup) -> DrawingChecks:
    """What the CPU draws is known before anything is planted."""
    checks = DrawingChecks(setup, CPU, (TEXT,))
    assert checks.draw_expected().outcome == "ok"
    return checks


@pytest.fixture
def trains(setup: DrawingSetup, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> TrainingChecks:
    monkeypatch.setattr(learning, "STEPS", 2)
    checks = TrainingChecks(setup.settings, tmp_path, CPU, (TrainingCase("SD 1.5 LoRA", "sd"),))
    assert checks.train_expected().outcome == "ok"
    return checks


def of_flux2(setup: DrawingSetup, folder: Path) -> DrawingSetup:
    """The same with a FLUX.2, and a LoRA for it."""
    base = tiny.flux2(folder / "flux2")
    person = tiny_store.made_up_person(1, tiny_adapters.flux2_lora(folder / "lora", base, 1), tiny_store.SQUARE)
    settings = replace(setup.settings, bases={"flux": BaseLocation(base)})
    return replace(setup, settings=settings, people={"flux": person})


def only(results: Iterator[Result]) -> Result:
    """The one result of a check of one base."""
    (result,) = results
    return result


def kinds(result: Result) -> list[str]:
    return [fault.kind for fault in result.faults]


def off_in(dtype: torch.dtype, call: Callable[..., torch.Tensor], error: float) -> Callable[..., torch.Tensor]:
    """A call whose results are too large by a share, or infinite, in one precision."""

    def wrong(given: torch.Tensor, weight: torch.Tensor, *more: Any, **named: Any) -> torch.Tensor:
        answer = call(given, weight, *more, **named)
        return answer * (1 + error) if weight.dtype == dtype else answer

    return wrong


def test_what_is_sound_passes(draws: DrawingChecks) -> None:
    result = only(draws(Placement(torch.bfloat16, "offload")))
    assert (result.outcome, result.faults) == ("ok", ()), result
    assert result.name == "Drawing on SD 1.5, bfloat16, offload"


def test_flux2_is_drawn_and_learned_with(setup: DrawingSetup, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with_it = of_flux2(setup, tmp_path)
    draws = DrawingChecks(with_it, CPU, [case for case in drawing.CASES if case.base == "flux"])
    assert draws.draw_expected().found == "4 pictures"
    results = [
        only(draws(each)) for each in (Placement(torch.bfloat16, "offload"), Placement(torch.float32, "sequential"))
    ]
    monkeypatch.setattr(learning, "STEPS", 2)
    cases = [case for case in learning.CASES if case.base == "flux"]
    trains = TrainingChecks(with_it.settings, tmp_path, CPU, cases)
    assert trains.train_expected().found == "1 trainings"
    results += [only(trains(each)) for each in (Strength(torch.bfloat16, "light"), Strength(torch.float32, "full"))]
    assert [(each.outcome, each.faults) for each in results] == [("ok", ())] * 4, results


@pytest.mark.parametrize("placement", [FULL, Placement(torch.float32, "sliced")])
def test_a_tensor_left_behind_is_named(
    draws: DrawingChecks, placement: Placement, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = memory.place_pipeline

    def forget_one(pipeline: Any, *given: Any) -> None:
        place(pipeline, *given)
        pipeline.unet.conv_out.to("meta")

    monkeypatch.setattr(memory, "place_pipeline", forget_one)
    result = only(draws(placement))
    assert kinds(result) == ["tensor_left_behind"]
    assert "unet.conv_out.weight is on meta" in result.faults[0].sentence


def test_a_tensor_that_a_request_moves_is_named(draws: DrawingChecks, monkeypatch: pytest.MonkeyPatch) -> None:
    release = Lease.release

    def leave_one(lease: Lease) -> None:
        release(lease)
        lease.loaded.pipeline.vae.to(torch.float16)

    monkeypatch.setattr(Lease, "release", leave_one)
    result = only(draws(FULL))
    assert kinds(result)[0] == "tensor_left_behind"
    assert "was in float32 and is in float16" in result.faults[0].sentence


def test_a_lost_hook_is_named(draws: DrawingChecks, monkeypatch: pytest.MonkeyPatch) -> None:
    release = Lease.release

    def lose(lease: Lease) -> None:
        release(lease)
        lease.loaded.pipeline.remove_all_hooks()

    monkeypatch.setattr(Lease, "release", lose)
    result = only(draws(OFFLOAD))
    assert kinds(result)[0] == "hook_lost"
    assert "had CpuOffload for cpu and has none" in result.faults[0].sentence
    assert "on the CPU" in result.faults[0].sentence


def overflowing(channels: tuple[int, int]) -> Callable[..., torch.Tensor]:
    """A convolution that overflows in half precision where it makes so many channels of so many."""
    conv2d = torch.nn.functional.conv2d

    def overflow(given: torch.Tensor, weight: torch.Tensor, *more: Any, **named: Any) -> torch.Tensor:
        answer = conv2d(given, weight, *more, **named)
        return answer + torch.inf if weight.dtype == torch.float16 and weight.shape[:2] == channels else answer

    return overflow


def test_a_vae_that_decodes_once_more_in_float32_is_no_fault(
    draws: DrawingChecks, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.nn.functional, "conv2d", overflowing((3, 16)))
    assert only(draws(HALF)).faults == ()


def test_overflow_is_named_with_the_network(draws: DrawingChecks, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.nn.functional, "conv2d", overflowing((4, 32)))
    result = only(draws(HALF))
    assert kinds(result) == ["overflow"]
    assert "its unet" in result.faults[0].sentence
    assert only(draws(FULL)).outcome == "ok"


def test_too_little_memory_is_named(draws: DrawingChecks, monkeypatch: pytest.MonkeyPatch) -> None:
    def exhausted(*given: Any, **named: Any) -> Any:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")

    monkeypatch.setattr(AutoencoderKL, "decode", exhausted)
    result = only(draws(FULL))
    assert kinds(result) == ["out_of_memory"]
    assert "Tried to allocate 2.00 GiB" in result.faults[0].sentence
    assert "Close other programs" in result.faults[0].sentence
    monkeypatch.setattr(device, "free_memory", lambda where: 1e9)
    found = hardware.check_memory(CPU)
    assert kinds(found) == ["out_of_memory"]
    assert "1.0 GB are free, 3.7 GB are needed" in found.faults[0].sentence


@pytest.mark.parametrize(("dtype", "error"), [(torch.float32, 0.01), (torch.float16, 0.1), (torch.bfloat16, -2.0)])
def test_a_wrong_result_is_named(
    draws: DrawingChecks, dtype: torch.dtype, error: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Convolutions that are too large by a share, or have another sign where rounding is coarse."""
    monkeypatch.setattr(torch.nn.functional, "conv2d", off_in(dtype, torch.nn.functional.conv2d, error))
    result = only(draws(Placement(dtype, "full")))
    assert kinds(result) == ["wrong_result"]
    assert "differs from the CPU's" in result.faults[0].sentence


def test_training_is_compared_too(trains: TrainingChecks, monkeypatch: pytest.MonkeyPatch) -> None:
    linear, half = torch.nn.functional.linear, Strength(torch.bfloat16, "off")
    assert only(trains(Strength(torch.float32, "full"))).faults == ()
    monkeypatch.setattr(torch.nn.functional, "linear", off_in(torch.bfloat16, linear, -2.0))
    assert kinds(only(trains(half))) == ["wrong_result"]
    monkeypatch.setattr(torch.nn.functional, "linear", off_in(torch.bfloat16, linear, float("inf")))
    assert kinds(only(trains(half))) == ["overflow"]


def test_precisions_that_training_cannot_choose_are_left_out() -> None:
    names = [each.name for each in learning.strengths([torch.float32, torch.float64])]
    assert names == [f"float32, checkpointing {each}" for each in ("off", "light", "full")]


def test_a_request_leaves_what_it_had(setup: DrawingSetup) -> None:
    loaded: LoadedBase = setup.load("sd", torch.float32, CPU, "full")
    watch = drawing.OverflowWatch(loaded)
    hooks = len(loaded.pipeline.unet._forward_hooks)
    with watch:
        assert len(loaded.pipeline.unet._forward_hooks) == hooks + 1
    assert len(loaded.pipeline.unet._forward_hooks) == hooks
    loaded.close()
