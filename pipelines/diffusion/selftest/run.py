"""SelfTest: all checks of a device in order, within five minutes."""

import tempfile
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TypeAlias

import torch
import transformers.utils.logging

from pipelines.diffusion.sampling import refiner
from pipelines.diffusion.selftest import drawing, hardware, learning, onnx_provider, tiny, tiny_adapters, tiny_store
from pipelines.diffusion.selftest.drawing import DrawingChecks, DrawingSetup
from pipelines.diffusion.selftest.hardware import DeviceFacts
from pipelines.diffusion.selftest.installed import InstalledChecks
from pipelines.diffusion.selftest.learning import TrainingChecks
from pipelines.diffusion.selftest.results import Result
from pipelines.settings import BaseLocation, Settings
from portrait.ports import IdentityAdapter, Progress

SECONDS = 280.0
"""After so many no further check begins: five minutes, less what one check and the libraries take."""
FLUX_LORA = "lora-flux2/pytorch_lora_weights.safetensors"
"""The person's LoRA for the base `flux`, in the hub."""
Step: TypeAlias = tuple[str, Callable[[], Iterator[Result]]]
"""What it checks, and the checks."""


@dataclass(frozen=True, slots=True, eq=False)
class SelfTest:
    """Tests a device with tiny networks that it writes itself, and with the base models of an installation."""

    settings: Settings
    """Of the installation."""
    adapters: Callable[[Settings], Callable[[str], IdentityAdapter]]
    """Gives identity adapters by name for settings, which name the store of their models."""
    providers: Sequence[str]
    """ONNX Runtime's execution providers that engines ask for."""
    unmeasured: Sequence[str]
    """Thresholds that nobody has measured yet, in words."""
    where: torch.device
    seconds: float = SECONDS

    def facts(self) -> DeviceFacts:
        """What the device is."""
        return hardware.read_facts(self.where)

    def __call__(self, progress: Progress) -> list[Result]:
        """The results in order. What no time was left for is named, too."""
        started, found = time.monotonic(), list[Result]()
        with tempfile.TemporaryDirectory(prefix="portrait-self-test-") as folder, _exact_float32(), _quiet():
            steps = self._steps(Path(folder))
            for number, (name, step) in enumerate(steps):
                progress(number, len(steps), name)
                if time.monotonic() - started < self.seconds:
                    found += step()
                else:
                    found.append(Result(name, "skipped", "no time was left"))
        return [*found, *(Result("Never measured", "note", each) for each in self.unmeasured)]

    def _steps(self, folder: Path) -> list[Step]:
        dtypes = hardware.supported_dtypes(self.facts())
        usual = hardware.usual_dtype(self.where)
        settings = _write_networks(folder)
        hub = settings.bases["xl"].path.parent
        person = tiny_store.made_up_person(1, hub / tiny_store.LORA)
        people = {"flux": tiny_store.made_up_person(1, hub / FLUX_LORA, tiny_store.SQUARE)}
        setup = DrawingSetup(settings, self.adapters(settings), person, people=people)
        draws = DrawingChecks(setup, self.where, drawing.CASES)
        trains = TrainingChecks(settings, folder / "work", self.where, learning.CASES)
        installed = InstalledChecks(
            self.settings, self.adapters(self.settings), tiny_store.made_up_person(1), self.where
        )
        return [
            ("Copies", _single(partial(hardware.measure_copies, self.where))),
            ("Matrix products", _single(partial(hardware.measure_products, self.where, dtypes))),
            ("Memory", _single(partial(hardware.check_memory, self.where))),
            ("ONNX Runtime", _single(partial(onnx_provider.check_sessions, self.where.type, self.providers))),
            ("Drawing on the CPU", _single(draws.draw_expected)),
            *((f"Drawing, {each.name}", partial(draws, each)) for each in drawing.placements(dtypes, usual)),
            ("Training on the CPU", _single(trains.train_expected)),
            *((f"Training, {each.name}", partial(trains, each)) for each in learning.strengths(dtypes)),
            *((f"Base {name}", partial(installed, name)) for name in installed.bases()),
        ]


def _single(check: Callable[[], Result]) -> Callable[[], Iterator[Result]]:
    """A check of one result as one of several."""
    return lambda: iter([check()])


def _write_networks(folder: Path) -> Settings:
    settings = tiny_store.fill(folder)
    tiny_adapters.refiner(settings.models.folder / refiner.MODEL)
    (folder / "work").mkdir()
    hub = settings.bases["xl"].path.parent
    flux = tiny.flux2(hub / "flux2")
    tiny_adapters.flux2_lora((hub / FLUX_LORA).parent, flux, 1)
    return replace(settings, bases={**settings.bases, "flux": BaseLocation(flux)})


@contextmanager
def _exact_float32() -> Iterator[None]:
    """Convolutions in float32 without TensorFloat-32, whose ten bits would hide a wrong result in rounding."""
    before = torch.backends.cudnn.allow_tf32
    torch.backends.cudnn.allow_tf32 = False
    try:
        yield
    finally:
        torch.backends.cudnn.allow_tf32 = before


@contextmanager
def _quiet() -> Iterator[None]:
    """No progress bars and warnings of libraries between the lines of the terminal."""
    transformers.utils.logging.disable_progress_bar()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield
