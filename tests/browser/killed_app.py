"""The web server of the app alone, as a process that is killed and is there again within a second."""

import multiprocessing
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from multiprocessing.process import BaseProcess

from playwright.sync_api import ConsoleMessage, Page
from playwright.sync_api import Error as BrowserError

from app.server import web
from tests.tasks.servers import accepts, free_port

_FORKS = multiprocessing.get_context("forkserver")
_FORKS.set_forkserver_preload(["tests.browser.prepared_app"])


@dataclass
class KilledApp:
    """The server on a port that stays the same; each one is forked from a process that has imported the app."""

    api: str
    port: int = field(default_factory=free_port)
    _process: BaseProcess | None = None

    @property
    def url(self) -> str:
        """Its address."""
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        """Start it and wait until it answers."""
        self._process = _FORKS.Process(target=_serve, args=(self.port, self.api), daemon=True)
        self._process.start()
        assert accepts(self.port, 60)

    def kill(self) -> None:
        """End it with SIGKILL."""
        if self._process is not None:
            self._process.kill()
            self._process.join()


def _serve(port: int, api: str) -> None:
    os.environ["PORTRAIT_API_URL"] = api
    web.serve("127.0.0.1", port)


@contextmanager
def told_on_failure(tabs: Mapping[str, Page]) -> Iterator[None]:
    """Add to a failure what each tab shows, where it is, and the last lines of its console."""
    lines: dict[str, list[str]] = {name: [] for name in tabs}

    def listen(message: ConsoleMessage, name: str) -> None:
        lines[name].append(message.text)

    for name, tab in tabs.items():
        tab.on("console", lambda message, name=name: listen(message, name))
    try:
        yield
    except (AssertionError, BrowserError) as error:
        told = [
            f"{name} at {tab.url}:\n{tab.locator('body').inner_text()}\n" + "\n".join(lines[name][-20:])
            for name, tab in tabs.items()
        ]
        raise AssertionError("\n\n".join([str(error), *told])) from error
