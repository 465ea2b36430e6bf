"""The published pipelines' own pictures, drawn again through this project's identities and painter, on the same networks."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import StableDiffusionXLPipeline
from insightface.utils import face_align
from transformers import CLIPImageProcessorPil, CLIPVisionModelWithProjection

from pipelines.diffusion.sampling import clip_vision
from pipelines.engines.identities.instantid import draw_landmarks
from pipelines.engines.painters.diffusion import Diffusion
from pipelines.settings import Settings
from portrait.arrays import Image, Size
from portrait.generation.options import ControlInput, GenerationOptions, PromptSpec
from portrait.types import Identity
from tests import hub_store

NEAR = 1e-4


@pytest.fixture(scope="module")
def golden() -> Mapping[str, np.ndarray]:
    return dict(np.load(hub_store.GOLDEN))


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    torch.set_num_threads(1)
    return hub_store.fill(tmp_path_factory.mktemp("hub"))


def own(steps: int, guidance: float, *identities: str, **more: Any) -> GenerationOptions:
    """With the base's own scheduler, as the published pipelines drew."""
    return GenerationOptions(identities=identities, scheduler="own", steps=steps, guidance=guidance, cutoff=1.0, **more)


def drawn(
    painter: Diffusion, who: Identity, prompt: str, options: GenerationOptions, side: int, seed: int = 0
) -> np.ndarray:
    plan = painter.plan(hub_store.request(who, PromptSpec(prompt, "low quality"), options, seed))
    return hub_store.pixels(painter, replace(plan, parameters=replace(plan.parameters, size=Size(side, side))))


def instantid_of(golden: Mapping[str, np.ndarray], face: np.ndarray | None = None) -> Identity:
    vector = golden["face"] if face is None else face
    return hub_store.person(hub_store.reference(golden["kps"], {"antelopev2": vector}, golden["landmarks"]))


def photos_of(golden: Mapping[str, np.ndarray]) -> Identity:
    references = [
        hub_store.reference(image, {"buffalo_l": face})
        for image, face in zip(golden["id_photos"], golden["id_faces"], strict=True)
    ]
    return hub_store.person(*references)


def faceid_of(golden: Mapping[str, np.ndarray]) -> Identity:
    # The published picture was drawn of a face that was levelled already: its landmarks are where ArcFace has them.
    levelled = face_align.arcface_dst * (golden["face_crop"].shape[0] / 112)
    face = hub_store.reference(golden["face_crop"], {"buffalo_l": golden["normed_face"][0]}, levelled)
    return hub_store.person(face, class_word="woman")


def by_instantid(golden: Mapping[str, np.ndarray], network: float = 0.8, adapter: float = 0.8) -> GenerationOptions:
    points = golden["landmarks"].astype(np.float32)
    return own(4, 5, "instantid", strengths={"identitynet": network, "instantid": adapter}, landmarks=points)


def test_the_landmark_picture_is_the_published_one(golden: Mapping[str, np.ndarray]) -> None:
    assert np.array_equal(draw_landmarks(golden["landmarks"], Size(128, 128)), golden["kps"])


@pytest.mark.parametrize(("name", "network", "adapter"), [("text2img", 0.8, 0.8), ("text2img_weak", 0.6, 0.35)])
def test_instantid_draws_the_published_picture(
    painter: Diffusion, golden: Mapping[str, np.ndarray], name: str, network: float, adapter: float
) -> None:
    options = by_instantid(golden, network, adapter)
    image = drawn(painter, instantid_of(golden), "a portrait photo of a {who}", options, 128)
    assert np.abs(image - golden[name][0]).max() < NEAR


def test_instantid_beside_another_control_draws_the_published_picture(
    painter: Diffusion, golden: Mapping[str, np.ndarray]
) -> None:
    options = replace(
        by_instantid(golden), control_inputs=(ControlInput("depth", golden["depth"], 0.5, preprocessed=True),)
    )
    image = drawn(painter, instantid_of(golden), "a portrait photo of a {who}", options, 128)
    assert np.abs(image - golden["with_depth"][0]).max() < NEAR


def test_photos_become_the_published_pixels(golden: Mapping[str, np.ndarray]) -> None:
    assert np.abs(clip_vision.preprocess(list(golden["id_photos"])).numpy() - golden["id_pixels"]).max() < 0.02


