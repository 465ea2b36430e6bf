"""`portrait make` and `remake` with a diffusion engine, on tiny networks and with faces read from colours."""

import json
import re
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import UNet2DConditionModel

from app.commands.make import make, parse_options
from app.commands.remake import remake
from app.terminal import controls
from pipelines import build
from pipelines.deliver import read_recipe
from pipelines.diffusion.selftest import tiny_store
from pipelines.folders import identities, training_sets
from pipelines.image_io import read
from pipelines.model_store.add import NewModel
from pipelines.model_store.manifest import ModelKind
from pipelines.model_store.store import ModelStore
from pipelines.settings import Settings, TrainSettings, ValidationSettings
from portrait.errors import UserError
from portrait.training import TrainingJob
from portrait.types import Reference
from tests import fakes, hub_store, tiny, tiny_hub
from tests.pipelines.engines import tiny_training
from tests.tasks.test_drawing import TinyEngines

KNOBS = TrainSettings(steps=2, rank=4, rate=1e-2, batch=1, flips=False, exam=ValidationSettings(every=0))


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("drawing")


@pytest.fixture(scope="module")
def settings(place: Path) -> Iterator[Settings]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    filled = hub_store.fill(place)
    yield replace(filled, train=KNOBS, draw=replace(filled.draw, redraws=0))
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def person(place: Path, settings: Settings) -> Path:
    """A training set, and what was learned of it beside."""
    image = fakes.picture(1, 1, 160)
    training = replace(
        tiny_training.training_set(), references=(Reference("a.png", image, fakes.face(image), hub_store.GOOD),)
    )
    training_sets.write(training, place / "set")
    with TinyEngines(settings, ModelStore(settings.models)) as engines:
        (place / "desk").mkdir()
        lesson = TrainingJob(training_sets.read(place / "set"), "xl", place / "desk")
        build.train(engines)(lesson, place / "ann", fakes.RecordingProgress())
    assert identities.is_identity(place / "ann")
    return place / "set"


@pytest.fixture
def installed(monkeypatch: pytest.MonkeyPatch, settings: Settings) -> None:
    hub_store.install(settings, monkeypatch)
    monkeypatch.setattr(build, "open_engines", lambda given: TinyEngines(given, ModelStore(given.models)))


