"""`portrait jobs`, `portrait people` and `portrait blocked` as they are typed."""

import json
import subprocess
import time
from pathlib import Path
from typing import Any

import PIL.Image
import pytest

from tasks import auth
from tasks.ledger.ledger import Ledger, open_ledger
from tasks.ledger.privacy.blocked_people import BlockedPersonRow
from tasks.settings import load, load_installation
from tests import selfies
from tests.app.cli_runner import PORTRAIT, process, run
from tests.tasks.stand import new_job


@pytest.fixture
def ledger(home: Path) -> Ledger:
    """The ledger of a fresh installation, with four jobs of a person who agreed."""
    opened = open_ledger(load_installation().tasks.database)
    auth.create_key(opened, "ann", "laptop", "person", time.time())
    person = opened.people.add("ann", "Ann", "2026-12", "Ann", time.time()).id
    for at in range(4):
        opened.jobs.add(new_job(created=time.time() + at, params={"person": person, "words": "with a straw hat"}))
    return opened


def document(*words: object) -> dict[str, Any]:
    return json.loads(run(*words, "--json").stdout)


def ids(*words: object) -> list[str]:
    return run("jobs", "list", "-q", *words).stdout.split()


def test_jobs_are_listed_the_newest_first_without_words(ledger: Ledger) -> None:
    jobs = document("jobs", "list")["jobs"]
    assert [each["place"] for each in jobs] == [4, 3, 2, 1]
    assert ids() == [each["id"] for each in jobs]
    assert ids("--limit", 2) == ids()[:2]
    assert ids("--state", "running") == ids("--kind", "train") == ids("--owner", "bob") == []
    assert ids("--owner", "ann", "--state", "queued", "--kind", "generate") == ids()
    everything = (
        run("jobs", "list", "--json").stdout + run("jobs", "list").stdout + run("jobs", "show", ids()[0]).stdout
    )
    assert "straw hat" not in everything
    assert "no such jobs" in run("jobs", "list", "--owner", "bob").stdout
    assert run("jobs", "list", "--state", "sad").returncode == 2


def test_more_jobs_than_a_page_are_listed(ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("app.commands.ledger.jobs.PAGE", 3)
    assert len(set(ids())) == 4


def test_jobs_are_cancelled_and_tried_again(ledger: Ledger) -> None:
    newest, second, third, _ = ids()
    assert run("jobs", "cancel", newest, second).stdout == f"{newest} is cancelled.\n{second} is cancelled.\n"
    assert run("jobs", "retry", third).returncode == 3
    assert document("jobs", "retry", newest)["jobs"][0]["state"] == "queued"
    log = [each["state"] for each in document("jobs", "show", newest)["log"]]
    assert log == ["queued", "cancelled", "queued"]
    assert run("jobs", "show", "job_none").returncode == 3
    actions = [(row.actor, row.action, row.subject) for row in ledger.audit.list().items]
    assert actions[:2] == [("system", "job.retried", newest), ("system", "job.cancelled", second)]


def test_a_job_is_put_first(ledger: Ledger) -> None:
    newest = ids()[0]
    assert "number 1 of its queue" in run("jobs", "priority", newest, 5).stdout
    claimed = ledger.queue.claim("w", "cpu", {"draw:studio"}, time.time(), 60)
    assert claimed is not None
    assert claimed.id == newest
    assert run("jobs", "priority", newest, 101).returncode == 2


def test_who_reads_on_may_stop(ledger: Ledger) -> None:
    listed = subprocess.run(["bash", "-c", f"{PORTRAIT} jobs list -q | head -1"], capture_output=True, text=True)
    assert len(listed.stdout.split()) == 1
    assert listed.stderr == ""


def test_people_of_an_owner(ledger: Ledger) -> None:
    [person] = document("people", "list", "ann")["people"]
    assert (person["name"], person["photos"], person["consent"]) == ("Ann", 0, "given")
    assert run("people", "list", "ann", "-q").stdout.split() == [person["id"]]
    assert run("people", "list", "bob").returncode == 3
    assert run("owners", "list", "-q").stdout == "ann\n"
    assert run("keys", "list", "-q").stdout.startswith("key_")
    assert run("people", "erase", "ann", "--person", person["id"], "--yes").returncode == 0
    assert "no people" in run("people", "list", "ann").stdout


def test_blocked_faces_are_listed_and_removed(ledger: Ledger) -> None:
    assert "No face" in run("blocked", "list").stdout
    ledger.blocked_people.add(
        BlockedPersonRow("blocked_1", "Letter of 3 May", "olga:key_1", 1.0, {"dlib": [0.0] * 128})
    )
    [face] = document("blocked", "list")["blocked"]
    assert (face["id"], face["note"], face["added_by"]) == ("blocked_1", "Letter of 3 May", "olga:key_1")
    assert run("blocked", "list", "-q").stdout == "blocked_1\n"
    assert run("blocked", "remove", "blocked_1").returncode == 0
    assert run("blocked", "remove", "blocked_1").returncode == 3
    assert ledger.audit.list().items[0].action == "guard.unblocked"


@pytest.mark.models
def test_a_face_is_blocked_by_a_photo(ledger: Ledger, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PORTRAIT_HOME")
    models = load().models.folder
    monkeypatch.setenv("PORTRAIT_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("PORTRAIT_MODELS__FOLDER", str(models))
    photo, none = tmp_path / "face.jpg", tmp_path / "none.jpg"
    PIL.Image.fromarray(selfies.astronaut()).save(photo)
    PIL.Image.fromarray(selfies.astronaut()[:80, :80]).save(none)
    added = document("blocked", "add", photo, "--note", "Letter")
    [row] = ledger.blocked_people.list().items
    assert (row.id, row.note, row.added_by, sorted(row.embeddings)) == (
        added["id"],
        "Letter",
        "system",
        added["spaces"],
    )
    assert run("blocked", "add", none, "--note", "Letter").returncode == 3


def test_a_shell_can_complete_what_is_typed(home: Path) -> None:
    assert "_PORTRAIT_COMPLETE" in process("--show-completion", "bash").stdout
