"""Asks flows for their abilities in a fork of this process, which takes along what engines import to answer.

A worker with nothing to do then holds none of their libraries, of which a job imports those that it needs. Linux alone, and
only while this process has one thread: elsewhere the flows are asked here.
"""

import sys
import threading
from typing import Any

import billiard

from portrait.errors import OperatorError, PortraitError
from tasks.queue.running.context import Abilities, Flows


def find_abilities(flows: Flows) -> Abilities:
    """Return what flows are able to do, and what is missing for the rest.

    Raises what they raise of `PortraitError`, and `OperatorError` (`missing_library`) where asking ends the fork: a library
    that crashes on import does not take this process with it.
    """
    if sys.platform != "linux" or threading.active_count() > 1:
        return flows.abilities()
    # As the worker's own processes are: of those, Python's `multiprocessing` lets none have children.
    forks = billiard.get_context("fork")  # pyrefly: ignore[missing-attribute] -- billiard sets its names as it is imported
    receiver, sender = forks.Pipe(duplex=False)
    with receiver:
        process = forks.Process(target=_answer, args=(flows, sender), name="abilities", daemon=True)
        process.start()
        sender.close()  # the fork's end alone is open, so that its death is told
        try:
            answer: Abilities | PortraitError | None = receiver.recv()
        except EOFError:
            answer = None
    process.join()
    if answer is None:
        raise OperatorError(
            "missing_library",
            f"A library of the engines does not load: asking them ended the process ({process.exitcode}). "
            "Run `portrait doctor`, which names the engine.",
        )
    if isinstance(answer, PortraitError):
        raise answer
    return answer


def _answer(flows: Flows, sender: Any) -> None:
    try:
        sender.send(flows.abilities())
    except PortraitError as error:
        sender.send(error)
