"""Jobs of an installation of version 0.1.0 are finished by this program, and its portraits are drawn again."""

import time
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from tests.compat.asking import running
from tests.compat.comparing import assert_same_pixels, stored

pytestmark = [pytest.mark.services, pytest.mark.models, pytest.mark.networks]
DRAWN = ("in an own style", "in a studio", "of words", "changed", "in a picture")


def wait_for_end(client: TestClient, id: str) -> dict[str, Any]:
    """A job when it has ended."""
    end = time.monotonic() + 180  # of a machine that does ten things at once
    while (job := client.get(f"/jobs/{id}").json())["state"] in ("queued", "running"):
        assert time.monotonic() < end, job
        time.sleep(0.2)
    assert job["state"] == "succeeded", job["fault"]
    return job


def download(client: TestClient, job: dict[str, Any], folder: Path) -> Path:
    """The portrait of a job."""
    answer = client.get(f"/portraits/{job['result']['portraits'][0]}/file")
    file = folder / f"{job['id']}.{answer.headers['content-type'].removeprefix('image/')}"
    file.write_bytes(answer.content)
    return file


def test_what_waited_is_done_and_what_was_drawn_is_drawn_again(
    ann: TestClient, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PORTRAIT_TASKS__CPU_FOR_GPU_QUEUES", "true")
    before = {name: ann.get(f"/jobs/{stored('known.json')['jobs'][name]}").json() for name in DRAWN}
    asked = {
        name: ann.post(f"/portraits/{job['result']['portraits'][0]}/remake").raise_for_status().json()["id"]
        for name, job in before.items()
    }
    with running("worker", "--queues", "cpu,gpu.generate"):
        waited = wait_for_end(ann, stored("known.json")["waiting"])
        now = {name: wait_for_end(ann, id) for name, id in asked.items()}
    assert waited["result"]["portraits"]
    for name in DRAWN:
        # On two threads PyTorch may sum in another order than the worker of before: one level in 32 values of a picture.
        exact = name not in ("of words", "changed")
        assert_same_pixels(download(ann, before[name], tmp_path), download(ann, now[name], tmp_path), exact)
