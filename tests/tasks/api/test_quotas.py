"""Quotas of an owner: status, message and `Retry-After`, and that they hold for concurrent requests."""

import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.tasks.api.harness import (
    ApiHarness,
    ApiServer,
    api_server,
    environment,
    new_home,
    open_api,
    picture,
    run_concurrently,
)

CONSENT = {"agreed": True, "text_version": "1", "given_by": "Ann"}
FEW = {
    "quotas__jobs": 3,
    "quotas__people": 3,
    "quotas__photos": 4,
    "quotas__photos_a_day": 6,
    "quotas__portraits_a_day": 10,
    "quotas__templates": 3,
}


@pytest.fixture
def strict(tmp_path: Path) -> Iterator[ApiHarness]:
    """An API that allows little."""
    with open_api(environment(new_home(tmp_path / "home"), **FEW)) as api:
        yield api


@pytest.fixture
def strict_server(database: str, tmp_path: Path) -> Iterator[ApiServer]:
    """The same on a port, on either database."""
    with open_api(environment(tmp_path / "home", database=database, **FEW)) as api, api_server(api) as server:
        yield server


def order(person: str, **more: Any) -> dict[str, Any]:
    return {"people": {"1": person}, "style": "studio-warm", **more}


def photo(seed: int) -> dict[str, Any]:
    return {"files": [("files", (f"{seed}.png", picture(seed)))]}


def summary(answer: Any) -> tuple[int, str, str]:
    return answer.status_code, answer.json()["code"], answer.json()["detail"]


def test_jobs_at_once(strict: ApiHarness) -> None:
    person, client = strict.prepared_person(), strict.client()
    for each in range(3):
        assert client.post("/generations", json=order(person, seed=each)).status_code == 202
    for path, body in (("/generations", order(person)), ("/trainings", {"person": person})):
        refused = client.post(path, json=body)
        assert summary(refused) == (429, "quota_jobs", "3 jobs at once are allowed. Wait until one has ended.")
        assert refused.headers["retry-after"] == "10"
    strict.complete_next_job()
    assert client.post("/generations", json=order(person)).status_code == 202
    assert client.get("/me").json()["jobs"] == {"used": 3, "most": 3}


def test_portraits_a_day(strict: ApiHarness) -> None:
    person, client = strict.prepared_person(), strict.client()
    first = client.post("/generations", json=order(person, count=7)).json()["id"]
    refused = client.post("/generations", json=order(person, count=4))
    sentence = "10 portraits a day are allowed, 3 are left. Ask for fewer, or later."
    assert summary(refused) == (429, "quota_portraits", sentence)
    assert 86_300 < int(refused.headers["retry-after"]) <= 86_400
    assert client.get("/me").json()["portraits_today"] == {"used": 7, "most": 10}
    assert client.post("/generations", json=order(person, count=3)).status_code == 202
    client.post(f"/jobs/{first}/cancel")
    assert client.post("/generations", json=order(person, count=7)).status_code == 202, "cancelled ones do not count"
    assert client.post("/trainings", json={"person": person}).status_code == 202, "nor does judging photos"


def test_a_day_later_the_quota_is_free_again(strict: ApiHarness) -> None:
    person, client = strict.prepared_person(), strict.client()
    client.post("/generations", json=order(person, count=10))
    strict.complete_next_job("draw:studio")
    later = ApiHarness(replace(strict.context, now=lambda: time.time() + 86_401), strict.portal)
    assert client.post("/generations", json=order(person)).status_code == 429
    assert later.client().post("/generations", json=order(person, count=10)).status_code == 202


