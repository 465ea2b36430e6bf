"""Invitations, quotas and signing out of owners, for admins."""

import time

import pytest

from portrait.errors import UserError
from tasks import auth
from tests.app.pages import as_client
from tests.tasks.api.harness import ApiHarness


def test_an_invitation_lets_somebody_in_once_within_three_days(api: ApiHarness) -> None:
    admin = as_client(api, "root", "admin")
    invitation = admin.invite("zoe")
    assert (invitation.owner, invitation.role) == ("zoe", "person")
    assert 2.9 < (invitation.expires.timestamp() - time.time()) / 86_400 < 3.1
    assert "zoe" in [each.id for each in admin.owners()], "the account is there to be seen"
    session = as_client(api, "nobody").open_session(code=invitation.code)
    assert (session.owner, session.role) == ("zoe", "person")
    again = api.anonymous().post("/sessions", json={"code": invitation.code})
    assert again.json()["code"] == "bad_code"
    [entry] = [each for each in admin.audit("code") if each.subject == "zoe"]
    assert entry.actor.startswith("root:")


def test_only_admins_invite_and_only_owners_who_can_be(api: ApiHarness) -> None:
    for role in ("person", "operator"):
        refused = api.client("olga", role).post("/operator/invitations", json={"owner": "zoe"})
        assert (refused.status_code, refused.json()["code"]) == (403, "forbidden")
    admin = api.client("root", "admin")
    api.key("ann")
    assert admin.post("/operator/invitations", json={"owner": "ANN"}).json()["code"] == "owner_taken"
    assert admin.post("/operator/invitations", json={"owner": "a/b"}).status_code == 422
    admin.post("/operator/owners/ann/disable")
    assert admin.post("/operator/invitations", json={"owner": "ann"}).json()["code"] == "owner_disabled"


def test_admins_see_quotas_and_sign_owners_out(api: ApiHarness) -> None:
    admin, ann = as_client(api, "root", "admin"), as_client(api)
    api.prepared_person()
    own = ann.me().model_dump(exclude={"role", "consent_version"})
    assert admin.owner_quotas("ann").model_dump() == own
    assert own["people"]["used"] == 1
    auth.open_session_with_key(api.context.ledger, api.key("ann"), api.context.tasks.sessions, time.time())
    assert (admin.sign_owner_out("ann").sessions, len(ann.sessions())) == (1, 0)
    assert admin.sign_owner_out("ann", keys=True).keys == 1
    with pytest.raises(UserError, match="valid key"):
        ann.me()
    for path in ("/operator/owners/nobody/quotas", "/operator/owners/nobody/sign-out"):
        method = "GET" if path.endswith("quotas") else "POST"
        assert api.client("root", "admin").request(method, path).status_code == 404
