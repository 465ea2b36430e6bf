"""What `portrait doctor` asks of an installation that runs: database, storage, broker, clock, keeper, workers, addresses."""

import os
import ssl
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from app.commands.monitoring.checks import Check
from app.terminal import packages
from portrait.errors import OperatorError

if TYPE_CHECKING:
    from tasks.ledger.ledger import Ledger
    from tasks.settings import TaskSettings

TIMEOUT = 5.0
"""Seconds for an answer over the network."""
CERTIFICATE_DAYS = 14
"""Days before its end at which a certificate ought to have been renewed: Let's Encrypt's are renewed 30 days before."""
DAY = 86_400


def check_installation(tasks: "TaskSettings") -> Iterator[Check]:
    """Look at everything that runs; where nothing was set up yet there is nothing to look at but that."""
    from tasks.ledger.database import Database
    from tasks.ledger.ledger import Ledger

    if _unmade(tasks.database):
        yield Check("Database", True, "none yet: the first command that needs it makes it")
        return
    try:
        database = Database(tasks.database)
        behind, revision = database.steps(), database.revision()
    except OperatorError as error:
        yield Check("Database", False, "does not answer", error.message)
        return
    name = database.engine.dialect.name
    yield Check(
        "Database", not behind, f"{name}, schema {revision}", "It is older than this program: portrait db upgrade"
    )
    yield _storage(tasks)
    if not behind:
        ledger = Ledger(database)
        try:
            yield from _running(ledger, tasks)
        finally:
            ledger.close()
    yield from _addresses(tasks)


def _unmade(url: str) -> bool:
    """Whether the database is a file that is not there: opening it would make it."""
    from tasks.ledger.database import sqlite_file

    file = sqlite_file(url)
    return file is not None and not file.exists()


def _storage(tasks: "TaskSettings") -> Check:
    from tasks.files import open_files

    where = f"bucket {tasks.storage.bucket}" if tasks.storage.url else str(tasks.data)
    if not tasks.data.exists() and not tasks.storage.url:
        return Check("Storage", True, f"{where}, not made yet")
    try:
        open_files(tasks).check()
    except OperatorError as error:
        return Check("Storage", False, f"{where} cannot be used", error.message)
    return Check("Storage", True, f"{where} answers" if tasks.storage.url else f"{where} can be written")


def _running(ledger: "Ledger", tasks: "TaskSettings") -> Iterator[Check]:
    """The broker, the clock, the keeper and the workers, as the ledger knows them."""
    from tasks.ledger.database import TOLERATED_SKEW

    if not packages.missing("server"):
        yield _broker(tasks)
    if not ledger.database.sqlite:  # whose clock is this machine's
        skew = ledger.now.skew()
        found = f"{abs(skew):.1f} seconds {'ahead of' if skew > 0 else 'behind'} the database's"
        yield Check("Clock", abs(skew) <= TOLERATED_SKEW, found, "Set this machine's clock by NTP.")
    now = ledger.now()
    workers, keepers = ledger.workers.list_live(now), ledger.workers.list_keepers(now)
    waiting = ledger.queue.count_waiting()
    passes = ", ".join(f"{now - each.beat:.0f} s ago" for each in keepers)
    needed = bool(workers or waiting)
    mend = "Start one: portrait keeper. Lost jobs stay lost and nothing is erased without one."
    yield Check("Keeper", bool(keepers), f"last pass {passes}" if passes else "none runs", mend, needed)
    yield from _queues([queue for each in workers for queue in each.queues], waiting)


def _broker(tasks: "TaskSettings") -> Check:
    from tasks.queue import broker

    kind = tasks.broker.partition(":")[0]
    mend = "Jobs are kept, and start when it does."
    try:
        app = broker.create_app(tasks)
        heard = broker.pending_messages(app, "cpu") is not None
        app.close()
    except OperatorError as error:
        return Check("Broker", False, f"{kind} cannot be used", error.message)
    return Check("Broker", heard, f"{kind} answers" if heard else f"{kind} does not answer", mend)


def _queues(served: list[str], waiting: dict[str, int]) -> Iterator[Check]:
    """Live processes by queue; a queue in which jobs wait needs one."""
    for queue in sorted({*served, *waiting}):
        count, jobs = served.count(queue), waiting.get(queue, 0)
        found = f"{count} running" + (f", {jobs} jobs wait" if jobs else "")
        yield Check(f"Workers of {queue}", count > 0, found, f"Start one: portrait worker --queues {queue}", jobs > 0)
    if not served and not waiting:
        yield Check("Workers", False, "none run", "`portrait serve` starts all parts on one machine.", False)


def _addresses(tasks: "TaskSettings") -> Iterator[Check]:
    """The API where its address is given, and the certificates of the addresses that are https."""
    api = os.environ.get("PORTRAIT_API_URL", "")
    if api:
        yield _api(api.rstrip("/"))
    for name, url in (("API", api), ("app", tasks.app.url)):
        if url.startswith("https://"):
            yield _certificate(name, url)


def _api(url: str) -> Check:
    import httpx

    try:
        answer = httpx.get(f"{url}/v1/ready", timeout=TIMEOUT)
        status, checks = answer.json()["status"], answer.json()["checks"]
    except (httpx.HTTPError, httpx.InvalidURL, ValueError, KeyError, TypeError) as error:
        return Check(
            "API", False, f"{url} does not answer as the task API ({type(error).__name__})", "Start it: portrait api"
        )
    wrong = " ".join(str(each) for each in checks.values() if each != "ok")
    return Check("API", answer.status_code == 200, f"{url} is {status}", wrong)


def _certificate(name: str, url: str) -> Check:
    """The days for which a certificate holds; one that browsers would not take is told as that."""
    import socket

    label, address = f"Certificate of the {name}", urlsplit(url)
    host, port = address.hostname or "", address.port or 443
    try:
        with (
            socket.create_connection((host, port), TIMEOUT) as plain,
            ssl.create_default_context().wrap_socket(plain, server_hostname=host) as secure,
        ):
            until = ssl.cert_time_to_seconds(str((secure.getpeercert() or {})["notAfter"]))
    except ssl.SSLCertVerificationError as error:
        return Check(
            label, False, f"that of {host} is not taken: {error.verify_message}", "Give the server a valid one."
        )
    except OSError as error:
        return Check(
            label, False, f"{host} does not answer ({error.strerror or type(error).__name__})", "Look at the proxy."
        )
    days = (until - time.time()) / DAY
    return Check(label, days >= CERTIFICATE_DAYS, f"{days:.0f} days left", "Renew it: it ends soon.")
