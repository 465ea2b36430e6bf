"""Draws with tiny networks: every kind of drawing, in every memory profile and precision, compared with the CPU."""

import gc
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from pipelines.diffusion.base import prompts
from pipelines.diffusion.base.lease import Lease, LoadedBase
from pipelines.diffusion.base.loading import find_base
from pipelines.diffusion.base.memory import PROFILES, MemoryProfile
from pipelines.diffusion.sampling import controlnet, pipeline_call, refiner
from pipelines.diffusion.selftest import results, state
from pipelines.diffusion.selftest.results import Fault, Result
from pipelines.model_store.store import ModelStore
from pipelines.settings import Settings
from portrait.arrays import Size
from portrait.generation.options import ControlInput, GenerationOptions
from portrait.generation.parameters import GenerationParameters, Task
from portrait.ports import ControlPreprocessor, IdentityAdapter
from portrait.types import Identity

SIDE, STEPS, GUIDANCE, SEED = 64, 3, 4.0, 7
PROMPT, NEGATIVE = "a photo of a {who}", "low quality"
TOLERANCE = {torch.float32: 2e-4, torch.float16: 4e-3, torch.bfloat16: 3e-2}
"""Root mean square difference to the CPU in float32 up to which a picture, 0..1, counts as the same.

Measured on these networks on a CPU (x86, PyTorch 2.13), the largest of all cases: 7e-8 in float32 under other profiles,
1e-3 in float16, 9e-3 in bfloat16. About four times that; for float32 what summing in another order may add on a GPU.
"""


@dataclass(frozen=True, slots=True)
class DrawingCase:
    """One kind of drawing."""

    name: str
    base: str
    """`xl`, `sd` or `flux`, of the tiny store; or the name of an installed base."""
    identities: tuple[str, ...] = ()
    control: bool = False
    task: Task = "text"
    perturbed: float = 0.0
    refined: float = 0.0
    """Share of the steps that the refiner samples."""


CASES = (
    DrawingCase("SDXL text", "xl"),
    DrawingCase("SDXL LoRA", "xl", ("lora",)),
    DrawingCase("SDXL ControlNet", "xl", control=True),
    DrawingCase("SDXL InstantID", "xl", ("instantid",)),
    DrawingCase("SDXL PhotoMaker", "xl", ("photomaker",)),
    DrawingCase("SDXL PhotoMaker V2", "xl", ("photomaker_v2",)),
    DrawingCase("SDXL FaceID", "xl", ("faceid",)),
    DrawingCase("SDXL FaceID Plus", "xl", ("faceid_plus",)),
    DrawingCase("SDXL picture", "xl", task="image"),
    DrawingCase("SDXL inpainting, InstantID", "xl", ("instantid",), task="inpaint"),
    DrawingCase("SDXL PAG", "xl", perturbed=2.0),
    DrawingCase("SDXL refiner", "xl", refined=0.4),
    DrawingCase("SD 1.5 text", "sd"),
    DrawingCase("SD 1.5 ControlNet", "sd", control=True),
    DrawingCase("SD 1.5 FaceID", "sd", ("faceid",)),
    DrawingCase("SD 1.5 inpainting", "sd", task="inpaint"),
    DrawingCase("FLUX.2 text", "flux"),
    DrawingCase("FLUX.2 LoRA, references", "flux", ("lora", "reference")),
    DrawingCase("FLUX.2 picture", "flux", task="image"),
    DrawingCase("FLUX.2 inpainting, references", "flux", ("reference",), task="inpaint"),
)


@dataclass(frozen=True, slots=True, eq=False)
class DrawingSetup:
    """Whom and what is drawn, and with which networks."""

    settings: Settings
    adapter: Callable[[str], IdentityAdapter]
    """Identity adapters by name, of the store that `settings` name."""
    person: Identity
    size: Size = field(default_factory=lambda: Size(SIDE, SIDE))
    steps: int = STEPS
    people: Mapping[str, Identity] = field(default_factory=dict)
    """Who is drawn on a base in place of `person`, whose LoRA fits another."""

    @property
    def models(self) -> ModelStore:
        """The store of the networks."""
        return ModelStore(self.settings.models)

    def person_on(self, base: str) -> Identity:
        """Who is drawn on a base."""
        return self.people.get(base, self.person)

    def load(self, base: str, dtype: torch.dtype, where: torch.device, profile: MemoryProfile) -> LoadedBase:
        """A base on a device."""
        return LoadedBase(find_base(base, self.settings, self.models), dtype, where, profile)


