"""Draws one small picture of each kind with the base models that are installed, and times it."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial

import torch

from pipelines import model_requirements
from pipelines.diffusion.base import device, memory
from pipelines.diffusion.base.lease import LoadedBase
from pipelines.diffusion.base.loading import find_base
from pipelines.diffusion.base.source import BaseSource
from pipelines.diffusion.sampling import controlnet, refiner
from pipelines.diffusion.selftest import drawing, results
from pipelines.diffusion.selftest.drawing import DrawingCase, DrawingSetup
from pipelines.diffusion.selftest.results import Fault, Result
from pipelines.model_store.store import ModelStore
from pipelines.settings import Settings
from portrait.arrays import Size
from portrait.errors import PortraitError
from portrait.generation.parameters import Task
from portrait.ports import IdentityAdapter
from portrait.types import Identity

LARGEST_SIDE, STEPS = 512, 4


def installed_bases(settings: Settings) -> list[str]:
    """Names of the bases that are here: of the settings, and of the store."""
    models = ModelStore(settings.models)
    named = [name for name, base in settings.bases.items() if base.path.exists()]
    stored = (model.name for model in models.of_kind("base") if model.name not in named)
    return named + [name for name in stored if not models.missing(name)]


@dataclass(frozen=True, slots=True, eq=False)
class InstalledChecks:
    """Draws with the bases of an installation."""

    settings: Settings
    adapter: Callable[[str], IdentityAdapter]
    person: Identity
    where: torch.device

    def bases(self) -> list[str]:
        """Names of the bases that are here."""
        return installed_bases(self.settings)

    def __call__(self, name: str) -> Iterator[Result]:
        """Load a base as portraits would, and draw every kind for which all models are here."""
        try:
            base = find_base(name, self.settings, ModelStore(self.settings.models))
        except PortraitError as error:
            yield Result(f"Base {name}", "fault", error.code, faults=(Fault("failed", error.message),))
            return
        dtype = device.choose_dtype(self.settings.draw.precision, self.where)
        profile = memory.choose_profile(base, dtype, self.where)
        side = min(base.native_side, LARGEST_SIDE)
        setup = DrawingSetup(self.settings, self.adapter, self.person, Size(side, side), STEPS)
        loaded: list[LoadedBase] = []

        def load() -> tuple[str, list[Fault]]:
            loaded.append(setup.load(name, dtype, self.where, profile))
            return f"{str(dtype).removeprefix('torch.')}, {profile}", []

        yield results.run_check(f"Loading {name}", load)
        try:
            for each in loaded:
                for case in self.cases(base):
                    yield results.run_check(f"{case.name}, {side} px, {STEPS} steps", partial(_draw, each, case, setup))
        finally:
            for each in loaded:
                each.close()

    def cases(self, base: BaseSource) -> Sequence[DrawingCase]:
        """What can be drawn on a base with the models that are here; a LoRA is a person's own, and so not among it."""
        models, family = ModelStore(self.settings.models), base.family.name
        adapters = [
            name
            for name in model_requirements.IDENTITY_MODELS
            if name != "lora" and not model_requirements.missing_models(name, family, models)
        ]
        tasks: dict[str, Task] = {"text": "text", "picture": "image", "inpainting": "inpaint"}
        cases = [
            DrawingCase(f"{base.name} {name}", base.name, task=task)
            for name, task in tasks.items()
            if task == "text" or (task, False, False) in base.family.pipelines
        ]
        cases += [DrawingCase(f"{base.name} {name}", base.name, (name,)) for name in adapters]
        if controlnet.has_network("canny", family, models):
            cases.append(DrawingCase(f"{base.name} ControlNet", base.name, control=True))
        if family == refiner.FAMILY and not models.missing(refiner.MODEL):
            cases.append(DrawingCase(f"{base.name} refiner", base.name, refined=0.4))
        return cases


def _draw(loaded: LoadedBase, case: DrawingCase, setup: DrawingSetup) -> tuple[str, list[Fault]]:
    watch = drawing.OverflowWatch(loaded)
    try:
        with watch:
            drawing.draw(loaded, case, setup)
    except results.FAILURES as error:
        return "not drawn", [watch.fault(case.name) or results.fault_of_error(case.name, error)]
    return f"drawn; its {watch.where} overflowed, and was run once more in float32" if watch.where else "drawn", []