@pytest.mark.parametrize("merge", [0, 2])
@pytest.mark.parametrize(("name", "array"), [("photomaker", "photomaker_v1"), ("photomaker_v2", "photomaker_v2")])
def test_photomaker_draws_the_published_picture(
    painter: Diffusion, golden: Mapping[str, np.ndarray], name: str, array: str, merge: int
) -> None:
    options = own(6, 5, name, start_merge_step=merge / 6 + 0.01)
    image = drawn(painter, photos_of(golden), "a photo of a {who} in style, best quality", options, 64)
    assert np.abs(image - golden[f"{array}_merge{merge}"][0]).max() < NEAR


@pytest.mark.parametrize("seed", [1, 2])
@pytest.mark.parametrize(("base", "array"), [("sd", "faceid_sd15"), ("xl", "faceid_sdxl")])
def test_faceid_draws_the_published_picture(
    painter: Diffusion, golden: Mapping[str, np.ndarray], base: str, array: str, seed: int
) -> None:
    options = own(3, 6, "faceid", base=base, strengths={"faceid": 0.7})
    image = drawn(painter, faceid_of(golden), "a photo of a {who}", options, 64, seed)
    assert np.abs(image - golden[array][seed - 1]).max() < NEAR


KPS = np.array([[206.5, 111.0], [247.5, 112.5], [228.0, 139.0], [210.5, 157.0], [243.0, 158.5]], np.float32)
"""The five points of the astronaut's face, as a face finder sees them."""


def test_faceid_plus_of_a_whole_photo_draws_what_diffusers_draws_of_insightfaces_crop(
    painter: Diffusion, settings: Settings, astronaut: Image, golden: Mapping[str, np.ndarray]
) -> None:
    vector = golden["normed_face"][0]
    person = hub_store.person(hub_store.reference(astronaut, {"buffalo_l": vector}, KPS), class_word="woman")
    options = own(3, 6, "faceid_plus", strengths={"faceid_plus": 0.7})
    image = drawn(painter, person, "a photo of a {who}", options, 64, seed=1)
    with pytest.warns(FutureWarning):
        crop = np.asarray(face_align.norm_crop(astronaut, landmark=KPS, image_size=224), np.uint8)
    assert np.abs(image - stock_faceid_plus(settings, crop, vector)).max() < NEAR
    loose = drawn(painter, person, "a photo of a {who}", replace(options, method=1), 64, seed=1)
    assert np.abs(image - loose).max() > NEAR, "what version 0.1.0 drew is drawn again as it was"


def stock_faceid_plus(settings: Settings, crop: Image, face: np.ndarray) -> np.ndarray:
    """The picture of diffusers' own pipeline, called as its guide to IP-Adapter FaceID Plus does."""
    store = settings.models.folder
    pipe: Any = StableDiffusionXLPipeline.from_pretrained(settings.bases["xl"].path)
    weights = torch.load(store / "faceid_plusv2_sdxl" / "ip-adapter-faceid-plusv2_sdxl.bin", weights_only=True)
    pipe.load_ip_adapter(weights, subfolder="", weight_name="", image_encoder_folder=None)
    pipe.set_ip_adapter_scale(0.7)
    encoder = CLIPVisionModelWithProjection.from_pretrained(store / "clip_vit_h" / "models" / "image_encoder")
    pixels = CLIPImageProcessorPil()(images=crop, return_tensors="pt").pixel_values
    embeds = torch.from_numpy(face)[None, None, None]
    layer = pipe.unet.encoder_hid_proj.image_projection_layers[0]
    layer.shortcut = True
    with torch.no_grad():
        batch = torch.cat([torch.zeros_like(pixels), pixels])
        layer.clip_embeds = encoder(batch, output_hidden_states=True).hidden_states[-2][:, None]
        return pipe(
            "a photo of a woman",
            negative_prompt="low quality",
            ip_adapter_image_embeds=[torch.cat([torch.zeros_like(embeds), embeds])],
            num_inference_steps=3,
            guidance_scale=6.0,
            width=64,
            height=64,
            generator=torch.Generator("cpu").manual_seed(1),
            output_type="np",
        ).images[0]


def test_faceid_plus_draws_the_published_picture(painter: Diffusion, golden: Mapping[str, np.ndarray]) -> None:
    options = own(3, 6, "faceid_plus", strengths={"faceid_plus": 0.7})
    image = drawn(painter, faceid_of(golden), "a photo of a {who}", options, 64, seed=1)
    assert np.abs(image - golden["faceid_plusv2_sdxl"][0]).max() < NEAR
