from collections.abc import Iterator
from pathlib import Path

import pytest

from tasks.client.client import Client
from tests.app.pages import as_client, open_test_api
from tests.tasks.api.harness import ApiHarness


@pytest.fixture
def api(tmp_path: Path) -> Iterator[ApiHarness]:
    """An API of its own."""
    with open_test_api(tmp_path / "home") as api:
        yield api


@pytest.fixture
def olga(api: ApiHarness) -> Client:
    """An operator."""
    return as_client(api, "olga", "operator")
