"""Beginning from a picture: what stock pipelines make of it, with whoever is drawn and whatever is followed."""

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import diffusers
import numpy as np
import PIL.Image
import pytest
import torch
from diffusers.image_processor import VaeImageProcessor

from pipelines.diffusion.base.registry import family_by_name
from pipelines.diffusion.sampling import img2img, pipeline_call
from pipelines.diffusion.sampling.schedulers import SCHEDULERS
from pipelines.engines.painters.diffusion import Diffusion, GenerationPlan
from pipelines.settings import BaseLocation, DrawSettings, ModelStoreSettings, Settings
from portrait.arrays import Image, Mask, Size
from portrait.errors import UserError
from portrait.generation.edits import Edit
from portrait.generation.options import ControlInput, GenerationOptions, PromptSpec
from portrait.generation.parameters import GenerationParameters
from portrait.types import Identity, Style
from tests import hub_store, tiny
from tests.faceworld.train import BASE

SCENE = PromptSpec("a photo of a {who}", "low quality")
SIZE = Size(64, 80)
NEAR = 2e-4
VISIBLE = 1e-3
"""A change that is more than rounding."""
STRONG = 2.0
"""The largest scale of a hint: the tiny control network moves pixels by a few ten-thousandths."""


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    torch.set_num_threads(1)
    return hub_store.fill(tmp_path_factory.mktemp("hub"))


def start() -> Image:
    """A picture of soft colours: what a VAE can tell."""
    y, x = np.mgrid[: SIZE.height, : SIZE.width] / 80
    return np.asarray(np.stack([x, y, 1 - x], axis=2) * 255, np.uint8)


