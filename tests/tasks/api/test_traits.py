"""What a person chose to say of themselves: kept with them, said in captions and prompts, never by itself."""

import time
from typing import get_args

from portrait.errors import UserError
from portrait.traits import CHOICES
from tasks import schemas
from tests.tasks.api.harness import CPU_ABILITIES, ApiHarness
from tests.tasks.api.test_generation_options import XL, add_lora_identity, order, register_worker

SHOWN = {"glasses": "with glasses", "expression": "smiling"}


def test_the_api_knows_the_choices_there_are() -> None:
    fields = schemas.Traits.model_fields.items()
    assert {name: tuple(filter(None, get_args(field.annotation))) for name, field in fields} == dict(CHOICES)


def test_what_photos_show_is_offered_and_nothing_is_chosen_by_itself(api: ApiHarness) -> None:
    person, client = api.prepared_person(), api.client()
    client.post("/trainings", json={"person": person})
    (photo,) = client.get(f"/people/{person}/selfies").json()["items"]
    verdicts = {photo["id"]: {"verdict": "use", "reasons": [], "quality": {}, "uses": {"traits": SHOWN}}}
    job = api.context.ledger.queue.claim("w", "cpu", CPU_ABILITIES, time.time(), 60)
    assert job is not None
    api.context.ledger.queue.fail(job, time.time(), UserError("no_usable_photos", "None."), verdicts)
    nothing = dict.fromkeys(CHOICES, "")
    shown = client.get(f"/people/{person}").json()
    assert shown["traits"] == nothing
    assert shown["offered_traits"] == {**nothing, **SHOWN}


def test_choices_are_kept_and_go_into_trainings_and_the_portraits_of_one_person(api: ApiHarness) -> None:
    register_worker(api, *XL)
    person, client = api.prepared_person(), api.client()
    add_lora_identity(api, person, "sdxl")
    jobs = api.context.ledger.jobs

    def params(path: str, body: dict[str, object]) -> dict[str, object]:
        answer = client.post(path, json=body)
        assert answer.status_code == 202, answer.text
        return dict(jobs.get("ann", answer.json()["id"]).params)

    assert "traits" not in params("/generations", order(person))
    said = {"age": "elderly", "beard": "with a beard"}
    answer = client.patch(f"/people/{person}", json={"traits": said})
    assert answer.json()["traits"] == {"age": "elderly", "glasses": "", "beard": "with a beard", "expression": ""}
    assert answer.json()["name"] == "Ann"
    assert params("/generations", order(person))["traits"] == said
    assert params("/generations", order(person, traits={"age": "young"}))["traits"] == {**said, "age": "young"}
    assert params("/trainings", {"person": person, "base": "sdxl"})["traits"] == said
    assert "traits" not in params("/generations", {"people": {"1": person}, "style": "studio-grey"})
    client.patch(f"/people/{person}", json={"traits": {}})
    assert "traits" not in params("/generations", order(person))
    for wrong in ({}, {"traits": {"height": "tall"}}, {"traits": {"age": "ageless"}}):
        assert client.patch(f"/people/{person}", json=wrong).status_code == 422
