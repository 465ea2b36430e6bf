"""The audit log: what admins, operators and owners did, without content, for admins."""

import time

import pytest

from tasks import auth
from tasks.jobs import DAY
from tasks.ledger.ledger import Ledger
from tasks.queue.keeper import Keeper
from tests.tasks.api.harness import ApiHarness


def actions(api: ApiHarness, **params: str) -> list[tuple[str, str, str]]:
    found = api.client("root", "admin").get("/operator/audit", params={"limit": 200, **params}).json()["items"]
    return [(each["actor"].split(":")[0], each["action"], each["subject"]) for each in found][::-1]


def test_what_is_done_to_accounts_is_written_down(api: ApiHarness) -> None:
    admin, key = api.client("root", "admin"), api.key("bob")
    made = admin.post("/keys", json={"owner": "bob", "role": "admin"}).json()
    api.anonymous().post("/sessions", json={"key": key})
    admin.delete(f"/keys/{made['id']}")
    for verb in ("disable", "enable"):
        admin.post(f"/operator/owners/bob/{verb}")
    assert admin.delete("/operator/owners/root").json()["code"] == "own_account"
    assert admin.delete("/operator/owners/bob").status_code == 200
    log = actions(api)
    assert ("root", "key.created", "removed") in log, "whose name is gone"
    done = [action for actor, action, _ in log if actor == "root"]
    assert done[:4] == ["key.created", "key.revoked", "owner.disabled", "owner.enabled"]
    assert sorted(done[4:]) == ["erasure.asked", "owner.removed"], "at the same moment"
    assert actions(api, action="owner") == [each for each in log if each[1].startswith("owner.")]
    assert actions(api, action="own") == []
    assert [action for _, action, _ in actions(api, actor="removed")] == ["session.opened"]
    assert "bob" not in admin.get("/operator/audit", params={"limit": 200}).text


def test_what_operators_do_is_written_down(api: ApiHarness) -> None:
    things, operator = api.one_of_each("ann", "Annabel"), api.client("olga", "operator")
    operator.post(f"/operator/jobs/{things.waiting}/cancel")
    operator.post(f"/operator/jobs/{things.waiting}/retry")
    operator.post("/operator/jobs/prune")
    assert [each for each in actions(api) if each[0] == "olga"] == [
        ("olga", "job.cancelled", things.waiting),
        ("olga", "job.retried", things.waiting),
        ("olga", "jobs.pruned", ""),
    ]
    text = api.client("root", "admin").get("/operator/audit", params={"limit": 200}).text
    assert not [word for word in ("Annabel", "me.png", "beach") if word in text]


def test_the_log_is_for_admins_and_cannot_be_changed(api: ApiHarness) -> None:
    for role in ("person", "operator"):
        assert api.client("olga", role).get("/operator/audit").json()["code"] == "forbidden"
    methods = api.app.openapi()["paths"]["/v1/operator/audit"].keys()
    assert methods == {"get"}


def test_pages_follow_each_other_and_old_entries_go(ledger: Ledger) -> None:
    now = time.time()
    for number in range(5):
        ledger.audit.add("ann:key_1", "key.created", "ann", {"number": number}, now + number)
    first = ledger.audit.list(None, 2)
    second = ledger.audit.list(first.next, 2)
    assert [each.detail["number"] for page in (first, second) for each in page.items] == [4, 3, 2, 1]
    assert ledger.audit.prune(now + 3) == 3
    assert len(ledger.audit.list().items) == 2


def test_an_entry_is_rolled_back_with_what_it_tells_of(sqlite: Ledger) -> None:
    def fail_halfway() -> None:
        with sqlite.database.write() as connection:
            sqlite.audit.add("ann:key_1", "key.created", "ann", {}, 1.0, connection)
            raise KeyError

    with pytest.raises(KeyError):
        fail_halfway()
    assert sqlite.audit.list().items == []


def test_the_keeper_ends_sessions_and_prunes_the_log(api: ApiHarness) -> None:
    context, now = api.context, time.time()
    session = auth.open_session_with_key(context.ledger, api.key(), context.tasks.sessions, now)
    keeper = Keeper(context.ledger, context.files, context.celery, context.tasks)
    keeper.purge(now + 6 * DAY)
    assert [each.id for each in context.ledger.sessions.list("ann", now)] == [session.row.id]
    keeper.purge(now + 8 * DAY)
    assert context.ledger.sessions.list("ann", now) == []
    assert context.ledger.audit.list().items
    keeper.purge(now + 401 * DAY)
    assert context.ledger.audit.list().items == []
