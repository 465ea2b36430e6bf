"""Connections: kept open, asked whether they live only where they lay idle, and replaced where they do not."""

import threading
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy import event
from sqlalchemy.exc import OperationalError

from portrait.errors import OperatorError
from tasks.ledger.connections import engine as engines
from tasks.ledger.ledger import Ledger

ONE = sa.select(sa.literal(1))


@pytest.fixture
def pings(ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> list[object]:
    """The connections that were asked whether they live."""
    asked: list[object] = []
    dialect = ledger.database.engine.dialect
    ping = dialect.do_ping
    monkeypatch.setattr(dialect, "do_ping", lambda connection: (asked.append(connection), ping(connection))[1])
    return asked


def read(ledger: Ledger) -> object:
    with ledger.database.read() as connection:
        return connection.scalar(ONE)


@pytest.mark.parametrize("database", ["postgresql"], indirect=True)
def test_a_connection_is_asked_only_after_it_lay_idle(
    ledger: Ledger, pings: list[object], monkeypatch: pytest.MonkeyPatch
) -> None:
    for _ in range(3):
        read(ledger)
    assert pings == []
    monkeypatch.setattr(engines, "IDLE_SECONDS", 0.0)
    read(ledger)
    assert len(pings) == 1


@pytest.mark.parametrize("database", ["postgresql"], indirect=True)
def test_a_connection_that_was_cut_while_it_lay_idle_is_replaced(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    cut_all(ledger)
    with pytest.raises(OperatorError) as error:  # it was used a moment ago, and is found out by the query
        read(ledger)
    assert error.value.code == "database_unreachable"
    assert read(ledger) == 1
    cut_all(ledger)
    monkeypatch.setattr(engines, "IDLE_SECONDS", 0.0)
    assert read(ledger) == 1


def cut_all(ledger: Ledger) -> None:
    """End every connection of the ledger's but the one that does it."""
    url = ledger.database.engine.url
    read(ledger)
    other = sa.create_engine(url, isolation_level="AUTOCOMMIT")
    with other.connect() as connection:
        cut = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = :name AND pid <> pg_backend_pid()"
        assert connection.execute(sa.text(cut), {"name": url.database}).all()
    other.dispose()


def test_connections_stay_open_however_many_ask_at_once(ledger: Ledger) -> None:
    made: list[object] = []
    event.listen(ledger.database.engine, "connect", lambda connection, _: made.append(connection))
    for _ in range(3):
        together = threading.Barrier(engines.CONNECTIONS)

        def ask(together: threading.Barrier = together) -> None:
            with ledger.database.read() as connection:
                connection.scalar(ONE)
                together.wait(30)

        threads = [threading.Thread(target=ask) for _ in range(engines.CONNECTIONS)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert len(made) <= engines.CONNECTIONS


@pytest.mark.parametrize("database", ["sqlite"], indirect=True)
def test_a_transaction_that_writes_holds_off_others_from_its_beginning(ledger: Ledger) -> None:
    with ledger.database.write():
        assert read(ledger) == 1
        with ledger.database.engine.connect() as other:
            driver: Any = other.connection.driver_connection
            driver.execute("PRAGMA busy_timeout = 0")
            with pytest.raises(OperationalError, match="locked"):
                other.exec_driver_sql("DELETE FROM people")
            driver.execute(f"PRAGMA busy_timeout = {engines.BUSY_TIMEOUT * 1000}")


@pytest.mark.parametrize("database", ["postgresql"], indirect=True)
def test_reading_opens_no_transaction_and_what_is_written_does(ledger: Ledger) -> None:
    seen = []
    for opened in (ledger.database.read, ledger.database.write, ledger.database.snapshot, ledger.database.read):
        with opened() as connection:
            connection.scalar(ONE)
            driver = connection.connection.driver_connection
            seen.append(driver is not None and driver.info.transaction_status.name)
    assert seen == ["IDLE", "INTRANS", "INTRANS", "IDLE"]
