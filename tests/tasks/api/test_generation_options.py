"""Generation options of text styles: defaults that the API chooses, and refusals."""

import time
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any, get_args

import pytest
import sqlalchemy as sa

from pipelines import model_requirements
from pipelines.engines import engine_names, status
from pipelines.model_store.store import ModelStore
from pipelines.settings import ModelStoreSettings, Settings
from tasks.api.routes.ordering import generation_options
from tasks.api.routes.styles import NO_WORKER
from tasks.ledger.database import new_id
from tasks.ledger.rows import IdentityRow, WorkerRow
from tasks.ledger.tables import identities
from tasks.schemas.jobs import ControlKind, GenerationOptions, IdentityAdapter, Scheduler
from templates.catalog import Catalog
from tests.tasks.api.harness import ApiHarness, environment, new_home, open_api, picture

LOOK = "base:sdxl:look:ip_adapter"
XL = ["draw:text", "base:sdxl", "base:sdxl:lora", "train:sdxl"]


@dataclass(frozen=True)
class Asking:
    """Who asks for what is refused; nothing is kept of it, so all such questions go to one API."""

    api: ApiHarness
    person: str

    def refused(self, **body: Any) -> dict[str, Any]:
        answer = self.api.client().post("/generations", json={**order(self.person), **body})
        assert answer.status_code == 422, answer.text
        return answer.json()


@pytest.fixture(scope="module")
def asking(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Asking]:
    with open_api(environment(new_home(tmp_path_factory.mktemp("home")))) as api:
        person = api.prepared_person()
        register_worker(api, *XL)
        yield Asking(api, person)


def register_worker(api: ApiHarness, *words: str, **missing: list[str]) -> None:
    """A live worker for drawings of words."""
    now = time.time()
    lacks = {name.replace("__", ":"): lines for name, lines in missing.items()}
    api.context.ledger.workers.register(
        WorkerRow("w", ["gpu.generate", "gpu.train"], list(words), lacks, "gpu", now, now)
    )


def add_lora_identity(api: ApiHarness, person: str, base: str) -> str:
    """Add an identity with a LoRA for a base."""
    store = api.context.ledger
    newest = store.people.identities("ann", person)[0]
    now = max(time.time(), newest.created + 0.002)  # of two within one millisecond either may count as the newer one
    row = IdentityRow(new_id("identity", now), "ann", person, newest.training_set, now, base)
    with store.people.database.write() as connection:
        connection.execute(sa.insert(identities).values(asdict(row)))
    return row.id


def order(person: str, technique: Mapping[str, Any] | None = None, **more: Any) -> dict[str, Any]:
    return {"people": {"1": person}, "style": "text-garden", "technique": technique, **more}


def needs(api: ApiHarness, job: str) -> set[str]:
    return set(api.context.ledger.jobs.get("ann", job).needs)


def test_the_lora_of_a_person_is_the_default(api: ApiHarness) -> None:
    register_worker(api, *XL, "base:sdxl:instantid", "base:tiny", "base:tiny:lora")
    person = api.prepared_person()
    identity = add_lora_identity(api, person, "tiny")
    response = api.client().post("/generations", json=order(person, traits={"age": "young"}))
    assert response.status_code == 202, response.text
    job = response.json()
    assert job["queue"] == "gpu.generate"
    assert job["wants"]["technique"] == {"base": "tiny", "identities": ["lora"]}
    assert job["wants"]["identities"] == {"1": identity}
    assert job["wants"]["traits"] == {"age": "young"}
    assert needs(api, job["id"]) == {"draw:text", "base:tiny:lora"}
    assert job["missing"] == []


def test_a_person_without_a_lora_is_drawn_with_the_best_adapter_that_is_ready(api: ApiHarness) -> None:
    register_worker(api, *XL, "base:sdxl:photomaker", "base:sdxl:faceid", "base:sdxl:fast")
    person = api.prepared_person()
    client = api.client()
    job = client.post("/generations", json=order(person, {"preset": "fast"})).json()
    assert job["wants"]["technique"] == {"preset": "fast", "base": "sdxl", "identities": ["photomaker"]}
    assert needs(api, job["id"]) == {"draw:text", "base:sdxl:photomaker", "base:sdxl:fast"}
    other = client.post("/generations", json=order(person, {"preset": "fast", "scheduler": "euler"})).json()
    assert "base:sdxl:fast" not in needs(api, other["id"])


def test_another_base_is_taken_where_the_usual_one_is_not_ready(api: ApiHarness) -> None:
    register_worker(api, "draw:text", "base:mine", "base:mine:faceid", base__sdxl=["No SDXL."])
    job = api.client().post("/generations", json=order(api.prepared_person())).json()
    assert job["wants"]["technique"] == {"base": "mine", "identities": ["faceid"]}


