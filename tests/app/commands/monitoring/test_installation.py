"""What `portrait doctor` says of an installation that runs, that partly runs, and of one that was never set up."""

import re
import ssl
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from app.commands.monitoring.checks import Check
from app.commands.monitoring.installation import CERTIFICATE_DAYS, check_installation
from tasks.ledger.database import Database
from tasks.ledger.ledger import open_ledger
from tasks.ledger.rows import WorkerRow
from tasks.queue.keeper_beat import KeeperBeat
from tasks.settings import TaskSettings, load_installation
from tests.certificates import make_certificate
from tests.tasks import servers
from tests.tasks.api.harness import api_server, new_home, open_api
from tests.tasks.stand import new_job


def settings(home: Path, **more: str) -> TaskSettings:
    return load_installation(
        {"PORTRAIT_HOME": str(home)} | {f"PORTRAIT_TASKS__{name}": more[name] for name in more}
    ).tasks


@pytest.fixture
def tasks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> TaskSettings:
    """Those of an installation with an empty ledger."""
    monkeypatch.delenv("PORTRAIT_API_URL", raising=False)
    return settings(new_home(tmp_path / "home"))


def looked_at(tasks: TaskSettings) -> dict[str, Check]:
    return {check.name: check for check in check_installation(tasks)}


def worker(queue: str) -> WorkerRow:
    return WorkerRow(f"host:1:abc:{queue}", [queue], ["draw:studio"], {}, "cpu", time.time(), time.time())


def test_before_anything_was_set_up_there_is_nothing_wrong_and_nothing_is_made(tmp_path: Path) -> None:
    found = looked_at(settings(tmp_path / "none"))
    assert {name: check.ok for name, check in found.items()} == {"Database": True}
    assert not (tmp_path / "none").exists()


def test_an_installation_that_does_not_run_lacks_nothing_that_is_needed(tasks: TaskSettings) -> None:
    found = looked_at(tasks)
    assert [name for name, check in found.items() if check.needed and not check.ok] == []
    assert {"Database", "Storage", "Broker", "Keeper", "Workers"} == found.keys()
    assert not found["Keeper"].ok


def test_one_that_runs_is_told_by_part(tasks: TaskSettings) -> None:
    tasks.data.mkdir()
    ledger = open_ledger(tasks.database)
    for queue in ("cpu", "io"):
        ledger.workers.register(worker(queue))
    KeeperBeat(ledger)(time.time() - 3)
    ledger.close()
    found = looked_at(tasks)
    assert all(check.ok for check in found.values()), found
    assert {"Workers of cpu", "Workers of io"} <= found.keys()
    assert found["Keeper"].found == "last pass 3 s ago"
    assert "sqlite, schema 00" in found["Database"].found


def test_a_queue_in_which_jobs_wait_needs_a_worker_and_a_keeper(tasks: TaskSettings) -> None:
    ledger = open_ledger(tasks.database)
    ledger.jobs.add(new_job(queue="gpu.generate"))
    ledger.close()
    found = looked_at(tasks)
    wrong = [name for name, check in found.items() if check.needed and not check.ok]
    assert wrong == ["Keeper", "Workers of gpu.generate"]
    assert found["Workers of gpu.generate"].mend.endswith("portrait worker --queues gpu.generate")


def test_an_older_ledger_names_the_command_and_is_not_asked_further(tasks: TaskSettings) -> None:
    database = Database(tasks.database)
    with database.write() as connection:
        connection.exec_driver_sql("UPDATE alembic_version SET version_num = '0013'")
    database.close()
    found = looked_at(tasks)
    assert "Keeper" not in found
    assert not found["Database"].ok
    assert found["Database"].mend.endswith("portrait db upgrade")


@pytest.mark.services
def test_on_postgresql_the_clock_of_this_machine_is_compared_with_the_databases(tmp_path: Path) -> None:
    with servers.postgresql() as url:
        tasks = settings(tmp_path, DATABASE=f"{url}/postgres")
        assert "Clock" not in looked_at(tasks), "there is no schema yet, and nothing more is asked"
        open_ledger(tasks.database).close()
        found = looked_at(tasks)
    assert "postgresql, schema" in found["Database"].found
    assert found["Clock"].ok
    assert re.fullmatch(r"0\.\d seconds (ahead of|behind) the database's", found["Clock"].found)


def test_a_database_and_a_broker_that_do_not_answer_are_told(tmp_path: Path) -> None:
    gone = settings(tmp_path, DATABASE="postgresql://portrait@127.0.0.1:9/portrait")
    assert not looked_at(gone)["Database"].ok
    broker = looked_at(settings(new_home(tmp_path / "home"), BROKER="amqp://127.0.0.1:9//"))["Broker"]
    assert (broker.ok, broker.found) == (False, "amqp does not answer")


def test_a_data_folder_that_cannot_be_used_is_told(tasks: TaskSettings) -> None:
    tasks.data.write_text("a file in the place of a folder")
    storage = looked_at(tasks)["Storage"]
    assert not storage.ok
    assert storage.needed


def test_the_api_is_asked_where_its_address_is_known(
    tasks: TaskSettings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with open_api({"PORTRAIT_HOME": str(tmp_path / "home")}) as api, api_server(api) as server:
        monkeypatch.setenv("PORTRAIT_API_URL", server.url)
        answer = looked_at(tasks)["API"]
        assert (answer.ok, answer.found) == (True, f"{server.url} is degraded"), "no worker runs"
        assert "No worker" not in answer.found
    gone = looked_at(tasks)["API"]
    assert not gone.ok
    assert "portrait api" in gone.mend


@contextmanager
def serving(certificate: Path, key: Path) -> Iterator[str]:
    """A server with a certificate on a free port; gives its address."""
    server = HTTPServer(("127.0.0.1", 0), BaseHTTPRequestHandler)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    server.handle_error = lambda request, client_address: None  # whoever only looks at the certificate hangs up
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"https://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@pytest.mark.parametrize(("days", "ok"), [(90, True), (CERTIFICATE_DAYS - 1, False)])
def test_a_certificate_is_told_by_its_days(
    days: int, ok: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    certificate, key = make_certificate(tmp_path, days + 0.1)
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    with serving(certificate, key) as url:
        found = looked_at(settings(new_home(tmp_path / "home"), APP__URL=url))["Certificate of the app"]
    assert (found.ok, found.found) == (ok, f"{days} days left")


def test_a_certificate_that_browsers_would_not_take_is_told(tmp_path: Path) -> None:
    certificate, key = make_certificate(tmp_path, 90)
    with serving(certificate, key) as url:
        found = looked_at(settings(new_home(tmp_path / "home"), APP__URL=url))["Certificate of the app"]
    assert not found.ok
    assert "is not taken: self-signed certificate" in found.found
