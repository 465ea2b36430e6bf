"""Requests for templates that a diffusion model draws into: identities, abilities of the job, refusals."""

import pytest

from templates.catalog import Catalog, Entry
from tests.tasks.api.harness import ApiHarness, picture
from tests.tasks.api.test_generation_options import XL, add_lora_identity, needs, register_worker

INTO = ("draw:inpaint", "draw:template", "base:sdxl:hint:canny", *XL)


def test_a_template_with_a_technique_goes_to_the_gpu_and_one_without_does_not(api: ApiHarness) -> None:
    register_worker(api, *INTO, "base:sdxl:instantid")
    client, person = api.client(), api.prepared_person()
    body = {"people": {"1": person}, "style": "astronaut"}
    plain = client.post("/generations", json=body).json()
    assert (plain["queue"], needs(api, plain["id"])) == ("cpu", {"draw:template"})
    assert "technique" not in plain["wants"]
    drawn = client.post("/generations", json={**body, "technique": {}}).json()
    assert drawn["queue"] == "gpu.generate"
    assert drawn["wants"]["technique"] == {"preset": "balanced", "base": "sdxl", "identities": ["instantid"]}
    assert needs(api, drawn["id"]) == {"draw:inpaint", "base:sdxl:instantid", "base:sdxl:hint:canny"}
    assert drawn["missing"] == []


def test_a_place_and_whose_skin_is_asked_are_in_the_job(api: ApiHarness) -> None:
    client, person = api.client(), api.prepared_person()
    template = client.post("/templates", files={"file": ("party.png", picture())}).json()["id"]
    body = {"people": {"1": person}, "template": template, "places": {"1": {"x": 0.4, "y": 0.3}}, "skin": "template"}
    answer = client.post("/generations", json=body)
    assert answer.status_code == 202, answer.text
    wants = answer.json()["wants"]
    assert (wants["places"], wants["skin"]) == ({"1": [64.0, 48.0]}, "template")
    for wrong in ({"places": {"2": {"x": 0.1, "y": 0.1}}}, {"places": {"1": {"x": 40, "y": 30}}}, {"skin": "green"}):
        assert client.post("/generations", json={**body, **wrong}).status_code == 422
    style = {"people": {"1": person}, "style": "astronaut", "places": {"1": {"x": 0.4, "y": 0.3}}}
    assert client.post("/generations", json=style).status_code == 422


def test_each_person_is_drawn_with_their_lora_or_an_adapter(api: ApiHarness) -> None:
    register_worker(api, *INTO, "base:sdxl:instantid")
    client, ann, ben = api.client(), api.prepared_person(), api.prepared_person(name="Ben")
    identity = add_lora_identity(api, ann, "sdxl")
    template = client.post("/templates", files={"file": ("party.png", picture())}).json()["id"]
    body = {"people": {"1": ann, "2": ben}, "template": template}
    for technique in ({"preset": "best"}, {"preset": "best", "identities": ["lora", "instantid"]}):
        answer = client.post("/generations", json={**body, "technique": technique})
        assert answer.status_code == 202, answer.text
        job = answer.json()
        assert job["wants"]["identities"]["1"] == identity
        assert job["wants"]["identities"]["2"] != identity
        assert job["wants"]["technique"] == {"preset": "best", "base": "sdxl", "identities": ["lora", "instantid"]}
        words = {"base:sdxl:lora", "base:sdxl:instantid", "base:sdxl:hint:canny"}
        assert needs(api, job["id"]) == {"draw:inpaint", *words}


def test_strengths_of_passes_and_controls_are_heard(api: ApiHarness) -> None:
    register_worker(api, *INTO, "base:sdxl:instantid")
    body = {"people": {"1": api.prepared_person()}, "style": "astronaut"}
    strengths = {"face": 0.6, "ring": 0.0, "tile": 0.5}
    job = api.client().post("/generations", json={**body, "technique": {"strengths": strengths}}).json()
    assert job["wants"]["technique"]["strengths"] == strengths
    wrong = api.client().post("/generations", json={**body, "technique": {"strengths": {"luck": 0.5}}})
    assert wrong.status_code == 422


def test_a_job_lists_controls_of_passes_that_no_worker_has(api: ApiHarness) -> None:
    lacks = "Run `portrait models pull controlnet_canny_sdxl`."
    register_worker(api, "draw:inpaint", "draw:template", *XL, "base:sdxl:instantid", base__sdxl__hint__canny=[lacks])
    body = {"people": {"1": api.prepared_person()}, "style": "astronaut"}
    options = [{"strengths": strengths} for strengths in ({}, {"face": 0.0, "ring": 0.0}, {"canny": 0.0})]
    missing = [
        api.client().post("/generations", json={**body, "technique": each}).json()["missing"] for each in options
    ]
    assert missing == [[lacks], [], []]


def test_a_template_takes_no_control_inputs(api: ApiHarness) -> None:
    register_worker(api, *INTO, "base:sdxl:instantid")
    client, person = api.client(), api.prepared_person()
    beach = client.post("/templates", files={"file": ("beach.png", picture(7))}).json()["id"]
    technique = {"hints": [{"kind": "pose", "template": beach}]}
    body = {"people": {"1": person}, "style": "astronaut", "technique": technique}
    refused = client.post("/generations", json=body)
    assert (refused.status_code, refused.json()["code"]) == (422, "bad_technique")
    assert "A template is its own hint" in refused.json()["detail"]


def test_a_person_without_lora_or_adapter_is_refused_at_once(api: ApiHarness) -> None:
    register_worker(api, *INTO)
    body = {"people": {"1": api.prepared_person()}, "style": "astronaut", "technique": {}}
    answer = api.client().post("/generations", json=body)
    assert answer.status_code == 422
    assert answer.json()["code"] == "not_learned"


def test_a_style_may_ask_for_it_itself(api: ApiHarness, monkeypatch: pytest.MonkeyPatch) -> None:
    register_worker(api, *INTO, "base:sdxl:instantid")
    found = Catalog.entries

    def entries(self: Catalog) -> list[Entry]:
        asking = {"engines": ("diffusion", "fusion")}
        return [
            Entry(each.style.model_copy(update=asking), each.folder) if each.style.kind == "template" else each
            for each in found(self)
        ]

    monkeypatch.setattr(Catalog, "entries", entries)
    job = api.client().post("/generations", json={"people": {"1": api.prepared_person()}, "style": "astronaut"}).json()
    assert job["queue"] == "gpu.generate"
    assert "draw:inpaint" in needs(api, job["id"])
