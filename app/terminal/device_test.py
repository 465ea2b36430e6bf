"""`portrait doctor --gpu`: what the device is, the table of its checks, and one sentence for each fault."""

from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from rich.text import Text

from app.terminal.errors import Output
from app.terminal.progress_bar import ProgressBar
from app.terminal.tables import print_line, print_table
from portrait.errors import EngineError, OperatorError, PortraitError

if TYPE_CHECKING:
    from pipelines.diffusion.selftest.hardware import DeviceFacts
    from pipelines.diffusion.selftest.results import Fault, Result
    from pipelines.diffusion.selftest.run import SelfTest
    from pipelines.settings import Settings

OPERATORS = ("out_of_memory", "no_provider", "slow_precision")
"""Kinds of faults that the operator mends by the set-up of the machine; the others are the device's or this program's."""
SIGNS = {"ok": "green", "fault": "red", "note": "yellow", "skipped": "yellow"}
"""Colours by outcome."""


def run_device_test(device_type: str, as_json: bool, output: Output) -> None:
    """Test a device and print what was found.

    Raises `OperatorError` (`no_gpu`, `missing_library`, `not_ready`), `EngineError` (`self_test_failed`).
    """
    from tasks.settings import load

    self_test = _self_test(load(), device_type)
    facts = self_test.facts()
    if not as_json:
        _print_facts(facts)
    with ProgressBar() as bar:
        found = self_test(bar)
    faults = [fault for each in found for fault in each.faults]
    document = {"ok": not faults, "device": asdict(facts), "checks": [asdict(each) for each in found]}
    if not (faults and as_json):
        output(document, lambda: _print_results(found, faults))
    if faults:
        raise failure(found, faults, document)


def print_plan(output: Output) -> None:
    """Print what a picture takes at least on GPUs of the data sheets, for each base that is here; nothing is loaded.

    Raises `OperatorError` (`not_ready`, `missing_library`, and what `find_base` raises).
    """
    from pipelines.engines import load_module
    from pipelines.model_store.store import ModelStore
    from tasks.settings import load

    subject = "The plan of drawings"
    roofline = load_module("pipelines.diffusion.selftest.roofline", subject)
    installed = load_module("pipelines.diffusion.selftest.installed", subject)
    loading = load_module("pipelines.diffusion.base.loading", subject)
    settings = load()
    names = installed.installed_bases(settings)
    if not names:
        raise OperatorError("not_ready", "No base model is here to plan with. Pull one: `portrait models pull sdxl`.")
    plans = [roofline.plan_drawing(loading.find_base(name, settings, ModelStore(settings.models))) for name in names]
    document = {
        "plans": [
            {
                **asdict(plan),
                "least_seconds": {gpu.name: float(f"{plan.least_seconds(gpu):.3g}") for gpu in roofline.GPUS},
            }
            for plan in plans
        ]
    }
    heads = ("base", "pixels", "steps", "Tflop a step", "weights, GB", *(f"{gpu.name}, s" for gpu in roofline.GPUS))
    rows = [
        (
            *(plan.base, f"{plan.side}²", str(plan.steps), f"{plan.passes * plan.flops / 1e12:.1f}"),
            *(f"{plan.weights / 1e9:.1f}", *(roofline.least_text(plan, gpu) for gpu in roofline.GPUS)),
        )
        for plan in plans
    ]
    output(document, lambda: print_table(heads, rows))


def _self_test(settings: "Settings", device_type: str) -> "SelfTest":
    from pipelines.engines import load_module

    subject = "The test of the GPU"
    run = load_module("pipelines.diffusion.selftest.run", subject)
    device = load_module("pipelines.diffusion.base.device", subject)
    onnx = load_module("pipelines.engines.runtimes.onnx", subject)
    scrfd = load_module("pipelines.engines.faces.scrfd", subject)
    from pipelines.build import open_engines

    where = device.choose_device("auto" if device_type == "cuda" else device_type)
    if where.type != device_type:
        sentence = "PyTorch finds no GPU here. See that `nvidia-smi` lists one, and run `make install-gpu`."
        raise OperatorError("no_gpu", sentence)
    unmeasured = [
        f"faces.scrfd: two faces count as one person up to a distance of {scrfd.Scrfd.same_person} in the space {space}"
        for space in scrfd.PACKS
    ]
    return run.SelfTest(
        settings=settings,
        adapters=lambda chosen: open_engines(chosen).identity_adapter,
        providers=onnx.execution_providers(),
        unmeasured=unmeasured,
        where=where,
    )


def failure(found: Sequence["Result"], faults: Sequence["Fault"], document: dict[str, Any]) -> PortraitError:
    """The error of the first fault, which decides the exit code."""
    failed = sum(each.outcome == "fault" for each in found)
    sentence = f"{failed} of {len(found)} checks failed: {faults[0].sentence}"
    if faults[0].kind in OPERATORS:
        return OperatorError("not_ready", sentence, document)
    return EngineError("self_test_failed", sentence, document)


def _print_facts(facts: "DeviceFacts") -> None:
    gigabytes = f"{facts.memory_free / 1e9:.1f} of {facts.memory_total / 1e9:.1f} GB free"
    capability = f", compute capability {facts.capability}" if facts.capability else ""
    print_line(f"{facts.name}{capability}, {gigabytes}")
    cuda = f", CUDA {facts.cuda}" if facts.cuda else ", built without CUDA"
    driver = f"driver {facts.driver}, " if facts.driver else ""
    print_line(f"{driver}PyTorch {facts.torch}{cuda}, diffusers {facts.diffusers}")
    native = "native" if facts.native_bfloat16 else "not native"
    print_line(f"bfloat16 is {native}; pictures are drawn in {facts.precision}")


def _print_results(found: Sequence["Result"], faults: Sequence["Fault"]) -> None:
    rows = [
        (Text(each.outcome, SIGNS[each.outcome]), Text(each.name), Text(f"{each.seconds:.1f} s"), Text(each.found))
        for each in found
    ]
    print_table(("", "check", "time", "found"), rows, overflow="fold")
    for fault in faults:
        print_line(fault.sentence, "red")
