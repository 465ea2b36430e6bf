import itertools
import secrets
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
import sqlalchemy as sa

from tasks.jobs import QUEUES
from tasks.ledger.ledger import Ledger, open_ledger
from tasks.queue import broker
from tests.tasks import servers
from tests.tasks.stand import LEASE, Stand, empty_ledger


@pytest.fixture(scope="session")
def started() -> Iterator[Callable[[str], str]]:
    """URLs of servers by name, each started at its first use."""
    with ExitStack() as stack:
        urls: dict[str, str] = {}

        def url(name: str) -> str:
            if name not in urls:
                urls[name] = stack.enter_context(getattr(servers, name)())
            return urls[name]

        yield url


@pytest.fixture(params=["sqlite", "postgresql"])
def database(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """URL of an empty ledger of the present schema: once a SQLite file, once on a PostgreSQL server."""
    if request.param == "sqlite":
        (tmp_path / "ledger.db").write_bytes(empty_ledger())
        return f"sqlite:///{tmp_path / 'ledger.db'}"
    return create_database(request.getfixturevalue("migrated"), f"t{secrets.token_hex(6)}", "migrated")


@pytest.fixture
def new_database(migrated: str) -> Callable[[], str]:
    """Makes empty ledgers of the present schema on a PostgreSQL server; returns their URLs."""
    return lambda: create_database(migrated, f"t{secrets.token_hex(6)}", "migrated")


@pytest.fixture(scope="session")
def migrated(started: Callable[[str], str]) -> str:
    """URL of a PostgreSQL server with a database `migrated` of the present schema, which is sooner copied than made."""
    server = started("postgresql")
    open_ledger(create_database(server, "migrated")).close()
    return server


def create_database(server: str, name: str, copied: str = "template1") -> str:
    """URL of a new database, the copy of another."""
    url = server.replace("postgresql:", "postgresql+psycopg:")
    engine = sa.create_engine(f"{url}/postgres", isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        connection.execute(sa.text(f"CREATE DATABASE {name} TEMPLATE {copied}"))
    engine.dispose()
    return f"{server}/{name}"


@pytest.fixture
def ledger(database: str) -> Iterator[Ledger]:
    """An open ledger on either database."""
    ledger = open_ledger(database)
    yield ledger
    ledger.close()


@pytest.fixture
def sqlite(tmp_path: Path) -> Iterator[Ledger]:
    """An open ledger on SQLite alone."""
    (tmp_path / "ledger.db").write_bytes(empty_ledger())
    ledger = open_ledger(f"sqlite:///{tmp_path / 'ledger.db'}")
    yield ledger
    ledger.close()


@pytest.fixture(scope="session")
def numbers() -> Iterator[int]:
    """Databases of Redis, one a test."""
    return itertools.count()


@pytest.fixture
def stand(tmp_path: Path) -> Iterator[Stand]:
    """An installation with the defaults: SQLite and the filesystem broker."""
    yield from stand_at(tmp_path, {})


@pytest.fixture(params=["filesystem", "redis", "rabbitmq"])
def any_stand(request: pytest.FixtureRequest, tmp_path: Path, numbers: Iterator[int]) -> Iterator[Stand]:
    """The same on each broker."""
    yield from stand_at(tmp_path, broker_of(request, numbers))


def broker_of(request: pytest.FixtureRequest, numbers: Iterator[int]) -> dict[str, str]:
    """The setting that names the broker of a test's parameter, which is started if need be."""
    if request.param == "filesystem":
        return {}
    return broker_of_name(request.param, request.getfixturevalue("started"), numbers)


def broker_of_name(name: str, started: Callable[[str], str], numbers: Iterator[int]) -> dict[str, str]:
    """The same for a broker that is a server, by its name."""
    url = started(name)
    return {"PORTRAIT_TASKS__BROKER": f"{url}/{next(numbers) % 16}" if name == "redis" else url}


def stand_at(home: Path, more: dict[str, str]) -> Iterator[Stand]:
    environment = {
        "PORTRAIT_HOME": str(home),
        "PORTRAIT_TASKS__LEASE__SECONDS": str(LEASE),
        "PORTRAIT_TASKS__LEASE__HEARTBEAT": "0.5",
        "PORTRAIT_TASKS__KEEPER": "0.3",
        **more,
    }
    if "PORTRAIT_TASKS__DATABASE" not in more and not (home / "ledger.db").exists():
        (home / "ledger.db").write_bytes(empty_ledger())
    stand = Stand(home, environment)
    if more:
        _empty(stand)
    try:
        yield stand
    finally:
        stand.close()


def _empty(stand: Stand) -> None:
    """Rings of an earlier test are not for this one."""
    with stand.app.connection_for_write() as connection:
        for queue in QUEUES:
            if broker.pending_messages(stand.app, queue):
                connection.default_channel.queue_purge(queue)
