"""Looks by IP-Adapters: equal to stock diffusers alone and beside identity adapters, and refused where they cannot be."""

import json
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import PIL.Image
import pytest
import torch
from diffusers import StableDiffusionPipeline, StableDiffusionXLPipeline, UNet2DConditionModel
from transformers import CLIPImageProcessorPil, CLIPVisionModelWithProjection

from pipelines.engines.painters.diffusion import Diffusion, GenerationPlan
from pipelines.settings import Settings
from portrait.arrays import Image, Size
from portrait.errors import OperatorError, UserError
from portrait.generation.options import GenerationOptions, ImagePrompt, PromptSpec
from portrait.types import Identity
from tests import hub_store

SCENE = PromptSpec("a photo of a {who}", "low quality")
NEAR, VISIBLE = 1e-4, 1e-3
FILES = {
    ("ip_adapter_plus", "sd"): "ip_adapter_plus_sd15/ip-adapter-plus_sd15.safetensors",
    ("ip_adapter", "xl"): "ip_adapter_sdxl/ip-adapter_sdxl_vit-h.safetensors",
}


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    torch.set_num_threads(1)
    settings = hub_store.fill(tmp_path_factory.mktemp("hub"))
    for (name, base), file in FILES.items():
        unet = UNet2DConditionModel.from_pretrained(settings.bases[base].path / "unet")
        hub_store.save_adapter(hub_store.ip_adapter(unet, name == "ip_adapter_plus"), settings.models.folder / file)
    return settings


def film(seed: int = 3) -> Image:
    return np.random.default_rng(seed).integers(0, 255, (60, 90, 3), dtype=np.uint8)


def plan(painter: Diffusion, who: Identity, base: str, *names: str, **more: Any) -> GenerationPlan:
    """Without names nobody in particular is drawn."""
    usual: dict[str, Any] = {"base": base, "scheduler": "own", "steps": 2, "guidance": 4.0, "cutoff": 1.0}
    options = GenerationOptions(identities=names or ("faceid",), **(usual | more))
    made = painter.plan(hub_store.request(who, SCENE, options))
    parameters = replace(made.parameters, size=Size(64, 64))
    if names:
        return replace(made, parameters=parameters)
    return replace(made, identities=(), parameters=replace(parameters, prompt="a photo of a man"))


def stock(settings: Settings, base: str) -> Any:
    """The published pipeline of a base, with the vision encoder that looks are seen by."""
    folder = settings.models.folder / "clip_vit_h" / "models" / "image_encoder"
    kind: Any = StableDiffusionPipeline if base == "sd" else StableDiffusionXLPipeline
    parts: dict[str, Any] = {"safety_checker": None} if base == "sd" else {}
    pipe = kind.from_pretrained(
        settings.bases[base].path,
        image_encoder=CLIPVisionModelWithProjection.from_pretrained(folder),
        feature_extractor=CLIPImageProcessorPil(),
        **parts,
    )
    pipe.set_progress_bar_config(disable=True)
    return pipe


def stock_picture(
    pipe: Any, adapters: Sequence[hub_store.Groups], scales: Sequence[float], **embeds: Any
) -> np.ndarray:
    empty = [""] * len(adapters)
    pipe.load_ip_adapter(list(adapters), subfolder=empty, weight_name=empty, image_encoder_folder=None)
    pipe.set_ip_adapter_scale(list(scales))
    return pipe(
        "a photo of a man",
        negative_prompt="low quality",
        num_inference_steps=2,
        guidance_scale=4.0,
        width=64,
        height=64,
        generator=torch.Generator("cpu").manual_seed(0),
        output_type="np",
        **embeds,
    ).images[0]


@pytest.mark.parametrize(("name", "base"), list(FILES))
def test_a_look_is_what_stock_diffusers_draws(
    painter: Diffusion, settings: Settings, anna: Identity, name: str, base: str
) -> None:
    who = replace(anna, lora=None)
    ours = hub_store.pixels(painter, plan(painter, who, base, look=ImagePrompt(film(), name, 0.6)))
    pipe = stock(settings, base)
    weights = hub_store.ip_adapter(pipe.unet, name == "ip_adapter_plus")
    theirs = stock_picture(pipe, [weights], [0.6], ip_adapter_image=PIL.Image.fromarray(film()))
    assert np.abs(ours - theirs).max() < NEAR
    looks = (ImagePrompt(film(4), name, 0.6), ImagePrompt(film(), name, 0.3), ImagePrompt(film(), name, 0.0), None)
    others = [hub_store.pixels(painter, plan(painter, who, base, look=each)) for each in looks]
    assert min(np.abs(each - ours).max() for each in others) > VISIBLE
    assert np.array_equal(others[2], others[3])


