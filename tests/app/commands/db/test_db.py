"""`portrait db` as it is typed, and the command blocks of docs/backup.md as they are printed."""

import json
import os
import re
import shutil
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tasks import erasing
from tasks.files import Files
from tasks.ledger.database import Database
from tasks.ledger.ledger import Ledger, open_ledger
from tasks.ledger.privacy.erasures import Request
from tasks.settings import load_installation
from tests.app.cli_runner import run
from tests.tasks.conftest import create_database, started
from tests.tasks.ledger.upkeep.conftest import filled_ledger
from tests.tasks.ledger.upkeep.filled import ROWS

__all__ = ["started"]
ROOT = Path(__file__).parents[4]
PAGE = (ROOT / "docs" / "backup.md").read_text("utf-8")


def blocks(heading: str) -> str:
    """The command blocks below a heading of the page."""
    below = re.split(rf"^## {re.escape(heading)}$", PAGE, maxsplit=1, flags=re.M)[1].split("\n## ")[0]
    return "\n".join(re.findall(r"^```\n(.*?)^```", below, re.M | re.S))


def document(*words: object) -> dict[str, Any]:
    answer = run("db", *words, "--json")
    assert answer.returncode == 0, answer.stdout + answer.stderr
    return json.loads(answer.stdout)


def refused(*words: object) -> str:
    answer = run("db", *words, "--json")
    assert answer.returncode == 4, answer.stdout
    return str(json.loads(answer.stdout)["error"]["code"])


@pytest.fixture
def full(home: Path) -> Path:
    """An installation with rows in every table and the files that they name."""
    home.mkdir(exist_ok=True)
    (home / "ledger.db").write_bytes(filled_ledger())
    files = Files(home / "data")
    for path in (
        files.selfie("ann", "person_1", "selfie_1"),
        files.training_set("ann", "person_1", "set_1") / "set.json",
        files.portrait("ann", "job_1", "01.jpg"),
        files.template("ann", "template_1"),
        files.template("ann", "template_2"),
        files.style("film", 2) / "style.toml",
    ):
        files.save([path.name.encode()], path, 99)
    (home / "marks").mkdir()
    (home / "marks" / "signing.pem").write_bytes(b"secret")
    return home


def ledger_of(home: Path) -> Ledger:
    return open_ledger(f"sqlite:///{home / 'ledger.db'}", home / "erasures.jsonl")


def test_what_is_in_order_and_what_is_not(full: Path) -> None:
    found = document("check", "--files")
    assert (found["sound"], found["files"]["rows"], found["foreign_keys"]) == (True, 6, {})
    files = Files(full / "data")
    files.portrait("ann", "job_1", "01.jpg").unlink()
    shutil.copytree(
        files.training_set("ann", "person_1", "set_1"), orphan := files.training_set("ann", "person_1", "set_9")
    )
    os.utime(orphan, (1, 1))
    answer = run("db", "check", "--files", "--json")
    found = json.loads(answer.stdout)
    assert (answer.returncode, found["sound"]) == (1, False)
    assert found["files"]["missing"] == ["owners/ann/jobs/job_1/01.jpg"]
    assert found["files"]["orphans"] == ["owners/ann/people/person_1/sets/set_9"]
    printed = run("db", "check", "--files")
    assert "missing: owners/ann/jobs/job_1/01.jpg" in printed.stdout
    assert "Something is wrong" in printed.stdout
    assert run("db", "check").returncode == 0, "without --files the files are not looked at"


