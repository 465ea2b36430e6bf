"""Z-Image follows control images by one network for several kinds, as diffusers' own pipelines do."""

from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import PIL.Image
import pytest
import torch
from diffusers import ZImageControlNetInpaintPipeline, ZImageControlNetPipeline, ZImagePipeline
from safetensors.torch import load_file, save_file

from pipelines.diffusion.base import checkpoint_files
from pipelines.diffusion.base.lease import LoadedBase
from pipelines.diffusion.base.memory import MemoryProfile
from pipelines.diffusion.base.parts.zimage_control import ZImageUnionControlNet
from pipelines.diffusion.sampling import controlnet, generation_options
from pipelines.diffusion.sampling.pipeline_call import ControlNetUnit
from pipelines.diffusion.selftest import state
from portrait.arrays import Image, Size
from portrait.errors import EngineError, UserError
from portrait.generation.options import ControlInput, GenerationOptions
from portrait.generation.parameters import GenerationParameters
from tests.pipelines.diffusion.base.families import flux2_drawing as drawing
from tests.pipelines.diffusion.base.families import tiny_zimage
from tests.pipelines.diffusion.base.families.flux2_drawing import apart, draw, picture

NEAR, FAR = 1e-5, 1e-4
SQUARE = Size(64, 64)
"""Larger pictures this VAE would encode in tiles, where memory is short."""
EDGES, OTHERS, START = picture(1, SQUARE), picture(2, SQUARE), picture(7, SQUARE)
MASK = np.zeros(START.shape[:2], np.float32)
MASK[20:60, 20:50] = 1.0
INSIDE = np.zeros(START.shape[:2], np.uint8)
INSIDE[16:64, 16:56] = 255
NOTHING = GenerationOptions()