def test_of_the_bases_those_are_taken_that_the_style_was_written_for(api: ApiHarness) -> None:
    row = IdentityRow("i", "ann", "p", "s", 1.0, "sdxl")
    able = {word: [] for word in (*XL, "base:sdxl:instantid", "base:sd15", "base:sd15:faceid")}
    style = Catalog().find("text-garden").style.model_copy(update={"families": ("sd15",)})
    chosen = generation_options._choose(api.context, GenerationOptions.model_validate({}), style, [row], able)
    assert (chosen.base, chosen.identities, chosen.lora) == ("sd15", ("faceid",), None)


def test_a_base_that_draws_from_photos_needs_nothing_learned_and_takes_both_where_something_is(api: ApiHarness) -> None:
    words = ("base:flux2_klein", "base:flux2_klein:lora", "base:flux2_klein:reference", "base:flux2_klein:instruct")
    register_worker(api, "draw:text", *words, base__sdxl=["No SDXL."])
    person = api.prepared_person()
    job = api.client().post("/generations", json=order(person)).json()
    assert job["wants"]["technique"] == {"base": "flux2_klein", "identities": ["reference"]}
    learned = add_lora_identity(api, person, "flux2_klein_base")
    both = api.client().post("/generations", json=order(person)).json()["wants"]
    assert both["technique"] == {"base": "flux2_klein", "identities": ["lora", "reference"]}, "as its pair says"
    assert both["identities"] == {"1": learned}
    found = {each["name"]: each for each in api.client().get("/abilities").json()["items"]}
    assert (found[words[0]]["family"], found[words[0]]["learn_on"]) == ("flux2", "flux2_klein_base")


@pytest.mark.parametrize(
    ("technique", "words"),
    [
        ({"clip_skip": 1}, "CLIP skip"),
        ({"freeu": True, "scheduler": "unipc"}, "FreeU and another scheduler than its own"),
        ({"traits": "with (red:1.2) hair"}, "emphasis in prompts"),
        ({"identities": ["instantid"]}, "instantid draws on a base of the family sdxl"),
    ],
)
def test_what_a_family_does_not_know_is_refused_before_a_job_waits(
    asking: Asking, technique: dict[str, Any], words: str
) -> None:
    klein = {"base": "flux2_klein", "identities": ["reference"]}
    assert words in asking.refused(technique=klein | technique)["detail"]


def test_a_job_lists_what_workers_lack(api: ApiHarness) -> None:
    register_worker(api, *XL, base__sdxl__instantid=["The model instantid is not on this machine."])
    person = api.prepared_person()
    job = api.client().post("/generations", json=order(person, {"identities": ["instantid"]})).json()
    assert job["missing"] == ["The model instantid is not on this machine."]
    found = {each["name"]: each for each in api.client().get("/abilities").json()["items"]}
    assert found["base:sdxl:lora"]["ready"]
    assert found["base:sdxl:instantid"] == {
        "name": "base:sdxl:instantid",
        "ready": False,
        "missing": ["The model instantid is not on this machine."],
        "family": "sdxl",
        "learn_on": "",
    }
    assert (found["draw:text"]["family"], found["train:sdxl"]["family"]) == ("", "sdxl")


def test_every_option_arrives_in_the_job(api: ApiHarness) -> None:
    models = ("base:sdxl:vae:clear", "base:sdxl:few_steps:zippy", f"{LOOK}_plus")
    register_worker(api, *XL, "base:sdxl:instantid", "base:sdxl:hint:pose", "base:sdxl:hint:depth", *models)
    person = api.prepared_person()
    add_lora_identity(api, person, "sdxl")
    beach = api.client().post("/templates", files={"file": ("beach.png", picture(7))}).json()["id"]
    given = {
        "base": "sdxl",
        "identities": ["lora", "instantid"],
        "preset": "best",
        "traits": "with short hair",
        "strengths": {"lora": 0.7, "identitynet": 0.4},
        "scheduler": "unipc",
        "steps": 12,
        "guidance": 0.0,
        "guidance_rescale": 0.7,
        "vae": "clear",
        "few_steps": "zippy",
        "lora_weights": {"lora": [1.0, 0.0, 0.5], "film_look": [1.0]},
        "cutoff": 0.6,
        "clip_skip": 1,
        "freeu": True,
        "refiner": 0.2,
        "hints": [{"kind": "pose", "template": beach, "scale": 0.8, "end": 0.7}, {"kind": "depth", "template": beach}],
        "look": {"template": beach, "adapter": "ip_adapter_plus", "scale": 0.7},
        "sdedit": 0.3,
        "sdedit_model": "refiner",
    }
    job = api.client().post("/generations", json=order(person, given, seed=9, count=3)).json()
    assert job["wants"]["technique"] == given
    assert (job["wants"]["seed"], job["wants"]["count"]) == (9, 3)


