"""Asks the task API as fast as it answers, from a process of its own: `python -m tests.benchmarks.load ADDRESS PERSON PID`.

The key comes by the environment, KEY; PID is that of the API's process. Tells as one JSON document the seconds of each request
and of all, and the seconds of CPU that the API spent on one.
"""

import json
import os
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import httpx

CLIENTS = 4
"""Who ask at the same time, each with a connection of its own."""
POSTS, GETS = 75, 250
"""Requests of each client."""


@dataclass(frozen=True, slots=True)
class Api:
    """An API that is asked."""

    address: str
    key: str
    pid: int

    def client(self) -> httpx.Client:
        return httpx.Client(
            base_url=self.address, headers={"authorization": f"Bearer {self.key}"}, trust_env=False, timeout=30
        )

    def cpu(self) -> float:
        """Seconds of CPU that its process has spent so far."""
        fields = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def measured(api: Api, count: int, ask: Callable[[httpx.Client], httpx.Response]) -> dict[str, object]:
    """Seconds of each request, of the whole, and of CPU a request."""

    def client(_: int) -> list[float]:
        seconds = []
        with api.client() as http:
            ask(http).raise_for_status()
            for _ in range(count):
                began = time.perf_counter()
                ask(http).raise_for_status()
                seconds.append(time.perf_counter() - began)
        return seconds

    began, before = time.perf_counter(), api.cpu()
    with ThreadPoolExecutor(CLIENTS) as pool:
        seconds = [each for part in pool.map(client, range(CLIENTS)) for each in part]
    return {"each": seconds, "all": time.perf_counter() - began, "cpu": (api.cpu() - before) / (len(seconds) + CLIENTS)}


def main(address: str, person: str, pid: str) -> None:
    order = {"people": {"1": person}, "style": "studio-warm", "count": 1}
    api = Api(address, os.environ["KEY"], int(pid))
    posts = measured(api, POSTS, lambda http: http.post("/v1/generations", json=order))
    with api.client() as http:
        job = http.get("/v1/jobs").json()["items"][0]["id"]
    gets = measured(api, GETS, lambda http: http.get(f"/v1/jobs/{job}"))
    sys.stdout.write(json.dumps({"POST /v1/generations": posts, "GET /v1/jobs/ID": gets}))


if __name__ == "__main__":
    main(*sys.argv[1:])
