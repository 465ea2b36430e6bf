"""Consents over the API: which texts are taken, what is recorded, what admins see, and what ends without being told."""

import time
from collections.abc import Iterator, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from starlette.testclient import TestClient

from portrait.errors import UserError
from tasks.jobs import DAY
from tasks.ledger.tables import idempotency_keys
from tests.tasks.api.harness import ApiHarness, environment, new_home, open_api, picture

GIVEN = {"agreed": True, "text_version": "2027-01", "given_by": "Ann"}
STATED = {**GIVEN, "language": "zh", "given_for": "proxy", "adult": True}


@pytest.fixture
def strict(tmp_path: Path) -> Iterator[ApiHarness]:
    with open_api(environment(new_home(tmp_path / "strict"), consent__statements="true")) as api:
        yield api


def code(answer: Any) -> tuple[int, str]:
    return answer.status_code, answer.json().get("code", "")


def add(client: TestClient, consent: Mapping[str, object]) -> str:
    answer = client.post("/people", json={"name": "Ann", "consent": consent})
    assert answer.status_code == 201, answer.text
    return answer.json()["id"]


def test_the_text_is_shown_before_and_recorded_after(api: ApiHarness) -> None:
    client = api.client()
    shown = client.get("/consent-text?language=zh-CN").json()
    assert (shown["version"], shown["language"], shown["days"]) == ("2027-01", "zh", 30)
    assert "30" in shown["paragraphs"][3]
    assert set(shown["given_for"]) == {"self", "proxy", "guardian"}
    assert client.get("/consent-text?language=fi").json()["language"] == "en"
    [record] = client.get(f"/people/{add(client, STATED)}/consents").json()["items"]
    assert record == {**record, "language": "zh", "text_hash": shown["sha256"], "given_for": "proxy", "adult": True}
    assert client.get("/me").json()["consent_version"] == shown["version"]
    assert client.get(f"/people/{record['person']}").json()["latest_consent"] == record
    client.delete(f"/people/{record['person']}/consents")
    client.post(f"/people/{record['person']}/consents", json=GIVEN)
    [first, second] = client.get(f"/people/{record['person']}/consents").json()["items"]
    [person] = client.get("/people").json()["items"]
    assert first["withdrawn"]
    assert person["latest_consent"] == second


def test_only_known_texts_are_agreed_to(api: ApiHarness) -> None:
    client = api.client()
    for version in ("1", "2026-13", "2026-12 "):
        refused = client.post("/people", json={"name": "Ann", "consent": {**GIVEN, "text_version": version}})
        assert code(refused) == ((422, "unknown_text") if version.strip() != "2026-12" else (201, ""))
    assert add(client, {**GIVEN, "text_version": "2026-11"}), "the text before still holds"
    assert code(client.post("/people", json={"name": "A", "consent": {**GIVEN, "adult": False}})) == (
        422,
        "bad_request",
    )


def test_an_operator_may_ask_for_every_statement(strict: ApiHarness) -> None:
    client = strict.client()
    for missing in ("language", "given_for", "adult"):
        consent = {name: value for name, value in STATED.items() if name != missing}
        assert code(client.post("/people", json={"name": "Ann", "consent": consent})) == (422, "statement_missing")
    add(client, STATED)
    send: dict[str, Any] = {"files": {"file": ("beach.png", picture(7))}}
    assert code(client.post("/templates", **send)) == (422, "statement_missing")
    assert code(client.post("/templates?statement=2026-11", **send)) == (422, "unknown_text")
    assert client.post("/templates?statement=2026-12", **send).json()["statement"] == "2026-12"


def test_pictures_from_before_need_the_statement_to_be_drawn_in(api: ApiHarness, strict: ApiHarness) -> None:
    client, person = strict.client(), strict.prepared_person()
    template = client.post("/templates?statement=2026-12", files={"file": ("beach.png", picture(7))}).json()["id"]
    strict.complete_next_job("look")
    strict.context.ledger.templates.state("ann", template, "")
    order = {"people": {"1": person}, "template": template}
    assert code(client.post("/generations", json=order)) == (422, "statement_missing")
    stated = client.put(f"/templates/{template}/statement", json={"text_version": "2026-12"})
    assert stated.json()["statement"] == "2026-12"
    log = strict.client("root", "admin").get("/operator/audit?action=picture.stated").json()["items"]
    assert [(each["subject"], each["actor"].split(":")[0]) for each in log] == [(template, "ann")] * 2
    assert client.post("/generations", json=order).status_code == 202
    plain = api.client().post("/templates", files={"file": ("beach.png", picture(7))})
    assert (plain.status_code, plain.json()["statement"]) == (201, ""), "unless the operator asks, it is optional"


def test_a_withdrawal_ends_the_preview_of_a_job_that_still_runs(api: ApiHarness) -> None:
    things, client = api.one_of_each(), api.client()
    job = api.context.ledger.queue.claim("w", "cpu", {"draw:studio"}, time.time(), 60)
    assert job is not None
    place = api.context.files.preview(job.id)
    place.parent.mkdir(parents=True, exist_ok=True)
    place.write_bytes(b"a picture")
    assert client.get(f"/jobs/{job.id}/preview").status_code == 200
    client.delete(f"/people/{things.person}/consents")
    assert client.get(f"/jobs/{job.id}").json()["state"] == "cancelling"
    assert client.get(f"/jobs/{job.id}/preview").status_code == 404


