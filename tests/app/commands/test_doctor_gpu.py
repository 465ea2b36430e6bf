"""`portrait doctor --gpu`, with the CPU in the place of a GPU."""

from pathlib import Path
from typing import Any

import pytest
import torch

from app.terminal.device_test import failure
from pipelines.diffusion.base import memory
from pipelines.diffusion.base.lease import Lease
from pipelines.diffusion.selftest import drawing, hardware, learning, tiny_store
from pipelines.diffusion.selftest.drawing import DrawingCase, Placement
from pipelines.diffusion.selftest.learning import TrainingCase
from pipelines.diffusion.selftest.results import Fault, Result
from pipelines.diffusion.training import estimate
from pipelines.engines.faces.scrfd import Scrfd
from portrait.errors import EngineError, OperatorError
from tests.app.cli_runner import document, run

TRAININGS = ("float32, checkpointing off", "float16, checkpointing light", "bfloat16, checkpointing full")
"""Three of all nine."""


@pytest.fixture(autouse=True)
def small(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One kind of drawing and of training, so that it takes seconds."""
    torch.set_num_threads(1)
    monkeypatch.setattr(drawing, "CASES", (DrawingCase("SD 1.5 text", "sd"),))
    monkeypatch.setattr(learning, "CASES", (TrainingCase("SD 1.5 LoRA", "sd"),))
    monkeypatch.setattr(hardware, "COPY_BYTES", 1 << 20)
    monkeypatch.setattr(estimate, "measure_flops_per_second", lambda *given: 1e12)


def test_a_sound_device_passes(monkeypatch: pytest.MonkeyPatch) -> None:
    strengths, placements = learning.strengths, drawing.placements
    monkeypatch.setattr(
        drawing,
        "placements",
        lambda *given: [each for each in placements(*given) if "float32" in each.name or each.profile == "full"],
    )
    monkeypatch.setattr(learning, "strengths", lambda dtypes: strengths(dtypes)[::4])
    monkeypatch.setattr(learning, "STEPS", 2)
    answer = run("doctor", "--gpu", "--device", "cpu", "--json")
    assert answer.returncode == 0, answer.stdout
    told = document(answer)
    assert told["ok"]
    assert told["device"]["precision"] == "float32"
    outcomes = {each["name"]: each["outcome"] for each in told["checks"]}
    assert {name for name, outcome in outcomes.items() if outcome == "ok"} >= {
        *("Copies", "Matrix products", "Memory", "ONNX Runtime"),
        *(f"Drawing on SD 1.5, float32, {profile}" for profile in memory.PROFILES),
        *(f"Drawing on SD 1.5, {precision}, full" for precision in ("float16", "bfloat16")),
        *(f"Training SD 1.5 LoRA, {each}" for each in TRAININGS),
    }
    unmeasured = [each["found"] for each in told["checks"] if each["outcome"] == "note"]
    assert len(unmeasured) == 2
    assert all(str(Scrfd.same_person) in each for each in unmeasured)


def test_a_fault_is_a_sentence_and_an_exit_code(monkeypatch: pytest.MonkeyPatch) -> None:
    release = Lease.release

    def lose(lease: Lease) -> None:
        release(lease)
        lease.loaded.pipeline.remove_all_hooks()

    monkeypatch.setattr(Lease, "release", lose)
    monkeypatch.setattr(drawing, "placements", lambda *given: [Placement(torch.float32, "offload")])
    monkeypatch.setattr(learning, "CASES", ())
    answer = run("doctor", "--gpu", "--device", "cpu")
    assert answer.returncode == 5
    words, last = " ".join(answer.stdout.split()), " ".join(answer.stderr.split())
    assert "bfloat16 is not native; pictures are drawn in float32" in words
    assert "SD 1.5 text, float32, offload: the request did not leave the hooks" in words
    assert "1 of 9 checks failed: SD 1.5 text, float32, offload" in last


def test_what_the_operator_can_mend_has_the_exit_code_of_the_set_up() -> None:
    memory_fault = hardware_fault("out_of_memory")
    error = failure([memory_fault], memory_fault.faults, {})
    assert (type(error), error.code) == (OperatorError, "not_ready")
    wrong = hardware_fault("wrong_result")
    error = failure([wrong, memory_fault], [*wrong.faults, *memory_fault.faults], {})
    assert (type(error), error.code) == (EngineError, "self_test_failed")
    assert error.message == "2 of 2 checks failed: What happened, and what to do."


def hardware_fault(kind: Any) -> Result:
    return Result("Something", "fault", "wrong", faults=(Fault(kind, "What happened, and what to do."),))


def test_no_gpu_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    answer = run("doctor", "--gpu", "--json")
    assert answer.returncode == 4
    assert document(answer)["error"]["code"] == "no_gpu"


def test_a_plan_tells_what_each_installed_base_takes_at_least(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bare = run("doctor", "--gpu", "--plan", "--json")
    assert (bare.returncode, document(bare)["error"]["code"]) == (4, "not_ready")
    base = tiny_store.fill(home / "filled").bases["sd"]
    monkeypatch.setenv("PORTRAIT_BASES__SD__PATH", str(base.path))
    (plan,) = document(run("doctor", "--gpu", "--plan", "--json"))["plans"]
    assert (plan["base"], plan["passes"]) == ("sd", 2)
    assert 0 < plan["least_seconds"]["H100 SXM"] <= plan["least_seconds"]["A10"]
