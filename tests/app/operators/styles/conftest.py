from collections.abc import Iterator
from pathlib import Path

import pytest

from tasks.client.client import Client
from tests.app.pages import as_client, office
from tests.tasks.api.desk import Desk


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    """An API of its own."""
    with office(tmp_path / "home") as desk:
        yield desk


@pytest.fixture
def olga(desk: Desk) -> Client:
    """An operator."""
    return as_client(desk, "olga", "operator")
