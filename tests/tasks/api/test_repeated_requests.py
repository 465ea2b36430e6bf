"""A request with an Idempotency-Key whose process dies after the commit makes nothing a second time."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import sqlalchemy as sa

from tasks.ledger.idempotency import IN_FLIGHT_SECONDS, IdempotencyRepository, id_of_kind
from tasks.ledger.tables import idempotency_keys
from tests.tasks.api.harness import ApiHarness

CONSENT = {"agreed": True, "text_version": "2026-11", "given_by": "Ann"}
PERSON = {"name": "Ann", "consent": CONSENT}
HOOK = {"url": "https://example.org/"}


@contextmanager
def killed_before_the_answer(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """As a process that is killed between the commit and the response: nothing after the commit happens."""
    with monkeypatch.context() as patched:
        patched.setattr(IdempotencyRepository, "save_response", lambda *_: 1 / 0)  # pyrefly: ignore[division-by-zero] -- a fault
        patched.setattr(IdempotencyRepository, "release", lambda *_: None)
        yield


def twice(api: ApiHarness, monkeypatch: pytest.MonkeyPatch, path: str, body: dict[str, Any]) -> dict[str, Any]:
    """The answer to the same request again, a minute after its process died."""
    client, headers = api.client(), {"Idempotency-Key": f"k{path}"}
    with killed_before_the_answer(monkeypatch):
        assert client.post(path, json=body, headers=headers).status_code == 500
    assert client.post(path, json=body, headers=headers).json()["code"] == "idempotency_in_flight"
    with api.context.ledger.database.write() as connection:
        connection.execute(sa.update(idempotency_keys).values(created=time.time() - IN_FLIGHT_SECONDS - 1))
    again = client.post(path, json=body, headers=headers)
    assert again.status_code == 201, again.text
    assert client.post(path, json=body, headers=headers).json() == again.json(), "from now on it is the stored answer"
    return again.json()


def test_one_person_with_one_consent(api: ApiHarness, monkeypatch: pytest.MonkeyPatch) -> None:
    made = twice(api, monkeypatch, "/people", PERSON)
    client = api.client()
    assert [each["id"] for each in client.get("/people").json()["items"]] == [made["id"]]
    assert made["id"].startswith("person_")
    assert len(client.get(f"/people/{made['id']}/consents").json()["items"]) == 1
    given = [entry for entry in api.context.ledger.audit.list(action="consent").items if entry.subject == made["id"]]
    assert len(given) == 1


def test_one_consent_more(api: ApiHarness, monkeypatch: pytest.MonkeyPatch) -> None:
    client = api.client()
    person = client.post("/people", json=PERSON).json()["id"]
    twice(api, monkeypatch, f"/people/{person}/consents", CONSENT)
    assert len(client.get(f"/people/{person}/consents").json()["items"]) == 2, "the first, and one more"


def test_one_webhook_whose_secret_is_the_first(api: ApiHarness, monkeypatch: pytest.MonkeyPatch) -> None:
    made = twice(api, monkeypatch, "/webhooks", HOOK)
    (hook,) = api.context.ledger.webhooks.list("ann")
    assert (hook.id, hook.secret) == (made["id"], made["secret"])


def test_one_that_was_erased_meanwhile_is_not_made_again(api: ApiHarness, monkeypatch: pytest.MonkeyPatch) -> None:
    client, headers = api.client(), {"Idempotency-Key": "k"}
    with killed_before_the_answer(monkeypatch):
        client.post("/people", json=PERSON, headers=headers)
    # The erasure deletes stored answers that name the person; this one holds nothing yet but the reserved id.
    (person,) = client.get("/people").json()["items"]
    with api.context.ledger.database.read() as connection:
        reserved = connection.scalar(sa.select(idempotency_keys.c.body))
    assert id_of_kind("person", str(reserved)) == person["id"]
    assert client.delete(f"/people/{person['id']}").status_code == 200
    with api.context.ledger.database.write() as connection:
        connection.execute(sa.update(idempotency_keys).values(created=time.time() - IN_FLIGHT_SECONDS - 1))
    assert client.post("/people", json=PERSON, headers=headers).json()["code"] == "erased"
