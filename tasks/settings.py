"""Loads the settings from one TOML file and the environment, once in each process.

`$PORTRAIT_HOME` (default `~/.portrait`) holds everything the program stores; `portrait.toml` in it holds the settings. An
environment variable overrides one setting: `PORTRAIT_PREPARE__MOST=12` is `most` of `[prepare]`. Unknown names are refused.
The section `[tasks]` is about jobs; all others are about flows and engines and stand in `pipelines.settings`.
"""

import os
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import quote

from pydantic import ConfigDict, TypeAdapter, ValidationError, with_config

from pipelines.settings import Settings
from portrait.errors import OperatorError, reading_fault
from tasks.private_files import FileSettings
from tasks.settings_sections import (
    ApiSettings,
    AppSettings,
    ConsentSettings,
    LeaseSettings,
    LimitSettings,
    OidcSettings,
    QuotaSettings,
    RetentionSettings,
    SessionSettings,
    WebhookSettings,
    WorkerSettings,
)
from tasks.storage.storage import StorageSettings
from tasks.telemetry.settings import MetricsSettings, TracingSettings

# Variables that name places and secrets, not settings of the tree.
_NOT_SETTINGS = {"PORTRAIT_HOME", "PORTRAIT_SETTINGS", "PORTRAIT_HUB_TOKEN", "PORTRAIT_API_URL", "PORTRAIT_COPY_TO"}
_STORAGE_SECRETS = {
    "access_key_id": "AWS_ACCESS_KEY_ID",
    "secret_access_key": "AWS_SECRET_ACCESS_KEY",
    "session_token": "AWS_SESSION_TOKEN",
}
"""What nobody writes into the settings file, and the variables that have it."""


@dataclass(frozen=True, slots=True)
class TaskSettings:
    """Settings of jobs: ledger, broker, data folder, retention, lease, quotas and limits."""

    database: str = field(default="", repr=False)
    """SQLAlchemy URL; default: SQLite in `$PORTRAIT_HOME`. A password belongs in `PORTRAIT_TASKS__DATABASE`."""
    broker: str = field(default="", repr=False)
    """Broker URL: `filesystem:///folder` (default, in `$PORTRAIT_HOME`), `redis://…`, `amqp://…`."""
    data: Path = Path("data")
    """The folder of selfies, training sets and portraits; default `$PORTRAIT_HOME/data`."""
    erasures: Path | None = None
    """The journal of erasures, which no backup holds; default `$PORTRAIT_HOME/erasures.jsonl`. See docs/backup.md."""
    polling: float = 0.1
    """Seconds between two polls of the filesystem broker's folder; Redis and RabbitMQ do not poll."""
    keeper: float = 5
    """Seconds between two passes of the keeper."""
    retention_days: float = 30
    """Everything is erased so long after its last use; `retention` says otherwise for some kinds."""
    cpu_for_gpu_queues: bool = False
    """Whether a worker on a machine without a GPU may serve the queues `gpu.…`: everything there takes far longer."""
    lease: LeaseSettings = field(default_factory=LeaseSettings)
    workers: WorkerSettings = field(default_factory=WorkerSettings)
    api: ApiSettings = field(default_factory=ApiSettings)
    quotas: QuotaSettings = field(default_factory=QuotaSettings)
    sessions: SessionSettings = field(default_factory=SessionSettings)
    oidc: OidcSettings = field(default_factory=OidcSettings)
    webhooks: WebhookSettings = field(default_factory=WebhookSettings)
    limits: LimitSettings = field(default_factory=LimitSettings)
    retention: RetentionSettings = field(default_factory=RetentionSettings)
    consent: ConsentSettings = field(default_factory=ConsentSettings)
    app: AppSettings = field(default_factory=AppSettings)
    files: FileSettings = field(default_factory=FileSettings)
    storage: StorageSettings = field(default_factory=StorageSettings)
    metrics: MetricsSettings = field(default_factory=MetricsSettings)
    tracing: TracingSettings = field(default_factory=TracingSettings)

    @property
    def retention_by_kind(self) -> RetentionSettings:
        """The days of each kind with their defaults filled in; those of portraits may still be None."""
        given, days = self.retention, self.retention_days
        return replace(
            given,
            people_days=days if given.people_days is None else given.people_days,
            templates_days=days if given.templates_days is None else given.templates_days,
            jobs_days=days if given.jobs_days is None else given.jobs_days,
        )


@dataclass(frozen=True, slots=True)
class Installation:
    """All settings of one process."""

    flows: Settings
    tasks: TaskSettings


def home(environment: Mapping[str, str] = os.environ) -> Path:
    """Return the folder that holds everything the program stores; raises `OperatorError` (`bad_settings`)."""
    return _expand("PORTRAIT_HOME", environment.get("PORTRAIT_HOME") or "~/.portrait").absolute()


