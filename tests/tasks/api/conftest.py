from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.tasks.api.desk import Desk, Served, desk_at, new_home, served, settings


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    """An API in this process, on SQLite; its rings go nowhere."""
    with desk_at(settings(new_home(tmp_path / "home"))) as desk:
        yield desk


@pytest.fixture
def there(desk: Desk) -> Iterator[Served]:
    """The same on a port of this machine."""
    with served(desk) as there:
        yield there


@pytest.fixture
def each_there(database: str, tmp_path: Path) -> Iterator[Served]:
    """On a port of this machine, once with SQLite and once with PostgreSQL."""
    with desk_at(settings(tmp_path / "home", database=database)) as desk, served(desk) as there:
        yield there
