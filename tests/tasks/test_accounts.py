"""Owners: their names, disabling, removal, and the audit log that stays."""

import json
import shutil
import sqlite3
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
import sqlalchemy as sa

from portrait.errors import UserError
from tasks import accounts, auth, erasing
from tasks.files import Files
from tasks.ledger.ledger import Ledger, open_ledger
from tasks.ledger.tables import audit, metadata, owners
from tasks.settings import SessionSettings
from tests.compat.places import FIXTURES


def code_of(call: Callable[[], object]) -> str:
    with pytest.raises(UserError) as caught:
        call()
    return caught.value.code


def test_two_owners_never_share_a_folder(ledger: Ledger) -> None:
    now = time.time()
    auth.create_key(ledger, "Ann", "k", "person", now)
    auth.create_key(ledger, "Ann", "another", "person", now)
    assert code_of(lambda: auth.create_key(ledger, "ann", "k", "person", now)) == "owner_taken"
    assert code_of(lambda: auth.create_code(ledger, "ANN", "person", now)) == "owner_taken"
    assert code_of(lambda: auth.open_session_of(ledger, "anN", "person", SessionSettings(), now)) == "owner_taken"
    assert [row.id for row in ledger.owners.list()] == ["Ann"]


def test_owners_who_differ_in_capitals_before_stay(tmp_path: Path) -> None:
    old = tmp_path / "ledger.db"
    shutil.copyfile(FIXTURES / "home" / "ledger.db", old)
    with closing(sqlite3.connect(old)) as connection:
        owner = connection.execute("SELECT min(owner) FROM api_keys").fetchone()[0]
        connection.execute("UPDATE templates SET owner = ?", (owner.upper(),))
        connection.commit()
    ledger, now = open_ledger(f"sqlite:///{old}"), time.time()
    assert {owner, owner.upper()} <= {row.id for row in ledger.owners.list()}
    for each in (owner, owner.upper()):
        assert auth.create_key(ledger, each, "k", "person", now).row.owner == each
    assert code_of(lambda: auth.create_key(ledger, owner.capitalize(), "k", "person", now)) == "owner_taken"
    ledger.close()


def test_a_disabled_owner_is_not_let_in_by_anything(ledger: Ledger) -> None:
    now, limits = time.time(), SessionSettings()
    key = auth.create_key(ledger, "ann", "k", "person", now).secret
    session = auth.open_session_with_key(ledger, key, limits, now).secret
    code = auth.create_code(ledger, "ann", "person", now)
    accounts.disable(ledger, "ann", None, now)
    assert code_of(lambda: auth.authenticate(ledger, f"Bearer {key}", now)) == "unauthenticated"
    assert code_of(lambda: auth.authenticate(ledger, f"Bearer {session}", now)) == "unauthenticated"
    assert code_of(lambda: auth.open_session_with_key(ledger, key, limits, now)) == "unauthenticated"
    assert code_of(lambda: auth.open_session_with_code(ledger, code, limits, now)) == "bad_code"
    assert code_of(lambda: auth.open_session_of(ledger, "ann", "person", limits, now)) == "owner_disabled"
    assert code_of(lambda: auth.create_key(ledger, "ann", "k", "person", now)) == "owner_disabled"
    accounts.enable(ledger, "ann", None, now)
    assert auth.authenticate(ledger, f"Bearer {key}", now).owner == "ann"
    assert code_of(lambda: auth.authenticate(ledger, f"Bearer {session}", now)) == "unauthenticated", "it had ended"


def test_nobody_shuts_themselves_out(ledger: Ledger) -> None:
    key = auth.create_key(ledger, "root", "k", "admin", time.time())
    root = auth.authenticate(ledger, f"Bearer {key.secret}", time.time())
    assert code_of(lambda: accounts.disable(ledger, "root", root, time.time())) == "own_account"
    assert code_of(lambda: accounts.remove(ledger, "root", root, time.time())) == "own_account"


def test_of_a_removed_owner_no_row_and_no_name_stays(ledger: Ledger, tmp_path: Path) -> None:
    now, files = time.time(), Files(tmp_path / "data")
    for owner in ("annabel", "bob"):
        key = auth.create_key(ledger, owner, "k", "person", now).secret
        auth.open_session_with_key(ledger, key, SessionSettings(), now)
        auth.create_code(ledger, owner, "person", now)
    person = ledger.people.add("annabel", "Ann", "1", "Ann", now)
    files.save([b"x"], files.selfie("annabel", person.id, "selfie_1"), 10)
    root = auth.authenticate(ledger, f"Bearer {auth.create_key(ledger, 'root', 'k', 'admin', now).secret}", now)
    before = rows_naming(ledger, "bob")
    erasure = accounts.remove(ledger, "annabel", root, now)
    assert accounts.forget_removed(ledger, files) == 0, "files may be left"
    assert code_of(lambda: auth.create_key(ledger, "annabel", "k", "person", now)) == "owner_taken"
    assert erasing.finish_erasure(ledger, files, erasure, now + 1).done is not None
    accounts.forget_removed(ledger, files)
    assert rows_naming(ledger, "annabel") == []
    assert not [place for place in files.root.rglob("*") if "annabel" in str(place.relative_to(files.root))]
    assert rows_naming(ledger, "bob") == before
    with ledger.database.read() as connection:
        removed = connection.execute(sa.select(audit).where(audit.c.action == "owner.removed")).one()
    assert (removed.actor, removed.detail) == (root.actor, {"erasure": erasure.id})
    assert code_of(lambda: accounts.remove(ledger, "annabel", root, now)) == "not_found"
    assert auth.create_key(ledger, "annabel", "k", "person", now).row.owner == "annabel", "the name is free again"


def rows_naming(ledger: Ledger, owner: str) -> list[str]:
    with ledger.database.read() as connection:
        rows = [
            json.dumps([table.name, *map(str, row)])
            for table in metadata.sorted_tables
            for row in connection.execute(sa.select(table))
        ]
    return sorted(row for row in rows if owner in row)


def test_an_owner_whose_name_names_no_folder_is_removed(sqlite: Ledger, tmp_path: Path) -> None:
    files, now = Files(tmp_path / "data"), time.time()
    with sqlite.database.write() as connection:
        connection.execute(
            sa.insert(owners).values(id="a..b", folded="a..b", created=now)
        )  # as they could be made before
    sqlite.people.add("a..b", "Ann", "1", "Ann", now)
    auth.sign_in(sqlite, auth.create_code(sqlite, "a..b", "person", now), now)  # they are let in as before
    accounts.remove(sqlite, "a..b", None, now)
    assert erasing.finish_erasures(sqlite, files, now) == 1
    assert accounts.forget_removed(sqlite, files) == 1
    assert rows_naming(sqlite, "a..b") == []