def test_photos_are_not_taken_after_a_withdrawal(api: ApiHarness) -> None:
    things, client = api.one_of_each(), api.client()
    row = replace(api.context.ledger.people.selfie("ann", things.selfie), id="selfie-x", sha256="b" * 64)
    client.delete(f"/people/{things.person}/consents")
    with pytest.raises(UserError) as caught:
        api.context.ledger.people.add_selfie(row, 60)
    assert caught.value.code == "consent_withdrawn", "asked when the row is written, not only before the photo is read"


def test_answers_that_hold_a_name_go_with_the_person(api: ApiHarness) -> None:
    client, database = api.client(), api.context.ledger.database
    person = add(client, GIVEN)
    again = {**STATED, "given_by": "Wilhelmina"}
    client.post(f"/people/{person}/consents", json=again, headers={"Idempotency-Key": "k"})
    with database.read() as connection:
        assert "Wilhelmina" in repr(connection.execute(sa.select(idempotency_keys)).all())
    client.delete(f"/people/{person}")
    with database.read() as connection:
        assert "Wilhelmina" not in repr(connection.execute(sa.select(idempotency_keys)).all())


def test_operators_meet_a_withdrawal_when_they_try_a_job_again(api: ApiHarness) -> None:
    things = api.one_of_each()
    api.client().delete(f"/people/{things.person}/consents")
    operator = api.client("op", "operator")
    assert code(operator.post(f"/operator/jobs/{things.waiting}/retry")) == (403, "consent_withdrawn")
    assert api.client().get(f"/jobs/{things.waiting}").json()["state"] == "cancelled"


def test_admins_see_proofs_and_the_log_without_names(api: ApiHarness) -> None:
    client, admin = api.client(), api.client("root", "admin")
    person = add(client, {**STATED, "given_by": "Wilhelmina"})
    client.delete(f"/people/{person}/consents")
    client.delete(f"/people/{person}")
    shown = admin.get(f"/operator/consents?person={person}")
    [proof] = shown.json()["items"]
    assert proof == {**proof, "owner": "ann", "text_version": "2027-01", "language": "zh", "given_for": "proxy"}
    assert None not in (proof["withdrawn"], proof["erased"])
    log = admin.get("/operator/audit?action=consent")
    assert [each["action"] for each in log.json()["items"]] == ["consent.withdrawn", "consent.given"]
    assert log.json()["items"][1]["actor"].startswith("ann:")
    assert "Wilhelmina" not in shown.text + log.text
    assert code(api.client("op", "operator").get("/operator/consents"))[0] == 403


def test_looking_downloading_and_marking_are_uses(api: ApiHarness) -> None:
    things, client = api.one_of_each(), api.client()
    for act in (
        lambda: client.get(f"/portraits/{things.portrait}/file"),
        lambda: client.get(f"/portraits/zip?id={things.portrait}"),
        lambda: client.patch(f"/portraits/{things.portrait}", json={"favourite": True}),
        lambda: client.get(f"/selfies/{things.selfie}/file"),
        lambda: client.get("/me/export"),
    ):
        _set_used(api, things.person, 20)
        assert act().status_code == 200
        assert _days_since(client.get(f"/people/{things.person}").json()["used"]) < 1
    _set_used(api, things.person, 20)
    for listed in ("/portraits", "/people", f"/portraits/{things.portrait}"):
        client.get(listed)
    assert _days_since(client.get(f"/people/{things.person}").json()["used"]) > 19, "lists are read by programs too"


def test_the_owner_of_favourites_is_told_before_they_go(api: ApiHarness) -> None:
    things, client, store = api.one_of_each(), api.client(), api.context.ledger
    client.post(f"/jobs/{things.waiting}/cancel")
    client.patch(f"/portraits/{things.portrait}", json={"favourite": True})
    assert client.get("/portraits").json()["items"][0]["erased_soon"] is False
    _set_used(api, things.person, 40)
    now, kept = time.time(), api.context.tasks.retention_by_kind
    assert store.retention.due_people(kept, now + 30 * DAY) == []
    [listed] = client.get("/portraits").json()["items"]
    assert listed["erased_soon"] is True
    assert -7.1 < _days_since(listed["erased_on"]) < -6.9
    person = client.get(f"/people/{things.person}").json()
    assert (person["erased_soon"], person["erased_on"][:16]) == (True, listed["erased_on"][:16])
    assert store.retention.due_people(kept, now + 6 * DAY) == []
    assert [row.id for row in store.retention.due_people(kept, now + 8 * DAY)] == [things.person]


def _set_used(api: ApiHarness, person: str, days: float) -> None:
    api.context.ledger.retention.keep_person("ann", person, time.time() - days * DAY)


def _days_since(timestamp: str) -> float:
    return (datetime.now(UTC) - datetime.fromisoformat(timestamp)).total_seconds() / DAY
