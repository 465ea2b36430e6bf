"""An installation for commercial use: what may not plainly be used so is refused at every door, and named what may."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from pipelines import build, engines, model_requirements
from pipelines.model_store.manifest import Model, builtin_manifest
from pipelines.model_store.store import ModelStore
from pipelines.settings import BaseLocation, ModelStoreSettings, Settings
from portrait.errors import OperatorError, UserError
from tests.tasks.api.harness import STUDIO, ApiHarness, environment, new_home, open_api, picture
from tests.tasks.api.test_styles import write

MANIFEST = builtin_manifest().models
REFUSED = [model for model in MANIFEST.values() if model.commercial != "yes"]
WAYS = {"reference", "fusion", "mesh"}
"""Alternatives that are no models: ways of telling who, painters and engines that need none."""
UNGUARDED = {"PORTRAIT_GUARDS__MISSING": "open"}
"""No model is here, and pictures come in all the same."""
BASES = {"sd15": "sd15", "sdxl": "sdxl", "sd3": "sd35_medium", "flux": "flux_schnell", "": "sdxl"}


@dataclass(frozen=True)
class Shop:
    """An installation for commercial use, with somebody who can be drawn and a picture of theirs."""

    api: ApiHarness
    person: str
    picture: str
    home: Path


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shop]:
    home = tmp_path_factory.mktemp("home")
    with open_api(environment(new_home(home)) | UNGUARDED | {"PORTRAIT_PROFILE": "commercial"}) as api:
        person = api.prepared_person()
        uploaded = api.client().post("/templates", files={"file": ("beach.png", picture(7))}).json()["id"]
        yield Shop(api, person, uploaded, home)


@pytest.mark.parametrize("model", REFUSED, ids=lambda model: model.name)
def test_each_has_an_alternative_that_may_be_used(model: Model) -> None:
    others = [] if model.alternative == "none" else model.alternative.split(", ")
    assert model.alternative, "a name, or none"
    assert {name for name in others if name not in WAYS and name not in MANIFEST} == set()
    assert {MANIFEST[name].commercial for name in others if name in MANIFEST} <= {"yes"}


def test_only_those_have_one() -> None:
    assert {model.name for model in MANIFEST.values() if model.alternative} == {model.name for model in REFUSED}
    assert {
        *model_requirements.IDENTITY_MODELS,
        *engines.engine_names("painters"),
        *engines.engine_names("parsers"),
    } >= WAYS


def instead(model: Model) -> str:
    return f"take {model.alternative} instead"


@pytest.mark.parametrize("model", REFUSED, ids=lambda model: model.name)
def test_it_is_neither_pulled_nor_loaded(model: Model, tmp_path: Path) -> None:
    file = tmp_path / model.name / model.files[0].name
    file.parent.mkdir(parents=True)
    file.write_bytes(b"was here before")
    store = ModelStore(Settings(profile="commercial", models=ModelStoreSettings(folder=tmp_path)).models)
    for door in (
        lambda: store.pull([model.name]),
        lambda: store.file(model.name, model.files[0].name),
        lambda: store.folder(model.name),
    ):
        with pytest.raises(OperatorError) as caught:
            door()
        assert caught.value.code == "licence_refused"
        assert instead(model) in caught.value.message
    assert instead(model) in store.missing(model.name)[0]
    bought = ModelStoreSettings(folder=tmp_path, use="commercial", commercial_licences=(model.licence,))
    assert ModelStore(bought).file(model.name, model.files[0].name) == file


def technique(model: Model, template: str) -> dict[str, Any]:
    """The wish that names a model in an order; without one where none can."""
    for adapter, by_family in model_requirements.IDENTITY_MODELS.items():
        for family, names in by_family.items():
            if model.name in names:
                return {"base": BASES[family], "identities": [adapter]}
    for kind, by_family in model_requirements.CONTROL_MODELS.items():
        if model.family in by_family and by_family[model.family][0] == model.name:
            hint = {"kind": kind, "template": template}
            return {"base": BASES[model.family], "hints": [hint], "identities": ["lora"]}
    if model.kind == "base":
        return {"base": model.name}
    return {"base": BASES[model.family], "few_steps": model.name} if model.kind == "lora" else {}


@pytest.mark.parametrize("model", REFUSED, ids=lambda model: model.name)
def test_it_is_not_ordered(shop: Shop, model: Model) -> None:
    with pytest.raises(UserError, match=instead(model)):
        model_requirements.check_terms(shop.api.context.installation.flows, (), [model.name])
    wish = technique(model, shop.picture)
    if not wish:
        assert model.name in {"bisenet", "clip", "safety_checker", "inswapper"}, "the settings alone name it"
        return
    order = {"people": {"1": shop.person}, "style": "text-garden", "technique": wish}
    answer = shop.api.client().post("/generations", json=order)
    assert (answer.status_code, answer.json()["code"]) == (422, "licence_refused"), answer.text
    told = {each["where"]: each["message"] for each in answer.json()["errors"]}
    if model.family == "sd3":
        model = MANIFEST[wish["base"]]  # all bases of that family are refused before their controls are looked at
    assert instead(model) in told[model.name]


def test_nobody_is_learned_on_what_is_refused(shop: Shop) -> None:
    for base in ("flux_dev", "flux_schnell"):
        answer = shop.api.client().post("/trainings", json={"person": shop.person, "base": base})
        assert answer.json()["code"] == "licence_refused"
        assert "take flux_schnell, flux2_klein instead" in answer.json()["detail"]
    assert shop.api.client().post("/trainings", json={"person": shop.person, "base": "sdxl"}).status_code == 202


@pytest.mark.parametrize(
    "model", [each for each in REFUSED if each.kind in ("lora", "base")], ids=lambda model: model.name
)
def test_a_style_that_names_it_is_not_published(shop: Shop, model: Model) -> None:
    style = {
        "schema": 1,
        "id": f"of-{model.name.replace('_', '-')}",
        "kind": "text",
        "title": "Mine",
        "prompt": "{who}",
    }
    named = {"bases": [model.name]} if model.kind == "base" else {"loras": [{"model": model.name, "strength": 0.5}]}
    draft = write(shop.api, {**style, "licence": "CC0-1.0", **named})
    refused = shop.api.client("olga", "operator").post(
        f"/operator/styles/{style['id']}/publish", json={"edition": draft["draft"]["edition"]}
    )
    assert refused.json()["code"] == "style_faults", refused.text
    assert [each["code"] for each in refused.json()["errors"]] == ["model_not_commercial"]
    assert instead(model) in refused.json()["errors"][0]["message"]


@pytest.mark.parametrize(
    ("licence", "fault"),
    [
        ("CC-BY-NC-4.0", True),
        ("LicenseRef-mine", True),
        ("CC-BY-ND-4.0", True),
        ("CC-BY-4.0", False),
        ("LicenseRef-ours", False),
    ],
)
def test_a_style_is_published_where_its_licence_allows_it(tmp_path: Path, licence: str, fault: bool) -> None:
    home = new_home(tmp_path)
    (home / "portrait.toml").write_text('profile = "commercial"\n[models]\ncommercial_licences = ["LicenseRef-ours"]\n')
    with open_api(environment(home) | UNGUARDED) as api:
        edition = write(api, {**STUDIO, "licence": licence})["draft"]["edition"]
        answer = api.client("olga", "operator").post("/operator/styles/mine/publish", json={"edition": edition})
        assert (answer.status_code == 409) == fault, answer.text
        if fault:
            assert answer.json()["errors"][0]["code"] == "style_not_commercial"


def test_a_style_that_was_published_for_research_is_not_ordered_any_more(tmp_path: Path) -> None:
    home = new_home(tmp_path)
    with open_api(environment(home) | UNGUARDED) as api:
        edition = write(api, {**STUDIO, "licence": "CC-BY-NC-4.0"})["draft"]["edition"]
        publish = "/operator/styles/mine/publish"
        assert api.client("olga", "operator").post(publish, json={"edition": edition}).status_code < 300
        person = api.prepared_person()
        order = {"people": {"1": person}, "style": "mine"}
        assert api.client().post("/generations", json=order).status_code == 202
    with open_api(environment(home) | UNGUARDED | {"PORTRAIT_MODELS__USE": "commercial"}) as api:
        told = {each["id"]: " ".join(each["missing"]) for each in api.client().get("/styles").json()["items"]}
        assert "take a picture or style under CC0-1.0" in told["mine"]
        assert "commercial" not in told["studio-warm"] + told["text-garden"]
        refused = api.client().post("/generations", json=order)
        assert refused.json()["code"] == "licence_refused"
        assert "take a picture or style under CC0-1.0" in refused.json()["detail"]
        assert api.client().post("/generations", json={**order, "style": "studio-warm"}).status_code == 202


def test_a_base_of_the_settings_says_its_licence(tmp_path: Path) -> None:
    def lines(profile: Any, licence: str) -> list[str]:
        bases = {"mine": BaseLocation(tmp_path, licence=licence)}
        settings = Settings(profile=profile, models=ModelStoreSettings(folder=tmp_path / "none"), bases=bases)
        assert bool(model_requirements.refused_base(settings, "mine", ModelStore(settings.models))) == (
            "bases.mine.licence" in " ".join(build.missing_by_base(settings)["mine"])
        )
        return [each for each in build.missing_by_base(settings)["mine"] if "commercial" in each]

    assert lines("research", "") == []
    assert lines("commercial", "CreativeML-OpenRAIL++-M") == []
    assert "state its licence in bases.mine.licence" in lines("commercial", "")[0]
    assert "(CC-BY-NC-4.0)" in lines("commercial", "CC-BY-NC-4.0")[0]


OWN = """
[models.film]
purpose = "A look"
licence = "CC-BY-NC-4.0"
commercial = "no"
kind = "lora"
family = "sdxl"
files = [{ name = "film.safetensors", sources = [{ url = "https://example.org/film.safetensors" }] }]
"""


@pytest.fixture
def owning(shop: Shop) -> Shop:
    """The same with a LoRA of one's own that may not be sold."""
    place = shop.home / "models" / "models.toml"
    place.parent.mkdir(exist_ok=True)
    place.write_text(OWN)
    return shop


@pytest.mark.parametrize(
    "technique", [{"few_steps": "film"}, {"vae": "film"}, {"traits": "<lora:film:0.5> light"}], ids=str
)
def test_ones_own_models_are_held_to_their_terms_too(owning: Shop, technique: dict[str, Any]) -> None:
    order = {"people": {"1": owning.person}, "style": "text-garden", "technique": {"base": "sdxl", **technique}}
    answer = owning.api.client().post("/generations", json=order).json()
    assert (answer["code"], [each["where"] for each in answer["errors"]]) == ("licence_refused", ["film"])
    assert "name that licence in models.commercial_licences if its terms were bought" in answer["detail"]


def test_what_the_prompt_of_a_style_names_is_looked_at_too(owning: Shop) -> None:
    style = {"schema": 1, "id": "tagged", "kind": "text", "title": "Mine", "licence": "CC0-1.0"}
    found = write(owning.api, {**style, "prompt": "{who} <lora:film:0.7>"})["draft"]["findings"]
    assert ("model_not_commercial", "prompt") in {(each["code"], each["where"]) for each in found}
    plain = write(owning.api, {**style, "id": "plain", "prompt": "{who}"})["draft"]["findings"]
    assert "model_not_commercial" not in {each["code"] for each in plain}
