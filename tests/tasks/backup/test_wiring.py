"""Every part that erases writes the journal of the settings, and what is restored is what the API sends."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import pytest
from starlette.testclient import TestClient

from tasks import auth
from tasks.api.app import create_app, open_context
from tasks.ledger.ledger import open_ledger
from tasks.ledger.privacy.erasures import Request
from tasks.ledger.privacy.journal import ErasureJournal
from tasks.settings import load_installation
from tests import selfies
from tests.app.cli_runner import run
from tests.tasks.backup.conftest import Place
from tests.tasks.stand import wait_until


def opened(home: Path) -> tuple[Path, str]:
    """The journal, and a person in the ledger."""
    ledger = open_ledger(f"sqlite:///{home / 'ledger.db'}")
    person = ledger.people.add("ann", "Ann", "1", "Ann", time.time()).id
    with ledger.database.write() as connection:
        connection.exec_driver_sql("INSERT INTO owners (id, folded, created) VALUES ('ann', 'ann', 1)")
    ledger.close()
    return home / "erasures.jsonl", person


def noted(journal: Path) -> list[str]:
    return [id for entry in ErasureJournal(journal).entries() for id in entry.ids.get("people", ())]


def test_the_api(home: Path) -> None:
    journal, person = opened(home)
    context = open_context(load_installation())
    context.finish(context.ledger.erasures.erase_person(Request("ann", time.time()), person))
    assert noted(journal) == [person]
    context.ledger.close()


def test_the_command_line(home: Path) -> None:
    journal, person = opened(home)
    answer = run("privacy", "erase", "ann", "--person", person, "--yes", "--json")
    assert json.loads(answer.stdout)["done"]
    assert noted(journal) == [person]


def test_the_keeper_of_a_process(home: Path) -> None:
    journal, person = opened(home)
    ledger = open_ledger(f"sqlite:///{home / 'ledger.db'}")
    ledger.erasures.erase_person(Request("ann", time.time()), person)
    program = Path(sys.executable).with_name("portrait")
    often = {**os.environ, "PORTRAIT_TASKS__KEEPER": "0.1"}
    keeper = subprocess.Popen([program, "keeper"], env=often, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    try:
        wait_until(lambda: journal.exists() and noted(journal) == [person], 60)
    finally:
        keeper.send_signal(signal.SIGTERM)
        keeper.communicate(timeout=20)
    ledger.close()


def test_the_same_pictures_are_sent_after_a_restore_and_erased_people_are_gone(
    full: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = auth.create_key(full.ledger(), "ann", "Ann's", "person", time.time()).secret
    picture = selfies.jpeg(selfies.astronaut())
    drawn = full.files.portrait("ann", "job_1", "01.jpg")
    drawn.write_bytes(picture)
    template = full.files.template("ann", "template_1")
    template.write_bytes(picture)
    monkeypatch.setenv("PORTRAIT_HOME", str(full.home))
    run("db", "backup", full.home / "portrait.tar")
    paths = ("/portraits/portrait_1/file", "/templates/template_1/file")
    assert sent(key, paths) == [(200, picture)] * 2
    monkeypatch.setenv("PORTRAIT_HOME", str(tmp_path / "back"))
    assert run("db", "restore", full.home / "portrait.tar", "--erasures", full.journal).returncode == 0
    assert sent(key, paths) == [(200, picture)] * 2
    monkeypatch.setenv("PORTRAIT_HOME", str(full.home))
    assert run("privacy", "erase", "ann", "--person", "person_1", "--yes").returncode == 0
    monkeypatch.setenv("PORTRAIT_HOME", str(tmp_path / "again"))
    assert run("db", "restore", full.home / "portrait.tar", "--erasures", full.journal).returncode == 0
    assert [status for status, _ in sent(key, (*paths, "/people/person_1"))] == [410, 200, 410]


def sent(key: str, paths: Sequence[str]) -> list[tuple[int, bytes]]:
    """What the API of `PORTRAIT_HOME` answers: status and content."""
    context, headers = open_context(load_installation()), {"Authorization": f"Bearer {key}"}
    with TestClient(create_app(context), base_url="http://testserver/v1", headers=headers) as client:
        answers = [client.get(path) for path in paths]
    context.ledger.close()
    return [(answer.status_code, answer.content) for answer in answers]
