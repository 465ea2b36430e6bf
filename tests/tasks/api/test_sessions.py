"""Sessions: opened with a code, a key or a provider's answer; ended, and with them everything that they open."""

import time

import pytest

from portrait.errors import UserError
from tasks import auth
from tasks.jobs import DAY
from tasks.settings import SessionSettings
from tests.tasks.api.harness import ApiHarness

LIMITS = SessionSettings()


def test_a_code_opens_a_session_once(api: ApiHarness) -> None:
    code, stranger = auth.create_code(api.context.ledger, "ann", "operator", time.time()), api.anonymous()
    opened = stranger.post("/sessions", json={"code": code})
    session = opened.json()
    assert (opened.status_code, session["owner"], session["role"]) == (201, "ann", "operator")
    assert opened.headers["location"] == f"/v1/sessions/{session['id']}"
    assert session["secret"].startswith("ps_")
    assert api.anonymous(f"Bearer {session['secret']}").get("/me").json()["role"] == "operator"
    again = stranger.post("/sessions", json={"code": code})
    assert (again.status_code, again.json()["code"]) == (401, "bad_code")
    assert api.context.ledger.api_keys.list("ann") == [], "a session is no key"


def test_a_key_opens_a_session_that_ends_with_the_key(api: ApiHarness) -> None:
    client, stranger = api.client(), api.anonymous()
    session = stranger.post("/sessions", json={"key": api.key()}).json()
    browser = api.anonymous(f"Bearer {session['secret']}")
    assert browser.get("/me").json()["owner"] == "ann"
    key = client.get("/keys").json()["items"][0]["id"]
    assert client.delete(f"/keys/{key}").status_code == 204
    assert browser.get("/me").status_code == 401
    for wrong in (api.key(), "pk_wrong", session["secret"]):
        refused = stranger.post("/sessions", json={"key": wrong})
        assert (refused.status_code, refused.json()["code"]) == (401, "unauthenticated")
    short = auth.create_key(api.context.ledger, "ann", "k", "person", time.time(), time.time() + 60)
    ends = auth.open_session_with_key(api.context.ledger, short.secret, LIMITS, time.time()).row.expires
    assert ends == short.row.expires


def test_a_session_is_asked_for_in_exactly_one_way(api: ApiHarness) -> None:
    for body in ({}, {"code": "a", "key": "b"}, {"code": None}, {"oidc": {}}, {"secret": "x"}):
        assert api.anonymous().post("/sessions", json=body).status_code == 422


def test_signing_out_ends_one_session_or_all_of_them(api: ApiHarness) -> None:
    secrets = [api.anonymous().post("/sessions", json={"key": api.key()}).json()["secret"] for _ in range(4)]
    bob = api.anonymous().post("/sessions", json={"key": api.key("bob")}).json()
    browsers = [api.anonymous(f"Bearer {secret}") for secret in secrets]

    def answers() -> list[int]:
        return [browser.get("/me").status_code for browser in browsers]

    listed = browsers[0].get("/sessions").json()["items"]
    assert [each["current"] for each in listed].count(True) == 1
    assert len(listed) == 4
    assert "secret" not in browsers[0].get("/sessions").text
    assert browsers[0].delete(f"/sessions/{bob['id']}").status_code == 404
    assert browsers[0].delete("/sessions/current").status_code == 204
    assert answers() == [401, 200, 200, 200]
    assert api.client().delete("/sessions/current").status_code == 404, "a key is no session"
    other = next(each["id"] for each in browsers[1].get("/sessions").json()["items"] if not each["current"])
    assert browsers[1].delete(f"/sessions/{other}").status_code == 204
    assert sorted(answers()) == [200, 200, 401, 401]
    assert browsers[1].delete("/sessions").status_code == 204
    assert answers() == [401] * 4
    assert api.client().get("/me").status_code == 200, "keys stay"
    assert api.anonymous(f"Bearer {bob['secret']}").get("/me").status_code == 200
    again = api.anonymous(f"Bearer {api.anonymous().post('/sessions', json={'key': api.key()}).json()['secret']}")
    assert again.delete("/sessions", params={"keys": True}).status_code == 204
    assert (again.get("/me").status_code, api.client().get("/me").status_code) == (401, 401)