def _expand(variable: str, path: str) -> Path:
    """Read a `~` as a user's home; raises `OperatorError` (`bad_settings`) for one who has none here."""
    try:
        return Path(path).expanduser()
    except RuntimeError as error:
        sentence = f"{path} cannot be found: that user has no home on this machine. Set {variable} to a whole path."
        raise OperatorError("bad_settings", sentence) from error


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
    _refuse_two_profiles(tree)
    models = tree.setdefault("models", {})
    if isinstance(models, dict):
        models.setdefault("folder", str(home(environment) / "models"))
        models["hub_token"] = environment.get("PORTRAIT_HUB_TOKEN") or environment.get("HF_TOKEN", "")
        _take_hub_variables(models, environment)
    marks = tree.setdefault("marks", {})
    if isinstance(marks, dict):
        marks.setdefault("folder", str(home(environment) / "marks"))
    tasks = tree.pop("tasks", {})
    if isinstance(tasks, dict):
        ledger = re.sub("[%?#]", lambda found: quote(found[0]), str(home(environment) / "ledger.db"))
        tasks.setdefault("database", f"sqlite:///{ledger}")
        tasks.setdefault("broker", f"filesystem://{home(environment) / 'broker'}")
        tasks.setdefault("data", str(home(environment) / "data"))
        tasks.setdefault("erasures", str(home(environment) / "erasures.jsonl"))
    flows = _validate(Settings, tree, path)
    return Installation(flows, _validate(TaskSettings, tasks, path, "tasks"))


def _take_hub_variables(models: dict[str, Any], environment: Mapping[str, str]) -> None:
    """Take what is set for Hugging Face's own programs, where no setting says it."""
    if endpoint := environment.get("HF_ENDPOINT"):
        models.setdefault("hub", endpoint.rstrip("/"))
    for variable, folder in (("HF_HUB_CACHE", "."), ("HF_HOME", "hub")):
        if place := environment.get(variable):
            models.setdefault("hub_cache", str(_expand(variable, place) / folder))


def _refuse_secrets(tree: Mapping[str, Any]) -> None:
    """Raise `OperatorError` (`bad_settings`) when the settings file holds a secret."""
    models, tasks = tree.get("models"), tree.get("tasks")
    if isinstance(models, dict) and "hub_token" in models:
        raise OperatorError(
            "bad_settings",
            "A secret does not belong in a file: remove models.hub_token and set PORTRAIT_HUB_TOKEN.",
        )
    if isinstance(tasks, dict) and isinstance(oidc := tasks.get("oidc"), dict) and "client_secret" in oidc:
        raise OperatorError(
            "bad_settings",
            "A secret does not belong in a file: remove tasks.oidc.client_secret and set PORTRAIT_TASKS__OIDC__CLIENT_SECRET.",
        )
    kept = tasks.get("storage") if isinstance(tasks, dict) else None
    for name, variable in _STORAGE_SECRETS.items():
        if isinstance(kept, dict) and name in kept:
            raise OperatorError(
                "bad_settings", f"A secret does not belong in a file: remove tasks.storage.{name} and set {variable}."
            )
    for name in ("database", "broker"):
        if isinstance(tasks, dict) and re.search(r"://[^/@]*:[^/@]+@", str(tasks.get(name, ""))):
            raise OperatorError(
                "bad_settings",
                f"A password does not belong in a file: remove tasks.{name} and set PORTRAIT_TASKS__{name.upper()}.",
            )


def _refuse_two_profiles(tree: Mapping[str, Any]) -> None:
    """Raise `OperatorError` (`bad_settings`) when `profile` and `models.use`, which says the same, contradict each other."""
    models = tree.get("models")
    profile, use = tree.get("profile"), models.get("use") if isinstance(models, dict) else None
    if (profile, use) in (("research", "commercial"), ("commercial", "any")):
        raise OperatorError(
            "bad_settings",
            f'profile = "{profile}" and models.use = "{use}" contradict each other: remove models.use, and keep profile.',
        )


def _read(path: Path, *, required: bool) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text("utf-8"))
    except FileNotFoundError:
        if required:
            raise OperatorError("bad_settings", f"The settings file {path} does not exist.") from None
        return {}
    except (OSError, ValueError, RecursionError) as error:  # numbers too long, nested too deep
        raise OperatorError(
            "bad_settings", f"The settings file {path} cannot be read: {reading_fault(error)}."
        ) from error


def _set_variable(tree: dict[str, Any], name: str, value: str) -> None:
    """Set one variable's value in the tree: PORTRAIT_MODELS__USE → tree["models"]["use"]."""
    *branches, leaf = name.removeprefix("PORTRAIT_").lower().split("__")
    for branch in branches:
        tree = tree.setdefault(branch, {})
        if not isinstance(tree, dict):
            sentence = f"{name} does not fit the settings: {branch!r} is a value, not a section."
            raise OperatorError("bad_settings", sentence)
    tree[leaf] = value


@cache
def _reader(kind: type[Any]) -> TypeAdapter[Any]:
    """Who reads settings of a kind and takes no other names; made once in a process, which takes longer than to read."""
    strict = with_config(ConfigDict(extra="forbid"))
    return TypeAdapter(strict(kind))


def _validate(kind: type[Any], tree: Any, path: Path, section: str = "") -> Any:
    try:
        return _reader(kind).validate_python(tree)
    except ValidationError as error:
        before = (section,) if section else ()
        lines = [f"{'.'.join(map(str, (*before, *each['loc'])))}: {each['msg']}" for each in error.errors()]
        sentence = f"The settings do not hold ({path} or the environment): {'; '.join(lines)}."
        raise OperatorError("bad_settings", sentence) from error
