"""Bases and VAEs of one's own: found by their names in the store, loaded in place of others, and told apart in recipes."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from pipelines import build, model_requirements
from pipelines.diffusion.base import convert, loading
from pipelines.diffusion.base.parts import single_file
from pipelines.diffusion.base.source import BaseSource
from pipelines.model_store.add import NewModel
from pipelines.model_store.store import ModelStore
from pipelines.settings import BaseLocation, DrawSettings, ModelStoreSettings, Settings
from portrait.errors import OperatorError, PortraitError, UserError
from portrait.generation.sampling_facts import SamplingFacts
from tests import tiny

pytestmark = pytest.mark.usefixtures("one_thread")
TURBO: dict[str, Any] = {
    "steps": 4,
    "guidance": 0,
    "max_guidance": 1,
    "scheduler": "euler_a",
    "timestep_spacing": "trailing",
}


@pytest.fixture
def settings(hub: Path, tmp_path: Path) -> Settings:
    """The tiny base `mine` of the settings, and an empty store."""
    return Settings(models=ModelStoreSettings(folder=tmp_path / "models"), bases={"mine": BaseLocation(hub / "sd15")})


def add(settings: Settings, name: str, kind: Any, source: Path, **more: Any) -> ModelStore:
    models = ModelStore(settings.models)
    models.add(NewModel(name, kind, str(source), "MIT", "yes", **more))
    return models


def first_weight(base: BaseSource, component: str, dtype: torch.dtype = torch.float32) -> torch.Tensor:
    loaded = loading.load_components(base, dtype, [component])[component]
    return next(iter(loaded.parameters())).detach()


def test_a_base_of_the_store_is_found_by_its_name_with_its_facts(hub: Path, settings: Settings) -> None:
    models = add(settings, "turbo", "base", hub / "sd15", family="sd15", facts=TURBO)
    found = loading.find_base("turbo", settings, models)
    assert (found.name, found.family.name, found.facts) == ("turbo", "sd15", SamplingFacts(**TURBO))
    assert found.config("scheduler")["timestep_spacing"] == "trailing"
    assert torch.equal(first_weight(found, "unet"), first_weight(loading.open_base("sd15", hub / "sd15"), "unet"))
    loaded: Any = loading.load_components(found, torch.float32, ["scheduler"])["scheduler"]
    assert loaded.config["timestep_spacing"] == "trailing"
    assert build.missing_by_base(settings)["turbo"] == []
    assert model_requirements.family_of(settings, "turbo") == "sd15"
    abilities = build.missing_by_ability(settings)
    assert abilities["base:turbo:fast"] == [], "it draws in few steps by itself"
    assert abilities["base:mine:fast"]
    assert not any(word.startswith("base:turbo:few_steps") for word in abilities)
    with pytest.raises(OperatorError, match=r"name a folder, a file, or one of .*turbo.*mine"):
        loading.find_base("nothing", settings, models)


def test_a_base_of_the_store_may_be_a_single_file(
    hub: Path, settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    base, file = loading.open_base("sd15", hub / "sd15"), tmp_path / "one.safetensors"
    convert.to_file(base, file, torch.float32)
    models = add(settings, "one", "base", file, family="sd15")
    with pytest.raises(OperatorError, match="portrait models pull sd15"):
        loading.find_base("one", settings, models)
    monkeypatch.setattr(loading, "_find_configs", lambda path, models: hub / "sd15")
    found = loading.find_base("one", settings, models)
    assert found.is_single_file
    assert torch.equal(first_weight(found, "unet"), first_weight(base, "unet"))


@pytest.fixture(scope="module")
def other_vae() -> Any:
    torch.manual_seed(9)
    return tiny.vae()


@pytest.mark.parametrize("layout", ["folder", "diffusers", "single file"])
def test_a_vae_of_the_store_takes_the_place_of_the_bases_own(
    settings: Settings, tmp_path: Path, other_vae: Any, layout: str
) -> None:
    source = tmp_path / ("vae" if layout == "folder" else "vae.safetensors")
    if layout == "folder":
        other_vae.save_pretrained(source)
    else:
        weights = other_vae.state_dict()
        if layout == "single file":
            named = single_file.vae_weights(weights, other_vae.config)
            weights = {name.removeprefix("first_stage_model."): each for name, each in named.items()}
        save_file({name: each.contiguous() for name, each in weights.items()}, source)
    models = add(settings, "clear", "vae", source, family="sd15")
    own = loading.find_base("mine", settings, models)
    chosen = loading.choose_vae(own, "clear", models)
    latents = torch.randn(1, 4, 4, 4, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        loaded = loading.load_components(chosen, torch.float32, ["vae"])["vae"]
        assert torch.allclose(loaded.decode(latents).sample, other_vae.decode(latents).sample, atol=1e-6)
        before = loading.load_components(own, torch.float32, ["vae"])["vae"]
        assert not torch.allclose(before.decode(latents).sample, other_vae.decode(latents).sample, atol=1e-2)
    [(name, file)] = [each for each in chosen.companion_files(torch.float16).items() if each[0].startswith("vae/")]
    assert settings.models.folder in file.parents, "recipes hash the file that decodes, in each dtype"
    assert name == f"vae/{file.name}"
    assert chosen != own, "a loaded base is not taken for the other"
    assert loading.choose_vae(chosen, "own", models) == own


def test_settings_choose_a_vae_by_base_and_for_bases_of_its_family(
    hub: Path, settings: Settings, tmp_path: Path, other_vae: Any
) -> None:
    other_vae.save_pretrained(tmp_path / "vae")
    models = add(settings, "clear", "vae", tmp_path / "vae", family="sd15")
    places = {"sd": BaseLocation(hub / "sd15"), "xl": BaseLocation(hub / "sdxl")}
    general = replace(settings, bases=places, draw=DrawSettings(vae="clear"))
    by_base = replace(settings, bases={**places, "sd": BaseLocation(hub / "sd15", vae="clear")})
    kept = replace(general, bases={**places, "sd": BaseLocation(hub / "sd15", vae="own")})
    for given, names in ((general, ("clear", "")), (by_base, ("clear", "")), (kept, ("", ""))):
        assert tuple(loading.find_base(name, given, models).vae_name for name in ("sd", "xl")) == names
    facts = {"sd": BaseLocation(hub / "sd15", facts=SamplingFacts(steps=8))}
    assert loading.find_base("sd", replace(settings, bases=facts), models).facts.steps == 8
    words = build.missing_by_ability(replace(settings, bases=places))
    assert "base:sd:vae:clear" in words
    assert "base:xl:vae:clear" not in words


def test_a_vae_that_does_not_fit_is_refused(hub: Path, settings: Settings, tmp_path: Path, other_vae: Any) -> None:
    other_vae.save_pretrained(tmp_path / "vae")
    models = add(settings, "clear", "vae", tmp_path / "vae", family="sdxl")
    base = loading.open_base("mine", hub / "sd15")
    for name, code in (
        ("clear", "wrong_family"),
        ("sdxl", "bad_technique"),
        ("nothing", "unknown_model"),
        ("sdxl_vae", "wrong_family"),
    ):
        with pytest.raises(PortraitError) as caught:
            loading.choose_vae(base, name, models)
        assert caught.value.code == code
        assert isinstance(caught.value, UserError | OperatorError)