@dataclass(frozen=True, slots=True)
class Placement:
    """How a base is loaded."""

    dtype: torch.dtype
    profile: MemoryProfile

    @property
    def name(self) -> str:
        """As settings call it: `bfloat16, offload`."""
        return f"{str(self.dtype).removeprefix('torch.')}, {self.profile}"


def placements(dtypes: Sequence[torch.dtype], usual: torch.dtype) -> list[Placement]:
    """Every profile in every precision, the usual one first."""
    ordered = [usual, *(dtype for dtype in dtypes if dtype != usual)]
    return [Placement(dtype, profile) for dtype in ordered for profile in PROFILES]


class DrawingChecks:
    """Draws each case on the CPU once, and compares with it what a device draws."""

    def __init__(self, setup: DrawingSetup, where: torch.device, cases: Sequence[DrawingCase] = CASES) -> None:
        self._setup, self._where, self._cases = setup, where, cases
        self._expected: dict[str, NDArray[np.float32]] = {}

    def draw_expected(self) -> Result:
        """Draw every case on the CPU in float32."""

        def check() -> tuple[str, list[Fault]]:
            for base in _bases(self._cases):
                with loaded_base(self._setup, base, Placement(torch.float32, "full"), torch.device("cpu")) as loaded:
                    for case in self._cases:
                        if case.base == base:
                            self._expected[case.name] = draw(loaded, case, self._setup)
            return f"{len(self._expected)} pictures", []

        return results.run_check("Drawing on the CPU, to compare with", check)

    def __call__(self, placement: Placement) -> Iterator[Result]:
        """A result for each base; the faults name the case."""
        for base in _bases(self._cases):
            cases = [case for case in self._cases if case.base == base and case.name in self._expected]
            family = cases[0].name.removesuffix(" text") if cases else base
            name = f"Drawing on {family}, {placement.name}"
            yield results.run_check(name, partial(self._check_base, base, placement, cases))

    def _check_base(self, base: str, placement: Placement, cases: Sequence[DrawingCase]) -> tuple[str, list[Fault]]:
        faults, largest = [], 0.0
        with loaded_base(self._setup, base, placement, self._where) as loaded:
            if place := state.misplaced_tensor(loaded):
                return "misplaced", [results.left_behind_fault(f"{cases[0].name}, {placement.name}", place)]
            for case in cases:
                difference, fault = self._check_case(loaded, case, f"{case.name}, {placement.name}")
                largest = max(largest, difference)
                faults += [fault] if fault else []
        return f"{len(cases) - len(faults)} of {len(cases)} as on the CPU, within {largest:.1g}", faults

    def _check_case(self, loaded: LoadedBase, case: DrawingCase, name: str) -> tuple[float, Fault | None]:
        """The difference to the CPU, and the fault that explains most where there are several."""
        before = state.capture(loaded)
        watch = OverflowWatch(loaded)
        try:
            with watch:
                pixels = draw(loaded, case, self._setup)
        except results.FAILURES as error:
            return 0.0, watch.fault(name) or results.fault_of_error(name, error)
        after = state.capture(loaded)
        difference = rms(pixels, self._expected[case.name])
        if place := state.lost_hook(before, after):
            return difference, results.hook_fault(name, place)
        if place := state.moved_tensor(before, after) or state.misplaced_tensor(loaded):
            return difference, results.left_behind_fault(name, place)
        tolerance = TOLERANCE[loaded.dtype]
        if difference <= tolerance:  # a VAE that overflows in half precision has decoded once more in float32
            return difference, None
        return difference, watch.fault(name) or results.wrong_fault(name, difference, tolerance)


@contextmanager
def loaded_base(setup: DrawingSetup, base: str, placement: Placement, where: torch.device) -> Iterator[LoadedBase]:
    """A base that is unloaded afterwards."""
    loaded = setup.load(base, placement.dtype, where, placement.profile)
    try:
        yield loaded
    finally:
        loaded.close()


