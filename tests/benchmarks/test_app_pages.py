"""How soon the app's pages are there, and what they weigh, with 10 people and 300 portraits; docs/benchmarks.md.

Of another commit: the same file in a worktree of it.
"""

import shutil
import sqlite3
import statistics
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import closing
from pathlib import Path
from secrets import token_hex

import httpx
import pytest
from playwright.sync_api import Browser, BrowserContext, Page

from tasks import auth
from tasks.client.client import Client
from tasks.ledger.ledger import open_ledger
from tasks.schemas import GenerationRequest, TrainingRequest
from tests.benchmarks.made import Tables
from tests.benchmarks.plugin import Record
from tests.browser import conftest
from tests.browser.conftest import Installation

pytestmark = pytest.mark.bench

# The browser and `portrait serve` are those of the tests in the browser.
installation, chromium, photos = conftest.installation, conftest.chromium, conftest.photos

PEOPLE, STYLES, EACH = 10, ("studio-warm", "studio-office", "studio-outdoors", "studio-white", "studio-grey"), 6
ROUNDS = 7
"""Medians of so many loads and clicks."""
PAGES = {
    "start": "",
    "photos": "photos",
    "styles": "create",
    "progress": "progress",
    "portraits": "results",
    "data": "privacy",
    "jobs": "board",
}
"""By name in the table: the path."""
READY = (
    "document.querySelector('.p-foot') && "
    "document.querySelector('[data-testid=stApp]').dataset.testScriptState === 'notRunning'"
)
TITLE = "document.querySelector('h1')?.innerText ?? ''"
FIRST_LOAD_BYTES = 1_000_000
"""Most bytes over the wire of a page that is the first one."""
LOAD_SECONDS, CLICK_SECONDS = 2.0, 1.0
"""Three times what two idle cores take."""


@pytest.fixture(scope="module")
def signed_in(installation: Installation, chromium: Browser, photos: list[Path]) -> Iterator[BrowserContext]:
    """A browser at an installation with its people and portraits."""
    code = installation.link.partition("code=")[2]
    key = httpx.post(f"{installation.api}/v1/sign-in", json={"code": code}).json()["secret"]
    with Client(installation.api, key) as client:
        person = _draw_person(client, photos)
        owner = client.me().owner
    _multiply(installation.home, owner, person)
    context = chromium.new_context(viewport={"width": 1280, "height": 900}, locale="en-GB")
    page = context.new_page()
    page.goto(f"{installation.app}/sign-in")
    page.get_by_label("Your key").fill(_key(installation, owner))
    page.get_by_role("button", name="Sign in").click()
    _wait(page)
    yield context
    context.close()


@pytest.fixture(scope="module")
def tables() -> Iterator[Tables]:
    tables = Tables()
    yield tables
    sys.stdout.write("\n" + tables.text())


def test_a_first_load(
    installation: Installation, signed_in: BrowserContext, chromium: Browser, tables: Tables, figure: Record
) -> None:
    rows, weights = [], {}
    for name, path in PAGES.items():
        state = signed_in.storage_state()
        context = chromium.new_context(viewport={"width": 1280, "height": 900}, locale="en-GB", storage_state=state)
        page = context.new_page()
        sizes = _sizes(context, page)
        seconds = _load(page, f"{installation.app}/{path}")
        page.wait_for_timeout(1500)
        text = sum(size for kind, size in sizes if "image" not in kind)
        weights[name] = text
        pictures = sum(size for kind, size in sizes if "image" in kind)
        rows.append((name, f"{seconds:.2f}", str(len(sizes)), f"{text / 1e6:.2f}", f"{pictures / 1e6:.2f}"))
        context.close()
    head = ("page", "s", "requests", "MB of scripts, styles and fonts", "MB of pictures")
    tables.add("First load, nothing in the browser's cache", head, rows)
    for name, weight in weights.items():
        what = f"Scripts, styles and fonts of a first load of the page {name}"
        figure(what, weight / 1e6, "MB", at_most=FIRST_LOAD_BYTES / 1e6)


def test_loads_and_clicks(
    installation: Installation, signed_in: BrowserContext, tables: Tables, figure: Record
) -> None:
    page = signed_in.new_page()
    loads = {name: [_load(page, f"{installation.app}/{path}") for _ in range(ROUNDS)] for name, path in PAGES.items()}
    names = {"photos": "Photos", "styles": "Styles", "progress": "Progress", "portraits": "Portraits"}
    clicks: dict[str, list[float]] = {name: [] for name in names}
    for _ in range(ROUNDS):
        for name, label in names.items():
            clicks[name].append(_click(page, label, PAGES[name]))
    rows = [
        (name, f"{statistics.median(each):.2f}", f"{statistics.median(clicks[name]):.2f}" if name in clicks else "")
        for name, each in loads.items()
    ]
    loaded, clicked = (
        statistics.median([second for each in found.values() for second in each]) for found in (loads, clicks)
    )
    rows.append(("median of all", f"{loaded:.2f}", f"{clicked:.2f}"))
    figure("Pages of the app, loaded, median of all", loaded, "s", at_most=LOAD_SECONDS)
    figure("Pages of the app, by the menu, median of all", clicked, "s", at_most=CLICK_SECONDS)
    tables.add("Seconds until a page is there", ("page", "loaded", "by the menu"), rows)


