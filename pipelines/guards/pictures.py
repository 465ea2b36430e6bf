"""The guard of pictures: an engine's verdict, and what follows where that engine is off, missing or fails.

The settings say which engine looks and what follows without one; see `guards` of `pipelines.settings` and docs/guards.md.
"""

import logging
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from pipelines.model_store.store import ModelStore
from pipelines.settings import GuardSettings, ModelStoreSettings, Settings
from portrait.arrays import Image
from portrait.errors import EngineError, OperatorError, UserError
from portrait.ports import Guard

ABSENT = ("missing_model", "missing_library", "licence_refused", "no_provider")
"""Codes of errors that say of an engine that it is not here; any other is a fault of the settings."""
FAILURES = (EngineError, RuntimeError, ValueError, ArithmeticError, OSError, MemoryError)
"""What an engine may raise over a picture: none of it is a verdict."""
BLOCKED = "This picture may not be used here. Choose another one."
NOT_DELIVERED = "What was drawn may not be delivered. Choose another style, or another seed."
_OFF = "The guard of pictures is off (guards.pictures)."
_log = logging.getLogger("portrait.guards")


@dataclass(frozen=True, slots=True)
class PictureGuard:
    """Lets pictures pass or keeps them back."""

    engine: Guard | None
    """None where it is off or missing."""
    closed: bool
    """Whether no picture passes that the engine cannot judge; else each of them does."""
    lacks: str = ""
    """Why there is no engine, and what brings it, in sentences."""

    def require(self) -> None:
        """Raise `OperatorError` (`guard_missing`) where no picture could pass, before long work begins."""
        if self.engine is None and self.closed:
            raise missing_error(self.lacks)

    def allows(self, image: Image) -> bool:
        """Whether a picture may be used, shown and delivered.

        Raises `OperatorError` (`guard_missing`) where it cannot be judged and the settings let nothing pass unjudged.
        """
        if self.engine is None:
            self.require()
            return True
        try:
            return bool(self.engine.allows(image))
        except FAILURES as error:
            _log.warning("the guard of pictures failed: %s", _reason(error))
            if self.closed:
                raise missing_error(_reason(error)) from error
            return True

    def check(self, image: Image, sentence: str = BLOCKED) -> None:
        """Raise `UserError` (`blocked`), in that sentence, for a picture that may not pass; and what `allows` raises."""
        if not self.allows(image):
            raise UserError("blocked", sentence)

    def fault(self) -> str:
        """Why it judges nothing here, in a sentence, found out with a plain picture; empty where it works."""
        if self.engine is None:
            return self.lacks
        try:
            self.engine.allows(np.full((64, 64, 3), 128, np.uint8))
        except FAILURES as error:
            return _reason(error)
        return ""


@dataclass(frozen=True, slots=True)
class Watch:
    """The guard of an installation as plain values, for a process that has no settings."""

    engine: str
    threshold: float
    closed: bool
    models: str
    """Folder of the model store."""

    @property
    def settings(self) -> Settings:
        """The settings with which `open_guard` opens the same guard."""
        guards = GuardSettings(self.engine, self.threshold, "closed" if self.closed else "open")
        return Settings(models=ModelStoreSettings(Path(self.models)), guards=guards)


def watch_of(settings: Settings) -> Watch | None:
    """The guard as plain values; None where pictures pass unjudged. Nothing is loaded.

    Raises `OperatorError` (`guard_missing`) where none may pass.
    """
    if lines := lacking(settings):
        PictureGuard(None, settings.guards_closed, " ".join(lines)).require()
        return None
    return Watch(
        settings.guards.pictures, settings.guards.threshold, settings.guards_closed, str(settings.models.folder)
    )


def open_guard(settings: Settings, load: Callable[[str], Guard]) -> PictureGuard:
    """The guard that the settings name; `load` opens an engine by name.

    Raises `OperatorError` for a name that no engine has; what is missing or broken makes a guard without engine.
    """
    name = settings.guards.pictures
    if not name:
        return PictureGuard(None, settings.guards_closed, _OFF)
    try:
        return PictureGuard(load(name), settings.guards_closed)
    except EngineError as error:
        return PictureGuard(None, settings.guards_closed, error.message)
    except OperatorError as error:
        if error.code not in ABSENT:
            raise
        return PictureGuard(None, settings.guards_closed, error.message)


def lacking(settings: Settings) -> list[str]:
    """Why no guard looks at pictures here, in sentences; empty where one does. Nothing is loaded."""
    name = settings.guards.pictures
    return ModelStore(settings.models).missing(name) if name else [_OFF]


def in_words(settings: Settings) -> str:
    """What becomes of pictures here where no guard looks at them, in one line; empty where one does."""
    lines = lacking(settings)
    if not lines:
        return ""
    follows = "no picture is taken or delivered" if settings.guards_closed else "pictures pass unjudged"
    return f"{' '.join(lines)} Until then {follows}."


def _reason(error: Exception) -> str:
    return error.message if isinstance(error, EngineError) else f"It failed ({type(error).__name__}: {error})."


def missing_error(lacks: str) -> OperatorError:
    """The error where no picture may pass because none can be judged."""
    return OperatorError(
        "guard_missing",
        f"No picture is taken or delivered here while the guard of pictures cannot look at it. {lacks} "
        'Mend that, or have pictures pass unjudged with guards.missing = "open".',
    )
