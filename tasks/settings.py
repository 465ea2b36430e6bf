"""Loads the settings from one TOML file and the environment, once in each process.

`$PORTRAIT_HOME` (default `~/.portrait`) holds everything the program stores; `portrait.toml` in it holds the settings. An
environment variable overrides one setting: `PORTRAIT_PREPARE__MOST=12` is `most` of `[prepare]`. Unknown names are refused.
The section `[tasks]` is about jobs; all others are about flows and engines and stand in `pipelines.settings`.
"""

import os
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic import ConfigDict, TypeAdapter, ValidationError, with_config

from pipelines.settings import Settings
from portrait.errors import OperatorError

# Variables that name places and secrets, not settings of the tree.
_NOT_SETTINGS = {"PORTRAIT_HOME", "PORTRAIT_SETTINGS", "PORTRAIT_HUB_TOKEN", "PORTRAIT_API_URL"}


@dataclass(frozen=True, slots=True)
class QuotaSettings:
    """Limits for one owner."""

    jobs: int = 20
    """Jobs queued or running at once."""
    people: int = 50
    photos: int = 60
    """Photos of one person."""
    photos_a_day: int = 300
    portraits_a_day: int = 200
    """Portraits ordered within 24 hours; those of failed and cancelled jobs do not count."""
    templates: int = 50
    """Uploaded pictures that people can be put into."""
    upload_megabytes: int = 500
    """Size of one request with photos."""


@dataclass(frozen=True, slots=True)
class LeaseSettings:
    """Times of a worker's lease, and how many losses and failures end a job."""

    seconds: float = 60
    """A job whose worker does not renew the lease for so long goes back to the queue."""
    heartbeat: float = 10
    """Seconds between two renewals of the lease."""
    losses: int = 10
    failures: int = 3
    queued_hours: float = 72
    """A job that no worker claims for so long expires."""


@dataclass(frozen=True, slots=True)
class WebhookSettings:
    """Webhooks to addresses that owners named."""

    private: bool = False
    """Whether private addresses and plain http are allowed: for receivers on the operator's own network."""


@dataclass(frozen=True, slots=True)
class TaskSettings:
    """Settings of jobs: ledger, broker, data folder, retention, lease and quotas."""

    database: str = field(default="", repr=False)
    """SQLAlchemy URL; default: SQLite in `$PORTRAIT_HOME`. A password belongs in `PORTRAIT_TASKS__DATABASE`."""
    broker: str = field(default="", repr=False)
    """Broker URL: `filesystem:///folder` (default, in `$PORTRAIT_HOME`), `redis://…`, `amqp://…`."""
    data: Path = Path("data")
    """The folder of selfies, training sets and portraits; default `$PORTRAIT_HOME/data`."""
    polling: float = 0.1
    """Seconds between two polls of the filesystem broker's folder; Redis and RabbitMQ do not poll."""
    keeper: float = 5
    """Seconds between two passes of the keeper."""
    retention_days: float = 30
    """A person's selfies, sets and portraits are erased so long after their last use, uploaded pictures after the upload."""
    cpu_for_gpu_queues: bool = False
    """Whether a worker on a machine without a GPU may serve the queues `gpu.…`: everything there takes far longer."""
    lease: LeaseSettings = field(default_factory=LeaseSettings)
    quotas: QuotaSettings = field(default_factory=QuotaSettings)
    webhooks: WebhookSettings = field(default_factory=WebhookSettings)


@dataclass(frozen=True, slots=True)
class Installation:
    """All settings of one process."""

    flows: Settings
    tasks: TaskSettings


def home(environment: Mapping[str, str] = os.environ) -> Path:
    """Return the folder that holds everything the program stores."""
    return Path(environment.get("PORTRAIT_HOME") or "~/.portrait").expanduser().absolute()


def load(environment: Mapping[str, str] = os.environ) -> Settings:
    """Load the settings of flows and engines; raises `OperatorError` (`bad_settings`) that names each wrong line."""
    return load_installation(environment).flows


def load_installation(environment: Mapping[str, str] = os.environ) -> Installation:
    """Load all settings; raises `OperatorError` (`bad_settings`) that names each wrong line."""
    path = Path(environment.get("PORTRAIT_SETTINGS") or home(environment) / "portrait.toml")
    tree = _read(path, required="PORTRAIT_SETTINGS" in environment)
    _refuse_secrets(tree)
    for name, value in environment.items():
        if name.startswith("PORTRAIT_") and name not in _NOT_SETTINGS:
            _set_variable(tree, name, value)
    models = tree.setdefault("models", {})
    if isinstance(models, dict):
        models.setdefault("folder", str(home(environment) / "models"))
        models["hub_token"] = environment.get("PORTRAIT_HUB_TOKEN", "")
    tasks = tree.pop("tasks", {})
    if isinstance(tasks, dict):
        tasks.setdefault("database", f"sqlite:///{home(environment) / 'ledger.db'}")
        tasks.setdefault("broker", f"filesystem://{home(environment) / 'broker'}")
        tasks.setdefault("data", str(home(environment) / "data"))
    flows = _validate(Settings, tree, path)
    return Installation(flows, _validate(TaskSettings, tasks, path, "tasks"))


def _refuse_secrets(tree: Mapping[str, Any]) -> None:
    """Raise `OperatorError` (`bad_settings`) when the settings file holds a secret."""
    models, tasks = tree.get("models"), tree.get("tasks")
    if isinstance(models, dict) and "hub_token" in models:
        raise OperatorError(
            "bad_settings",
            "A secret does not belong in a file: remove models.hub_token and set PORTRAIT_HUB_TOKEN.",
        )
    for name in ("database", "broker"):
        if isinstance(tasks, dict) and re.search(r"://[^/@]*:[^/@]+@", str(tasks.get(name, ""))):
            raise OperatorError(
                "bad_settings",
                f"A password does not belong in a file: remove tasks.{name} and set PORTRAIT_TASKS__{name.upper()}.",
            )


def _read(path: Path, *, required: bool) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text("utf-8"))
    except FileNotFoundError:
        if required:
            raise OperatorError("bad_settings", f"The settings file {path} does not exist.") from None
        return {}
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise OperatorError("bad_settings", f"The settings file {path} cannot be read: {error}.") from error


def _set_variable(tree: dict[str, Any], name: str, value: str) -> None:
    """Set one variable's value in the tree: PORTRAIT_MODELS__USE → tree["models"]["use"]."""
    *branches, leaf = name.removeprefix("PORTRAIT_").lower().split("__")
    for branch in branches:
        tree = tree.setdefault(branch, {})
        if not isinstance(tree, dict):
            sentence = f"{name} does not fit the settings: {branch!r} is a value, not a section."
            raise OperatorError("bad_settings", sentence)
    tree[leaf] = value


def _validate(kind: type[Any], tree: Any, path: Path, section: str = "") -> Any:
    strict = with_config(ConfigDict(extra="forbid"))
    try:
        return TypeAdapter(strict(kind)).validate_python(tree)
    except ValidationError as error:
        before = (section,) if section else ()
        lines = [f"{'.'.join(map(str, (*before, *each['loc'])))}: {each['msg']}" for each in error.errors()]
        sentence = f"The settings do not hold ({path} or the environment): {'; '.join(lines)}."
        raise OperatorError("bad_settings", sentence) from error
