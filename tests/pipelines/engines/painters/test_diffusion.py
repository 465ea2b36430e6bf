"""The painter of text styles: every part of what it is told matters, and what cannot be drawn is said beforehand."""

import pickle
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from pipelines import model_requirements
from pipelines.diffusion.base import memory
from pipelines.diffusion.base.lease import Lease
from pipelines.diffusion.sampling.pipeline_call import Conditioning
from pipelines.diffusion.sampling.schedulers import SCHEDULERS
from pipelines.engines import Engines
from pipelines.engines.painters import diffusion
from pipelines.engines.painters.diffusion import Diffusion, GenerationPlan
from pipelines.model_store.store import ModelStore
from pipelines.settings import ModelStoreSettings, Settings
from portrait.arrays import Size
from portrait.errors import OperatorError, PortraitError, UserError
from portrait.generation.edits import Edit, EditKind
from portrait.generation.options import ADAPTERS, MAX_SEED, ControlInput, GenerationOptions, LoraChoice, PromptSpec
from portrait.generation.parameters import GenerationParameters
from portrait.ports import IdentityAdapter
from portrait.types import Box, Identity
from tests import hub_store, tiny
from tests.fakes import RecordingProgress

SCENE = PromptSpec("a photo of a {who}", "low quality")
VISIBLE = 1e-3
"""A change that is more than rounding."""

Change = Callable[[Lease, Conditioning], Conditioning]


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    torch.set_num_threads(1)
    return hub_store.fill(tmp_path_factory.mktemp("hub"))


def technique(*identities: str, **more: Any) -> GenerationOptions:
    return replace(GenerationOptions(identities=identities, scheduler="own", steps=2, guidance=4.0), **more)


def plan(painter: Diffusion, who: Identity, given: GenerationOptions, scene: PromptSpec = SCENE) -> GenerationPlan:
    made = painter.plan(hub_store.request(who, scene, given))
    return replace(made, parameters=replace(made.parameters, size=Size(64, 64)))


def drawn(painter: Diffusion, who: Identity, given: GenerationOptions, scene: PromptSpec = SCENE) -> np.ndarray:
    return hub_store.pixels(painter, plan(painter, who, given, scene))


class Changed:
    """An identity of which one thing is other than it should be."""

    def __init__(self, inner: IdentityAdapter, change: Change) -> None:
        self._inner, self._change = inner, change

    def describe(self, person: Identity, description: str) -> str:
        return self._inner.describe(person, description)

    def check(self, person: Identity, base: Any) -> None:
        self._inner.check(person, base)

    def prepare(self, lease: Lease, person: Identity, parameters: GenerationParameters) -> Conditioning:
        return self._change(lease, self._inner.prepare(lease, person, parameters))


def silent(lease: Lease, given: Conditioning) -> Conditioning:
    given.controlnets[0].network.tokens *= 0
    return given


def swapped(lease: Lease, given: Conditioning) -> Conditioning:
    given.controlnets[0].network.tokens = given.controlnets[0].network.tokens.flip(0)
    return given


def turned(lease: Lease, given: Conditioning) -> Conditioning:
    embeds = [each.flip(0) for each in given.arguments["ip_adapter_image_embeds"]]
    return replace(given, arguments={**given.arguments, "ip_adapter_image_embeds": embeds})


def bare(lease: Lease, given: Conditioning) -> Conditioning:
    lease.active_loras.clear()
    return given


def unmerged(lease: Lease, given: Conditioning) -> Conditioning:
    return replace(given, callback=None)


def sightless(lease: Lease, given: Conditioning) -> Conditioning:
    layer = lease.loaded.pipeline.unet.encoder_hid_proj.image_projection_layers[0]
    layer.clip_embeds = layer.clip_embeds.flip(0)
    return given


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("instantid", silent),
        ("instantid", swapped),
        ("instantid", turned),
        ("faceid", turned),
        ("faceid", bare),
        ("faceid_plus", sightless),
        ("photomaker", bare),
        ("photomaker", unmerged),
        ("lora", bare),
    ],
)
def test_each_part_of_an_identity_changes_the_picture(
    painter: Diffusion, anna: Identity, name: str, change: Change
) -> None:
    made = plan(painter, anna, technique(name, start_merge_step=0.0))
    other = replace(made, identities=[(name, Changed(each, change)) for _, each in made.identities])
    assert np.abs(hub_store.pixels(painter, made) - hub_store.pixels(painter, other)).max() > VISIBLE


