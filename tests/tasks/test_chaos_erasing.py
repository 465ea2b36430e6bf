"""Erasures that are killed at every single step, on SQLite and on PostgreSQL, for a person and for an owner."""

import secrets
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import sqlalchemy as sa

from tasks import erasing
from tasks.files import Files
from tasks.ledger.database import Database
from tasks.ledger.ledger import Ledger, open_ledger
from tasks.ledger.privacy.erasures import ErasureRow, Request
from tests.tasks import privacy_story as story
from tests.tasks.privacy_story import LATER, START, Known, Steps

pytestmark = pytest.mark.chaos


@dataclass(frozen=True)
class Told:
    """An installation after the story, and copies of it."""

    home: Path
    erased: Known
    other: Known
    copy: Callable[[Path], str]
    """Makes the same installation at another place; returns the URL of its database."""


@pytest.fixture(params=["one owner", "two owners"])
def owners(request: pytest.FixtureRequest) -> tuple[str, str]:
    return ("ann", "ann") if request.param == "one owner" else ("ann", "bob")


@pytest.fixture(params=["sqlite", "postgresql"])
def told(request: pytest.FixtureRequest, owners: tuple[str, str], tmp_path: Path) -> Iterator[Told]:
    home = tmp_path / "told"
    home.mkdir()
    server = request.getfixturevalue("started")("postgresql") if request.param == "postgresql" else ""
    admin = sa.create_engine(f"{server.replace('postgresql:', 'postgresql+psycopg:')}/postgres") if server else None
    url = f"{server}/told{secrets.token_hex(4)}" if server else f"sqlite:///{home / 'ledger.db'}"

    def create(name: str, template: str = "template1") -> None:
        assert admin is not None
        with admin.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            connection.execute(sa.text(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)"))
            connection.execute(sa.text(f"CREATE DATABASE {name} TEMPLATE {template}"))

    def copy(place: Path) -> str:
        shutil.rmtree(place, ignore_errors=True)
        shutil.copytree(home, place)
        if server:
            create("copied", url.rpartition("/")[2])
            return f"{server}/copied"
        return f"sqlite:///{place / 'ledger.db'}"

    if admin is not None:
        create(url.rpartition("/")[2])
        with admin.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            story.keep_no_log(connection)
    ledger, files = open_ledger(url), Files(home / "data")
    erased, other = story.tell(ledger, files, owners)
    if owners[0] != owners[1]:
        for known in (erased, other):
            story.add_account(ledger, files, known)
    ledger.close()
    yield Told(home, erased, other, copy)
    if admin is not None:
        admin.dispose()


def test_nothing_is_left_whoever_dies_at_any_step(told: Told, tmp_path: Path) -> None:
    home = tmp_path / "home"
    url = told.copy(home)
    before = found(url, home, told.other)
    ledger = Ledger(Database(url))
    with Steps(home).watching(ledger) as steps:
        erase(ledger, home, told)
    ledger.close()
    for stop in range(1, steps.count + 1):
        url = told.copy(home)
        assert not story.forked(lambda url=url, stop=stop: erase_until(url, home, told, stop)), "it was killed"
        ledger = Ledger(Database(url))
        erasing.finish_erasures(ledger, Files(home / "data"), LATER)
        assert ledger.erasures.pending() == []
        begun = ledger.erasures.list(None).items
        ledger.close()
        assert bool(found(url, home, told.erased)) != bool(begun), f"killed at step {stop}"
        assert found(url, home, told.other) == before, f"killed at step {stop}"


@pytest.mark.parametrize("owners", [("ann", "ann")])
def test_nothing_is_left_of_a_photo_whoever_dies_at_any_step(told: Told, tmp_path: Path) -> None:
    home = tmp_path / "home"

    def erase_photo(url: str, stop: int) -> int:
        ledger = Ledger(Database(url))
        with Steps(home, stop).watching(ledger) as steps:
            erasure = ledger.erasures.erase_selfie(Request("ann", START + 10), told.erased.selfies[0], learned=True)
            erasing.finish_erasure(ledger, Files(home / "data"), erasure, START + 10)
        ledger.close()
        return steps.count

    def settle(url: str) -> set[str]:
        ledger = Ledger(Database(url))
        erasing.finish_erasures(ledger, Files(home / "data"), LATER)
        assert ledger.erasures.pending() == []
        ledger.close()
        return found(url, home, told.erased)

    before = found(told.copy(home), home, told.erased)
    url = told.copy(home)
    count = erase_photo(url, -1)
    after = settle(url)
    assert {what.split()[0] for what in before - after} >= {"photo", "crops", "references", "embedding", "mean", "LoRA"}
    for stop in range(1, count + 1):
        url = told.copy(home)
        assert not story.forked(lambda url=url, stop=stop: erase_photo(url, stop)), "it was killed"
        assert settle(url) in ([before] if stop == 1 else [after]), f"killed at step {stop}"


def erase(ledger: Ledger, home: Path, told: Told) -> ErasureRow:
    request, one = Request("ann", START + 10, "ann:key_1"), told.erased.owner == told.other.owner
    erasure = ledger.erasures.erase_person(request, told.erased.id) if one else ledger.erasures.erase_owner(request)
    return erasing.finish_erasure(ledger, Files(home / "data"), erasure, request.now)


def erase_until(url: str, home: Path, told: Told, stop: int) -> None:
    ledger = Ledger(Database(url))
    with Steps(home, stop).watching(ledger):
        erase(ledger, home, told)


def found(url: str, home: Path, known: Known) -> set[str]:
    """Marks of a person in every file, and where the database is a server's, in every row and in the server's own files."""
    contents = story.contents(home)
    if url.startswith("postgresql"):
        ledger = Ledger(Database(url))
        contents += story.rows(ledger)
        if ledger.erasures.list(None).items:
            assert ledger.database.rewrite()
        contents += story.server_files(ledger)
        ledger.close()
    return story.found(contents, known)
