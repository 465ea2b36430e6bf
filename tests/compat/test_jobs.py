"""Jobs of an installation from before are done by the present program: those that waited, and portraits once more."""

import time
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from tests.compat.asking import running
from tests.compat.comparing import assert_same_pixels, stored

pytestmark = [pytest.mark.services, pytest.mark.models, pytest.mark.networks]
DRAWN = ("in an own style", "in a studio", "of words", "changed", "in a picture")


def ended(client: TestClient, id: str) -> dict[str, Any]:
    """A job when it has ended."""
    end = time.monotonic() + 180  # of a machine that does ten things at once
    while (job := client.get(f"/jobs/{id}").json())["state"] in ("queued", "running"):
        assert time.monotonic() < end, job
        time.sleep(0.2)
    assert job["state"] == "succeeded", job["fault"]
    return job


def file_of(client: TestClient, job: dict[str, Any], folder: Path) -> Path:
    """The portrait of a job."""
    answer = client.get(f"/portraits/{job['result']['portraits'][0]}/file")
    file = folder / f"{job['id']}.{answer.headers['content-type'].removeprefix('image/')}"
    file.write_bytes(answer.content)
    return file


def test_what_waited_is_done_and_what_was_drawn_is_drawn_again(
    ann: TestClient, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PORTRAIT_TASKS__CPU_FOR_GPU_QUEUES", "true")
    before = {name: ann.get(f"/jobs/{stored('told.json')['jobs'][name]}").json() for name in DRAWN}
    asked = {
        name: ann.post(f"/portraits/{job['result']['portraits'][0]}/remake").raise_for_status().json()["id"]
        for name, job in before.items()
    }
    with running("worker", "--queues", "cpu,gpu.generate"):
        waited = ended(ann, stored("told.json")["waiting"])
        now = {name: ended(ann, id) for name, id in asked.items()}
    assert waited["result"]["portraits"]
    for name in DRAWN:
        assert_same_pixels(file_of(ann, before[name], tmp_path), file_of(ann, now[name], tmp_path))
