"""Signing in and keys through the API."""

import time
from pathlib import Path

from tasks import auth
from tests.tasks.api.desk import Desk


def test_a_link_signs_in_once(desk: Desk) -> None:
    stranger, store = desk.stranger(), desk.office.store
    code = auth.new_code(store, "ann", "operator", time.time())
    made = stranger.post("/sign-in", json={"code": code})
    key = made.json()
    assert (made.status_code, key["owner"], key["role"]) == (201, "ann", "operator")
    assert made.headers["location"] == f"/v1/keys/{key['id']}"
    assert key["expires"] is not None
    assert desk.stranger(f"Bearer {key['secret']}").get("/me").json()["role"] == "operator"
    late = auth.new_code(store, "ann", "person", time.time() - auth.CODE_HOLDS - 1)
    for used in (code, late, "none"):
        refused = stranger.post("/sign-in", json={"code": used})
        assert (refused.status_code, refused.json()["code"]) == (401, "bad_code")


def test_a_key_is_shown_once_and_kept_nowhere(desk: Desk) -> None:
    client = desk.client()
    made = client.post("/keys", json={"name": "phone"}, headers={"Idempotency-Key": "k"}).json()
    again = client.post("/keys", json={"name": "phone"}, headers={"Idempotency-Key": "k"}).json()
    assert made["secret"] != again["secret"]
    assert "secret" not in client.get("/keys").text
    hook = client.post("/webhooks", json={"url": "https://example.org/"}).json()
    assert hook["secret"] not in client.get("/webhooks").text + client.get(f"/webhooks/{hook['id']}").text
    place = Path(str(desk.office.store.database.engine.url.database))
    written = b"".join(path.read_bytes() for path in place.parent.glob(f"{place.name}*"))
    for secret in (made["secret"], again["secret"], desk.key()):
        assert secret.encode() not in written


def test_a_revoked_or_expired_key_opens_nothing(desk: Desk) -> None:
    client = desk.client()
    made = client.post("/keys", json={"name": "phone"}).json()
    other = desk.stranger(f"Bearer {made['secret']}")
    assert other.get("/me").status_code == 200
    assert client.delete(f"/keys/{made['id']}").status_code == 204
    assert other.get("/me").status_code == 401
    assert client.delete(f"/keys/{made['id']}").status_code == 404
    expired = auth.new_key(desk.office.store, "ann", "k", "person", time.time(), expires=time.time() - 1)
    assert desk.stranger(f"Bearer {expired.secret}").get("/me").status_code == 401


def test_only_an_admin_makes_keys_for_others_or_with_more_rights(desk: Desk) -> None:
    for order in ({"owner": "bob"}, {"role": "operator"}, {"role": "admin"}):
        for role in ("person", "operator"):
            refused = desk.client("ann", role).post("/keys", json=order)
            assert (refused.status_code, refused.json()["code"]) == (403, "forbidden")
        made = desk.client("root", "admin").post("/keys", json=order)
        assert made.status_code == 201
        assert made.json()["owner"] == order.get("owner", "root")
        assert made.json()["role"] == order.get("role", "person")
    own = desk.client("ann", "operator").post("/keys", json={"owner": "ann"})
    assert (own.status_code, own.json()["role"]) == (201, "person")


def test_only_an_admin_sees_and_revokes_the_keys_of_others(desk: Desk) -> None:
    desk.client("bob").get("/me")
    bobs = next(row.id for row in desk.office.store.access.keys("bob"))
    assert {key["owner"] for key in desk.client("ann", "operator").get("/keys").json()["items"]} == {"ann"}
    assert desk.client("ann", "operator").delete(f"/keys/{bobs}").status_code == 404
    admin = desk.client("root", "admin")
    assert {key["owner"] for key in admin.get("/keys").json()["items"]} == {"ann", "bob", "root"}
    assert admin.delete(f"/keys/{bobs}").status_code == 204
    assert desk.client("bob").get("/me").status_code == 401
