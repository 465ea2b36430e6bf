import os
import re
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from queue import Queue

import pytest
from playwright.sync_api import Browser, sync_playwright

from app.terminal import sample_photos
from tasks.files import Files
from tasks.settings import home, load
from templates.catalog import Catalog
from tests.tasks.servers import free_port, need

ROOT = Path(__file__).parent.parent.parent
CHROMIUM = next(filter(None, map(shutil.which, ("chromium-headless-shell", "chromium", "chromium-browser"))), "")
"""Without windows and menus it draws the same pages for two thirds of the processor time."""
EVERYWHERE = "0.0.0.0"  # noqa: S104 -- others in the network are to reach it, as phones do
OPENED = pytest.StashKey[ExitStack]()
"""What ends `portrait serve` and the browser."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if item.path.is_relative_to(Path(__file__).parent):
            item.add_marker("services")
            item.add_marker("models")


@dataclass(frozen=True)
class Installation:
    """`portrait serve` as it runs: the addresses of app and API, the links it printed, and its home folder."""

    app: str
    link: str
    phones: list[str]
    """Links for other devices of the network, one for each address of this machine."""
    api: str
    home: Path


@pytest.fixture(scope="session")
def installation(tmp_path_factory: pytest.TempPathFactory, pytestconfig: pytest.Config) -> Iterator[Installation]:
    """`portrait serve` in a folder of its own, with the embedded models that are here already."""
    need("chromium", bool(CHROMIUM), "apt-get install chromium-headless-shell")
    folder = tmp_path_factory.mktemp("installation")
    for entry in Catalog().entries():
        # An empty folder says that the samples of a style were tried: a worker that idles for a minute would draw them all.
        Files(folder / "data").style_samples(entry.style.id, entry.style.version).mkdir(parents=True)
    port, api_port = free_port(), free_port()
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("PORTRAIT_")}
    environment = inherited | {
        "PORTRAIT_HOME": str(folder),
        "PORTRAIT_MODELS__FOLDER": str(load().models.folder),
        "NUMBA_CACHE_DIR": str(home() / "cache" / "numba"),
        "PORTRAIT_PREPARE__SMALL_FACE": "0",  # detail for small faces is tested for itself
    }
    command = [sys.executable, "-m", "app", "serve", "--host", EVERYWHERE, "--no-pull"]
    command += ["--port", str(port), "--api-port", str(api_port)]
    serving = subprocess.Popen(
        command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    with _opened(pytestconfig) as opened:
        opened.callback(lambda: (serving.terminate(), serving.wait(40)))
        link, *phones = _links(serving)
        yield Installation(f"http://127.0.0.1:{port}", link, phones, f"http://127.0.0.1:{api_port}", folder)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_teardown(item: pytest.Item, nextitem: pytest.Item | None) -> Iterator[None]:
    """`portrait serve` and the browser end with the last test of this folder.

    The one would look for work beside all that follow, and no test of this process may run an event loop beside Playwright's.
    """
    try:
        yield
    finally:
        if nextitem is None or not nextitem.path.is_relative_to(Path(__file__).parent):
            _opened(item.config).close()


def _opened(config: pytest.Config) -> ExitStack:
    """What is open until the last test of this folder has ended."""
    return config.stash.setdefault(OPENED, ExitStack())


@pytest.fixture(scope="session")
def chromium(pytestconfig: pytest.Config) -> Iterator[Browser]:
    """Debian's Chromium."""
    need("chromium", bool(CHROMIUM), "apt-get install chromium-headless-shell")
    with _opened(pytestconfig) as opened:
        playwright = opened.enter_context(sync_playwright())
        # As root, as in CI's containers, Chromium runs without its sandbox only.
        arguments = ["--no-sandbox", "--disable-dev-shm-usage", "--font-render-hinting=none"]
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=arguments)
        opened.callback(browser.close)
        yield browser


@pytest.fixture(scope="session")
def photos(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Six good photos and two bad ones: one out of focus, and one of a cup of coffee."""
    paths = sample_photos.write_selfies(tmp_path_factory.mktemp("photos"))
    return [*paths[:6], *(path for path in paths if path.name.startswith(("09", "12")))]


@pytest.fixture(scope="session")
def shots(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder for screenshots: `SHOTS`, or else a temporary one."""
    folder = Path(os.environ.get("SHOTS") or tmp_path_factory.mktemp("shots"))
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def _links(serving: "subprocess.Popen[str]") -> list[str]:
    """The one-time links that it prints once everything is healthy: this machine's, then those for other devices."""
    lines: Queue[str] = Queue()
    output = serving.stdout
    assert output is not None
    threading.Thread(target=lambda: [lines.put(line) for line in output], daemon=True).start()
    text = ""
    while True:
        text += lines.get(timeout=240)
        if "Logs are in" in text:
            return re.findall(r"http://\S+/sign-in\?code=\S+", text)
