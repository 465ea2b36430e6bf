import secrets
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from tasks.ledger.database import Database
from tests.tasks.conftest import create_database
from tests.tasks.ledger.upkeep.filled import fill


@pytest.fixture(params=["sqlite", "postgresql"])
def empty(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Database]:
    """A database of either kind without tables."""
    if request.param == "sqlite":
        url = f"sqlite:///{tmp_path / 'empty.db'}"
    else:
        url = create_database(request.getfixturevalue("started")("postgresql"), f"e{secrets.token_hex(6)}")
    database = Database(url)
    yield database
    database.close()


@pytest.fixture
def filled(tmp_path: Path) -> Iterator[Database]:
    """A SQLite ledger with rows in every table."""
    (tmp_path / "filled.db").write_bytes(filled_ledger())
    database = Database(f"sqlite:///{tmp_path / 'filled.db'}")
    yield database
    database.close()


@cache
def filled_ledger() -> bytes:
    """The file of such a ledger, which takes longer to make than most tests."""
    with TemporaryDirectory() as folder:
        place = Path(folder) / "ledger.db"
        database = Database(f"sqlite:///{place}")
        list(fill(database))
        database.scrub()
        database.close()
        return place.read_bytes()
