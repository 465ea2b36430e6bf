"""Calls that real worker processes make, and one that dies in the middle of it; leases of five seconds."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from standardwebhooks import Webhook

from tasks.queue.device import detect_device
from tasks.webhooks import new_secret
from tests.tasks.conftest import stand_at
from tests.tasks.stand import Stand, kill, wait_until
from tests.tasks.webhook_receiver import Receiver, receiver


@pytest.fixture
def there() -> Iterator[Receiver]:
    with receiver() as server:
        yield server


@pytest.fixture
def calling(tmp_path: Path) -> Iterator[Stand]:
    """An installation that may call this machine."""
    yield from stand_at(tmp_path, {"PORTRAIT_TASKS__WEBHOOKS__PRIVATE": "true"})


def test_the_end_of_a_job_is_sent(calling: Stand, there: Receiver) -> None:
    secret = new_secret()
    calling.ledger.webhooks.add("ann", there.url, secret, [], 1.0)
    calling.start_worker(QUEUES="cpu,io")
    jobs = [calling.add_job(), calling.add_job(fails="user")]
    wait_until(lambda: len(there.calls) == 2)  # no keeper: the worker that ended the jobs rang
    requests = [Webhook(secret).verify(call.body, call.headers) for call in there.calls]
    assert sorted((each["data"]["id"], each["type"]) for each in requests) == [
        (jobs[0].id, "job.succeeded"),
        (jobs[1].id, "job.failed"),
    ]


def test_killed_in_mid_call_it_is_made_again_under_the_same_id(calling: Stand, there: Receiver) -> None:
    there.slow = 60
    first = calling.start_worker(QUEUES="io")
    hook = calling.ledger.webhooks.add("ann", f"{there.url}/slow", new_secret(), [], 1.0)
    call = calling.ledger.webhooks.enqueue("ann", hook.id, "test", {}, 1.0)
    calling.start_keeper()
    wait_until(lambda: len(there.calls) == 1)
    kill(first)
    there.slow = 0
    calling.start_worker(QUEUES="io")
    wait_until(lambda: calling.ledger.webhooks.delivery("ann", call.id).state == "delivered", what=calling.log())
    assert there.ids == [call.id] * 2


def test_a_worker_for_calls_loads_no_engines(calling: Stand) -> None:
    calling.start_worker(anew=True, QUEUES="io")
    (row,) = calling.ledger.workers.list_live(1.0)
    assert (row.queues, row.abilities, row.missing, row.device) == (["io"], [], {}, detect_device())
    process = row.id.rpartition(":")[2]
    assert "cv2" not in Path(f"/proc/{process}/maps").read_text(), "OpenCV comes with the flows"