@pytest.mark.parametrize("name", ["instantid", "photomaker", "photomaker_v2", "faceid", "faceid_plus", "lora"])
def test_another_person_gives_another_picture(
    painter: Diffusion, settings: Settings, anna: Identity, name: str
) -> None:
    given = technique(name, start_merge_step=0.0)
    somebody = hub_store.trained_person(settings, 2)
    assert np.abs(drawn(painter, anna, given) - drawn(painter, somebody, given)).max() > VISIBLE


def test_a_lora_and_a_face_adapter_are_used_together(painter: Diffusion, anna: Identity) -> None:
    each = [drawn(painter, anna, technique(*names)) for names in (("lora",), ("instantid",), ("instantid", "lora"))]
    assert min(np.abs(each[2] - each[0]).max(), np.abs(each[2] - each[1]).max()) > VISIBLE
    words = plan(painter, anna, technique("instantid", "photomaker", "lora")).parameters.prompt
    assert words == "a photo of a sks man img"


def test_every_scheduler_draws(painter: Diffusion, anna: Identity) -> None:
    images = [drawn(painter, anna, technique("faceid", scheduler=name, steps=4, base="sd")) for name in SCHEDULERS]
    assert all(image.std() > 0.01 for image in images)
    assert np.abs(images[0] - images[4]).max() > VISIBLE


@pytest.mark.parametrize(
    "more",
    [{"clip_skip": 1}, {"freeu": True}, {"cutoff": 0.5}, {"steps": 3}],
    ids=lambda more: next(iter(more)),
)
@pytest.mark.parametrize("names", [("lora",), ("instantid",)], ids=str)
def test_each_option_changes_the_picture(
    painter: Diffusion, anna: Identity, names: tuple[str, ...], more: dict[str, Any]
) -> None:
    usual = drawn(painter, anna, technique(*names))
    changed = drawn(painter, anna, technique(*names, **more))
    assert np.abs(usual - changed).max() > VISIBLE
    assert np.array_equal(drawn(painter, anna, technique(*names)), usual)


@pytest.mark.parametrize("guidance", [4.0, 1.0])
@pytest.mark.parametrize(
    "names",
    [("lora",), ("photomaker",), ("instantid",), ("faceid",), ("faceid_plus",), ("lora", "instantid")],
    ids=lambda names: "+".join(names),
)
def test_perturbed_attention_goes_with_every_identity(
    painter: Diffusion, anna: Identity, names: tuple[str, ...], guidance: float
) -> None:
    # A scale next to nothing perturbs nothing: what it is told of the person is then what it is told without.
    scales = (0.0, 1e-9, 3.0)
    each = [drawn(painter, anna, technique(*names, guidance=guidance, perturbed=scale)) for scale in scales]
    assert np.abs(each[0] - each[1]).max() < 1e-4
    assert np.abs(each[0] - each[2]).max() > VISIBLE


def test_guidance_that_ends_early_draws_with_every_identity_and_control(painter: Diffusion, anna: Identity) -> None:
    edges = np.zeros((64, 64, 3), np.uint8)
    inputs = (ControlInput("canny", edges, preprocessed=True), ControlInput("depth", edges, preprocessed=True))
    for names in (("lora", "instantid"), ("faceid_plus",), ("photomaker_v2",)):
        assert drawn(painter, anna, technique(*names, steps=3, cutoff=0.4, control_inputs=inputs)).std() > 0.01


def test_the_fast_preset_takes_few_steps_and_no_guidance(painter: Diffusion, anna: Identity) -> None:
    made = plan(painter, anna, GenerationOptions(identities=("lora", "instantid"), preset="fast"))
    assert (made.parameters.steps, made.parameters.guidance, made.scheduler) == (6, 1.0, "lcm")
    assert [each.name for each in made.loras] == ["lcm_sdxl"]
    assert hub_store.pixels(painter, made).std() > 0.01