def test_a_look_beside_faceid_is_what_stock_diffusers_draws_with_both(painter: Diffusion, settings: Settings) -> None:
    stranger = hub_store.stranger(1)
    options = {"strengths": {"faceid": 0.7}, "look": ImagePrompt(film(), "ip_adapter_plus", 0.5)}
    made = plan(painter, stranger, "sd", "faceid", **options)
    made = replace(made, parameters=replace(made.parameters, prompt="a photo of a man"))
    ours, facts = painter.draw(made, lambda done: None)
    assert facts["look"] == {"adapter": "ip_adapter_plus", "scale": 0.5}
    assert "ip_adapter_plus_sd15/ip-adapter-plus_sd15.safetensors" in json.dumps(facts)

    pipe = stock(settings, "sd")
    file = settings.models.folder / "faceid_sd15" / "ip-adapter-faceid_sd15.bin"
    faceid = torch.load(file, weights_only=True)
    positive, negative = pipe.encode_image(PIL.Image.fromarray(film()), "cpu", 1, True)
    vector = stranger.references[0].face.embeddings["buffalo_l"]
    face = torch.from_numpy(vector / np.linalg.norm(vector))[None, None, None]
    embeds = [torch.cat([torch.zeros_like(face), face]), torch.stack([negative, positive])]
    theirs = stock_picture(
        pipe, [faceid, hub_store.ip_adapter(pipe.unet, True)], [0.7, 0.5], ip_adapter_image_embeds=embeds
    )
    assert np.abs(ours - theirs).max() < NEAR
    without = [
        hub_store.pixels(painter, plan(painter, stranger, "sd", "faceid", **(options | each)))
        for each in ({"look": None}, {"strengths": {"faceid": 0.0}})
    ]
    assert min(np.abs(each - ours).max() for each in without) > VISIBLE


def test_the_look_of_a_style_is_drawn_unless_a_request_has_its_own(painter: Diffusion, anna: Identity) -> None:
    scene = replace(SCENE, look_adapter="ip_adapter_plus", look_scale=0.6, look_picture=film())
    options = GenerationOptions(base="sd", identities=("faceid",), steps=2)
    own = ImagePrompt(film(4), "ip_adapter_plus", 0.3)
    found = [
        painter.plan(hub_store.request(anna, spec, given)).parameters.options.look
        for spec, given in ((scene, options), (scene, replace(options, look=own)), (SCENE, options))
    ]
    assert found[0] is not None
    assert (found[0].adapter, found[0].scale, found[0].picture.tolist()) == ("ip_adapter_plus", 0.6, film().tolist())
    assert found[1:] == [own, None]


@pytest.mark.parametrize("names", [("instantid",), ("lora", "faceid_plus")], ids=str)
def test_a_look_goes_with_every_identity_and_leaves_the_base_as_it_was(
    painter: Diffusion, anna: Identity, names: tuple[str, ...]
) -> None:
    made = plan(painter, anna, "xl", *names, cutoff=0.5, look=ImagePrompt(film(), "ip_adapter", 0.8))
    before = hub_store.pixels(painter, plan(painter, anna, "xl", *names, cutoff=0.5))
    ours = hub_store.pixels(painter, made)
    assert np.abs(ours - before).max() > VISIBLE
    assert np.array_equal(hub_store.pixels(painter, plan(painter, anna, "xl", *names, cutoff=0.5)), before)


@pytest.mark.parametrize(
    ("look", "says"),
    [
        (ImagePrompt(film(), "ip_adapter", 1.5), "scale of 0 to 1"),
        (ImagePrompt(film(), "style_adapter"), "no adapter 'style_adapter' for a look"),
    ],
    ids=["scale", "name"],
)
def test_a_look_that_cannot_be_is_refused_beforehand(
    painter: Diffusion, anna: Identity, look: ImagePrompt, says: str
) -> None:
    with pytest.raises(UserError, match=says) as caught:
        plan(painter, anna, "xl", look=look)
    assert caught.value.code == "bad_technique"


def test_an_adapter_that_is_missing_or_does_not_fit_is_named(settings: Settings, anna: Identity) -> None:
    painter = hub_store.painter(settings)
    with pytest.raises(OperatorError, match="portrait models pull ip_adapter_plus_face_sdxl"):
        plan(painter, anna, "xl", look=ImagePrompt(film(), "ip_adapter_plus_face"))
    file = settings.models.folder / FILES["ip_adapter", "xl"]
    held = file.read_bytes()
    unet = UNet2DConditionModel.from_pretrained(settings.bases["xl"].path / "unet")
    small = UNet2DConditionModel.from_pretrained(settings.bases["sd"].path / "unet")
    faces = {
        **hub_store.ip_adapter(unet, False),
        "image_proj": {"norm.weight": torch.ones(8), "proj.2.weight": torch.ones(8, 8)},
    }
    try:
        for groups, says in (
            (hub_store.ip_adapter(unet, False, 80), "another encoder"),
            (hub_store.ip_adapter(small, False), "not made for bases such as xl"),
            (faces, "embedding of a face"),
        ):
            hub_store.save_adapter(groups, file)
            with pytest.raises(UserError, match=says):
                plan(painter, anna, "xl", look=ImagePrompt(film()))
    finally:
        file.write_bytes(held)
    assert painter._loaded is None
