"""Pictures are decoded in processes of their own, in turn among callers and within bounds; one that fails ends nothing else."""

import os
import signal
import subprocess
import threading
import time
from collections.abc import Iterator
from concurrent.futures import Future
from pathlib import Path

import numpy as np
import PIL.Image
import pytest

from portrait.errors import UserError
from tasks.api import picture_pool
from tasks.api.picture_pool import PicturePool, PoolLimits
from tests.tasks.api.harness import ApiHarness, picture
from tests.tasks.stand import wait_until


@pytest.fixture
def pool() -> Iterator[PicturePool]:
    pool = PicturePool()
    yield pool
    pool.close()


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    place = tmp_path / "photo"
    place.write_bytes(picture(1, side=400))
    return place


@pytest.fixture
def blocked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A "picture" whose content never comes."""
    os.mkfifo(tmp_path / "never")
    return tmp_path / "never"


def code_of(future: "Future[bytes]") -> str:
    with pytest.raises(UserError) as caught:
        future.result(30)
    return caught.value.code


def children() -> list[int]:
    """Decoding processes of this one."""
    listed = subprocess.run(["ps", "-o", "pid,args", "--ppid", str(os.getpid())], capture_output=True, text=True).stdout
    return [int(line.split()[0]) for line in listed.splitlines() if "picture_child" in line]


def test_a_caller_with_too_many_is_refused_at_once_and_others_are_not(blocked: Path, photo: Path) -> None:
    pool = PicturePool(PoolLimits(each=2, total=4))
    try:
        waiting = [pool.submit(blocked, 64, "ann"), pool.submit(photo, 64, "ann")]
        with pytest.raises(UserError) as caught:
            pool.submit(photo, 64, "ann")
        assert (caught.value.code, caught.value.details["retry_after"]) == ("busy", 2)
        waiting += [pool.submit(photo, 64, "bob"), pool.submit(photo, 64, "bob")]
        with pytest.raises(UserError, match="too much"):
            pool.submit(photo, 64, "cem")
    finally:
        pool.close()
    assert {code_of(each) for each in waiting} == {"busy"}


def test_a_process_that_is_just_starting_ends_with_the_pool(blocked: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    started, start = threading.Event(), picture_pool._Process.__init__

    def slowly(process: picture_pool._Process, seconds: float) -> None:
        started.set()
        time.sleep(0.2)
        start(process, seconds)

    monkeypatch.setattr(picture_pool._Process, "__init__", slowly)
    pool = PicturePool(PoolLimits(seconds=600))
    waiting = pool.submit(blocked, 64, "ann")
    assert started.wait(30)
    pool.close()
    assert code_of(waiting) == "busy"


def test_callers_take_turns(pool: PicturePool, photo: Path) -> None:
    ended: list[str] = []
    first = [pool.submit(photo, 64, "ann") for _ in range(12)]
    last = pool.submit(photo, 96, "bob")
    for each in first:
        each.add_done_callback(lambda _: ended.append("ann"))
    last.add_done_callback(lambda _: ended.append("bob"))
    for each in [*first, last]:
        each.result(30)
    assert "bob" in ended[:4], "nobody waits for all that one caller asks for"


def test_a_picture_that_takes_too_long_is_given_up(blocked: Path, photo: Path) -> None:
    pool = PicturePool(PoolLimits(seconds=1.5))
    try:
        assert code_of(pool.submit(blocked, 64, "ann")) == "busy"
        assert pool.submit(photo, 64, "ann").result(30)[:2] == b"\xff\xd8"
    finally:
        pool.close()


def test_a_decoder_that_ends_is_replaced(pool: PicturePool, blocked: Path, photo: Path) -> None:
    assert pool.submit(photo, 64, "ann").result(30)
    (child,) = children()
    waiting = pool.submit(blocked, 64, "ann")
    threading.Timer(0.2, os.kill, (child, signal.SIGSEGV)).start()
    assert code_of(waiting) == "unreadable"
    assert pool.submit(photo, 64, "ann").result(30)
    assert child not in children()


def test_a_large_picture_does_not_hold_up_small_ones(pool: PicturePool, tmp_path: Path, photo: Path) -> None:
    large = tmp_path / "large"
    PIL.Image.fromarray(np.zeros((4000, 4000, 3), np.uint8)).save(large, "AVIF", speed=10)
    assert pool.submit(large, 64, "ann").result(60)[:2] == b"\xff\xd8"
    assert pool.submit(photo, 64, "bob").result(30)[:2] == b"\xff\xd8"
    assert len(children()) == 2, "it was decoded by the other process"


def test_processes_end_when_there_is_nothing_to_do(photo: Path) -> None:
    pool = PicturePool(PoolLimits(idle=0.1))
    assert pool.submit(photo, 64, "ann").result(30)
    wait_until(lambda: not children())
    assert pool.submit(photo, 96, "ann").result(30), "and start again"
    pool.close()
    assert children() == []


def test_a_decoder_knows_no_secrets(pool: PicturePool, photo: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PORTRAIT_TASKS__DATABASE", "postgresql://portrait:secret@db/portrait")
    pool.submit(photo, 64, "ann").result(30)
    (child,) = children()
    assert b"secret" not in Path(f"/proc/{child}/environ").read_bytes()


def test_health_answers_while_everybody_waits_for_pictures(api: ApiHarness, blocked: Path) -> None:
    person, client = api.prepared_person(), api.client()
    selfie = api.context.ledger.people.selfies("ann", person)[0]
    place = api.context.files.selfie("ann", person, selfie.id)
    place.unlink()
    os.mkfifo(place)
    for number in range(32):
        api.context.thumbnails.pool.submit(blocked, 64 + number, "ann")
    began = time.monotonic()
    assert client.get("/health").status_code == 200
    assert time.monotonic() - began < 0.5
    place.unlink()
    place.write_bytes(picture(1))
    refused = client.get(f"/selfies/{selfie.id}/file", params={"side": 64})
    assert (refused.status_code, refused.json()["code"]) == (503, "busy")
    assert refused.headers["retry-after"] == "2"
    assert client.get(f"/selfies/{selfie.id}/file").status_code == 200, "whole files are sent meanwhile"