def test_checking_changes_nothing_and_shows_no_password(full: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = (full / "ledger.db").read_bytes()
    document("check", "--files")
    assert (full / "ledger.db").read_bytes() == before
    monkeypatch.setenv("PORTRAIT_TASKS__DATABASE", "postgresql://me:secret@127.0.0.1:1/x")
    answer = run("db", "check")
    assert answer.returncode == 4
    assert "secret" not in answer.stdout + answer.stderr


def test_there_is_nothing_to_look_at_yet(home: Path) -> None:
    for words in (("check",), ("upgrade",), ("backup", home / "x.tar"), ("copy", "--to", f"sqlite:///{home / 'y.db'}")):
        assert refused(*words) == "no_ledger", words
    assert not (home / "ledger.db").exists()


def old_ledger(place: Path, revision: str = "0012") -> None:
    """A ledger as an earlier version left it, with a person."""
    database = Database(f"sqlite:///{place}")
    database.migrate(revision)
    with database.write() as connection:
        connection.exec_driver_sql(
            "INSERT INTO people (id, owner, name, created, used) VALUES ('p', 'ann', 'Ann', 1, 2)"
        )
    database.close()


def test_an_upgrade_says_its_steps_copies_the_file_and_keeps_the_rows(home: Path, tmp_path: Path) -> None:
    home.mkdir(exist_ok=True)
    old_ledger(home / "ledger.db")
    planned = document("upgrade", "--dry-run")
    assert (planned["from"], planned["done"], planned["copy"]) == ("0012", False, None)
    assert planned["steps"][0] == {"revision": "0013", "purpose": planned["steps"][0]["purpose"]}
    assert "never drawn" in planned["steps"][0]["purpose"]
    assert document("upgrade", "--dry-run")["from"] == "0012", "nothing was changed"
    answer = run("db", "check", "--json")
    assert (answer.returncode, json.loads(answer.stdout)["steps"][0]) == (1, "0013")
    done = document("upgrade", "--backup", tmp_path / "before.tar")
    copy = Path(done["copy"])
    assert re.fullmatch(r"ledger\.db\.0012\.\d{8}T\d{6}\.copy", copy.name)
    with sqlite3.connect(copy) as before:
        assert before.execute("SELECT version_num FROM alembic_version").fetchall() == [("0012",)]
        assert before.execute("SELECT name FROM people").fetchall() == [("Ann",)]
    assert ledger_of(home).people.get("ann", "p").name == "Ann"
    assert (tmp_path / "before.tar").exists()
    again = document("upgrade")
    assert (again["steps"], again["copy"]) == ([], None)


@pytest.mark.parametrize("server", ["postgresql"])
def test_an_upgrade_of_a_server_says_that_a_backup_is_the_operators(
    home: Path, tmp_path: Path, started: Callable[[str], str], server: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, words in (("one", ()), ("two", ("--backup", tmp_path / "b.tar"))):
        url = create_database(started(server), f"older_{name}")
        monkeypatch.setenv("PORTRAIT_TASKS__DATABASE", url)
        database = Database(url)
        database.migrate("0012")
        database.close()
        assert "--backup FILE" in run("db", "upgrade", "--dry-run").stdout
        done = run("db", "upgrade", *words)
        assert "was brought from 0012" in done.stdout
        assert ("No backup was made" in done.stdout) == (not words)
        assert document("check")["schema"] == document("check")["newest"]
    assert (tmp_path / "b.tar").exists()


def test_an_upgrade_that_cannot_copy_first_changes_nothing(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    home.mkdir(exist_ok=True)
    old_ledger(home / "ledger.db")
    fixed = time.gmtime(0)
    monkeypatch.setattr("tasks.ledger.upkeep.copies.time.gmtime", lambda _: fixed)
    (home / "ledger.db.0012.19700101T000000.copy").write_bytes(b"in the way")
    assert refused("upgrade") == "cannot_write"
    assert document("upgrade", "--dry-run")["from"] == "0012"


def test_a_backup_comes_back_elsewhere_without_whom_was_erased(
    full: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "portrait.tar"
    saved = document("backup", file, "--marks")
    assert (saved["rows"]["people"], saved["files"], saved["marks"]) == (2, 7, True)
    assert "faces" in run("db", "backup", tmp_path / "other.tar").stdout
    ledger = ledger_of(full)
    erasing.finish_erasure(
        ledger, Files(full / "data"), ledger.erasures.erase_person(Request("ann", 1e9), "person_1"), 1e9
    )
    monkeypatch.setenv("PORTRAIT_HOME", str(tmp_path / "new"))
    assert refused("restore", file) == "no_journal"
    assert refused("restore", file, "--erasures", file) == "bad_journal"
    restored = document("restore", file, "--erasures", full / "erasures.jsonl", "--marks")
    assert restored["replayed"]["erased"] == 1
    assert (tmp_path / "new" / "marks" / "signing.pem").read_bytes() == b"secret"
    people = ledger_of(tmp_path / "new").people.list("ann").items
    assert [person.id for person in people] == ["person_2"]
    assert not Files(tmp_path / "new" / "data").portrait("ann", "job_1", "01.jpg").exists()
    assert document("check", "--files")["sound"]
    assert refused("restore", file, "--no-erasures") == "not_empty"
    journal = document("check")["journal"]
    assert (journal["returned"], journal["file"]) == (0, str(tmp_path / "new" / "erasures.jsonl"))
    before = [json.loads(line)["id"] for line in (full / "erasures.jsonl").read_text().splitlines()]
    after = [json.loads(line)["id"] for line in (tmp_path / "new" / "erasures.jsonl").read_text().splitlines()]
    assert set(before) < set(after), "those of before, and the receipt of what was erased again"
    assert document("replay", full / "erasures.jsonl")["erased"] == 0
    monkeypatch.setenv("PORTRAIT_HOME", str(tmp_path / "newer"))
    told = run("db", "restore", file, "--no-erasures")
    assert told.returncode == 0
    assert "whoever was erased since is back" in " ".join(told.stdout.split())
    shutil.copy(full / "erasures.jsonl", tmp_path / "newer")
    answer = run("db", "check", "--json")
    assert (answer.returncode, json.loads(answer.stdout)["journal"]["returned"]) == (1, 1)
    assert document("replay")["erased"] == 1
    assert document("check", "--files")["sound"]


def test_files_are_copied_and_compared(full: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    copied = document("copy", "--files", full / "data", tmp_path / "data")
    assert copied["files"] == 6
    assert Files(tmp_path / "data").portrait("ann", "job_1", "01.jpg").read_bytes() == b"01.jpg"
    assert refused("copy", "--files", full / "data", tmp_path / "data") == "not_empty"
    monkeypatch.setattr("tasks.backup.folders.hash_file", lambda path: "0")
    assert refused("copy", "--files", full / "data", tmp_path / "other") == "copy_failed"
    assert refused("copy") == "bad_settings"


def in_shell(commands: str, home: Path, folder: Path, typed: str = "") -> "subprocess.CompletedProcess[str]":
    """The blocks as somebody types them, in an empty folder."""
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    environment = {**os.environ, "PATH": path, "PORTRAIT_HOME": str(home)}
    return subprocess.run(
        ["bash", "-euc", commands],
        cwd=folder,
        env=environment,
        input=typed,
        capture_output=True,
        text=True,
        timeout=120,
    )


def test_the_blocks_of_the_page_back_up_and_restore(full: Path, tmp_path: Path) -> None:
    (folder := tmp_path / "folder").mkdir()
    done = in_shell(blocks("Back up"), full, folder)
    assert done.returncode == 0, done.stderr
    ledger = ledger_of(full)
    erasing.finish_erasure(
        ledger, Files(full / "data"), ledger.erasures.erase_person(Request("ann", 1e9), "person_1"), 1e9
    )
    shutil.copy(full / "erasures.jsonl", folder / "backups")
    assert blocks("Restore").count("portrait db") == 3, "restore, check, and replay where it was done by other means"
    done = in_shell(blocks("Restore"), full, folder)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Nothing is wrong." in done.stdout
    assert [row.id for row in ledger_of(folder / "restored").people.list("ann").items] == ["person_2"]


def test_the_blocks_of_the_page_upgrade(home: Path, tmp_path: Path) -> None:
    home.mkdir(exist_ok=True)
    old_ledger(home / "ledger.db")
    done = in_shell(blocks("Upgrade"), home, tmp_path)
    assert done.returncode == 0, done.stderr
    assert "Nothing was changed." in done.stdout
    assert "was brought from 0012" in done.stdout


@pytest.mark.parametrize("server", ["postgresql"])
def test_the_blocks_of_the_page_move_to_a_server(
    full: Path, tmp_path: Path, started: Callable[[str], str], server: str
) -> None:
    url = create_database(started(server), "moved")
    done = in_shell(blocks("From SQLite to PostgreSQL, and back"), full, tmp_path, typed=f"{url}\n")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "each compared" in done.stdout
    assert "Nothing is wrong." in done.stdout
    moved = open_ledger(url)
    assert {row.id for row in moved.people.list("ann").items} == {row["id"] for row in ROWS["people"]}
    moved.close()
    assert load_installation().tasks.database.startswith("sqlite"), "of this process nothing was changed"
