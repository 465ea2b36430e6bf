"""What strangers cost the API and the app: memory after every route has been asked for many times over; docs/security.md.

That they are refused and leave nothing behind is in `tests/tasks/api/test_access.py` and `tests/app/server/`, one request a
route; here both are processes of their own, and what they keep is read from the system.
"""

import os
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import httpx
import pytest

from tasks import auth
from tasks.client.client import Client
from tasks.ledger.ledger import open_ledger
from tasks.settings import load_installation
from tests.benchmarks.plugin import Record
from tests.benchmarks.upload_memory import awaited, resident, started
from tests.tasks.api.harness import OwnedIds
from tests.tasks.api.routes import PUBLIC, request_body, routes, url_of
from tests.tasks.servers import free_port

pytestmark = pytest.mark.bench

ROUNDS = 10
WARM = 4
"""Rounds after which everything is loaded that a refusal needs."""
MOST_GROWTH = 5.0
"""Megabytes that a process may grow from then on: less than one of the photos that were sent to it."""
PAGES = ("/", "/photos", "/portraits", "/sending/none", "/pictures/none", "/health", "/metrics", "/_stcore/host-config")


@dataclass(frozen=True)
class Served:
    """The API and the app of an installation with one person, Ann's."""

    api: str
    app: str
    processes: tuple[int, int]
    """Of both."""
    files: Path
    callers: tuple[str, ...]
    """`Authorization` of strangers: none, a wrong key, an ended session, a key of somebody else."""
    person: str


@pytest.fixture
def served() -> Iterator[Served]:
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        ports = free_port(), free_port()
        api, app = (f"http://127.0.0.1:{port}" for port in ports)
        limits = {"PORTRAIT_TASKS__LIMITS__STRANGERS_A_MINUTE": "1000000"}
        environment = os.environ | {"PORTRAIT_HOME": folder, "PORTRAIT_API_URL": api} | limits
        servers = [
            started(stack, [sys.executable, "-m", "app", "api", "--port", str(ports[0])], environment),
            started(stack, [sys.executable, "-m", "app.server.web", "--port", str(ports[1])], environment),
        ]
        awaited(f"{api}/v1/health")
        awaited(f"{app}/_stcore/health")
        ledger = open_ledger(load_installation(environment).tasks.database)
        anns, eves = (auth.create_key(ledger, who, "bench", "person", time.time()).secret for who in ("ann", "eve"))
        with Client(api, anns) as client:
            person = client.add_person("Ann", "2026-11", "Ann").id
            session = client.open_session(key=anns)
            client.end_session(session.id)
        callers = ("", "Bearer pk_wrong", f"Bearer {session.secret}", f"Bearer {eves}")
        yield Served(api, app, (servers[0].pid, servers[1].pid), Path(folder), callers, person)


def test_strangers_cost_no_memory(served: Served, figure: Record) -> None:
    nobodys = OwnedIds(served.person, *(f"{each}_none" for each in list(OwnedIds.__annotations__)[1:]))
    document = httpx.get(f"{served.api}/v1/openapi.json", trust_env=False).json()
    known = list(routes(cast(Any, SimpleNamespace(openapi=lambda: document))))
    stored, sizes, answers = files(served.files), [], 0
    with httpx.Client(trust_env=False, timeout=30) as http:
        for _ in range(ROUNDS):
            for caller in served.callers:
                headers = {"authorization": caller} if caller else {}
                for route in known:
                    own = caller == served.callers[-1] and (
                        "{id}" not in route.path or route.path.startswith("/styles")
                    )
                    if (route.method, route.path) in PUBLIC or own:  # what anybody, and Eve with her own things, may do
                        continue
                    url = f"{served.api}/v1{url_of(route, nobodys)}"
                    answer = http.request(route.method, url, headers=headers, **request_body(route, nobodys))
                    assert answer.status_code in {401, 403, 404}, (route, caller, answer.text)
                    answers += 1
                for page in PAGES:
                    http.post(f"{served.app}{page}", headers=headers, content=os.urandom(1_000_000))
                    http.get(f"{served.app}{page}", headers=headers)
            sizes.append([resident(each) for each in served.processes])
    growth = [last - warm for warm, last in zip(sizes[WARM - 1], sizes[-1], strict=True)]
    table = [f"{answers} refusals over {len(known)} routes", f"API, app: {sizes} MB", f"grown by {growth} MB"]
    sys.stdout.write("\n" + "\n".join(table) + "\n")
    for name, grown in zip(("API", "app"), growth, strict=True):
        figure(f"Refusing strangers: the {name} grows by", grown, "MB", at_most=MOST_GROWTH, compared=False)
    assert files(served.files) == stored


def files(folder: Path) -> list[str]:
    """Names of all files but the ledger's own."""
    return sorted(str(each) for each in folder.rglob("*") if each.is_file() and "ledger" not in each.name)
