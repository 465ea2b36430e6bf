"""Parts of an installation as processes, and somebody with a key who asks its API."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import httpx

from tests.compat.places import ROOT


@dataclass
class Caller:
    """Somebody with a key."""

    web: httpx.Client

    def get(self, address: str) -> Any:
        return self.web.get(address).raise_for_status().json()

    def ask(self, address: str, **sent: Any) -> Any:
        answer = self.web.post(address, **sent)
        if answer.is_error:
            raise SystemExit(f"{address}: {answer.text}")
        return answer.json() if answer.content else None

    def done(self, address: str, **sent: Any) -> dict[str, Any]:
        """The job that was asked for, ended."""
        return self.ended(self.ask(address, **sent)["id"])

    def ended(self, id: str) -> dict[str, Any]:
        job = self.get(f"/jobs/{id}")
        while job["state"] in ("queued", "running"):
            time.sleep(0.3)
            job = self.get(f"/jobs/{id}")
        return job


def caller(port: int, secret: str) -> Caller:
    """Somebody with that key."""
    key = {"Authorization": f"Bearer {secret}"}
    return Caller(httpx.Client(base_url=f"http://127.0.0.1:{port}/v1", headers=key, timeout=60))


@contextmanager
def running(*words: object) -> Iterator["subprocess.Popen[bytes]"]:
    """A part of the installation, killed at the end: what it was doing stays as it was."""
    command = [sys.executable, "-m", "app", *map(str, words)]
    started = subprocess.Popen(command, cwd=ROOT, start_new_session=True)
    try:
        yield started
    finally:
        os.killpg(started.pid, signal.SIGKILL)
        started.wait()


def wait(caller: Caller) -> None:
    """Until the API answers."""
    for _ in range(200):
        try:
            caller.get("/me")
        except httpx.TransportError:
            time.sleep(0.2)
        else:
            return
    raise SystemExit("the API did not start")