def test_a_job_lists_controlnets_that_no_worker_has(api: ApiHarness) -> None:
    lacks = "The model controlnet_depth_sdxl is not on this machine: run `portrait models pull controlnet_depth_sdxl`."
    register_worker(api, *XL, "base:sdxl:instantid", "base:sdxl:hint:canny", base__sdxl__hint__depth=[lacks])
    client, person = api.client(), api.prepared_person()
    add_lora_identity(api, person, "sdxl")
    beach = client.post("/templates", files={"file": ("beach.png", picture(7))}).json()["id"]
    controls = [{"kind": kind, "template": beach} for kind in ("canny", "depth")]
    job = client.post("/generations", json=order(person, {"hints": controls})).json()
    assert needs(api, job["id"]) == {
        *("draw:text", "base:sdxl:lora", "base:sdxl:hint:canny", "base:sdxl:hint:depth"),
    }
    assert job["missing"] == [lacks]
    assert client.post("/generations", json=order(person, {"hints": controls[:1]})).json()["missing"] == []
    register_worker(api, "draw:text", base__sdxl__lora=["No SDXL."], base__sdxl__hint__canny=["No SDXL."])
    found = client.get(f"/jobs/{job['id']}").json()["missing"]
    assert found == ["No SDXL.", NO_WORKER], "each once"
    wrong = client.post("/generations", json=order(person, {"hints": [{"kind": "color", "template": beach}]}))
    assert (wrong.status_code, wrong.json()["code"]) == (422, "bad_technique")
    nobodys = client.post("/generations", json=order(person, {"hints": [{"kind": "my-lines", "template": beach}]}))
    assert (nobodys.status_code, nobodys.json()["code"]) == (422, "bad_technique")
    assert (
        "no network for the control 'color' on sdxl (sdxl). It follows canny, pose, depth, tile, softedge."
        in wrong.json()["detail"]
    )


def test_a_look_needs_a_worker_with_its_adapter_and_a_style_of_words(api: ApiHarness) -> None:
    lacks = "The model ip_adapter_sdxl is not on this machine: run `portrait models pull ip_adapter_sdxl`."
    register_worker(api, *XL, f"{LOOK}_plus", base__sdxl__look__ip_adapter=[lacks])
    client, person = api.client(), api.prepared_person()
    add_lora_identity(api, person, "sdxl")
    film = client.post("/templates", files={"file": ("film.png", picture(7))}).json()["id"]
    job = client.post("/generations", json=order(person, {"look": {"template": film}})).json()
    assert needs(api, job["id"]) == {"draw:text", "base:sdxl:lora", LOOK}
    assert job["missing"] == [lacks]
    plus = {"template": film, "adapter": "ip_adapter_plus"}
    assert client.post("/generations", json=order(person, {"look": plus})).json()["missing"] == []
    refused = client.post("/generations", json=order(person, {"look": {**plus, "adapter": "magic"}}))
    assert (refused.status_code, refused.json()["code"]) == (422, "bad_technique")
    assert "Choose one of: ip_adapter, ip_adapter_plus." in refused.json()["detail"]
    none = client.post("/generations", json=order(person, {"look": {**plus, "scale": 0.0}})).json()
    assert needs(api, none["id"]) == {"draw:text", "base:sdxl:lora"}
    gone = client.post("/generations", json=order(person, {"look": {"template": "picture_19a0c2b4e5f1"}}))
    assert (gone.status_code, gone.json()["code"]) == (404, "not_found")
    into = {"people": {"1": person}, "template": film, "technique": {"look": plus}}
    refused = client.post("/generations", json=into)
    assert (refused.status_code, refused.json()["code"]) == (422, "bad_technique")


