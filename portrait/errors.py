"""Everything that can go wrong, by who can put it right.

Every error carries a stable `code` (listed in docs/errors.md) and a sentence that says what happened and what to do.
The branch is read once, at the door: the command line turns it into an exit code, the task API into a status.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any


class PortraitError(Exception):
    """Something this project knows how to name; raise one of its branches.

    `details` is what else a program wants to know, as JSON: the verdict on each photo when too few were left.
    """

    def __init__(self, code: str, message: str, details: Mapping[str, Any] | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.details = details or {}

    def __reduce__(self) -> tuple[type["PortraitError"], tuple[Any, ...]]:
        # Exceptions pickle by their message alone, and workers send them between processes.
        return type(self), (self.code, self.message, dict(self.details))


class UserError(PortraitError):
    """The person's photos or wishes: they can choose other ones."""


class OperatorError(PortraitError):
    """The installation: a missing model, a bad style, bad settings. The operator mends it."""


class EngineError(PortraitError):
    """An engine failed on input that should have worked: out of memory, a broken file, a fault of ours."""


class Cancelled(PortraitError):  # noqa: N818 -- a wish that was granted, not an error
    """Someone asked the work to stop, and it did."""

    def __init__(
        self, code: str = "cancelled", message: str = "Stopped, as you asked.", details: Mapping[str, Any] | None = None
    ) -> None:
        super().__init__(code, message, details)


def broken_model(place: Path, why: str, model: str = "") -> EngineError:
    """A model's file or folder that is not what it should be; `model` is the name that brings it, where one is known."""
    again = f"fetch it again with `portrait models pull {model}`" if model else "pull it again"
    return EngineError(
        "broken_model",
        f"The model file {place} cannot be used ({why}). See whether it is the published one with "
        f"`portrait models check`, and {again}.",
    )