def draw(loaded: LoadedBase, case: DrawingCase, setup: DrawingSetup) -> NDArray[np.float32]:
    """One picture H×W×3, 0..1."""
    parameters, adapters = _parameters(case, setup)
    with loaded.lease() as lease:
        person = setup.person_on(case.base)
        conditionings = [adapter.prepare(lease, person, parameters) for adapter in adapters]
        inputs = parameters.options.control_inputs
        conditionings.append(controlnet.load_controlnets(lease, inputs, setup.size, setup.models, _no_preprocessor))
        if not case.refined:
            return pipeline_call.generate_image(lease, parameters, conditionings, _ignore_step)
        return _draw_refined(lease, setup, replace(parameters, until=1 - case.refined), conditionings)


def _draw_refined(
    lease: Lease, setup: DrawingSetup, parameters: GenerationParameters, conditionings: Sequence[Any]
) -> NDArray[np.float32]:
    second = refiner.Refiner(setup.models.folder(refiner.MODEL), lease.dtype)
    try:
        return refiner.generate_refined(lease, second, parameters.prompt, parameters, conditionings, _ignore_step)
    finally:
        del second
        gc.collect()


def _parameters(case: DrawingCase, setup: DrawingSetup) -> tuple[GenerationParameters, list[IdentityAdapter]]:
    """What to draw, and the adapters that take part."""
    adapters = [setup.adapter(name) for name in case.identities]
    person = setup.person_on(case.base)
    description = person.class_word
    for adapter in adapters:
        description = adapter.describe(person, description)
    picture = _picture(setup.size, 1)
    control = (ControlInput("canny", picture, preprocessed=True),) if case.control else ()
    mask = np.zeros((setup.size.height, setup.size.width), np.float32)
    mask[: setup.size.height // 2] = 1
    parameters = GenerationParameters(
        prompt=prompts.fill_template(PROMPT, description),
        negative=NEGATIVE,
        size=setup.size,
        seed=SEED,
        steps=setup.steps + 2 * (case.refined > 0),
        guidance=GUIDANCE,
        options=GenerationOptions(identities=case.identities, perturbed=case.perturbed, control_inputs=control),
        start=None if case.task == "text" else picture,
        mask=mask if case.task == "inpaint" else None,
        strength=1.0 if case.task == "text" else 0.7,
    )
    return parameters, adapters


class OverflowWatch:
    """Notes which network first gave a number that is not finite; it asks the device after each of them."""

    def __init__(self, loaded: LoadedBase) -> None:
        components = loaded.pipeline.components
        networks = {name: each for name, each in components.items() if isinstance(each, torch.nn.Module)}
        networks |= {"vae.encoder": components["vae"].encoder, "vae.decoder": components["vae"].decoder}
        self._networks, self._where, self._handles = networks, "", list[Any]()

    def __enter__(self) -> None:
        for name, network in self._networks.items():
            self._handles.append(network.register_forward_hook(partial(self._note, name)))

    def __exit__(self, *_: object) -> None:
        for handle in self._handles:
            handle.remove()

    @property
    def where(self) -> str:
        """The network; empty without an overflow."""
        return self._where

    def fault(self, name: str) -> Fault | None:
        """The overflow, where there was one."""
        return results.overflow_fault(name, f"its {self._where}") if self._where else None

    def _note(self, name: str, network: object, given: object, output: object) -> None:
        if not self._where and not all(bool(each.isfinite().all()) for each in _floats(output)):
            self._where = name


def rms(one: NDArray[np.float32], other: NDArray[np.float32]) -> float:
    """The root mean square difference."""
    return float(np.sqrt(np.mean(np.square(one - other))))


def _bases(cases: Sequence[DrawingCase]) -> list[str]:
    return list(dict.fromkeys(case.base for case in cases))


def _floats(output: object) -> Iterator[torch.Tensor]:
    """The tensors in what a network returned."""
    if isinstance(output, torch.Tensor):
        if output.is_floating_point() and not output.is_meta:
            yield output
    elif isinstance(output, dict):
        for each in output.values():
            yield from _floats(each)
    elif isinstance(output, list | tuple):
        for each in output:
            yield from _floats(each)


def _picture(size: Size, seed: int) -> NDArray[np.uint8]:
    """A smooth picture of noise."""
    coarse = np.random.default_rng(seed).integers(0, 255, (8, 8, 3), dtype=np.uint8)
    rows, columns = np.arange(size.height) * 8 // size.height, np.arange(size.width) * 8 // size.width
    return np.ascontiguousarray(coarse[rows][:, columns])


def _ignore_step(done: int) -> None:
    """No progress is reported."""


def _no_preprocessor(name: str) -> ControlPreprocessor:
    raise ValueError(f"the picture for {name} is a control map already")