def test_a_vae_and_a_lora_of_few_steps_need_a_worker_that_has_them(api: ApiHarness) -> None:
    register_worker(api, *XL, "base:sdxl:vae:clear", "base:sdxl:few_steps:zippy", base__sdxl__fast=["No LCM."])
    client, person = api.client(), api.prepared_person()
    add_lora_identity(api, person, "sdxl")
    given = {"preset": "fast", "vae": "clear", "few_steps": "zippy"}
    job = client.post("/generations", json=order(person, given)).json()
    assert needs(api, job["id"]) == {
        *("draw:text", "base:sdxl:lora", "base:sdxl:vae:clear", "base:sdxl:few_steps:zippy"),
    }
    assert job["missing"] == [], "the LCM LoRA is not asked for beside another one"
    own = client.post("/generations", json=order(person, {"vae": "own"})).json()
    assert needs(api, own["id"]) == {"draw:text", "base:sdxl:lora"}
    for wrong, says in (
        ({"vae": "foggy"}, "There is no vae 'foggy' for sdxl here. Choose one of: clear."),
        ({"few_steps": "slow"}, "There is no few_steps 'slow' for sdxl here. Choose one of: zippy."),
    ):
        refused = client.post("/generations", json=order(person, wrong))
        assert (refused.status_code, refused.json()["code"]) == (422, "bad_technique")
        assert says in refused.json()["detail"]
    register_worker(api, *XL[:1], base__sdxl__lora=["No SDXL."])
    assert client.post("/generations", json=order(person, {"vae": "foggy"})).json()["missing"] == [
        "No SDXL.",
        NO_WORKER,
    ]


def test_a_picture_of_somebody_else_cannot_be_followed(api: ApiHarness) -> None:
    register_worker(api, *XL)
    person = api.prepared_person()
    add_lora_identity(api, person, "sdxl")
    given = {"hints": [{"kind": "pose", "template": "picture_19a0c2b4e5f1"}]}
    refused = api.client().post("/generations", json=order(person, given))
    assert (refused.status_code, refused.json()["code"]) == (404, "not_found")


@pytest.mark.parametrize(
    ("technique", "where"),
    [
        ({"hints": [{"kind": "no kind", "template": "picture_19a0c2b4e5f1"}]}, "technique.hints.0.kind"),
        ({"hints": [{"kind": "pose", "template": "picture_19a0c2b4e5f1", "scale": 3}]}, "technique.hints.0.scale"),
        ({"hints": [{"kind": "pose", "template": "picture_19a0c2b4e5f1", "end": 0}]}, "technique.hints.0"),
        ({"refiner": 0.9}, "technique.refiner"),
        ({"sdedit": 0.7}, "technique.sdedit"),
        ({"look": {"template": "picture_19a0c2b4e5f1", "scale": 2}}, "technique.look.scale"),
        ({"scheduler": "magic"}, "technique.scheduler"),
        ({"identities": ["dreams"]}, "technique.identities.0"),
        ({"preset": "cheap"}, "technique.preset"),
        ({"guidance_rescale": 1.5}, "technique.guidance_rescale"),
        ({"skip_layer_guidance": 11}, "technique.skip_layer_guidance"),
        ({"vae": "../vae"}, "technique.vae"),
        ({"few_steps": "Zippy"}, "technique.few_steps"),
        ({"lora_weights": {"lora": [9]}}, "technique.lora_weights.lora.0"),
        ({"steps": 151}, "technique.steps"),
        ({"steps": -1}, "technique.steps"),
        ({"guidance": 31}, "technique.guidance"),
        ({"guidance": "high"}, "technique.guidance"),
        ({"strengths": {"lora": 3}}, "technique.strengths.lora"),
        ({"strengths": {"luck": 1}}, "technique.strengths.luck"),
        ({"cutoff": 2}, "technique.cutoff"),
        ({"base": "../../etc"}, "technique.base"),
        ({"speed": 1}, "technique.speed"),
        ({"traits": "x" * 201}, "technique.traits"),
    ],
)
def test_what_is_no_technique_is_refused_by_name(asking: Asking, technique: Mapping[str, Any], where: str) -> None:
    found = asking.refused(technique=technique)
    assert found["code"] == "bad_request"
    assert where in found["detail"]
    assert all(each["message"] for each in found["errors"])


@pytest.mark.parametrize(
    "more", [{"count": 0}, {"count": 17}, {"seed": -1}, {"seed": 2**31}, {"traits": {"AGE": "young"}}]
)
def test_counts_seeds_and_names_have_bounds(asking: Asking, more: Mapping[str, Any]) -> None:
    assert asking.refused(**more)["code"] == "bad_request"