def test_a_lora_of_few_steps_is_drawn_as_its_facts_say(painter: Diffusion, anna: Identity) -> None:
    fast = plan(painter, anna, GenerationOptions(identities=("lora",), preset="fast"))
    named = plan(painter, anna, GenerationOptions(identities=("lora",), preset="best", few_steps="lcm_sdxl"))
    worn = replace(SCENE, loras=(LoraChoice("lcm_sdxl"),))
    by_style = plan(painter, anna, GenerationOptions(identities=("lora",)), worn)
    for made in (named, by_style):
        assert (made.parameters.steps, made.parameters.guidance, made.scheduler) == (6, 1.0, "lcm")
        assert [each.name for each in made.loras] == ["lcm_sdxl"]
    pixels, facts = painter.draw(named, lambda done: None)
    assert np.array_equal(pixels, hub_store.pixels(painter, fast))
    assert facts["few_steps"] == "lcm_sdxl"
    painter.check_plan_models(named, facts)
    with pytest.raises(OperatorError, match="drawn with steps 4, and by the facts of its models it would be 6 now"):
        painter.check_plan_models(named, {**facts, "steps": 4})


def test_another_vae_draws_another_picture_and_is_told_apart_in_the_recipe(
    painter: Diffusion, settings: Settings, anna: Identity
) -> None:
    own = plan(painter, anna, technique("lora"))
    usual, before = painter.draw(own, lambda done: None)
    folder = settings.models.folder / "sdxl_vae"
    tiny.vae().save_pretrained(folder)
    try:
        clear = plan(painter, anna, technique("lora", vae="sdxl_vae"))
        pixels, facts = painter.draw(clear, lambda done: None)
        assert np.abs(pixels - usual).max() > VISIBLE
        assert (facts["vae"], "vae" in before) == ("sdxl_vae", False)
        painter.check_plan_models(clear, facts)
        with pytest.raises(OperatorError, match="The VAE sdxl_vae is another file"):
            painter.check_plan_models(own, facts)
    finally:
        shutil.rmtree(folder)


def test_weights_and_long_prompts_are_heard(painter: Diffusion, anna: Identity) -> None:
    usual = drawn(painter, anna, technique("lora"))
    weighed = drawn(painter, anna, technique("lora"), PromptSpec("a (photo:1.6) of a {who}", "low quality"))
    long = PromptSpec("a photo of a {who}, " + "red film style, " * 40 + "bad portrait", "low quality")
    short = PromptSpec("a photo of a {who}, " + "red film style, " * 40, "low quality")
    assert np.abs(usual - weighed).max() > VISIBLE
    assert (
        np.abs(drawn(painter, anna, technique("lora"), long) - drawn(painter, anna, technique("lora"), short)).max() > 0
    )


def test_several_portraits_have_consecutive_seeds_and_record_their_models(painter: Diffusion, anna: Identity) -> None:
    request = hub_store.request(anna, SCENE, technique("lora", "instantid"), seed=7, size=Size(120, 160))
    given = RecordingProgress()
    candidates = painter.paint(replace(request, count=2), given)
    assert [each.variation["seed"] for each in candidates] == [7, 8]
    assert candidates[0].image.shape == (160, 120, 3)
    assert not np.array_equal(candidates[0].image, candidates[1].image)
    alone = painter.paint(replace(request, seed=8), given)
    assert np.array_equal(alone[0].image, candidates[1].image)
    drawing = RecordingProgress()
    (again,) = painter.paint(replace(request, count=2, only=1), drawing)
    assert np.array_equal(again.image, candidates[1].image)
    assert drawing.messages == ["Drawing"] * 2, "nothing else is drawn"
    facts = candidates[0].facts
    assert facts["base"] == "xl"
    assert len(str(facts["base_hash"])) == len(str(facts["lora_hash"])) == 64
    assert facts["instantid"] == {"adapter": 0.8, "network": 0.8}
    assert given.messages == ["Drawing"] * 6


def test_a_base_that_nobody_draws_on_is_let_go_and_comes_back(settings: Settings, anna: Identity) -> None:
    clock = [1000.0]
    painter = hub_store.painter(settings)
    painter._now = lambda: clock[0]
    first = drawn(painter, anna, technique("lora", "instantid"))
    loaded = painter._loaded
    assert loaded is not None
    assert "identitynet" in loaded.networks
    clock[0] += 14 * 60
    painter.unload_idle()
    assert painter._loaded is loaded
    clock[0] += 60
    painter.unload_idle()
    assert painter._loaded is None
    assert loaded.pipeline is None
    assert not loaded.networks
    painter.unload_idle()
    assert np.array_equal(drawn(painter, anna, technique("lora", "instantid")), first)
    painter._settings = replace(painter._settings, idle_minutes=0)
    clock[0] += 1e6
    painter.unload_idle()
    assert painter._loaded is not None
    painter.close()