@pytest.mark.usefixtures("installed")
def test_a_portrait_is_made_and_made_again(person: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    make(
        [person],
        tmp_path,
        style=["text-film", "text-noir"],
        count=1,
        seed=3,
        size="64x80",
        engine="diffusion",
        base="xl",
        identity=person.parent / "ann",
        adapter=["instantid"],
        preset="fast",
        strength=["lora=0.7"],
        format="png",
        as_json=True,
    )
    answer: dict[str, Any] = json.loads(capsys.readouterr().out)
    assert [each["style"] for each in answer["portraits"]] == ["text-film", "text-noir"]
    recipe = answer["portraits"][0]["recipe"]
    assert recipe["technique"] == {
        "base": "xl",
        "identities": ["lora", "instantid"],
        "preset": "fast",
        "strengths": {"lora": 0.7},
    }
    assert recipe["drawn"]["lora"]["strength"] == 0.7
    assert recipe["drawn"]["scheduler"] == "lcm"
    assert "sks person" in recipe["drawn"]["prompt"]
    assert str(person.parent) not in json.dumps(recipe)
    file = Path(answer["portraits"][0]["file"])
    remake(file, out=tmp_path / "again.png", as_json=True)
    assert np.array_equal(read(file).image, read(tmp_path / "again.png").image)


@pytest.mark.usefixtures("installed")
def test_models_of_ones_own_draw_and_draw_again(
    person: Path, settings: Settings, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    hub, models = person.parent / "hub", ModelStore(settings.models)
    facts = {"steps": 3, "guidance": 0, "scheduler": "euler", "timestep_spacing": "trailing"}
    tiny.vae().save_pretrained(tmp_path / "vae")
    tiny.vae().save_pretrained(tmp_path / "other")
    unet = UNet2DConditionModel.from_pretrained(hub / "sdxl" / "unet")
    hub_store.save_adapter(hub_store.ip_adapter(unet, True), tmp_path / "look.safetensors")
    photo = fakes.save(tmp_path / "photo.png", fakes.picture(2, 1, 120))
    new: tuple[tuple[str, ModelKind, Path, dict[str, Any]], ...] = (
        ("my_base", "base", hub / "sdxl", {}),
        ("my_vae", "vae", tmp_path / "vae", {}),
        ("my_lora", "lora", hub / tiny_store.PLACES["lcm_sdxl"][0], {"facts": facts}),
        ("my_look", "ip-adapter", tmp_path / "look.safetensors", {}),
    )
    for name, kind, place, more in new:
        models.add(NewModel(name, kind, str(place), "MIT", "yes", family="sdxl", **more))
    options = ["vae=my_vae", "few_steps=my_lora"]
    make([person], tmp_path, style=["text-film"], size="64x80", base="my_base", adapter=["faceid"], option=options,
         look=photo, look_adapter="my_look", format="png", as_json=True)  # fmt: skip
    [portrait] = json.loads(capsys.readouterr().out)["portraits"]
    drawn, file = portrait["recipe"]["drawn"], Path(portrait["file"])
    assert (drawn["base"], drawn["vae"], drawn["few_steps"]) == ("my_base", "my_vae", "my_lora")
    assert (drawn["steps"], drawn["guidance"], drawn["scheduler"]) == (3, 0, "euler")
    assert "my_look/look.safetensors" in drawn["models"]
    remake(file, out=tmp_path / "again.png", as_json=True)
    assert np.array_equal(read(file).image, read(tmp_path / "again.png").image)
    models.add(NewModel("my_vae", "vae", str(tmp_path / "other"), "MIT", "yes", family="sdxl", replace=True))
    with pytest.raises(SystemExit):
        remake(file, out=tmp_path / "other.png", as_json=True)
    assert "The VAE my_vae is another file" in capsys.readouterr().out
    for name in ("my_base", "my_vae", "my_lora", "my_look"):
        models.remove(name)


@pytest.fixture
def followed(person: Path, tmp_path: Path) -> Path:
    """A portrait by a base that was named by its place, following two pictures."""
    photo = fakes.save(tmp_path / "photo.png", fakes.picture(2, 1, 120))
    base = shutil.copytree(person.parent / "hub" / "sdxl", tmp_path / "bases" / "mine")
    make(
        [person],
        tmp_path / "out",
        style=["text-film"],
        size="64x80",
        base=str(base),
        adapter=["photomaker"],
        hint=[f"canny:0.7:0-0.5={photo}", f"canny={photo}"],
        preset="fast",
        format="png",
    )
    return tmp_path / "out" / "text-film-1.png"


@pytest.mark.usefixtures("installed")
def test_a_portrait_that_followed_a_picture_is_made_again_from_where_it_lies(followed: Path, tmp_path: Path) -> None:
    recipe = read_recipe(followed)
    assert [(each["scale"], each["end"]) for each in recipe["technique"]["hints"]] == [(0.7, 0.5), (0.5, 1.0)]
    assert recipe["technique"]["base"] == recipe["drawn"]["base"] == "mine"
    assert set(recipe["drawn"]["models"]) == {
        "base/text_encoder/model.safetensors",
        "base/text_encoder_2/model.safetensors",
        "base/vae/diffusion_pytorch_model.safetensors",
        "controlnet_canny_sdxl/diffusion_pytorch_model.fp16.safetensors",
        "lcm_sdxl/pytorch_lora_weights.safetensors",
        "photomaker/photomaker-v1.bin",
    }
    assert str(tmp_path) not in json.dumps(recipe)
    remake(followed, out=tmp_path / "again.png")
    assert np.array_equal(read(followed).image, read(tmp_path / "again.png").image)
    moved = (tmp_path / "photo.png").rename(tmp_path / "elsewhere.png")
    with pytest.raises(SystemExit):
        remake(followed, out=tmp_path / "none.png")
    remake(followed, out=tmp_path / "moved.png", hint=[moved])
    assert np.array_equal(read(followed).image, read(tmp_path / "moved.png").image)


@pytest.mark.usefixtures("installed")
def test_another_model_than_the_one_it_was_drawn_with_is_named(
    followed: Path, tmp_path: Path, settings: Settings, capsys: pytest.CaptureFixture[str]
) -> None:
    home = tmp_path / "bases" / "mine"
    kept = home.rename(tmp_path / "kept")
    tiny_hub.build(tmp_path / "other")
    weights = tmp_path / "other" / "sdxl" / "unet" / "diffusion_pytorch_model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-4] + b"\x00\x00\x00\x3f")
    with pytest.raises(SystemExit):
        remake(followed, base=str(tmp_path / "other" / "sdxl"), as_json=True)
    told = json.loads(capsys.readouterr().out)["error"]
    assert told["code"] == "model_differs"
    assert "The base mine is another file" in told["message"]
    remake(followed, base=str(kept), out=tmp_path / "kept.png")
    assert np.array_equal(read(followed).image, read(tmp_path / "kept.png").image)
    vae = kept / "vae" / "diffusion_pytorch_model.safetensors"
    before = vae.read_bytes()
    vae.write_bytes(before[:-4] + b"\x00\x00\x00\x3f")
    with pytest.raises(SystemExit):
        remake(followed, base=str(kept))
    assert "vae/diffusion_pytorch_model.safetensors of the base mine is another file" in " ".join(
        capsys.readouterr().err.split()
    )
    vae.write_bytes(before)
    adapter = settings.models.folder / "photomaker" / "photomaker-v1.bin"
    held = torch.load(adapter, weights_only=True)
    torch.save({**held, "more": {}}, tmp_path / "more.bin")
    before = adapter.read_bytes()
    adapter.write_bytes((tmp_path / "more.bin").read_bytes())
    try:
        with pytest.raises(SystemExit):
            remake(followed, base=str(kept))
    finally:
        adapter.write_bytes(before)
    assert "The model file photomaker/photomaker-v1.bin is another one" in " ".join(capsys.readouterr().err.split())


@pytest.mark.usefixtures("installed")
def test_a_portrait_with_a_look_is_made_again_from_where_its_picture_lies(
    person: Path, tmp_path: Path, settings: Settings
) -> None:
    unet = UNet2DConditionModel.from_pretrained(settings.bases["xl"].path / "unet")
    adapter = settings.models.folder / "ip_adapter_plus_sdxl" / "ip-adapter-plus_sdxl_vit-h.safetensors"
    hub_store.save_adapter(hub_store.ip_adapter(unet, True), adapter)
    photo = fakes.save(tmp_path / "photo.png", fakes.picture(2, 1, 120))
    given: dict[str, Any] = {"style": ["text-film"], "size": "64x80", "base": "xl", "adapter": ["photomaker"]}
    given |= {"preset": "fast", "format": "png", "option": ["sdedit=0.4", "sdedit_model=base"]}
    make([person], tmp_path / "out", look=photo, look_scale=0.7, look_adapter="ip_adapter_plus", **given)
    made = tmp_path / "out" / "text-film-1.png"
    recipe = read_recipe(made)
    assert {**recipe["technique"]["look"], "picture": ""} == {"adapter": "ip_adapter_plus", "scale": 0.7, "picture": ""}
    assert recipe["technique"]["sdedit"] == 0.4
    assert "ip_adapter_plus_sdxl/ip-adapter-plus_sdxl_vit-h.safetensors" in recipe["drawn"]["models"]
    assert "clip_vit_h/models/image_encoder/model.safetensors" in recipe["drawn"]["models"]
    assert str(tmp_path) not in json.dumps(recipe)
    moved = photo.rename(tmp_path / "elsewhere.png")
    with pytest.raises(SystemExit):
        remake(made, out=tmp_path / "none.png")
    remake(made, out=tmp_path / "again.png", look=moved)
    assert np.array_equal(read(made).image, read(tmp_path / "again.png").image)
    make([person], tmp_path / "plain", **given)
    assert not np.array_equal(read(made).image, read(tmp_path / "plain" / "text-film-1.png").image)


def test_a_look_without_a_picture_is_told() -> None:
    with pytest.raises(UserError, match="name it with --look") as caught:
        controls.parse_image_prompt(None, 0.7, controls.LOOK_ADAPTER)
    assert caught.value.code == "bad_technique"
    assert controls.parse_image_prompt(None, controls.LOOK_SCALE, controls.LOOK_ADAPTER) is None


@pytest.mark.parametrize("words", ["pose", "pose:=a.jpg", "pose:0.5:1=a.jpg", "pose:x=a.jpg"])
def test_a_hint_that_nobody_understands_is_told(words: str) -> None:
    with pytest.raises(UserError) as caught:
        controls.parse_controls([words])
    assert caught.value.code == "bad_technique"


@pytest.mark.parametrize(
    "wish",
    [
        {"engine": "magic"},
        {"preset": "slow"},
        {"strength": ["lora"]},
        {"strength": ["lora=7"]},
        {"strength": ["lroa=0.7"]},
        {"strength": ["ring=1.5"]},
        {"strength": ["lora=nan"]},
    ],
    ids=str,
)
def test_wishes_that_nobody_understands_are_told(wish: dict[str, Any]) -> None:
    given: dict[str, Any] = {"engine": "", "preset": "", "strength": (), **wish}
    with pytest.raises(UserError) as caught:
        parse_options(given["engine"], "", None, (), (given["preset"], given["strength"]))
    assert caught.value.code == "bad_technique"


def test_to_name_the_engine_is_a_wish_too() -> None:
    assert parse_options("diffusion", "", None, (), ("", ())) == {"preset": "balanced"}
    assert parse_options("diffusion", "xl", None, (), ("", ())) == {"base": "xl"}
    assert parse_options("", "", None, (), ("", ())) is None
    assert parse_options("", "", Path("ann"), (), ("", ())) == {"preset": "balanced"}, (
        "the base decides who is told how"
    )
    assert parse_options("", "", Path("ann"), ("faceid",), ("", ())) == {"identities": ("lora", "faceid")}


@pytest.mark.parametrize(
    ("wish", "code"),
    [
        ({"seed": -1}, "bad_seed"),
        ({"seed": 2**63}, "bad_seed"),
        ({"adapter": ["instantid", "faceid"]}, "bad_technique"),
    ],
    ids=str,
)
def test_what_cannot_be_drawn_is_told_before_a_photo_is_looked_at(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], wish: dict[str, Any], code: str
) -> None:
    with pytest.raises(SystemExit):
        make([tmp_path / "none"], tmp_path / "out", as_json=True, **wish)
    assert json.loads(capsys.readouterr().out)["error"]["code"] == code


def test_options_of_the_drawing_are_read_by_name() -> None:
    given = ["steps=8", "guidance=0", "guidance_rescale=0.7", "freeu=yes", "vae=own", "few_steps=lcm_sdxl"]
    given.append("skip_layer_guidance=2.8")
    read_as = {
        "skip_layer_guidance": 2.8,
        "steps": 8,
        "guidance": 0.0,
        "guidance_rescale": 0.7,
        "freeu": True,
        "vae": "own",
        "few_steps": "lcm_sdxl",
    }
    assert controls.parse_drawing_options(given, (), 0.0, 0.0) == {
        **read_as,
        "start_merge_step": 0.0,
    }
    for wrong, says in (
        (["steps=x"], "steps cannot be 'x'. Give a whole number from 0 on."),
        ([f"steps={'9' * 5000}"], "Give a whole number from 0 on."),
        (["guidance=nan"], "Give a number from 0 on."),
        ([f"guidance={'9' * 400}"], "Give a number from 0 on."),
        (["freeu=1"], "Give yes or no."),
        (["speed=1"], "Names, each once: vae, few_steps, scheduler"),
        (["steps=1", "steps=2"], "each once"),
    ):
        with pytest.raises(UserError, match=re.escape(says)):
            controls.parse_drawing_options(wrong, (), 0.0, None)
