"""What a device is, how fast it is, and whether ONNX Runtime uses it."""

import onnxruntime
import pytest
import torch

from pipelines.diffusion.base import device
from pipelines.diffusion.selftest import hardware, onnx_provider
from pipelines.diffusion.training import estimate

CPU = torch.device("cpu")


def test_facts_of_the_cpu() -> None:
    facts = hardware.read_facts(CPU)
    assert (facts.capability, facts.driver, facts.native_bfloat16, facts.precision) == ("", "", False, "float32")
    assert 0 < facts.memory_free < facts.memory_total
    assert facts.torch == torch.__version__


def test_a_gpu_that_emulates_bfloat16_is_not_tested_in_it() -> None:
    facts = hardware.DeviceFacts("T4", "7.5", 1e9, 2e9, "580", "2", "13", "0", False, "float16")
    assert hardware.supported_dtypes(facts) == [torch.float32, torch.float16]
    native = hardware.DeviceFacts("A10", "8.6", 1e9, 2e9, "580", "2", "13", "0", True, "bfloat16")
    assert hardware.supported_dtypes(native) == [torch.float32, torch.float16, torch.bfloat16]


def test_copies_and_products_are_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hardware, "COPY_BYTES", 1 << 20)
    copies = hardware.measure_copies(CPU)
    assert copies.outcome == "ok"
    assert copies.found.count("GB/s") == 2
    products = hardware.measure_products(CPU, [torch.float32])
    assert products.outcome == "ok"
    assert products.found.startswith("TFLOP/s: float32 ")


def test_an_emulated_precision_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    speeds = {torch.float32: 8e12, torch.bfloat16: 1e12}
    monkeypatch.setattr(estimate, "measure_flops_per_second", lambda where, dtype: speeds[dtype])
    monkeypatch.setattr(device, "choose_dtype", lambda *given: torch.bfloat16)
    result = hardware.measure_products(CPU, list(speeds))
    assert [fault.kind for fault in result.faults] == ["slow_precision"]
    assert "bfloat16" in result.faults[0].sentence


def test_free_memory_is_told_as_profiles(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(device, "choose_dtype", lambda *given: torch.bfloat16)
    monkeypatch.setattr(device, "free_memory", lambda where: 8e9)
    result = hardware.check_memory(CPU)
    assert result.outcome == "ok"
    assert result.found == "8.0 GB free: Stable Diffusion 1.5 full, SDXL sliced"


def test_a_session_runs_where_it_should() -> None:
    assert onnx_provider.check_sessions("cpu", ["CPUExecutionProvider"]).outcome == "ok"


def test_a_session_that_took_the_cpu_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """As on a machine where onnxruntime has CUDA, but not CUDA's libraries."""
    missing = onnx_provider.check_sessions("cuda", ["CPUExecutionProvider"])
    assert "installed without CUDAExecutionProvider" in missing.faults[0].sentence
    both = ["CUDAExecutionProvider", "CPUExecutionProvider"]
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: both)
    result = onnx_provider.check_sessions("cuda", ["CPUExecutionProvider"])
    assert [fault.kind for fault in result.faults] == ["no_provider"]
    assert "could not be loaded, and CPUExecutionProvider took its place" in result.faults[0].sentence


def test_a_session_with_wrong_numbers_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    weight = onnx_provider._weight()
    expected = onnx_provider._expected
    monkeypatch.setattr(onnx_provider, "_expected", lambda pixels: expected(pixels) + 0.1)
    result = onnx_provider.check_sessions("cpu", ["CPUExecutionProvider"])
    assert weight.shape == (4, 3, 3, 3)
    assert [fault.kind for fault in result.faults] == ["wrong_result"]