def test_the_profile_follows_what_is_free(
    painter: Diffusion, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    base = painter._bases("xl")
    needed = memory.weight_bytes(base, torch.float32)
    found = []
    for free in (2.0, 1.2, 0.9, 0.5):
        monkeypatch.setattr(memory.device, "free_memory", lambda where, free=free: free * needed)
        found.append(memory.choose_profile(base, torch.float32, torch.device("cuda")))
    assert found == list(memory.PROFILES)
    assert memory.next_smaller("sequential") is None


def broken_store(settings: Settings, place: Path, model: str, file: str, data: bytes | None) -> Settings:
    """A store in which one file is other than it should be, or is not there."""
    store = place / "models"
    shutil.copytree(settings.models.folder, store, copy_function=lambda a, b: Path(b).symlink_to(a))
    (store / model / file).unlink()
    if data is not None:
        (store / model / file).write_bytes(data)
    return replace(settings, models=ModelStoreSettings(folder=store))


class Program:
    """A pickle that would run a program."""

    def __reduce__(self) -> tuple[Any, ...]:
        return print, ("a program ran",)


@pytest.mark.parametrize(
    ("name", "model", "file", "data", "code", "says"),
    [
        ("instantid", "instantid", "ip-adapter.bin", None, "missing_model", "portrait models pull instantid"),
        ("instantid", "antelopev2", "glintr100.onnx", None, "missing_model", "portrait models pull antelopev2"),
        ("faceid", "buffalo_l", "w600k_r50.onnx", None, "missing_model", "portrait models pull buffalo_l"),
        ("photomaker_v2", "buffalo_l", "det_10g.onnx", None, "missing_model", "portrait models pull buffalo_l"),
        ("instantid", "instantid", "ip-adapter.bin", b"nothing", "broken_model", "ip-adapter.bin"),
        ("instantid", "instantid", "ip-adapter.bin", pickle.dumps(Program()), "broken_model", "more than numbers"),
        ("photomaker", "photomaker", "photomaker-v1.bin", b"PK", "broken_model", "photomaker-v1.bin"),
    ],
)
def test_an_unusable_model_is_refused_before_the_base_is_loaded(
    settings: Settings,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    name: str,
    model: str,
    file: str,
    data: bytes | None,
    code: str,
    says: str,
) -> None:
    painter = hub_store.painter(broken_store(settings, tmp_path, model, file, data))
    with pytest.raises(PortraitError) as caught:
        painter.plan(hub_store.request(hub_store.stranger(1), SCENE, technique(name)))
    assert caught.value.code == code
    assert says in caught.value.message
    assert painter._loaded is None
    assert "a program ran" not in capsys.readouterr().out


def test_a_lora_that_does_not_fit_is_refused_before_the_base_is_loaded(
    settings: Settings, anna: Identity, tmp_path: Path
) -> None:
    painter = hub_store.painter(settings)
    weights = load_file(anna.lora or "")
    wide = {name: torch.cat([each, each], dim=-1) if "lora_A" in name else each for name, each in weights.items()}
    files = {
        "wrong_base": wide,
        "broken_identity": {**weights, "unet.something.else": torch.zeros(1)},
        "broken_identity ": {name: each for name, each in weights.items() if "lora_A" in name},
    }
    for code, held in files.items():
        file = tmp_path / f"{len(held)}-{code.strip()}.safetensors"
        save_file({name: each.contiguous() for name, each in held.items()}, file)
        with pytest.raises(UserError) as caught:
            plan(painter, replace(anna, lora=file), technique("lora"))
        assert caught.value.code == code.strip()
    (tmp_path / "half.safetensors").write_bytes((anna.lora or Path()).read_bytes()[:1000])
    with pytest.raises(UserError, match="cannot be read"):
        plan(painter, replace(anna, lora=tmp_path / "half.safetensors"), technique("lora"))
    with pytest.raises(UserError, match="another base"):
        plan(painter, anna, technique("lora", base="sd"))
    assert painter._loaded is None


CANNY = ControlInput("canny", np.zeros((8, 8, 3), np.uint8))


@pytest.mark.parametrize(
    ("more", "code"),
    [
        ({"identities": ("lora",)}, "not_learned"),
        ({"identities": ("nobody",)}, "unknown_engine"),
        ({"identities": ("instantid",), "base": "sd"}, "wrong_family"),
        ({"identities": ("photomaker",), "base": "sd"}, "wrong_family"),
        ({"identities": ("instantid",), "base": "none"}, "unknown_base"),
        ({"identities": ("instantid",), "scheduler": "none"}, "bad_technique"),
        ({"identities": ("instantid",), "steps": 1000}, "bad_technique"),
        (
            {"identities": ("instantid",), "control_inputs": (ControlInput("none", np.zeros((8, 8, 3), np.uint8)),)},
            "bad_technique",
        ),
        (
            {"identities": ("instantid",), "control_inputs": (ControlInput("tile", np.zeros((8, 8, 3), np.uint8)),)},
            "missing_model",
        ),
        ({"identities": ("faceid",), "preset": "fast", "base": "sd", "scheduler": "", "guidance": 2}, "missing_model"),
        ({"identities": ("instantid", "faceid")}, "bad_technique"),
        ({"identities": ("faceid_plus", "faceid")}, "bad_technique"),
        ({"identities": ("photomaker", "photomaker_v2")}, "bad_technique"),
        ({"identities": ("instantid",), "strengths": {"lroa": 0.7}}, "bad_technique"),
        ({"identities": ("instantid",), "strengths": {"instantid": 2.1}}, "bad_technique"),
        ({"identities": ("instantid",), "strengths": {"canny": 1.1}}, "bad_technique"),
        ({"identities": ("photomaker",), "start_merge_step": 1.5}, "bad_technique"),
        ({"identities": ("instantid",), "preset": "fast", "scheduler": "", "guidance": 2.5}, "bad_technique"),
        ({"identities": ("instantid",), "scheduler": "lcm", "steps": 51}, "bad_technique"),
        ({"identities": ("instantid",), "few_steps": "instantid"}, "bad_technique"),
        ({"identities": ("instantid",), "few_steps": "nothing"}, "unknown_model"),
        ({"identities": ("instantid",), "few_steps": "lcm_sd15"}, "wrong_family"),
        ({"identities": ("instantid",), "few_steps": "lcm_sdxl"}, "bad_technique"),
        ({"identities": ("instantid",), "vae": "lcm_sdxl"}, "bad_technique"),
        ({"identities": ("instantid",), "guidance_rescale": 0.7}, "bad_technique"),
        (
            {"identities": ("instantid",), "control_inputs": (replace(CANNY, start=0.1, end=0.4),)},
            "bad_technique",
        ),
    ],
)
def test_impossible_options_are_refused_before_the_base_is_loaded(
    settings: Settings, more: dict[str, Any], code: str
) -> None:
    painter = hub_store.painter(settings)
    with pytest.raises(PortraitError) as caught:
        painter.plan(hub_store.request(hub_store.stranger(1), SCENE, technique(**more)))
    assert caught.value.code == code
    assert isinstance(caught.value, UserError | OperatorError)
    assert painter._loaded is None


def test_strengths_that_do_not_exist_are_told_with_those_that_do(painter: Diffusion, anna: Identity) -> None:
    with pytest.raises(UserError, match=r"There is no strength 'lroa'\. Choose one of: lora, instantid, identitynet, "):
        plan(painter, anna, technique("lora", strengths={"lroa": 1}))
    with pytest.raises(UserError, match=r"The strength faceid is 0 to 2, not 3\."):
        plan(painter, anna, technique("lora"), PromptSpec("{who}", strengths={"faceid": 3}))
    assert {*model_requirements.IDENTITY_MODELS, "identitynet"} - {"reference"} == {*ADAPTERS}, (
        "a photo has no strength"
    )


@pytest.mark.parametrize("seed", [-1, 2**62 + 1, 2**64])
def test_seeds_that_no_generator_takes_are_refused(painter: Diffusion, anna: Identity, seed: int) -> None:
    with pytest.raises(UserError, match="Give a whole number from 0 to") as caught:
        painter.plan(hub_store.request(anna, SCENE, technique("lora"), seed))
    assert caught.value.code == "bad_seed"


def test_the_largest_seed_draws_its_last_candidate(painter: Diffusion, anna: Identity) -> None:
    asked = hub_store.request(anna, SCENE, technique("lora", steps=1), MAX_SEED, Size(64, 64))
    seeds = [each.variation["seed"] for each in painter.draw_each(replace(asked, count=2), RecordingProgress())]
    assert len(seeds) == 2


def test_the_fast_preset_goes_with_perturbed_attention_and_a_hint(painter: Diffusion, anna: Identity) -> None:
    fast = technique("lora", preset="fast", scheduler="", steps=3, guidance=None)
    plain = drawn(painter, anna, fast)
    wishes: list[dict[str, Any]] = [{"perturbed": 2.0}, {"control_inputs": (CANNY,)}, {"guidance": 2.0}]
    for more in wishes:
        assert np.abs(drawn(painter, anna, replace(fast, **more)) - plain).max() > VISIBLE, more


def test_the_styles_merge_step_counts_until_a_request_says_otherwise(painter: Diffusion) -> None:
    scene = PromptSpec("a photo of a {who}", start_merge_step=0.6)
    who = hub_store.stranger(1)

    def share(**more: Any) -> float | None:
        return plan(painter, who, technique("photomaker", **more), scene).parameters.options.start_merge_step

    assert share() == 0.6
    assert share(start_merge_step=0.0) == 0.0
    assert share(strengths={"photomaker": 0.5}) is None


def test_a_base_that_is_named_by_its_place_needs_no_store(settings: Settings, anna: Identity, tmp_path: Path) -> None:
    place = str(settings.bases["xl"].path)
    empty = replace(
        settings, models=ModelStoreSettings(folder=tmp_path), bases={}, draw=replace(settings.draw, base="sdxl")
    )
    models = ModelStore(empty.models)
    painter = cast(Diffusion, Engines(empty, models).painter("diffusion"))
    made = plan(painter, anna, technique("lora", base=place))
    assert made.base.path == settings.bases["xl"].path
    with pytest.raises(OperatorError) as caught:
        plan(painter, replace(anna, base=""), technique("lora"))
    assert caught.value.code == "missing_model"
    assert diffusion.status(empty, models)
    assert not diffusion.status(replace(empty, draw=replace(empty.draw, base=place)), models)


def test_references_without_a_face_are_refused(settings: Settings) -> None:
    painter = hub_store.painter(settings)
    nobody = replace(hub_store.stranger(1), references=())
    for name in ("instantid", "photomaker", "photomaker_v2", "faceid"):
        with pytest.raises(UserError) as caught:
            painter.plan(hub_store.request(nobody, SCENE, technique(name)))
        assert caught.value.code == "no_reference"


def test_a_reference_is_embedded_in_the_space_that_the_adapter_takes(painter: Diffusion) -> None:
    image = np.zeros((640, 640, 3), np.uint8)
    image[320:352, 256:288] = (255, 0, 0)  # where the tiny detector sees a face
    found = hub_store.reference(image, {"dlib": np.ones(128, np.float32)})
    embedded = hub_store.person(replace(found, face=replace(found.face, box=Box(250, 310, 300, 360))))
    assert drawn(painter, embedded, technique("instantid")).std() > 0.01
    unseen = hub_store.person(hub_store.reference(np.zeros_like(image), {"dlib": np.ones(128, np.float32)}))
    with pytest.raises(UserError) as caught:
        plan(painter, unseen, technique("instantid"))
    assert caught.value.code == "no_reference"


@pytest.mark.parametrize("kind", ["variations", "change", "repaint"])
def test_an_edit_that_would_do_no_step_is_refused(painter: Diffusion, anna: Identity, kind: EditKind) -> None:
    picture = np.random.default_rng(0).integers(0, 255, (64, 64, 3), dtype=np.uint8)
    mask = np.ones((64, 64), np.float32) if kind == "repaint" else None
    asked = hub_store.request(anna, SCENE, technique("lora", steps=6), size=Size(64, 64))
    for strength, steps in ((0.16, 0), (0.17, 1)):
        edit = Edit(kind, picture, "00" * 32, strength, "smiling" if kind == "change" else "", mask)
        if steps:
            assert painter.plan(replace(asked, edit=edit)).parameters.steps_done == steps
            continue
        with pytest.raises(UserError, match=r"6 steps.* 0\.16") as caught:
            painter.plan(replace(asked, edit=edit))
        assert caught.value.code == "bad_edit"