def test_what_is_made_with_a_session_ends_with_its_last_day(api: ApiHarness) -> None:
    session = api.anonymous().post("/sessions", json={"key": api.key()}).json()
    made = api.anonymous(f"Bearer {session['secret']}").post("/keys", json={"name": "phone"}).json()
    assert made["expires"] == session["expires"]
    assert made["made_by"] == api.client().get("/keys").json()["items"][0]["id"], "the key behind the session"


def test_a_session_ends_idle_and_at_its_last_day(api: ApiHarness) -> None:
    store, now = api.context.ledger, time.time()
    limits = SessionSettings(idle_days=2, days=5)
    used, idle = (
        auth.open_session_with_code(store, auth.create_code(store, "ann", "person", now), limits, now) for _ in range(2)
    )
    for day in (1.5, 3.0, 4.5):
        assert auth.authenticate(store, f"Bearer {used.secret}", now + day * DAY).key == used.row.id
    for secret, day in ((idle.secret, 2.1), (used.secret, 5.1)):
        with pytest.raises(Exception, match="valid key"):
            auth.authenticate(store, f"Bearer {secret}", now + day * DAY)
    store.sessions.prune(now + 4.6 * DAY)
    assert [each.id for each in store.sessions.list("ann", now)] == [used.row.id]


def test_an_owner_has_so_many_sessions_and_the_least_used_goes_first(api: ApiHarness) -> None:
    store, now = api.context.ledger, time.time()
    key = api.key()
    opened = [auth.open_session_with_key(store, key, LIMITS, now + number) for number in range(50)]
    store.sessions.touch(opened[0].row.id, now + 100)
    auth.open_session_with_key(store, key, LIMITS, now + 101)
    kept = {each.id for each in store.sessions.list("ann", now + 101)}
    assert len(kept) == 50
    assert opened[0].row.id in kept
    assert opened[1].row.id not in kept


def test_a_page_that_nobody_touches_is_no_use(api: ApiHarness) -> None:
    ledger, begun = api.context.ledger, time.time() - 3600
    secret = auth.open_session_with_key(ledger, api.key(), LIMITS, begun).secret
    page = api.anonymous(f"Bearer {secret}")
    assert page.get("/me", headers={"Portrait-Idle": "1"}).status_code == 200
    assert ledger.sessions.list("ann", time.time())[0].used == begun
    page.get("/me")
    assert ledger.sessions.list("ann", time.time())[0].used > begun


def test_a_session_makes_a_code_for_another_device_and_a_key_does_not(api: ApiHarness) -> None:
    code, stranger = auth.create_code(api.context.ledger, "ann", "person", time.time()), api.anonymous()
    browser = api.anonymous(f"Bearer {stranger.post('/sessions', json={'code': code}).json()['secret']}")
    made = browser.post("/sessions/codes")
    assert (made.status_code, made.json()["owner"], made.json()["role"]) == (201, "ann", "person")
    phone = stranger.post("/sessions", json={"code": made.json()["code"]})
    assert (phone.status_code, phone.json()["owner"]) == (201, "ann")
    assert stranger.post("/sessions", json={"code": made.json()["code"]}).json()["code"] == "bad_code"
    by_key = stranger.post("/sessions", json={"key": api.key()}).json()["secret"]
    for caller in (api.client(), api.anonymous(f"Bearer {by_key}")):
        refused = caller.post("/sessions/codes")
        assert (refused.status_code, refused.json()["code"]) == (403, "signed_in_by_key")
    assert stranger.post("/sessions/codes").status_code == 401
    late = browser.post("/sessions/codes").json()["code"]
    with pytest.raises(UserError, match="too old"):
        auth.open_session_with_code(api.context.ledger, late, LIMITS, time.time() + auth.DEVICE_CODE_LIFETIME + 1)


@pytest.mark.parametrize("path", ["/sessions", "/sessions/current", "/sessions/{id}"])
def test_a_session_that_is_ended_does_not_go_on_by_a_code(api: ApiHarness, path: str) -> None:
    store, now = api.context.ledger, time.time()
    limits = api.context.tasks.sessions
    session = auth.open_session_with_code(store, auth.create_code(store, "ann", "person", now), limits, now)
    browser = api.anonymous(f"Bearer {session.secret}")
    code = browser.post("/sessions/codes").json()["code"]
    assert browser.delete(path.format(id=session.row.id)).status_code == 204
    refused = api.anonymous().post("/sessions", json={"code": code})
    assert (refused.status_code, refused.json()["code"]) == (401, "bad_code")
