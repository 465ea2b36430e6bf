"""Every memory profile draws what the fastest draws, in every way and task, and leaves the base as it found it.

Offloaded onto the CPU: accelerate's hooks are there and move weights as they would on a GPU.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from itertools import cycle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from pipelines.diffusion.base import memory, textual_inversion
from pipelines.diffusion.base.memory import PROFILES, MemoryProfile
from pipelines.diffusion.sampling import pipeline_call, refiner
from pipelines.diffusion.selftest import state
from pipelines.engines.painters.diffusion import Diffusion, GenerationPlan
from pipelines.settings import Settings
from portrait.arrays import Size
from portrait.errors import EngineError
from portrait.generation.options import ControlInput, GenerationOptions, PromptSpec
from portrait.generation.parameters import Task
from portrait.types import Identity
from tests import hub_store, tiny_hub
from tests.pipelines.diffusion import simulated_device

SCENE = PromptSpec("a photo of a {who}", "low quality")
SIDE = 64
PICTURE = np.random.default_rng(0).integers(0, 255, (SIDE, SIDE, 3), dtype=np.uint8)
MASK = np.pad(np.ones((SIDE // 2, SIDE // 2), np.float32), SIDE // 4)
TASKS: tuple[Task, ...] = ("text", "image", "inpaint")
CANNY = ControlInput("canny", PICTURE, 0.7, preprocessed=True)
DEPTH = ControlInput("depth", PICTURE, 0.5, preprocessed=True)


@dataclass(frozen=True)
class Way:
    """One way of drawing somebody."""

    identities: tuple[str, ...] = ("lora",)
    options: Mapping[str, Any] = field(default_factory=dict)
    base: str = "xl"
    scene: PromptSpec = SCENE
    tasks: tuple[Task, ...] = TASKS


WAYS = {
    "lora": Way(),
    "style": Way(options={"preset": "fast", "scheduler": "", "guidance": None}),
    "weights in the prompt": Way(scene=PromptSpec("a (photo:1.5) of a {who}", "low (quality:0.5)")),
    "instantid": Way(("lora", "instantid")),
    "photomaker": Way(("photomaker",)),
    "photomaker_v2": Way(("lora", "photomaker_v2")),
    "faceid": Way(("faceid",)),
    "faceid_plus": Way(("lora", "faceid_plus")),
    "controlnet": Way(options={"control_inputs": (CANNY,)}),
    "controlnets": Way(("lora", "instantid"), {"control_inputs": (CANNY, DEPTH), "cutoff": 0.5, "freeu": True}),
    "pag": Way(options={"perturbed": 3.0}),
    "refiner": Way(options={"refiner": 0.4, "steps": 5}, tasks=("text",)),
    "sd15 faceid": Way(("faceid",), base="sd"),
    "sd15 controlnet": Way(("faceid",), {"control_inputs": (CANNY,)}, base="sd"),
    "sd15 pag": Way(("faceid",), {"perturbed": 3.0}, base="sd"),
}


@pytest.fixture(scope="module")
def settings(one_thread: None, tmp_path_factory: pytest.TempPathFactory) -> Settings:
    settings = hub_store.fill(tmp_path_factory.mktemp("hub"))
    tiny_hub.refiner(settings.models.folder / refiner.MODEL)
    return settings


@pytest.fixture(scope="module")
def anna(settings: Settings) -> Identity:
    """Somebody with a LoRA and a token of her own."""
    learned = hub_store.trained_person(settings, 1)
    random = torch.Generator().manual_seed(0)
    rows = {
        name: torch.randn(width, generator=random)
        for name, width in (("one", tiny_hub.FIRST), ("two", tiny_hub.SECOND))
    }
    tokens = textual_inversion.save_embeddings(rows, "<sks>", settings.models.folder.parent / "tokens.safetensors")
    return replace(learned, tokens=tokens, trigger="<sks>")


@pytest.fixture(scope="module")
def expected(settings: Settings, anna: Identity) -> Iterator["Expected"]:
    expected = Expected(painter_of(settings, "full"), anna)
    yield expected
    expected.painter.close()


class Expected:
    """What is drawn with everything on the device, drawn when it is asked for."""

    def __init__(self, painter: Diffusion, who: Identity) -> None:
        self.painter, self._who, self._drawn = painter, who, dict[tuple[str, str], np.ndarray]()

    def __call__(self, name: str, task: Task) -> np.ndarray:
        if (name, task) not in self._drawn:
            self._drawn[name, task] = hub_store.pixels(self.painter, plan(self.painter, self._who, WAYS[name], task))
        return self._drawn[name, task]


def painter_of(settings: Settings, profile: MemoryProfile) -> Diffusion:
    return hub_store.painter(replace(settings, draw=replace(settings.draw, memory=profile)))


def plan(painter: Diffusion, who: Identity, way: Way, task: Task) -> GenerationPlan:
    options: dict[str, Any] = {"scheduler": "own", "steps": 2, "guidance": 4.0, "base": way.base, **way.options}
    who = who if way.base == "xl" else replace(who, lora=None, tokens=None, base="")
    made = painter.plan(hub_store.request(who, way.scene, GenerationOptions(identities=way.identities, **options)))
    changes: dict[str, Any] = {} if task == "text" else {"start": PICTURE, "strength": 0.7}
    if task == "inpaint":
        changes["mask"] = MASK
    return replace(made, parameters=replace(made.parameters, size=Size(SIDE, SIDE), **changes))


def draw_all(
    settings: Settings, who: Identity, profile: MemoryProfile, wanted: list[tuple[str, Task]], expected: Expected
) -> None:
    """Draw in turns with one painter, as one process does; the base is compared before and after each drawing."""
    painter = painter_of(settings, profile)
    loaded = None
    for name, task in wanted:
        before = state.capture(painter._loaded) if painter._loaded is not None else {}
        drawn = hub_store.pixels(painter, plan(painter, who, WAYS[name], task))
        assert np.abs(drawn - expected(name, task)).max() < 1e-5, (profile, name, task)
        if loaded is not None and painter._loaded is loaded:
            after = state.capture(loaded)
            assert not state.lost_hook(before, after), (profile, name, task)
            assert not state.moved_tensor(before, after), (profile, name, task)
        loaded = painter._loaded
        check_beside(painter)
    painter.close()


def check_beside(painter: Diffusion) -> None:
    """What is held beside an offloaded base has a hook of its own, and waits in main memory."""
    loaded = painter._loaded
    assert loaded is not None
    networks = [each for each in loaded.networks.values() if isinstance(each, torch.nn.Module)]
    hooked = [each for each in networks if any(hasattr(part, "_hf_hook") for part in each.modules())]
    assert len(hooked) == (len(networks) if loaded.profile in memory.OFFLOADED else 0)


def in_turns() -> list[tuple[str, Task]]:
    """Every way once, with tasks in turns."""
    tasks = cycle(TASKS)
    return [(name, next(task for task in tasks if task in way.tasks)) for name, way in WAYS.items()]


@pytest.mark.parametrize(
    ("profile", "part"),
    [("sliced", slice(0, None, 4)), ("offload", slice(0, None, 2)), ("sequential", slice(1, None, 2))],
)
def test_ways_draw_in_every_profile_and_leave_the_base_as_it_was(
    settings: Settings, anna: Identity, expected: Expected, profile: MemoryProfile, part: slice
) -> None:
    draw_all(settings, anna, profile, in_turns()[part], expected)


@pytest.mark.bench
@pytest.mark.parametrize("profile", PROFILES[1:])
def test_every_way_and_task_draws_in_every_profile(
    settings: Settings, anna: Identity, expected: Expected, profile: MemoryProfile
) -> None:
    draw_all(settings, anna, profile, [(name, task) for name, way in WAYS.items() for task in way.tasks], expected)


def test_memory_that_runs_out_is_met_by_every_smaller_profile_and_the_one_that_drew_is_kept(
    settings: Settings, anna: Identity, monkeypatch: pytest.MonkeyPatch
) -> None:
    painter, seen = hub_store.painter(settings), []
    real = pipeline_call.generate_image

    def draw(lease: Any, *given: Any) -> np.ndarray:
        seen.append(lease.loaded.profile)
        if lease.loaded.profile != "sequential":
            raise torch.OutOfMemoryError("CUDA out of memory")
        return real(lease, *given)

    monkeypatch.setattr(pipeline_call, "generate_image", draw)
    made = plan(painter, anna, WAYS["lora"], "text")
    assert hub_store.pixels(painter, made).std() > 0.01
    assert seen == list(PROFILES)
    painter.close()
    hub_store.pixels(painter, made)
    assert seen[4:] == ["sequential"]
    monkeypatch.setattr(pipeline_call, "generate_image", lambda *given: (_ for _ in ()).throw(MemoryError("none left")))
    with pytest.raises(EngineError, match="none left") as caught:
        hub_store.pixels(painter, made)
    assert caught.value.code == "out_of_memory"
    assert painter._loaded is None


def test_what_stands_beside_a_base_counts_when_its_profile_is_chosen(
    settings: Settings, anna: Identity, monkeypatch: pytest.MonkeyPatch
) -> None:
    painter = hub_store.painter(settings)
    alone, beside = (plan(painter, anna, WAYS[name], "text") for name in ("lora", "instantid"))
    folder = settings.models.folder / "instantid"
    stored = sum(file.stat().st_size for file in folder.rglob("*") if file.suffix in (".bin", ".safetensors"))
    more = painter._beside_bytes(beside, torch.float32) - painter._beside_bytes(alone, torch.float32)
    assert more == pytest.approx(stored, rel=0.05)
    assert painter._beside_bytes(beside, torch.float16) == painter._beside_bytes(beside, torch.float32) / 2
    needed = memory.weight_bytes(alone.base, torch.float32)
    monkeypatch.setattr(memory.device, "free_memory", lambda where: 1.36 * needed)
    cuda = torch.device("cuda")
    assert memory.choose_profile(alone.base, torch.float32, cuda) == "full"
    assert memory.choose_profile(alone.base, torch.float32, cuda, needed) == "sequential"


def test_weights_are_counted_of_the_files_that_are_loaded(settings: Settings, tmp_path: Path) -> None:
    painter = hub_store.painter(settings)
    base = painter._bases("xl")
    counted = memory.weight_bytes(base, torch.float16)
    file = base.weights_files[0]
    twin = file.with_name("diffusion_pytorch_model.fp16.safetensors")
    twin.write_bytes(file.read_bytes())
    try:
        assert memory.weight_bytes(base, torch.float16) == counted
    finally:
        twin.unlink()


@pytest.mark.parametrize("name", ["lora", "controlnet", "pag"])
def test_a_vae_that_overflows_decodes_in_float32_in_every_pipeline(
    settings: Settings, anna: Identity, expected: Expected, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    painter = hub_store.painter(replace(settings, draw=replace(settings.draw, precision="float16")))
    hub_store.pixels(painter, plan(painter, anna, WAYS[name], "text"))
    assert painter._loaded is not None
    vae = painter._loaded.pipeline.vae
    vae.register_to_config(force_upcast=True)
    real, computed = vae.decode, list[torch.dtype]()

    def decode(latents: torch.Tensor, **how: Any) -> Any:
        computed.append(latents.dtype)
        return real(latents, **how)

    monkeypatch.setattr(vae, "decode", decode)
    for task in TASKS:
        drawn = hub_store.pixels(painter, plan(painter, anna, WAYS[name], task))
        assert np.abs(drawn - expected(name, task)).max() < 0.05, task
        assert vae.dtype == torch.float16, task
    assert computed == [torch.float32] * len(TASKS)
    painter.close()


@pytest.fixture
def simulated(monkeypatch: pytest.MonkeyPatch) -> Iterator[torch.device]:
    """A device that is not the CPU, on which painters draw."""
    with simulated_device.simulated_device() as where:
        monkeypatch.setattr(memory.device, "choose_device", lambda setting: where)
        yield where


@pytest.mark.parametrize(
    ("profile", "part"),
    [
        ("full", slice(0, None, 4)),
        ("offload", slice(2, None, 4)),
        *(pytest.param(each, slice(None), marks=pytest.mark.bench) for each in ("full", "offload")),
    ],
)
def test_no_way_leaves_a_tensor_on_another_device(
    settings: Settings, anna: Identity, profile: MemoryProfile, part: slice, simulated: torch.device
) -> None:
    painter = painter_of(settings, profile)
    for name, task in in_turns()[part]:
        assert hub_store.pixels(painter, plan(painter, anna, WAYS[name], task)).std() > 0.01
        loaded = painter._loaded
        assert loaded is not None
        networks = [*loaded.pipeline.components.values(), *loaded.networks.values()]
        weights = [each for part in networks if isinstance(part, torch.nn.Module) for each in part.parameters()]
        wanted = simulated if profile == "full" else torch.device("cpu")
        assert {each.device for each in weights} == {wanted}, (name, task)
    painter.close()


@pytest.mark.parametrize("profile", ["full", "offload"])
def test_a_tensor_that_is_left_behind_is_told(
    settings: Settings, anna: Identity, profile: MemoryProfile, simulated: torch.device, monkeypatch: pytest.MonkeyPatch
) -> None:
    painter, real = painter_of(settings, profile), pipeline_call.face_embeds
    monkeypatch.setattr(pipeline_call, "face_embeds", lambda *given: real(*given).cpu())
    with pytest.raises(simulated_device.WrongDeviceError, match="on the CPU"):
        hub_store.pixels(painter, plan(painter, anna, WAYS["instantid"], "text"))
    painter.close()
