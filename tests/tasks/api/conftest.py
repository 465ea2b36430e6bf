from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.tasks.api.harness import ApiHarness, ApiServer, api_server, environment, new_home, open_api


@pytest.fixture
def api(tmp_path: Path) -> Iterator[ApiHarness]:
    """An API in this process, on SQLite; its rings go nowhere."""
    with open_api(environment(new_home(tmp_path / "home"))) as api:
        yield api


@pytest.fixture
def server(api: ApiHarness) -> Iterator[ApiServer]:
    """The same on a port of this machine."""
    with api_server(api) as server:
        yield server


@pytest.fixture
def each_server(database: str, tmp_path: Path) -> Iterator[ApiServer]:
    """On a port of this machine, once with SQLite and once with PostgreSQL."""
    with open_api(environment(tmp_path / "home", database=database)) as api, api_server(api) as server:
        yield server
