"""Asks the task API as fast as it answers, from a process of its own: `python -m tests.benchmarks.load ADDRESS PERSON`.

The key comes by the environment, KEY. Tells seconds of each request, and of all, as one JSON document.
"""

import json
import os
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import httpx

CLIENTS = 4
"""Who ask at the same time, each with a connection of its own."""
POSTS, GETS = 75, 250
"""Requests of each client."""


def measured(address: str, key: str, count: int, ask: Callable[[httpx.Client], httpx.Response]) -> dict[str, object]:
    """Seconds of each request, and of the whole."""

    def client(_: int) -> list[float]:
        seconds = []
        with httpx.Client(base_url=address, headers={"authorization": f"Bearer {key}"}, trust_env=False) as http:
            ask(http).raise_for_status()
            for _ in range(count):
                began = time.perf_counter()
                ask(http).raise_for_status()
                seconds.append(time.perf_counter() - began)
        return seconds

    began = time.perf_counter()
    with ThreadPoolExecutor(CLIENTS) as pool:
        seconds = [each for part in pool.map(client, range(CLIENTS)) for each in part]
    return {"each": seconds, "all": time.perf_counter() - began}


def main(address: str, person: str) -> None:
    order = {"people": {"1": person}, "style": "studio-warm", "count": 1}
    key = os.environ["KEY"]
    posts = measured(address, key, POSTS, lambda http: http.post("/v1/generations", json=order))
    with httpx.Client(base_url=address, headers={"authorization": f"Bearer {key}"}, trust_env=False) as http:
        job = http.get("/v1/jobs").json()["items"][0]["id"]
    gets = measured(address, key, GETS, lambda http: http.get(f"/v1/jobs/{job}"))
    sys.stdout.write(json.dumps({"POST /v1/generations": posts, "GET /v1/jobs/ID": gets}))


if __name__ == "__main__":
    main(*sys.argv[1:])
