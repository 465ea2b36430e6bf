"""Calls that real worker processes make, and one that dies in the middle of it; leases of three seconds."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from standardwebhooks import Webhook

from tasks.webhooks import new_secret
from tests.tasks.conftest import stand_at
from tests.tasks.receiver import Receiver, receiver
from tests.tasks.stand import Stand, kill, until


@pytest.fixture
def there() -> Iterator[Receiver]:
    with receiver() as told:
        yield told


@pytest.fixture
def calling(tmp_path: Path) -> Iterator[Stand]:
    """An installation that may call this machine."""
    yield from stand_at(tmp_path, {"PORTRAIT_TASKS__WEBHOOKS__PRIVATE": "true"})


def test_the_end_of_a_job_is_told(calling: Stand, there: Receiver) -> None:
    secret = new_secret()
    calling.ledger.webhooks.add("ann", there.url, secret, [], 1.0)
    calling.work(QUEUES="cpu,io")
    jobs = [calling.ask(), calling.ask(fails="user")]
    until(lambda: len(there.calls) == 2)  # no keeper: the worker that ended the jobs rang
    told = [Webhook(secret).verify(call.body, call.headers) for call in there.calls]
    assert sorted((each["data"]["id"], each["type"]) for each in told) == [
        (jobs[0].id, "job.succeeded"),
        (jobs[1].id, "job.failed"),
    ]


def test_killed_in_mid_call_it_is_made_again_under_the_same_id(calling: Stand, there: Receiver) -> None:
    there.slow = 60
    first = calling.work(QUEUES="io")
    hook = calling.ledger.webhooks.add("ann", f"{there.url}/slow", new_secret(), [], 1.0)
    call = calling.ledger.webhooks.enqueue("ann", hook.id, "test", {}, 1.0)
    calling.keep()
    until(lambda: len(there.calls) == 1)
    kill(first)
    there.slow = 0
    calling.work(QUEUES="io")
    until(lambda: calling.ledger.webhooks.delivery("ann", call.id).state == "delivered", what=calling.log())
    assert there.ids == [call.id] * 2


def test_a_worker_for_calls_loads_no_engines(calling: Stand) -> None:
    calling.work(QUEUES="io")
    (row,) = calling.ledger.workers.list_live(1.0)
    assert (row.queues, row.abilities, row.missing, row.device) == (["io"], [], {}, detect_device())
    process = row.id.rpartition(":")[2]
    assert "cv2" not in Path(f"/proc/{process}/maps").read_text(), "OpenCV comes with the flows"