@pytest.fixture(scope="module")
def hub(one_thread: None, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A base, and the folder of a control network."""
    folder = tmp_path_factory.mktemp("zimage")
    tiny_zimage.zimage(folder / "zimage")
    tiny_zimage.union(folder / "union")
    return folder


@pytest.fixture(scope="module")
def loaded(hub: Path) -> Iterator[LoadedBase]:
    """The base, with everything in main memory."""
    loaded = drawing.load(hub / "zimage")
    yield loaded
    loaded.close()


def make_unit(loaded: LoadedBase, hub: Path, image: Image = EDGES, scale: float = 0.75) -> ControlNetUnit:
    """A control of a base, with the network that is held beside it."""
    with loaded.lease() as lease:
        network = lease.load_network("control union", ZImageUnionControlNet, hub / "union")
    return ControlNetUnit(network, image, scale)


def stock(hub: Path, pipeline: Any, **changes: Any) -> np.ndarray:
    """A picture through a stock pipeline with a control network that diffusers itself built."""
    components = ZImagePipeline.from_pretrained(hub / "zimage", local_files_only=True).components
    pipe = pipeline(**components, controlnet=tiny_zimage.control())
    pipe.set_progress_bar_config(disable=True)
    given: dict[str, Any] = {"prompt": drawing.PROMPT, "negative_prompt": drawing.NEGATIVE, "output_type": "np"}
    given |= {"width": SQUARE.width, "height": SQUARE.height, "num_inference_steps": drawing.STEPS}
    given |= {"guidance_scale": drawing.GUIDANCE, "max_sequence_length": tiny_zimage.LENGTH}
    given |= {"control_image": PIL.Image.fromarray(EDGES), "controlnet_conditioning_scale": 0.75}
    return pipe(**given | changes, generator=torch.Generator("cpu").manual_seed(drawing.SEED)).images[0]


def test_words_are_drawn_along_a_control_image_as_the_stock_pipeline_draws_them(loaded: LoadedBase, hub: Path) -> None:
    ours = draw(loaded, controls=[make_unit(loaded, hub)], size=SQUARE)
    assert apart(ours, stock(hub, ZImageControlNetPipeline)) < NEAR
    for other in (make_unit(loaded, hub, OTHERS), make_unit(loaded, hub, EDGES, 0.3)):
        assert apart(ours, draw(loaded, controls=[other], size=SQUARE)) > FAR
    bare = draw(loaded, size=SQUARE)
    assert apart(ours, bare) > FAR
    assert np.array_equal(bare, draw(loaded, size=SQUARE)), "the network has left the base as it was"
    ended = draw(loaded, controls=[make_unit(loaded, hub)], size=SQUARE, steps=4, options=GenerationOptions(cutoff=0.5))

    def end(of: Any, step: int, time: Any, tensors: dict[str, Any]) -> dict[str, Any]:
        of._guidance_scale = 0.0 if step == 1 else of._guidance_scale
        return tensors

    expected = stock(hub, ZImageControlNetPipeline, num_inference_steps=4, callback_on_step_end=end)
    assert apart(ended, expected) < NEAR


def test_a_part_of_a_picture_is_drawn_along_a_control_image(loaded: LoadedBase, hub: Path) -> None:
    given: dict[str, Any] = {"start": START, "mask": MASK, "size": SQUARE}
    ours = draw(loaded, controls=[make_unit(loaded, hub)], **given)
    pictures = {"image": PIL.Image.fromarray(START), "mask_image": PIL.Image.fromarray(INSIDE)}
    assert apart(ours, stock(hub, ZImageControlNetInpaintPipeline, **pictures)) < NEAR
    assert apart(ours, draw(loaded, controls=[make_unit(loaded, hub, OTHERS)], **given)) > FAR
    others: list[dict[str, Any]] = [{"start": picture(8, SQUARE)}, {"mask": 1 - MASK}]
    for changes in others:
        changed: dict[str, Any] = {**given, **changes}
        assert apart(ours, draw(loaded, controls=[make_unit(loaded, hub)], **changed)) > FAR


WAYS: list[tuple[bool, bool, dict[str, Any]]] = [
    (True, True, {}),
    (False, True, {"start": START, "strength": 0.5}),
    (True, False, {"start": START, "mask": MASK}),
    (False, False, {"start": START, "mask": MASK, "strength": 0.5}),
]
"""Whether along a control image, whether with a person's LoRA, and what it begins from."""


@pytest.fixture(scope="module")
def person(loaded: LoadedBase, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A LoRA file."""
    return drawing.person_lora(loaded, 1, tmp_path_factory.mktemp("lora"))[0]


@pytest.fixture(scope="module")
def expected(loaded: LoadedBase, hub: Path, person: Path) -> list[np.ndarray]:
    """What is drawn in each way with everything in main memory."""
    return [draw_in_way(loaded, hub, person, way) for way in WAYS]


def draw_in_way(loaded: LoadedBase, hub: Path, person: Path, way: tuple[bool, bool, dict[str, Any]]) -> np.ndarray:
    """A picture in one of `WAYS`."""
    controlled, worn, changes = way
    controls = [make_unit(loaded, hub)] if controlled else []
    return draw(loaded, lora_file=person if worn else None, controls=controls, size=SQUARE, **changes)


@pytest.mark.parametrize("profile", ["offload", "sequential"])
def test_every_memory_profile_draws_the_same(
    expected: list[np.ndarray], hub: Path, person: Path, profile: MemoryProfile
) -> None:
    smaller = drawing.load(hub / "zimage", profile)
    for way, drawn in zip(WAYS, expected, strict=True):
        before = state.capture(smaller)
        assert apart(draw_in_way(smaller, hub, person, way), drawn) < NEAR, way
        if not way[1]:  # the slots are there by then
            assert not state.lost_hook(before, state.capture(smaller))
            assert not state.moved_tensor(before, state.capture(smaller))
    smaller.close()
    assert not smaller.networks


def test_one_network_is_loaded_for_all_kinds(loaded: LoadedBase, hub: Path) -> None:
    asked: list[str] = []
    store: Any = SimpleNamespace(folder=lambda name: asked.append(name) or hub / "union")
    size = drawing.SIZE
    networks = []
    for kind in ("canny", "pose", "depth", "softedge"):
        control = ControlInput(kind, picture(1), 0.5, preprocessed=True)
        with loaded.lease() as lease:
            conditioning = controlnet.load_controlnets(lease, [control], size, store, lambda name: pytest.fail(name))
        [made] = conditioning.controlnets
        assert (made.kind, made.scale) == (kind, 0.5)
        networks.append(made.network)
    assert set(asked) == {"controlnet_union_zimage"}
    assert all(each is networks[0] for each in networks)


def test_published_files_say_by_their_weights_how_they_are_built(hub: Path, tmp_path: Path) -> None:
    [file] = (hub / "union").glob("*.safetensors")
    ours = checkpoint_files.load_network(ZImageUnionControlNet, file.parent, torch.float32, torch.device("cpu"))
    theirs = tiny_zimage.control()
    assert all(torch.equal(each, theirs.state_dict()[name]) for name, each in ours.state_dict().items())
    names = ("control_layers_places", "control_refiner_layers_places", "control_in_dim", "add_control_noise_refiner")
    assert [ours.config[name] for name in names] == [[0], [0, 1], 33, "control_noise_refiner"]
    weights = load_file(file)
    for layers, apart_by in ((15, 2), (6, 5), (3, 10)):  # those of version 2.1, of version 1, and the light ones
        more = {f"control_layers.{at}.after_proj.bias": torch.zeros(1) for at in range(layers)}
        places = ZImageUnionControlNet.config_of(weights | more)["control_layers_places"]
        assert places == [apart_by * at for at in range(layers)]
    first = "control_noise_refiner.0.before_proj.weight"
    assert (
        ZImageUnionControlNet.config_of(weights | {first: torch.zeros(1)})["add_control_noise_refiner"]
        == "control_layers"
    )
    plain = {"control_all_x_embedder.2-1.weight": torch.zeros(32, 64), first: torch.zeros(1)}
    assert ZImageUnionControlNet.config_of(weights | plain)["add_control_noise_refiner"] is None
    for lost in ("control_all_x_embedder.2-1.weight", "control_layers.0.before_proj.bias"):
        (tmp_path / lost).mkdir()
        save_file({name: each for name, each in weights.items() if name != lost}, tmp_path / lost / file.name)
        with pytest.raises(EngineError, match=f"it has no {lost}") as caught:
            checkpoint_files.load_network(ZImageUnionControlNet, tmp_path / lost, torch.float32, torch.device("cpu"))
        assert caught.value.code == "broken_model"


@pytest.mark.parametrize(
    ("changes", "match"),
    [
        ({"start": START, "strength": 0.7}, "does not draw with controls here"),
        ({"start": START, "mask": MASK, "strength": 0.7}, "ask for a strength of 1, or leave the controls out"),
    ],
)
def test_what_no_stock_pipeline_draws_is_refused(loaded: LoadedBase, changes: dict[str, Any], match: str) -> None:
    parameters = GenerationParameters("a man", "", SQUARE, 1, 10, 4.0, NOTHING, **changes)
    with pytest.raises(UserError, match=match) as caught:
        generation_options.check_supported(loaded.source, parameters, True)
    assert caught.value.code == "bad_technique"
    generation_options.check_supported(loaded.source, parameters, False)


@pytest.mark.parametrize(
    ("inputs", "match"),
    [
        ([ControlInput("canny", EDGES), ControlInput("pose", EDGES)], "follows one control at once"),
        ([ControlInput("canny", EDGES, end=0.5)], "controls for a part of the steps"),
    ],
)
def test_one_control_acts_at_once_in_all_steps(loaded: LoadedBase, inputs: list[ControlInput], match: str) -> None:
    options = GenerationOptions(control_inputs=tuple(inputs))
    with pytest.raises(UserError, match=match):
        generation_options.check_abilities(loaded.source, options, ("a man", ""))
