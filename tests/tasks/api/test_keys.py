"""Sign-in and API keys."""

import time
from pathlib import Path

from tasks import auth
from tests.tasks.api.harness import ApiHarness, environment, new_home, open_api


def test_a_link_signs_in_once(api: ApiHarness) -> None:
    stranger, store = api.anonymous(), api.context.ledger
    code = auth.create_code(store, "ann", "operator", time.time())
    made = stranger.post("/sign-in", json={"code": code})
    key = made.json()
    assert (made.status_code, key["owner"], key["role"]) == (201, "ann", "operator")
    assert made.headers["location"] == f"/v1/keys/{key['id']}"
    assert key["expires"] is not None
    assert api.anonymous(f"Bearer {key['secret']}").get("/me").json()["role"] == "operator"
    late = auth.create_code(store, "ann", "person", time.time() - auth.CODE_LIFETIME - 1)
    for used in (code, late, "none"):
        refused = stranger.post("/sign-in", json={"code": used})
        assert (refused.status_code, refused.json()["code"]) == (401, "bad_code")


def test_a_secret_is_sent_once_and_stored_nowhere(api: ApiHarness) -> None:
    client = api.client()
    made = client.post("/keys", json={"name": "phone"}, headers={"Idempotency-Key": "k"}).json()
    again = client.post("/keys", json={"name": "phone"}, headers={"Idempotency-Key": "k"}).json()
    assert made["secret"] != again["secret"]
    assert "secret" not in client.get("/keys").text
    hook = client.post("/webhooks", json={"url": "https://example.org/"}).json()
    assert hook["secret"] not in client.get("/webhooks").text + client.get(f"/webhooks/{hook['id']}").text
    place = Path(str(api.context.ledger.database.engine.url.database))
    written = b"".join(path.read_bytes() for path in place.parent.glob(f"{place.name}*"))
    for secret in (made["secret"], again["secret"], api.key()):
        assert secret.encode() not in written


def test_a_revoked_or_expired_key_opens_nothing(api: ApiHarness) -> None:
    client = api.client()
    made = client.post("/keys", json={"name": "phone"}).json()
    other = api.anonymous(f"Bearer {made['secret']}")
    assert other.get("/me").status_code == 200
    assert client.delete(f"/keys/{made['id']}").status_code == 204
    assert other.get("/me").status_code == 401
    assert client.delete(f"/keys/{made['id']}").status_code == 404
    expired = auth.create_key(api.context.ledger, "ann", "k", "person", time.time(), expires=time.time() - 1)
    assert api.anonymous(f"Bearer {expired.secret}").get("/me").status_code == 401


def test_only_an_admin_makes_keys_for_others_or_with_more_rights(api: ApiHarness) -> None:
    for order in ({"owner": "bob"}, {"role": "operator"}, {"role": "admin"}):
        for role in ("person", "operator"):
            refused = api.client("ann", role).post("/keys", json=order)
            assert (refused.status_code, refused.json()["code"]) == (403, "forbidden")
        made = api.client("root", "admin").post("/keys", json=order)
        assert made.status_code == 201
        assert made.json()["owner"] == order.get("owner", "root")
        assert made.json()["role"] == order.get("role", "person")
    own = api.client("ann", "operator").post("/keys", json={"owner": "ann"})
    assert (own.status_code, own.json()["role"]) == (201, "person")


def test_only_an_admin_sees_and_revokes_the_keys_of_others(api: ApiHarness) -> None:
    api.client("bob").get("/me")
    bobs = next(row.id for row in api.context.ledger.api_keys.list("bob"))
    assert {key["owner"] for key in api.client("ann", "operator").get("/keys").json()["items"]} == {"ann"}
    assert api.client("ann", "operator").delete(f"/keys/{bobs}").status_code == 404
    admin = api.client("root", "admin")
    assert {key["owner"] for key in admin.get("/keys").json()["items"]} == {"ann", "bob", "root"}
    assert admin.delete(f"/keys/{bobs}").status_code == 204
    assert api.client("bob").get("/me").status_code == 401


def test_a_key_ends_with_the_key_that_made_it(api: ApiHarness) -> None:
    store, now = api.context.ledger, time.time()
    short = auth.create_key(store, "ann", "stolen", "person", now, expires=now + 3600)
    thief = api.anonymous(f"Bearer {short.secret}")
    made = thief.post("/keys", json={"name": "for ever"}).json()
    later = thief.post("/keys", json={"name": "later", "expires": "2100-01-01T00:00:00Z"}).json()
    sooner = thief.post("/keys", json={"name": "sooner", "expires": "2026-01-01T00:00:00Z"}).json()
    of_made = api.anonymous(f"Bearer {made['secret']}").post("/keys", json={}).json()
    last = {row.id: row.expires for row in store.api_keys.list("ann")}
    assert [last[each["id"]] for each in (made, later, of_made)] == [now + 3600] * 3
    assert (last[sooner["id"]] or now) < now
    assert api.client().post("/keys", json={}).json()["expires"] is None, "that of a lasting key lasts"


def test_what_a_revoked_key_made_opens_nothing(api: ApiHarness) -> None:
    store, now = api.context.ledger, time.time()
    first = auth.create_key(store, "ann", "first", "admin", now)
    keys, client = [first.secret], api.client()
    for _ in range(2):
        keys.append(api.anonymous(f"Bearer {keys[-1]}").post("/keys", json={"role": "admin"}).json()["secret"])
    keys.append(api.anonymous().post("/sessions", json={"key": keys[-1]}).json()["secret"])
    keys.append(api.anonymous(f"Bearer {keys[-1]}").post("/keys", json={}).json()["secret"])
    bobs = api.anonymous(f"Bearer {keys[0]}").post("/keys", json={"owner": "bob"}).json()["secret"]
    assert client.delete(f"/keys/{first.row.id}").status_code == 204
    assert [api.anonymous(f"Bearer {secret}").get("/me").status_code for secret in keys] == [401] * len(keys)
    assert api.anonymous(f"Bearer {bobs}").get("/me").status_code == 200, "another owner's stays"
    assert client.get("/me").status_code == 200


def test_an_owner_has_so_many_keys(tmp_path: Path) -> None:
    with open_api(environment(new_home(tmp_path / "home"), quotas__keys=3)) as api:
        client = api.client()
        made = [client.post("/keys", json={}) for _ in range(3)]
        assert [(each.status_code, each.json().get("code")) for each in made] == [
            (201, None),
            (201, None),
            (409, "too_many_keys"),
        ]
        assert client.delete(f"/keys/{made[0].json()['id']}").status_code == 204
        assert client.post("/keys", json={}).status_code == 201


def test_an_owner_whose_uploads_would_have_no_place_is_refused(api: ApiHarness) -> None:
    admin = api.client("root", "admin")
    for owner in ("a..b", "a.", "..", "system", "x" * 65):
        assert admin.post("/keys", json={"owner": owner}).status_code == 422, owner
    assert admin.post("/keys", json={"owner": "ROOT"}).json()["code"] == "owner_taken"
    for owner in ("a.b", "x" * 64, "_".join("ab"), "A-1.b_c"):
        assert admin.post("/keys", json={"owner": owner}).status_code == 201, owner