def test_photos_of_a_person_and_a_day(strict: ApiHarness) -> None:
    first, client = strict.prepared_person(), strict.client()
    for seed in (1, 2, 3):
        assert client.post(f"/people/{first}/selfies", **photo(seed)).status_code == 201
    full = client.post(f"/people/{first}/selfies", **photo(4))
    assert summary(full) == (409, "too_many_photos", "A person has 4 photos at most. Delete some first.")
    assert full.json()["errors"] == [
        {"where": "4.png", "code": "too_many_photos", "message": "A person has 4 photos at most. Delete some first."}
    ]
    assert "retry-after" not in full.headers
    second = client.post("/people", json={"name": "Bob", "consent": CONSENT}).json()["id"]
    files = [("files", (f"{seed}.png", picture(seed))) for seed in (5, 6, 7)]
    some = client.post(f"/people/{second}/selfies", files=files)
    assert some.status_code == 201, "what there is room for is kept"
    assert [each["code"] for each in some.json()["refused"]] == ["quota_photos"]
    spent = client.post(f"/people/{second}/selfies", **photo(8))
    assert summary(spent) == (429, "quota_photos", "6 photos a day are allowed. Try again later.")
    assert 86_300 < int(spent.headers["retry-after"]) <= 86_400
    again = client.post(f"/people/{second}/selfies", **photo(5))
    assert again.status_code == 201, "a photo that is there takes no room"
    assert sum("/selfies/" in name for name in strict.stored_files()) == 6, "what was refused left no file"


def test_people_and_templates(strict: ApiHarness) -> None:
    client = strict.client()
    for name in ("Ann", "Bob", "Cid"):
        assert client.post("/people", json={"name": name, "consent": CONSENT}).status_code == 201
    refused = client.post("/people", json={"name": "Dan", "consent": CONSENT})
    assert summary(refused) == (409, "too_many_people", "There can be 3 people at most. Erase somebody first.")
    for seed in range(3):
        assert client.post("/templates", files={"file": ("t.png", picture(seed))}).status_code == 201
        strict.complete_next_job("look")
    full = client.post("/templates", files={"file": ("t.png", picture(9))})
    assert summary(full) == (409, "too_many_templates", "There can be 3 pictures at most. Delete one first.")
    assert len([name for name in strict.stored_files() if "/templates/" in name]) == 3


def test_a_template_whose_job_is_refused_is_not_stored(strict: ApiHarness) -> None:
    client, person = strict.client(), strict.prepared_person()
    for each in range(3):
        client.post("/generations", json=order(person, seed=each))
    refused = client.post("/templates", files={"file": ("t.png", picture(1))})
    assert (refused.status_code, refused.json()["code"]) == (429, "quota_jobs")
    assert client.get("/templates").json()["items"] == []
    assert not [name for name in strict.stored_files() if "/templates/" in name]


def test_quotas_are_of_one_owner(strict: ApiHarness) -> None:
    strict.client().post("/generations", json=order(strict.prepared_person(), count=10))
    strict.complete_next_job()
    assert (
        strict.client("bob").post("/generations", json=order(strict.prepared_person("bob"), count=10)).status_code
        == 202
    )


@pytest.mark.services
def test_many_at_once_do_not_exceed_a_quota(strict_server: ApiServer) -> None:
    api = strict_server.api
    person = api.prepared_person()
    with strict_server.client() as caller:
        caller.get("/me")

        def passed(call: Any) -> int:
            answers = run_concurrently(20, call)
            assert {answer.status_code for answer in answers} <= {201, 202, 409, 429}, answers
            return sum(answer.is_success for answer in answers)

        assert passed(lambda at: caller.post("/generations", json=order(person, seed=at))) == 3
        for _ in range(3):
            api.complete_next_job()
        assert passed(lambda _: caller.post("/generations", json=order(person, count=3))) == 2
        assert caller.get("/me").json()["portraits_today"]["used"] == 9
        assert passed(lambda _: caller.post("/people", json={"name": "Bob", "consent": CONSENT})) == 2
        assert passed(lambda at: caller.post(f"/people/{person}/selfies", **photo(at + 1))) == 3
        for _ in range(2):
            api.complete_next_job()
        assert passed(lambda at: caller.post("/templates", files={"file": ("t.png", picture(at))})) == 3
        bob = caller.get("/people").json()["items"][0]["id"]
        assert passed(lambda _: caller.post(f"/people/{bob}/selfies", **photo(30))) == 20, (
            "the same photo, twenty times"
        )
        assert caller.get(f"/people/{bob}").json()["photos"] == 1
    assert sum("/selfies/" in name for name in api.stored_files()) == 5
    assert len([name for name in api.stored_files() if "/templates/" in name]) == 3
