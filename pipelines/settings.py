"""Every knob of the flows and engines: one frozen tree, read once by `tasks.settings` and handed down by `pipelines.build`.

A number here that is not a matter of taste says where it comes from; docs/judging.md has the measurements.
"""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from portrait.reasons import Thresholds


@dataclass(frozen=True, slots=True)
class EngineNames:
    """Which engine serves which port: the name of a file in `pipelines/engines/FOLDER`."""

    faces: str = "blazeface"
    mattes: str = "selfie"
    restorers: str = "classic"


@dataclass(frozen=True, slots=True)
class ModelStore:
    """Where model files lie and where they may come from."""

    folder: Path = Path("models")
    """Set by `tasks.settings` to `$PORTRAIT_HOME/models`."""
    use: Literal["any", "commercial"] = "any"
    """`commercial` refuses every model whose licence does not allow commercial use."""
    hub: str = "https://huggingface.co"
    """Hugging Face endpoint or a mirror of it."""
    hub_token: str = field(default="", repr=False)
    """For gated repositories; from the environment only (`PORTRAIT_HUB_TOKEN`)."""


@dataclass(frozen=True, slots=True)
class Prepare:
    """How a training set is chosen and cut."""

    most: int = 20
    """Photos chosen at most: more teach little and slow training down."""
    references: int = 5
    """Selfies kept at native resolution for painters and adapters."""
    trigger: str = "sks"
    """The rare token that will stand for the person."""
    class_word: str = "person"
    """What the person is an instance of; never guessed from the photos."""
    white: bool = False
    """Put the person on white, so that learning ignores the room."""


@dataclass(frozen=True, slots=True)
class Settings:
    """All of it."""

    engines: EngineNames = field(default_factory=EngineNames)
    models: ModelStore = field(default_factory=ModelStore)
    quality: Thresholds = field(default_factory=Thresholds)
    prepare: Prepare = field(default_factory=Prepare)
