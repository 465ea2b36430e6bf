"""Quotas of an owner: status, message and `Retry-After`, and that they hold for concurrent requests."""

import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from tasks.ledger.tables import idempotency_keys
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

CONSENT = {"agreed": True, "text_version": "2026-11", "given_by": "Ann"}
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
    assert summary(again) == summary(spent), "nothing more is read, not even what is there"
    assert sum("/selfies/" in name for name in strict.stored_files()) == 6, "what was refused left no file"


def test_deleting_photos_gives_no_more_of_them_a_day(strict: ApiHarness) -> None:
    person, client = strict.prepared_person(), strict.client()
    for seed in range(1, 6):
        added = client.post(f"/people/{person}/selfies", **photo(seed)).json()["added"]
        client.delete(f"/selfies/{added[0]['id']}")
    spent = client.post(f"/people/{person}/selfies", **photo(9))
    assert (spent.status_code, spent.json()["code"]) == (429, "quota_photos")
    assert client.get("/me").json()["photos_today"] == {"used": 6, "most": 6}
    assert client.delete("/me").status_code == 200
    other = client.post("/people", json={"name": "Bob", "consent": CONSENT}).json()["id"]
    assert client.post(f"/people/{other}/selfies", **photo(9)).status_code == 429


def test_erasing_a_person_gives_no_more_portraits_a_day(strict: ApiHarness) -> None:
    person, client = strict.prepared_person(), strict.client()
    client.post("/generations", json=order(person, count=8))
    strict.complete_next_job("draw:studio")
    failed = client.post("/generations", json=order(person, count=2)).json()["id"]
    client.post(f"/jobs/{failed}/cancel")
    client.delete(f"/people/{person}")
    assert client.get("/me").json()["portraits_today"] == {"used": 8, "most": 10}
    other = strict.prepared_person(name="Bob")
    refused = client.post("/generations", json=order(other, count=3))
    assert (refused.status_code, refused.json()["code"]) == (429, "quota_portraits")
    assert client.post("/generations", json=order(other, count=2)).status_code == 202


def test_an_order_and_a_day_have_so_many_pixels(tmp_path: Path) -> None:
    few = {"quotas__order_megapixels": 64, "quotas__portrait_megapixels_a_day": 100}
    with open_api(environment(new_home(tmp_path / "home"), **few)) as api:
        person, client = api.prepared_person(), api.client()
        large = {"size": {"width": 8000, "height": 8000}}
        refused = client.post("/generations", json=order(person, count=16, **large))
        sentence = "One order has 64 megapixels at most, and this one 1024. Ask for fewer or smaller portraits."
        assert summary(refused) == (422, "order_too_large", sentence)
        assert client.post("/generations", json=order(person, **large)).status_code == 202
        spent = client.post("/generations", json=order(person, **large))
        assert (spent.status_code, spent.json()["code"]) == (429, "quota_pixels")
        assert "36 are left" in spent.json()["detail"]
        assert client.post("/generations", json=order(person, count=16)).status_code == 202
        picture_of_4k = client.post("/templates", files={"file": ("t.png", picture(1, side=4000))}).json()["id"]
        api.complete_next_job("look")
        several = client.post("/generations", json={"people": {"1": person}, "template": picture_of_4k, "count": 16})
        assert (several.status_code, several.json()["code"]) == (422, "order_too_large")


def test_pictures_of_a_day_have_so_many_pixels_and_bytes(tmp_path: Path) -> None:
    few = {"quotas__upload_megapixels_a_day": 1, "quotas__upload_megabytes_a_day": 5, "quotas__stored_megabytes": 3}
    with open_api(environment(new_home(tmp_path / "home"), **few)) as api:
        client = api.client()
        person = client.post("/people", json={"name": "Bob", "consent": CONSENT}).json()["id"]
        path = f"/people/{person}/selfies"
        assert client.post(path, files=[("files", ("a.png", picture(1, side=900)))]).status_code == 201
        spent = client.post(path, files=[("files", ("b.png", picture(2, side=900)))])
        assert (spent.status_code, spent.json()["code"]) == (429, "quota_pixels")
        template = client.post("/templates", files={"file": ("c.png", picture(3, side=900))})
        assert (template.status_code, template.json()["code"]) == (429, "quota_pixels")
        assert client.get("/templates").json()["items"] == []
        added = client.post(path, files=[("files", ("d.png", picture(4, side=64) + bytes(3_000_000)))])
        assert added.status_code == 201
        full = client.post(path, files=[("files", ("e.png", picture(5, side=64)))])
        sentence = "3 MB are kept at most. Delete photos, pictures or portraits first."
        assert summary(full) == (409, "storage_full", sentence)
        client.delete(f"/selfies/{added.json()['added'][0]['id']}")
        assert client.post(path, files=[("files", ("e.png", picture(5, side=64)))]).status_code == 201
        heavy = client.post(path, files=[("files", ("f.png", picture(6, side=64) + bytes(3_000_000)))])
        assert (heavy.status_code, heavy.json()["code"]) == (429, "quota_bytes")
        assert 86_300 < int(heavy.headers["retry-after"]) <= 86_400


def test_webhooks_and_calls_that_are_asked_for(tmp_path: Path) -> None:
    few = {"quotas__webhooks": 2, "quotas__webhook_calls_a_day": 3}
    with open_api(environment(new_home(tmp_path / "home"), **few)) as api:
        client = api.client()
        first, _ = (client.post("/webhooks", json={"url": f"https://example.org/{at}"}).json()["id"] for at in range(2))
        refused = client.post("/webhooks", json={"url": "https://example.org/3"})
        assert summary(refused) == (409, "too_many_webhooks", "There can be 2 webhooks at most. Delete one first.")
        call = client.post(f"/webhooks/{first}/test").json()["id"]
        assert client.post(f"/webhooks/{first}/deliveries/{call}/redeliver").status_code == 202
        assert client.post("/webhooks/none/test").status_code == 404, "which does not count"
        assert client.post(f"/webhooks/{first}/test").status_code == 202
        spent = client.post(f"/webhooks/{first}/test")
        assert summary(spent) == (429, "quota_webhooks", "3 calls a day may be asked for. Try again later.")
        again = client.post(f"/webhooks/{first}/deliveries/{call}/redeliver")
        assert again.status_code == 429
        client.delete(f"/webhooks/{first}")
        other = client.post("/webhooks", json={"url": "https://example.org/3"}).json()["id"]
        assert client.post(f"/webhooks/{other}/test").status_code == 429, "deleting one gives no more calls"


def test_the_secret_of_a_webhook_is_not_kept_with_the_answer(strict: ApiHarness) -> None:
    client, key = strict.client(), {"Idempotency-Key": "one"}
    sent = {"url": "https://example.org/hook"}
    first = client.post("/webhooks", json=sent, headers=key)
    with strict.context.ledger.database.read() as connection:
        stored = connection.scalars(sa.select(idempotency_keys.c.body)).all()
    assert len(stored) == 1
    assert first.json()["secret"] not in stored[0]
    again = client.post("/webhooks", json=sent, headers=key)
    assert again.headers["idempotent-replayed"] == "true"
    assert again.content == first.content
    client.delete(f"/webhooks/{first.json()['id']}")
    assert client.post("/webhooks", json=sent, headers=key).status_code == 404


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
