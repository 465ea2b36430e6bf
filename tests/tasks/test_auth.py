"""Keys, codes and roles against the ledger."""

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import cast

import pytest

from portrait.errors import UserError
from tasks import auth
from tasks.ledger.ledger import Ledger
from tasks.settings import SessionSettings


def code_of(call: Callable[[], object]) -> str:
    with pytest.raises(UserError) as caught:
        call()
    return caught.value.code


def test_a_key_opens_until_it_expires_or_is_revoked(ledger: Ledger) -> None:
    now = time.time()
    lasting = auth.create_key(ledger, "ann", "laptop", "person", now)
    short = auth.create_key(ledger, "ann", "phone", "operator", now, expires=now + 60)
    assert auth.authenticate(ledger, f"Bearer {lasting.secret}", now) == auth.Caller("ann", "person", lasting.row.id)
    assert auth.authenticate(ledger, f"bearer  {short.secret} ", now + 59).role == "operator"
    assert code_of(lambda: auth.authenticate(ledger, f"Bearer {short.secret}", now + 60)) == "unauthenticated"
    ledger.api_keys.revoke(lasting.row.id, now)
    assert code_of(lambda: auth.authenticate(ledger, f"Bearer {lasting.secret}", now)) == "unauthenticated"
    assert code_of(lambda: ledger.api_keys.revoke(lasting.row.id, now)) == "not_found"


@pytest.mark.parametrize(
    "header", ["", "Bearer", "Bearer ", "Basic x", "pk_x", "Bearer \ud800", "Bearer \x00", "Bearer " + "x" * 100_000]
)
def test_what_is_no_key_opens_nothing(sqlite: Ledger, header: str) -> None:
    assert code_of(lambda: auth.authenticate(sqlite, header, 1.0)) == "unauthenticated"


def test_a_code_is_changed_for_a_key_once(ledger: Ledger) -> None:
    now = time.time()
    code = auth.create_code(ledger, "ann", "admin", now)
    key = auth.sign_in(ledger, code, now + auth.CODE_LIFETIME)
    assert (key.row.owner, key.row.role, key.row.expires) == (
        "ann",
        "admin",
        now + auth.CODE_LIFETIME + auth.SIGN_IN_LIFETIME,
    )
    assert auth.authenticate(ledger, f"Bearer {key.secret}", now).has_role("admin")
    assert code_of(lambda: auth.sign_in(ledger, code, now)) == "bad_code"
    late = auth.create_code(ledger, "ann", "person", now)
    assert code_of(lambda: auth.sign_in(ledger, late, now + auth.CODE_LIFETIME + 1)) == "bad_code"
    assert code_of(lambda: auth.sign_in(ledger, late, now)) == "bad_code", "it is used up"
    assert code_of(lambda: auth.sign_in(ledger, "", now)) == "bad_code"


def test_a_role_may_what_those_before_it_may() -> None:
    may = {role: [auth.Caller("ann", role, "k").has_role(each) for each in auth.ROLES] for role in auth.ROLES}
    assert may == {
        "person": [True, False, False],
        "operator": [True, True, False],
        "admin": [True, True, True],
    }
    assert not auth.Caller("ann", cast("auth.Role", "king"), "k").has_role("person")


@pytest.mark.parametrize("owner", ["", ".ann", "ann/..", "a b", "ä", "a" * 65, "ann\n", "-ann"])
def test_an_owner_names_a_folder(sqlite: Ledger, owner: str) -> None:
    assert code_of(lambda: auth.create_key(sqlite, owner, "k", "person", 1.0)) == "bad_owner"
    assert code_of(lambda: auth.create_code(sqlite, owner, "person", 1.0)) == "bad_owner"


def test_a_role_that_does_not_exist_is_refused(sqlite: Ledger) -> None:
    assert code_of(lambda: auth.create_key(sqlite, "ann", "k", "king", 1.0)) == "bad_role"  # pyrefly: ignore[bad-argument-type] -- on purpose


def test_secrets_are_nowhere_in_the_database(sqlite: Ledger) -> None:
    place = Path(str(sqlite.database.engine.url.database))
    now = time.time()
    key, code = auth.create_key(sqlite, "ann", "k", "person", now), auth.create_code(sqlite, "ann", "person", now)
    auth.authenticate(sqlite, f"Bearer {key.secret}", now)
    written = b"".join(path.read_bytes() for path in place.parent.glob(f"{place.name}*") if path.suffix != ".lock")
    assert auth.hash_secret(key.secret).encode() in written
    for secret in (key.secret, key.secret.removeprefix("pk_"), code):
        assert secret.encode() not in written
    assert len({auth.create_key(sqlite, "ann", "k", "person", now).secret for _ in range(20)}) == 20
    assert len(key.secret) >= 43, "256 bits"


def test_use_is_noted_at_most_once_a_minute(sqlite: Ledger) -> None:
    now = 1000.0
    key = auth.create_key(sqlite, "ann", "k", "person", now)
    for at in (now, now + 30, now + 59, now + 61):
        auth.authenticate(sqlite, f"Bearer {key.secret}", at)
        expected = now + 61 if at > now + 60 else now
        assert sqlite.api_keys.list("ann")[0].used == expected


def at_once(call: Callable[[int], object]) -> list[str]:
    """What eight callers at the same moment are answered: a code of an error, or nothing."""

    def answer(number: int) -> str:
        try:
            call(number)
        except UserError as error:
            return error.code
        return ""

    with ThreadPoolExecutor(8) as pool:
        return sorted(pool.map(answer, range(8)))


def test_of_many_at_the_same_moment_only_so_many_are_let_in(ledger: Ledger) -> None:
    now, limits = time.time(), SessionSettings()
    code = auth.create_code(ledger, "ann", "person", now)
    opened = at_once(lambda _: auth.open_session_with_code(ledger, code, limits, now))
    assert opened == ["", *["bad_code"] * 7]
    first = auth.create_key(ledger, "ann", "k", "person", now)
    caller, order = auth.authenticate(ledger, f"Bearer {first.secret}", now), auth.KeyOrder("ann", "k", "person")
    assert at_once(lambda _: auth.create_key_for(ledger, caller, order, 4, now)) == [""] * 3 + ["too_many_keys"] * 5
    spelt = at_once(lambda n: auth.create_key(ledger, ("bob", "BOB")[n % 2], "k", "person", now))
    assert spelt == [""] * 4 + ["owner_taken"] * 4


def test_nothing_is_made_with_what_is_ended_meanwhile(ledger: Ledger) -> None:
    now, order = time.time(), auth.KeyOrder("ann", "k", "person")
    first = auth.create_key(ledger, "ann", "k", "person", now)
    code = auth.create_code(ledger, "ann", "person", now)
    session = auth.open_session_with_code(ledger, code, SessionSettings(), now)
    callers = [auth.authenticate(ledger, f"Bearer {each.secret}", now) for each in (first, session)]
    for caller in callers:
        auth.create_key_for(ledger, caller, order, 50, now)
    auth.revoke_key(ledger, first.row.id, None, now)
    ledger.sessions.end("ann", session.row.id)
    for caller in callers:
        assert code_of(partial(auth.create_key_for, ledger, caller, order, 50, now)) == "unauthenticated"
    late = replace(session.row, id="session_late", key=first.row.id)  # opened while the key was being revoked
    ledger.sessions.add(late, auth.hash_secret("ps_late"))
    assert code_of(lambda: auth.authenticate(ledger, "Bearer ps_late", now)) == "unauthenticated"
    assert [row.id for row in ledger.sessions.list("ann", now)] == []
