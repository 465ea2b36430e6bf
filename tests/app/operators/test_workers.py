"""The operators' page of workers: which version each runs, and which are to stop."""

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tasks.ledger.rows import WorkerRow
from tests.app.pages import as_client, open_page, open_test_api, visible_text
from tests.tasks.api.harness import ApiHarness

pytestmark = pytest.mark.services  # starts an API of its own, which is too slow for the inner loop


@pytest.fixture
def api(tmp_path: Path) -> Iterator[ApiHarness]:
    with open_test_api(tmp_path / "home") as api:
        yield api


def test_the_page_tells_the_version_of_each_worker_and_which_are_to_stop(api: ApiHarness) -> None:
    now, registry = time.time(), api.context.ledger.workers
    for id, version in (("h:1:a:2", "0.2.0"), ("h:3:b:4", "0.3.0")):
        registry.register(WorkerRow(id, ["cpu"], ["prepare"], {}, "cpu", now, now, version=version))
    before = visible_text(open_page(as_client(api, "op", "operator"), "machinery"))
    assert "version 0.2.0" in before
    assert "version 0.3.0" in before
    assert "Stops after its job" not in before
    registry.request_stop("h:1:a", now + 60)
    after = visible_text(open_page(as_client(api, "op", "operator"), "machinery"))
    assert after.count("Stops after its job") == 1
