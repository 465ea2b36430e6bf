"""Pictures that a drawing follows: each control's own, several at once, each with its scale and its part of the steps."""

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import ControlNetModel
from safetensors.torch import save_file

from pipelines import build
from pipelines.diffusion.base.parts import single_file
from pipelines.engines.painters.diffusion import Diffusion, GenerationPlan
from pipelines.model_store.add import NewModel
from pipelines.model_store.store import ModelStore
from pipelines.settings import Settings
from portrait.arrays import Image, Size
from portrait.errors import OperatorError, UserError
from portrait.generation.options import ControlInput, GenerationOptions, PromptSpec, from_dict, picture_hash, to_dict
from portrait.types import Identity
from tests import hub_store
from tests.fakes import RecordingProgress

SCENE = PromptSpec("a photo of a {who}", "low quality")
VISIBLE = 1e-5
SIZE = Size(64, 64)


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    torch.set_num_threads(1)
    settings = hub_store.fill(tmp_path_factory.mktemp("hub"))
    published(settings.models.folder)
    return settings


def published(store: Path) -> None:
    """EasyPhoto's colour network as it is published: one pickle of tensors in CompVis's names, beside a configuration."""
    given, made = store / "controlnet_canny_sd15", store / "controlnet_color_sd15"
    network = ControlNetModel.from_pretrained(given, variant="fp16")
    made.mkdir()
    shutil.copyfile(given / "config.json", made / "config.json")
    weights = {f"control_model.{compvis(name, network.config)}": each for name, each in network.state_dict().items()}
    torch.save(weights, made / "control_sd15_random_color.pth")


def compvis(name: str, config: Any) -> str:
    """What CompVis calls a weight of a control network."""
    head, _, rest = name.partition(".")
    if head == "controlnet_down_blocks":
        number, _, end = rest.partition(".")
        return f"zero_convs.{number}.0.{end}"
    if head == "controlnet_mid_block":
        return f"middle_block_out.0.{rest}"
    if head == "controlnet_cond_embedding":
        part, _, end = rest.rpartition(".")
        places = {"conv_in": 0, "conv_out": 2 + 2 * 6}
        number = places[part] if part in places else 2 + 2 * int(part.rsplit(".")[-1])
        return f"input_hint_block.{number}.{end}"
    return single_file.unet_name(name, config)


def picture(seed: int = 0) -> Image:
    image = np.full((80, 60, 3), (40 * seed, 255 - 40 * seed, 128), np.uint8)
    image[20:60, 10 * seed : 10 * seed + 30] = 255
    return image


def drawn(painter: Diffusion, who: Identity, *inputs: ControlInput, **more: Any) -> np.ndarray:
    given: dict[str, Any] = {"identities": ("lora",), "base": "xl", **more}
    options = GenerationOptions(scheduler="own", steps=4, guidance=4.0, control_inputs=inputs, **given)
    return hub_store.pixels(painter, small(painter.plan(hub_store.request(who, SCENE, options))))


def small(plan: GenerationPlan) -> GenerationPlan:
    return replace(plan, parameters=replace(plan.parameters, size=SIZE))


def apart(one: np.ndarray, other: np.ndarray) -> float:
    return float(np.abs(one - other).max())


@pytest.mark.parametrize(
    ("change", "matters"),
    [
        ({}, False),
        ({"scale": 0.9}, True),
        ({"end": 0.5}, True),
        ({"start": 0.5}, True),
        ({"picture": picture(4)}, True),
        ({"kind": "depth"}, True),
    ],
    ids=lambda each: next(iter(each), "none") if isinstance(each, dict) else "",
)
def test_each_control_input_acts_with_its_scale_in_its_part_of_the_steps(
    painter: Diffusion, anna: Identity, change: dict[str, Any], matters: bool
) -> None:
    fixed = ControlInput("canny", picture(2), 0.6, preprocessed=True)
    control_input = ControlInput("pose", picture(), 0.5, preprocessed=True)
    both = drawn(painter, anna, fixed, control_input)
    assert (apart(both, drawn(painter, anna, fixed, replace(control_input, **change))) > VISIBLE) == matters
    assert min(apart(both, drawn(painter, anna, each)) for each in (fixed, control_input)) > VISIBLE


def test_a_control_input_with_scale_0_changes_nothing(painter: Diffusion, anna: Identity) -> None:
    silent = drawn(painter, anna, ControlInput("canny", picture(), 0.0, preprocessed=True))
    assert apart(silent, drawn(painter, anna)) < 1e-5


def test_the_colour_network_loads_as_it_is_published(painter: Diffusion, settings: Settings) -> None:
    ann = hub_store.stranger(1)
    control_input = ControlInput("color", picture(), 0.8)
    more = {"identities": ("faceid",), "base": "sd"}
    options = GenerationOptions(scheduler="own", steps=3, guidance=4.0, control_inputs=(control_input,), **more)
    made = small(painter.plan(hub_store.request(ann, SCENE, options)))
    controlled = hub_store.pixels(painter, made)
    canny = replace(made.parameters.options.control_inputs[0], kind="canny")
    twin = replace(
        made, parameters=replace(made.parameters, options=replace(made.parameters.options, control_inputs=(canny,)))
    )
    # The tiny one has the very weights of the tiny canny network.
    assert apart(controlled, hub_store.pixels(painter, twin)) < 1e-5
    without = replace(
        made, parameters=replace(made.parameters, options=replace(made.parameters.options, control_inputs=()))
    )
    assert apart(controlled, hub_store.pixels(painter, without)) > 10 * VISIBLE


