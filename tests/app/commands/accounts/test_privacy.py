"""`portrait privacy` as it is typed."""

import json
import time
import zipfile
from pathlib import Path
from typing import Any

from typer.testing import CliRunner, Result

from app.commands.accounts import privacy as command
from tasks import auth
from tasks.files import Files
from tasks.ledger.ledger import Ledger, open_ledger
from tasks.settings import load_installation


def run(*words: str) -> Result:
    return CliRunner().invoke(command.app, list(words))


def document(*words: str) -> dict[str, Any]:
    result = run(*words, "--json")
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


def opened() -> tuple[Ledger, Files]:
    tasks = load_installation().tasks
    return open_ledger(tasks.database), Files(tasks.data)


def test_somebody_who_asks_by_mail_gets_it_and_is_erased(home: Path, tmp_path: Path) -> None:
    ledger, files = opened()
    auth.create_key(ledger, "ann", "Ann's laptop", "person", time.time())
    people = [ledger.people.add("ann", name, "1", name, time.time()).id for name in ("Ann", "Bo")]
    files.save([b"photo"], files.template("ann", "t"), 9)
    for person in people:
        files.save([b"x"], files.selfie("ann", person, "s"), 9)
    document("export", "ann", str(tmp_path / "ann.zip"))
    with zipfile.ZipFile(tmp_path / "ann.zip") as archive:
        records = json.loads(archive.read("records.json"))
    assert {each["name"] for each in records["people"]} == {"Ann", "Bo"}
    assert [each["name"] for each in records["api_keys"]] == ["Ann's laptop"]
    assert run("export", "ann", str(tmp_path / "ann.zip")).exit_code == 3, "no file is overwritten"
    assert document("erase", "ann", "--person", people[0], "--yes")["erased"]["people"] == [people[0]]
    assert not files.person("ann", people[0]).exists()
    assert files.person("ann", people[1]).exists()
    assert run("erase", "ann", "--person", people[0], "--yes").exit_code == 3
    rest = document("erase", "ann", "--yes")
    assert (rest["done"], rest["erased"]["people"]) == (True, [people[1]])
    assert ledger.api_keys.list("ann") == []
    assert [each["kind"] for each in document("receipts", "--owner", "ann")["erasures"]] == ["owner", "person"]
    assert [each.action for each in ledger.audit.list(action="erasure").items].count("erasure.done") == 2
    assert [each.subject for each in ledger.audit.list(action="export").items] == ["ann"]


def test_nobody_is_erased_by_mistake(home: Path) -> None:
    ledger, _ = opened()
    auth.create_key(ledger, "ann", "key", "person", time.time())
    assert run("erase", "nobody", "--yes").exit_code == 3
    assert run("erase", "ann").exit_code == 130, "it is asked first"
    assert ledger.api_keys.list("ann")
    assert ledger.erasures.list(None).items == []