@pytest.mark.parametrize(
    ("body", "code", "sentence"),
    [
        ({"technique": {"base": "nowhere"}}, "bad_technique", "There is no base model 'nowhere' here. Choose one of:"),
        ({"technique": {"base": "sd15", "identities": ["instantid"]}}, "wrong_family", "of the family sdxl; sd15 is"),
        ({"technique": {"identities": ["instantid", "faceid"]}}, "bad_technique", "do not go together"),
        ({"technique": {"identities": ["photomaker", "photomaker_v2"]}}, "bad_technique", "do not go together"),
        ({"technique": {"strengths": {"ring": 1.5}}}, "bad_technique", "The strength ring is 0 to 1, not 1.5."),
        ({"technique": {"identities": ["lora"]}}, "not_learned", "was not learned on sdxl"),
        ({}, "not_learned", "ask for a training with a base first"),
        ({"traits": {"hat": "a"}}, "bad_trait", "It asks for: age, glasses."),
        ({"traits": {"age": "112"}}, "bad_trait", "Choose one of: young, middle-aged, elderly."),
        ({"style": "studio-warm", "traits": {"age": "young"}}, "bad_trait", "It asks for none."),
    ],
)
def test_what_cannot_be_drawn_is_refused_in_a_sentence(
    asking: Asking, body: Mapping[str, Any], code: str, sentence: str
) -> None:
    found = asking.refused(**body)
    assert found["code"] == code
    assert sentence in found["detail"]
    assert asking.api.client().get("/jobs?kind=generate").json()["items"] == []


def test_a_training_on_an_unknown_base_is_refused(api: ApiHarness) -> None:
    client, person = api.client(), api.prepared_person()
    answer = client.post("/trainings", json={"person": person, "base": "nowhere"})
    assert (answer.status_code, answer.json()["code"]) == (422, "bad_technique")
    register_worker(api, train__nowhere=["There is no base model at /nowhere."])
    waiting = client.post("/trainings", json={"person": person, "base": "nowhere"}).json()
    assert waiting["missing"] == ["There is no base model at /nowhere."]


@pytest.mark.networks
def test_schemas_and_engines_have_the_same_names(tmp_path: Any) -> None:
    from pipelines.diffusion.sampling.schedulers import SCHEDULERS

    assert set(get_args(IdentityAdapter)) == set(engine_names("identities")) == set(model_requirements.IDENTITY_MODELS)
    assert set(get_args(Scheduler)) == {"", "own", *SCHEDULERS}
    bare = Settings(models=ModelStoreSettings(folder=tmp_path))
    models = ModelStore(bare.models)
    for adapter in model_requirements.IDENTITY_MODELS.keys() - {"reference"}:  # it needs no model
        assert model_requirements.missing_models(adapter, "", models) == status("identities", adapter, bare, models)
    assert set(get_args(ControlKind)) == set(model_requirements.CONTROL_MODELS) == set(engine_names("controls"))
    named = {state.model.name for state in models.list()}
    for kind, networks in model_requirements.CONTROL_MODELS.items():
        assert {name for network in networks.values() for name in network} <= named
        lacks = [[line for name in network[1:] for line in models.missing(name)] for network in networks.values()]
        assert all(each == status("controls", kind, bare, models) for each in lacks)
    assert [model_requirements.family_of(bare, base) for base in ("sd15", "sdxl", "other")] == ["sd15", "sdxl", ""]


def test_a_style_tells_on_which_bases_it_may_be_drawn(api: ApiHarness, monkeypatch: pytest.MonkeyPatch) -> None:
    found = Catalog().entries()
    only = [replace(each, style=each.style.model_copy(update={"families": ("sd15", "sdxl")})) for each in found[-1:]]
    monkeypatch.setattr(Catalog, "entries", lambda self: [*found[:-1], *only])
    styles = {each["id"]: each["families"] for each in api.client().get("/styles").json()["items"]}
    assert (styles.pop(only[0].style.id), set(map(tuple, styles.values()))) == (["sd15", "sdxl"], {()})


def test_a_style_tells_what_it_asks_for(api: ApiHarness) -> None:
    found = {each["name"]: each for each in api.client().get("/styles/text-garden/traits").json()["items"]}
    assert list(found) == ["age", "glasses"]
    assert found["glasses"]["choices"] == ["with glasses", "without glasses"]
    assert api.client().get("/styles/studio-warm/traits").json()["items"] == []
    assert api.client().get("/styles/nothing/traits").status_code == 404


def test_a_person_lists_the_bases_of_their_loras(api: ApiHarness) -> None:
    client, person = api.client(), api.prepared_person()
    assert client.get(f"/people/{person}").json()["learned"] == []
    for base in ("sdxl", "tiny", "sdxl"):
        add_lora_identity(api, person, base)
    [row] = client.get("/people").json()["items"]
    assert row["learned"] == ["sdxl", "tiny"]
    assert [each["base"] for each in client.get(f"/people/{person}/identities").json()["items"]] == [
        *("sdxl", "tiny", "sdxl", "")
    ]
