"""Error classes, by who can correct the error: user, operator, or the engines.

Every error carries a stable `code` (listed in docs/errors.md) and a sentence that says what happened and what to do.
The command line turns the class into an exit code, the task API into an HTTP status.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any


class PortraitError(Exception):
    """Base class of all expected errors; raise one of its subclasses.

    `details` is JSON for programs: the verdict on each photo when too few were left.
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
    """The user can correct it: unsuitable photos, invalid options."""


class OperatorError(PortraitError):
    """The operator of the installation can correct it: a missing model, a bad style, bad settings."""


class EngineError(PortraitError):
    """An engine failed on valid input: out of memory, a broken file, a bug."""


class Cancelled(PortraitError):  # noqa: N818 -- a request that was met, not an error
    """The work was stopped on request."""

    def __init__(
        self, code: str = "cancelled", message: str = "Stopped, as you asked.", details: Mapping[str, Any] | None = None
    ) -> None:
        super().__init__(code, message, details)


def broken_model(path: Path, why: str, model: str = "") -> EngineError:
    """The error for an unusable model file or folder; `model` is its name in the model store, where it is known."""
    again = f"fetch it again with `portrait models pull {model}`" if model else "pull it again"
    return EngineError(
        "broken_model",
        f"The model file {path} cannot be used ({why}). See whether it is the published one with "
        f"`portrait models check`, and {again}.",
    )


def reading_fault(error: Exception) -> str:
    """Why a text file cannot be read, as the end of a sentence."""
    return "it is not written in UTF-8: save it so" if isinstance(error, UnicodeDecodeError) else str(error)