def test_a_controlnet_of_ones_own_follows_a_control_image_in_both_namings(
    painter: Diffusion, settings: Settings, tmp_path: Path
) -> None:
    network = ControlNetModel.from_pretrained(settings.models.folder / "controlnet_canny_sd15", variant="fp16")
    weights = network.state_dict()
    named = {
        "lines": weights,
        "lines-2": {f"control_model.{compvis(name, network.config)}": each for name, each in weights.items()},
    }
    models, pixels = ModelStore(settings.models), {}
    for name, tensors in named.items():
        file = tmp_path / f"{name}.safetensors"
        save_file({key: each.contiguous() for key, each in tensors.items()}, file)
        models.add(NewModel(name, "controlnet", str(file), "MIT", "yes", family="sd15"))
    ann = hub_store.stranger(1)
    more: dict[str, Any] = {"identities": ("faceid",), "base": "sd"}
    for kind in ("canny", *named):
        pixels[kind] = drawn(painter, ann, ControlInput(kind, picture(), 0.8, preprocessed=kind == "canny"), **more)
        assert apart(pixels["canny"], pixels[kind]) < 1e-5
    assert apart(pixels["canny"], drawn(painter, ann, **more)) > 10 * VISIBLE
    assert build.missing_by_ability(settings)["base:sd:hint:lines"] == []
    with pytest.raises(UserError, match=r"no network for the control 'lines' on xl \(sdxl\)"):
        drawn(painter, ann, ControlInput("lines", picture()), **{**more, "base": "xl"})
    for name in named:
        models.remove(name)


def test_controls_draw_once_a_request_and_before_the_base_is_loaded(settings: Settings, anna: Identity) -> None:
    painter, calls = hub_store.painter(settings), []
    control = painter._control

    def counting(kind: str) -> Any:
        calls.append((kind, painter._loaded))
        return control(kind)

    painter._control = counting
    options = GenerationOptions(
        scheduler="own", steps=1, identities=("lora",), control_inputs=(ControlInput("canny", picture()),)
    )
    request = replace(hub_store.request(anna, SCENE, options, size=SIZE), count=2)
    painter.paint(request, RecordingProgress())
    assert calls == [("canny", None)]
    painter.close()


@pytest.mark.parametrize(
    ("control_input", "base", "says", "error"),
    [
        (ControlInput("magic", picture()), "xl", "There is no control 'magic'", UserError),
        (ControlInput("color", picture()), "xl", r"no network for the control 'color' on xl \(sdxl\)", UserError),
        (ControlInput("tile", picture()), "xl", "portrait models pull controlnet_tile_sdxl", OperatorError),
        (ControlInput("pose", picture()), "xl", "portrait models pull pose", OperatorError),
        (ControlInput("depth", picture()), "xl", "portrait models pull depth_anything", OperatorError),
        (ControlInput("canny", picture(), scale=9.0), "xl", "scale of 0 to 2", UserError),
        (ControlInput("canny", picture(), start=0.5, end=0.5), "xl", "starts before it ends", UserError),
    ],
    ids=lambda each: each.kind if isinstance(each, ControlInput) else None,
)
def test_an_unsupported_control_is_refused_before_the_base_is_loaded(
    settings: Settings, anna: Identity, control_input: ControlInput, base: str, says: str, error: type[Exception]
) -> None:
    painter = hub_store.painter(settings)
    with pytest.raises(error, match=says):
        drawn(painter, anna, control_input, base=base)
    assert painter._loaded is None


def test_supported_controls_and_missing_models_are_known_in_advance(settings: Settings) -> None:
    able = build.missing_by_ability(settings)
    assert able["base:xl:hint:canny"] == able["base:sd:hint:color"] == []
    assert "portrait models pull controlnet_tile_sdxl" in able["base:xl:hint:tile"][0]
    assert "portrait models pull depth_anything" in able["base:xl:hint:depth"][0], (
        "its network is here, its eyes are not"
    )
    assert "no network for the control 'color' on sdxl" in able["base:xl:hint:color"][0]


def test_control_inputs_are_stored_by_picture_hash_and_read_back() -> None:
    control_input = ControlInput("canny", picture(), 0.7, 0.1, 0.9)
    stored = to_dict(GenerationOptions(control_inputs=(control_input,)))
    assert stored["hints"] == [
        {"kind": "canny", "scale": 0.7, "start": 0.1, "end": 0.9, "picture": picture_hash(picture())}
    ]
    (back,) = from_dict(stored, {picture_hash(picture()): picture()}).control_inputs
    assert np.array_equal(back.picture, control_input.picture)
    assert to_dict(GenerationOptions(control_inputs=(back,))) == stored
    with pytest.raises(UserError, match="Name it with --hint") as caught:
        from_dict(stored, {picture_hash(picture(5)): picture(5)})
    assert caught.value.code == "hint_missing"
