"""Waiting for what takes long, and not for what hangs."""

import time

import pytest

from tests.tasks.stand import wait_while_told


def test_what_tells_something_new_is_waited_for_and_what_hangs_is_not() -> None:
    told = iter([(False, 0.1), (False, 0.1), (False, 0.2), (False, 0.2), (True, 0.2)])
    wait_while_told(lambda: next(told), within=5)
    began = time.monotonic()
    wait_while_told(lambda: (time.monotonic() - began > 0.5, time.monotonic()), within=0.2)
    assert time.monotonic() - began > 0.5, "longer than what hangs is waited for"
    with pytest.raises(AssertionError, match=r"nothing new since 0\.3\nlost its worker"):
        wait_while_told(lambda: (False, 0.3), within=0.2, log=lambda: "lost its worker")