def _draw_person(client: Client, photos: list[Path]) -> str:
    """A person with judged photos and the portraits of one order a style; the person's id."""
    text = client.consent_text()
    person = client.add_person("Eileen", text.version, "Eileen", given_for="self", adult=True, language="en").id
    client.add_selfies(person, [(path.name, path.read_bytes()) for path in photos])
    client.wait(client.train(TrainingRequest.model_validate({"person": person})).id)
    for style in STYLES:
        order = GenerationRequest.model_validate({"people": {"1": person}, "style": style, "count": EACH})
        assert client.wait(client.generate(order).id).state == "succeeded"
    return person


def _key(installation: Installation, owner: str) -> str:
    ledger = open_ledger(f"sqlite:///{installation.home / 'ledger.db'}")
    return auth.create_key(ledger, owner, "bench", "admin", time.time()).secret


def _multiply(home: Path, owner: str, person: str) -> None:
    """Copy a person with photos and portraits, in the ledger and on disk, until there are `PEOPLE`."""
    with closing(sqlite3.connect(home / "ledger.db", timeout=30)) as ledger:
        ledger.row_factory = sqlite3.Row
        copied = _rows_of(ledger, person)
        for number in range(2, PEOPLE + 1):
            named = [row for rows in copied.values() for row in rows if "id" in row.keys()]  # noqa: SIM118  values otherwise
            ids = {row["id"]: f"{row['id'][:-16]}{token_hex(8)}" for row in named}
            with ledger:
                for table, rows in copied.items():
                    for row in rows:
                        _insert(ledger, table, row, ids, number)
            _copy_files(home / "data" / "owners" / owner, ids)


def _rows_of(ledger: sqlite3.Connection, person: str) -> dict[str, list[sqlite3.Row]]:
    """What the ledger has of a person, by table, each after those that it refers to."""
    jobs = "(SELECT job FROM job_people WHERE person = ?)"
    tables = {
        **dict.fromkeys(("people",), "id = ?"),
        **dict.fromkeys(("consents", "selfies"), "person = ?"),
        "jobs": f"id IN {jobs}",
        **dict.fromkeys(("job_people", "training_sets"), "person = ?"),
        "portraits": f"job IN {jobs}",
    }
    select = "SELECT * FROM {} WHERE {}".format
    return {table: ledger.execute(select(table, which), (person,)).fetchall() for table, which in tables.items()}


def _insert(ledger: sqlite3.Connection, table: str, row: sqlite3.Row, ids: Mapping[str, str], number: int) -> None:
    values = [_renamed(value, ids) if isinstance(value, str) else value for value in tuple(row)]
    if table == "people":
        values[row.keys().index("name")] = f"Person {number}"
    marks = ", ".join("?" * len(values))
    ledger.execute(f"INSERT INTO {table} VALUES ({marks})", values)  # noqa: S608  the tables are named above


def _copy_files(folder: Path, ids: Mapping[str, str]) -> None:
    for path in [each for each in folder.rglob("*") if each.is_file()]:
        place = folder / _renamed(str(path.relative_to(folder)), ids)
        if place == path or place.exists():
            continue
        place.parent.mkdir(parents=True, exist_ok=True)
        if path.suffix == ".json":
            place.write_text(_renamed(path.read_text("utf-8"), ids), "utf-8")
        else:
            shutil.copyfile(path, place)


def _renamed(text: str, ids: Mapping[str, str]) -> str:
    for old, new in ids.items():
        text = text.replace(old, new)
    return text


def _wait(page: Page) -> None:
    until = time.monotonic() + 60
    while not page.evaluate(READY):
        assert time.monotonic() < until, page.url
        page.wait_for_timeout(10)


def _load(page: Page, address: str) -> float:
    """Seconds from the address to the whole page, its pictures aside."""
    began = time.monotonic()
    page.goto(address, wait_until="commit")
    page.locator('[data-testid="stApp"]').wait_for(timeout=60_000)
    _wait(page)
    return time.monotonic() - began


def _click(page: Page, label: str, path: str) -> float:
    """Seconds from a click in the menu to the whole page."""
    title = page.locator("h1").first.inner_text()
    began = time.monotonic()
    page.get_by_role("link", name=label, exact=True).first.click()
    while f"/{path}" not in page.url or page.evaluate(TITLE) in {"", title}:
        page.wait_for_timeout(10)
    _wait(page)
    return time.monotonic() - began


def _sizes(context: BrowserContext, page: Page) -> list[tuple[str, float]]:
    """Media type and bytes over the wire of each response, filled while a page loads."""
    session, kinds, sizes = context.new_cdp_session(page), {}, []
    session.send("Network.enable")
    session.on(
        "Network.responseReceived", lambda event: kinds.update({event["requestId"]: event["response"]["mimeType"]})
    )
    session.on(
        "Network.loadingFinished",
        lambda event: sizes.append((kinds.get(event["requestId"], ""), event["encodedDataLength"])),
    )
    return sizes
