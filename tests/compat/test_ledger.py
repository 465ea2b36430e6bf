"""A ledger with a row in every table is opened, brought up to date, and comes back through the API as it did."""

import json
import sqlite3
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from tasks.api.routes.operator import FOR_THE_OWNER
from tasks.jobs import without_words
from tests.compat import documents, facts, terminal
from tests.compat.comparing import missing, stored
from tests.compat.places import FIXTURES

OLD = FIXTURES / "home" / "ledger.db"


def rows(ledger: Path, table: str) -> list[tuple[Any, ...]]:
    """All rows of a table, in the columns that it had."""
    columns = ", ".join(f'"{name}"' for name in stored("tables.json")[table])
    connection = sqlite3.connect(ledger)
    try:
        return sorted(connection.execute(f'SELECT {columns} FROM "{table}"'), key=repr)  # noqa: S608 -- names of the fixtures
    finally:
        connection.close()


def answered(client: TestClient, owner: str) -> list[str]:
    """What one of the two is answered otherwise than before."""
    before = {name.split(" ")[1]: said for name, said in stored("answers.json").items() if name.split(" ")[0] == owner}
    assert len(before) > 5
    for job in before.get("/operator/jobs", {}).get("items", []):
        _without_words(job)
    return [
        wrong
        for address, said in before.items()
        for wrong in _differs(said, documents.said(client.get(address)), address)
    ]


def _without_words(job: dict[str, Any]) -> None:
    """Operators see no words of people any more: not those of a request, and none of a fault that only the owner can mend."""
    job["wants"] = without_words(job["wants"])
    if job["fault"] and job["fault"]["code"].startswith(("no_", "template_")):
        job["fault"] |= {"message": FOR_THE_OWNER, "errors": []}


def _differs(before: Any, now: Any, place: str) -> list[str]:
    """Like `missing`, but lists are compared in their order."""
    if isinstance(before, list) and isinstance(now, list) and len(before) == len(now):
        pairs = enumerate(zip(before, now, strict=True))
        return [wrong for at, (one, other) in pairs for wrong in _differs(one, other, f"{place}[{at}]")]
    if isinstance(before, dict) and isinstance(now, dict):
        gone = [f"{place} {name} is gone" for name in before if name not in now]
        return gone + [
            wrong for name in before if name in now for wrong in _differs(before[name], now[name], f"{place} {name}")
        ]
    return missing(before, now, place)


def test_every_table_had_a_row() -> None:
    assert [table for table in stored("tables.json") if not rows(OLD, table)] == []


@pytest.mark.usefixtures("ann")
def test_tables_keep_their_columns_and_rows(old_home: Path) -> None:
    now = facts.tables(old_home / "ledger.db")
    assert missing(stored("tables.json"), now) == []
    kept = [table for table in stored("tables.json") if table != "alembic_version"]
    assert [table for table in kept if rows(OLD, table) != rows(old_home / "ledger.db", table)] == []


def test_a_new_ledger_has_the_same_tables_and_columns(new_home: Path) -> None:
    assert terminal.answer("keys", "list") == {"keys": []}
    assert missing(stored("tables.json"), facts.tables(new_home / "ledger.db")) == []


def test_what_a_person_has_comes_back(shared_client: TestClient) -> None:
    assert answered(shared_client, "ann") == []


def test_what_an_operator_sees_comes_back(operator: TestClient) -> None:
    assert answered(operator, "olga") == []


def test_files_lie_where_they_are_looked_for(shared_client: TestClient, operator: TestClient) -> None:
    answers = stored("answers.json")
    places = [f"/portraits/{each['id']}/file" for each in answers["ann /portraits"]["items"]]
    places += [f"/templates/{each['id']}/file" for each in answers["ann /templates"]["items"]]
    selfies = answers[f"ann /people/{stored('known.json')['person']}/selfies"]["items"]
    places += [f"/selfies/{each['id']}/{what}" for each in selfies for what in ("file", "crop")]
    shown = [shared_client.get(place) for place in places]
    shown += [operator.get(f"/operator/styles/kept-picture/versions/{version}/picture") for version in (1, 2)]
    there = {file.read_bytes() for file in (FIXTURES / "home" / "data").rglob("*") if file.is_file()}
    assert [answer.status_code for answer in shown] == [200] * len(shown)
    assert all(answer.content in there for answer in shown)


def test_everything_of_a_person_can_be_taken_home(shared_client: TestClient) -> None:
    assert missing(stored("export.json"), documents.export(shared_client.get("/me/export").content)) == []


def test_what_was_erased_is_known_to_be(shared_client: TestClient) -> None:
    answer = shared_client.get(f"/people/{stored('known.json')['erased']}")
    assert (answer.status_code, answer.json()["code"]) == (410, "erased")


def test_a_sign_in_code_still_opens(ann: TestClient) -> None:
    answer = ann.post("/sign-in", json={"code": stored("known.json")["code"]})
    assert answer.status_code == 201, answer.text
    assert ann.get("/me", headers={"Authorization": f"Bearer {answer.json()['secret']}"}).json()["owner"] == "ann"


def test_a_request_that_was_answered_is_answered_the_same_again(shared_client: TestClient) -> None:
    sent = b'{"name": "Ann", "consent": {"agreed": true, "text_version": "1", "given_by": "Ann"}}'
    headers = {"Idempotency-Key": stored("known.json")["key"], "Content-Type": "application/json"}
    answer = shared_client.post("/people", content=sent, headers=headers)
    assert answer.headers["Idempotent-Replayed"] == "true"
    assert answer.json()["id"] == stored("known.json")["person"]


def test_a_webhook_is_called_with_the_same_fields(ann: TestClient, old_home: Path) -> None:
    def calls(ledger: Path) -> dict[str, Any]:
        connection = sqlite3.connect(ledger)
        try:
            chosen = "SELECT event, payload FROM webhook_deliveries"
            return {event: json.loads(payload) for event, payload in connection.execute(chosen)}
        finally:
            connection.close()

    before = calls(OLD)
    ann.post(f"/jobs/{stored('known.json')['waiting']}/cancel").raise_for_status()
    now = calls(old_home / "ledger.db")
    assert set(before) <= set(now)
    assert documents.parts(before["job.cancelled"]) <= documents.parts(now["job.cancelled"])
    assert now["job.cancelled"]["type"] == "job.cancelled"


@pytest.mark.usefixtures("old_home")
def test_commands_read_the_ledger() -> None:
    assert {each["owner"]: each["role"] for each in terminal.answer("keys", "list")["keys"]} == {
        "ann": "person",
        "olga": "admin",
    }
    listed = {each["id"]: each["version"] for each in terminal.answer("styles", "list")["styles"]}
    assert {id: listed[id] for id in ("kept-picture", "kept-words", "kept-light")} == {
        "kept-picture": 2,
        "kept-words": 1,
        "kept-light": 1,
    }
    assert terminal.answer("styles", "show", "kept-picture")["style"]["title"] == "Kept picture, anew"
    uses = {each["style"]: each["uses"] for each in terminal.answer("styles", "stats")["styles"]}
    assert (uses["kept-picture"], uses["kept-words"]) == (1, 2)