def right_half() -> Mask:
    mask = np.zeros((SIZE.height, SIZE.width), np.float32)
    mask[:, SIZE.width // 2 :] = 1
    return mask


def plan(
    painter: Diffusion, who: Identity, names: tuple[str, ...], given: dict[str, Any], **more: Any
) -> GenerationPlan:
    """`told` of the technique, `more` of the drawing; without names, nobody in particular is drawn."""
    usual: dict[str, Any] = {"scheduler": "own", "steps": 4, "guidance": 4.0, "cutoff": 1.0}
    options = GenerationOptions(identities=names or ("faceid",), **(usual | given))
    made = painter.plan(hub_store.request(who, SCENE, options, seed=5))
    if not names:
        made = replace(made, identities=(), parameters=replace(made.parameters, prompt="a photo of a man"))
    options = replace(
        made.parameters.options, control_inputs=options.control_inputs
    )  # of this size, not of the one that was planned
    changed: dict[str, Any] = {"start": start()} | more
    return replace(made, parameters=replace(made.parameters, size=SIZE, options=options, **changed))


@pytest.mark.parametrize(
    ("base", "masked", "hinted", "kind"),
    [
        ("sd", False, False, "StableDiffusionImg2ImgPipeline"),
        ("sd", True, False, "StableDiffusionInpaintPipeline"),
        ("sd", False, True, "StableDiffusionControlNetImg2ImgPipeline"),
        ("sd", True, True, "StableDiffusionControlNetInpaintPipeline"),
        ("xl", False, False, "StableDiffusionXLImg2ImgPipeline"),
        ("xl", True, False, "StableDiffusionXLInpaintPipeline"),
        ("xl", False, True, "StableDiffusionXLControlNetImg2ImgPipeline"),
        ("xl", True, True, "StableDiffusionXLControlNetInpaintPipeline"),
    ],
)
def test_a_drawing_is_what_a_plain_call_of_diffusers_draws(
    painter: Diffusion, settings: Settings, anna: Identity, base: str, masked: bool, hinted: bool, kind: str
) -> None:
    edges = np.asarray(np.random.default_rng(1).integers(0, 2, (80, 64, 1)).repeat(3, 2) * 255, np.uint8)
    given = {
        "base": base,
        "control_inputs": (ControlInput("canny", edges, STRONG, preprocessed=True),) if hinted else (),
    }
    who = replace(anna, lora=None)
    made = plan(painter, who, (), given, strength=0.6, mask=right_half() if masked else None)
    ours = hub_store.pixels(painter, made)

    folder = settings.bases[base].path
    parts: dict[str, Any] = {"safety_checker": None} if base == "sd" else {}
    given: dict[str, Any] = {"image": PIL.Image.fromarray(start())}
    if hinted:
        model = f"controlnet_canny_{'sd15' if base == 'sd' else 'sdxl'}"
        parts["controlnet"] = diffusers.ControlNetModel.from_pretrained(settings.models.folder / model, variant="fp16")
        given |= {"control_image": PIL.Image.fromarray(edges), "controlnet_conditioning_scale": STRONG}
    if masked:
        white = PIL.Image.fromarray(np.asarray(right_half() * 255, np.uint8))
        given |= {"mask_image": white, "width": SIZE.width, "height": SIZE.height}
    plain = getattr(diffusers, kind).from_pretrained(folder, **parts)
    plain.set_progress_bar_config(disable=True)
    theirs = plain(
        "a photo of a man",
        negative_prompt="low quality",
        strength=0.6,
        num_inference_steps=4,
        guidance_scale=4.0,
        generator=torch.Generator("cpu").manual_seed(5),
        output_type="np",
        **given,
    ).images[0]
    assert np.abs(ours - theirs).max() < 1e-5
    if hinted:
        unguided = replace(
            made, parameters=replace(made.parameters, options=replace(made.parameters.options, control_inputs=()))
        )
        assert np.abs(ours - hub_store.pixels(painter, unguided)).max() > NEAR
    assert np.abs(ours - start() / 255).max() > 0.01


@pytest.mark.parametrize("base", ["sd", "xl"])
def test_with_strength_zero_a_picture_goes_through_the_vae_and_back(
    painter: Diffusion, settings: Settings, anna: Identity, base: str
) -> None:
    who = replace(anna, lora=None)
    heard: list[int] = []
    none = plan(painter, who, (), {"base": base}, strength=0.0)
    assert none.parameters.steps_done == 0
    ours = painter.draw(none, heard.append)[0]
    vae: Any = diffusers.AutoencoderKL.from_pretrained(settings.bases[base].path / "vae")
    pixels = torch.tensor(start()).permute(2, 0, 1)[None].float() / 127.5 - 1
    with torch.no_grad():
        decoded = vae.decode(vae.encode(pixels).latent_dist.mode()).sample
    expected = (decoded[0].permute(1, 2, 0).numpy() / 2 + 0.5).clip(0, 1)
    assert np.abs(ours - expected).max() < NEAR
    assert heard == []
    masked = plan(painter, who, (), {"base": base}, strength=0.2, mask=right_half())  # less than one step
    assert np.array_equal(hub_store.pixels(painter, masked), ours)


@pytest.mark.parametrize("base", ["sd", "xl"])
@pytest.mark.parametrize("cutoff", [1.0, 0.5])
def test_latents_outside_a_mask_stay(painter: Diffusion, anna: Identity, base: str, cutoff: float) -> None:
    who = replace(anna, lora=None)
    latents = []
    painter.draw(plan(painter, who, (), {"base": base}, strength=0.0), [].append)
    assert painter._loaded is not None
    vae, decode = painter._loaded.pipeline.vae, painter._loaded.pipeline.vae.decode

    def noted(given: torch.Tensor, **more: Any) -> Any:
        latents.append(given)
        return decode(given, **more)

    vae.decode = noted
    try:
        for mask in (right_half(), right_half() * 0, right_half() * 0 + 1):
            made = plan(painter, who, (), {"base": base, "cutoff": cutoff}, strength=0.8, mask=mask)
            painter.draw(made, [].append)
    finally:
        del vae.decode
    half, none, all_of_it = latents
    assert torch.equal(half[..., :4], none[..., :4])
    assert (half[..., 4:] - none[..., 4:]).abs().min() > 0
    assert (all_of_it[..., :4] - none[..., :4]).abs().max() > VISIBLE


@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize(
    "names", [("lora",), ("instantid",), ("lora", "instantid"), ("photomaker",), ("photomaker_v2",), ("faceid_plus",)]
)
def test_people_are_drawn_into_pictures_with_guidance_that_ends_early(
    painter: Diffusion, settings: Settings, anna: Identity, names: tuple[str, ...], masked: bool
) -> None:
    edges = np.zeros((80, 64, 3), np.uint8)
    inputs = (ControlInput("canny", edges, preprocessed=True), ControlInput("depth", edges, preprocessed=True))
    more: dict[str, Any] = {"strength": 0.8, "mask": right_half() if masked else None}
    given = {"steps": 5, "start_merge_step": 0.0}
    first = hub_store.pixels(painter, plan(painter, anna, names, given, **more))
    other = hub_store.pixels(painter, plan(painter, hub_store.trained_person(settings, 2), names, given, **more))
    assert np.abs(first - other).max() > VISIBLE
    early = hub_store.pixels(painter, plan(painter, anna, names, given | {"cutoff": 0.5}, **more))
    assert np.abs(first - early).max() > VISIBLE
    controlled = hub_store.pixels(
        painter, plan(painter, anna, names, given | {"cutoff": 0.5, "control_inputs": inputs}, **more)
    )
    assert np.abs(early - controlled).max() > VISIBLE
    assert np.array_equal(hub_store.pixels(painter, plan(painter, anna, names, given, **more)), first)


def test_perturbed_attention_goes_with_pictures_where_stock_pipelines_let_it(
    painter: Diffusion, anna: Identity
) -> None:
    sd = replace(anna, lora=None)
    control_input = ControlInput("canny", np.zeros((80, 64, 3), np.uint8), preprocessed=True)
    refused: dict[tuple[str, bool, bool], str] = {}
    for base, who, masked, inputs in (
        (base, who, masked, inputs)
        for base, who in (("xl", anna), ("sd", sd))
        for masked in (False, True)
        for inputs in ((), (control_input,))
    ):
        each = []
        for scale in (0.0, 3.0):
            given = {"base": base, "control_inputs": inputs, "perturbed": scale}
            made = plan(painter, who, () if base == "sd" else ("lora",), given, strength=0.8)
            made = replace(made, parameters=replace(made.parameters, mask=right_half() if masked else None))
            try:
                each.append(hub_store.pixels(painter, made))
            except UserError as error:
                refused[base, masked, bool(inputs)] = error.code
        assert len(each) == 1 or np.abs(each[0] - each[1]).max() > VISIBLE
    assert refused == {("xl", True, True): "bad_technique", ("sd", False, True): "bad_technique"}


def test_every_scheduler_begins_from_a_picture(painter: Diffusion, anna: Identity) -> None:
    for name in SCHEDULERS:
        heard: list[int] = []
        made = plan(painter, anna, ("lora",), {"scheduler": name, "steps": 6}, strength=0.5)
        assert painter.draw(made, heard.append)[0].std() > 0.01
        assert made.parameters.steps_done == 3
        assert heard == sorted(heard)
        assert {*heard} - {0} == {1, 2, 3}, "those that were asked for, however often the network is called"


def test_what_no_stock_pipeline_supports_is_refused_before_the_base_is_loaded(
    settings: Settings, anna: Identity, monkeypatch: pytest.MonkeyPatch
) -> None:
    fresh = hub_store.painter(settings)
    made = plan(fresh, anna, ("lora",), {}, mask=right_half())
    monkeypatch.setattr(type(made.base), "config", lambda base, part: {"in_channels": 8})
    with pytest.raises(UserError, match="part of a picture") as caught:
        fresh.draw(made, [].append)
    assert caught.value.code == "bad_technique"
    assert fresh._loaded is None


def test_the_farther_it_goes_the_less_is_left_of_the_picture(tmp_path: Path) -> None:
    """On a base that really draws: see `tests.faceworld`."""
    models = ModelStoreSettings(folder=tmp_path)
    face = hub_store.painter(
        Settings(models=models, bases={"face": BaseLocation(BASE)}, draw=DrawSettings(base="face", device="cpu"))
    )
    given = GenerationOptions(base="face", scheduler="own", steps=12, guidance=4.0, cutoff=1.0)
    parameters = GenerationParameters("a photo of a person, in a red shirt", "", Size(48, 48), 1, 12, 4.0, given)
    base, who = face._bases("face"), hub_store.stranger(1)
    first = hub_store.pixels(face, GenerationPlan(who, base, (), parameters, "", (), parameters.size))
    begun = replace(parameters, seed=9, start=np.asarray((first * 255).round(), np.uint8))
    left = [
        np.abs(
            first
            - hub_store.pixels(
                face, GenerationPlan(who, base, (), replace(begun, strength=each), "", (), parameters.size)
            )
        ).mean()
        for each in (0.0, 0.4, 1.0)
    ]
    face.close()
    assert left[0] < 0.03  # of the VAE
    assert left[0] < left[1] < left[2] / 1.5


class HalfPipe:
    """A pipeline in half precision that leaves its VAE in float32, as some stock ones do."""

    def __init__(self) -> None:
        self.vae: Any = tiny.vae().half()
        self.vae.register_to_config(force_upcast=True)
        self.image_processor = VaeImageProcessor(vae_scale_factor=8)
        self._execution_device = torch.device("cpu")

    def __call__(self, **_: Any) -> Any:
        self.vae.float()
        noise = np.random.default_rng(0).random((SIZE.height, SIZE.width, 3), np.float32)
        return SimpleNamespace(images=[noise])


def test_a_vae_that_overflows_in_half_precision_is_used_in_float32_and_comes_back() -> None:
    pipe = HalfPipe()
    parameters = GenerationParameters("", "", SIZE, 0, 4, 1.0, GenerationOptions(), start())
    family = family_by_name("sd15")
    callback = pipeline_call._StepCallback((), [].append, parameters, 1.0, None, family)
    pipeline_call._call_pipeline(pipe, {}, parameters, callback, family.latents(pipe.vae))
    assert pipe.vae.dtype == torch.float16
    changed: list[torch.dtype] = []
    decode = pipe.vae.decode
    pipe.vae.decode = lambda given, **more: (changed.append(given.dtype), decode(given, **more))[1]
    with torch.no_grad():
        assert img2img.vae_round_trip(pipe, start(), family.latents(pipe.vae)).shape == (SIZE.height, SIZE.width, 3)
    assert changed == [torch.float32]
    assert pipe.vae.dtype == torch.float16


def test_a_mask_is_rounded_up_to_latents() -> None:
    mask = np.zeros((20, 24), np.float32)
    mask[9, 17], mask[19, 0] = 0.5, 0.49
    grown = img2img.round_up_mask(mask, 8)
    assert grown.shape == (20, 24)
    assert grown[8:16, 16:].min() == 1
    assert grown.sum() == 64


def test_a_start_and_a_mask_are_as_large_as_the_drawing() -> None:
    parameters = GenerationParameters("", "", SIZE, 0, 4, 1.0, GenerationOptions())
    assert parameters.steps_done == 4
    wrongs: tuple[dict[str, Any], ...] = (
        {"start": np.zeros((64, 80, 3), np.uint8)},
        {"mask": right_half()},
        {"start": start(), "mask": right_half().T},
        {"strength": 1.1},
    )
    for wrong in wrongs:
        with pytest.raises(ValueError, match=r"of|from"):
            replace(parameters, **wrong)
    assert [replace(parameters, start=start(), strength=each).steps_done for each in (0.0, 0.2, 0.5, 1.0)] == [
        0,
        0,
        2,
        4,
    ]


@pytest.fixture(scope="module")
def inpainting(settings: Settings) -> Settings:
    """The same store with bases that were trained to inpaint, `sd9` and `xl9`."""
    bases = dict(settings.bases)
    for base, kind in (("sd", "StableDiffusionInpaintPipeline"), ("xl", "StableDiffusionXLInpaintPipeline")):
        folder = settings.bases[base].path
        parts: dict[str, Any] = {"safety_checker": None, "feature_extractor": None} if base == "sd" else {}
        pipe: Any = getattr(diffusers, kind).from_pretrained(folder, **parts)
        torch.manual_seed(90)
        pipe.unet = diffusers.UNet2DConditionModel.from_config({**pipe.unet.config, "in_channels": 9})
        place = folder.with_name(f"{folder.name}-inpainting")
        pipe.save_pretrained(place)
        bases[f"{base}9"] = BaseLocation(place)
    return replace(settings, bases=bases)


@pytest.fixture(scope="module")
def inpainter(inpainting: Settings) -> Diffusion:
    return hub_store.painter(inpainting)


@pytest.mark.parametrize(
    ("base", "hinted", "kind"),
    [
        ("sd9", False, "StableDiffusionInpaintPipeline"),
        ("xl9", False, "StableDiffusionXLInpaintPipeline"),
        ("sd9", True, "StableDiffusionControlNetInpaintPipeline"),
    ],
)
def test_a_base_of_nine_channels_draws_what_a_plain_call_of_diffusers_draws(
    inpainter: Diffusion, inpainting: Settings, anna: Identity, base: str, hinted: bool, kind: str
) -> None:
    edges = np.asarray(np.random.default_rng(1).integers(0, 2, (80, 64, 1)).repeat(3, 2) * 255, np.uint8)
    given = {
        "base": base,
        "cutoff": 0.5,  # without effect: guidance lasts to the end
        "control_inputs": (ControlInput("canny", edges, STRONG, preprocessed=True),) if hinted else (),
    }
    who = replace(anna, lora=None)
    made = inpainting_plan(inpainter, who, given)
    ours = hub_store.pixels(inpainter, made)
    arguments: dict[str, Any] = {}
    parts: dict[str, Any] = {"safety_checker": None} if base == "sd9" else {}
    if hinted:
        model = inpainting.models.folder / "controlnet_canny_sd15"
        parts["controlnet"] = diffusers.ControlNetModel.from_pretrained(model, variant="fp16")
        arguments = {"control_image": PIL.Image.fromarray(edges), "controlnet_conditioning_scale": STRONG}
    plain = getattr(diffusers, kind).from_pretrained(inpainting.bases[base].path, **parts)
    plain.set_progress_bar_config(disable=True)
    theirs = plain(
        "a photo of a man",
        negative_prompt="low quality",
        image=PIL.Image.fromarray(start()),
        mask_image=PIL.Image.fromarray(np.asarray(right_half() * 255, np.uint8)),
        width=SIZE.width,
        height=SIZE.height,
        strength=0.6,
        num_inference_steps=4,
        guidance_scale=4.0,
        generator=torch.Generator("cpu").manual_seed(5),
        output_type="np",
        **arguments,
    ).images[0]
    assert np.abs(ours - theirs).max() < 1e-5
    other = replace(made, parameters=replace(made.parameters, mask=1 - right_half()))
    assert np.abs(hub_store.pixels(inpainter, other) - ours).max() > VISIBLE


def inpainting_plan(painter: Diffusion, who: Identity, given: dict[str, Any]) -> GenerationPlan:
    """As `plan` makes it, of an edit that repaints the right half; nobody in particular is drawn."""
    usual: dict[str, Any] = {"scheduler": "own", "steps": 4, "guidance": 4.0}
    edit = Edit("repaint", start(), "0", 0.6, mask=right_half())
    request = hub_store.request(who, SCENE, GenerationOptions(identities=("faceid",), **(usual | given)), seed=5)
    made = painter.plan(replace(request, edit=edit))
    options = replace(made.parameters.options, **{name: each for name, each in given.items() if name != "base"})
    parameters = replace(
        made.parameters, prompt="a photo of a man", size=SIZE, start=start(), mask=right_half(), options=options
    )
    return replace(made, identities=(), parameters=parameters)


@pytest.mark.parametrize("edit", [None, Edit("variations", start(), "0", 0.5)], ids=["words", "variations"])
def test_a_base_of_nine_channels_is_refused_where_there_is_no_mask(
    inpainting: Settings, anna: Identity, edit: Edit | None
) -> None:
    fresh = hub_store.painter(inpainting)
    request = hub_store.request(anna, SCENE, GenerationOptions(base="xl9", identities=("faceid",)))
    with pytest.raises(UserError, match="xl9 was made to draw into a part of a picture") as caught:
        fresh.plan(replace(request, edit=edit))
    assert caught.value.code == "bad_technique"
    assert fresh._loaded is None


def test_a_base_of_nine_channels_draws_the_passes_of_a_template(inpainter: Diffusion, anna: Identity) -> None:
    options = GenerationOptions(base="sd9", identities=("faceid",), scheduler="own", steps=4)
    template = replace(hub_store.request(anna, SCENE, options), style=Style("t", 1, "template", "T", prompt_spec=SCENE))
    assert template.mode == "inpaint"
    made = inpainter.plan(template)
    parameters = replace(made.parameters, size=SIZE, start=start(), mask=right_half(), strength=0.5)
    drawn = hub_store.pixels(inpainter, replace(made, parameters=parameters))
    unchanged = replace(parameters, mask=None, strength=0.0)
    round_trip = hub_store.pixels(inpainter, replace(made, identities=(), parameters=unchanged))
    assert np.abs(drawn - round_trip)[:, SIZE.width // 2 :].max() > VISIBLE
