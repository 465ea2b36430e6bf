"""Loads the settings from one TOML file and the environment, once in each process.

`$PORTRAIT_HOME` (default `~/.portrait`) holds everything the program stores; `portrait.toml` in it holds the settings. An
environment variable overrides one setting: `PORTRAIT_PREPARE__MOST=12` is `most` of `[prepare]`. Unknown names are refused.
The section `[tasks]` is about jobs; all others are about flows and engines and stand in `pipelines.settings`.
"""

import ipaddress
import os
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from pydantic import ConfigDict, TypeAdapter, ValidationError, with_config

from pipelines.settings import Settings
from portrait.errors import OperatorError
from tasks.private_files import FileSettings

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
    upload_megabytes_a_day: int = 4_000
    """Size of all requests with photos, pictures and styles, whether they were kept or not."""
    upload_megapixels_a_day: int = 8_000
    """Of the photos and pictures that were kept."""
    stored_megabytes: int = 20_000
    """Photos, pictures and portraits that are kept."""
    order_megapixels: int = 256
    """Of all portraits of one style in an order."""
    portrait_megapixels_a_day: int = 3_000
    """Of portraits ordered, as `portraits_a_day`."""
    trainings_a_day: int = 20
    """Of a base model; those that failed or were cancelled do not count."""
    training_steps_a_day: int = 20_000
    worker_hours_a_day: float = 12
    """Time that workers spend on the owner's jobs, however these end."""
    webhooks: int = 10
    webhook_calls_a_day: int = 50
    """Test calls, and calls that are asked for again."""
    keys: int = 50
    """Keys that are valid at once."""


@dataclass(frozen=True, slots=True)
class LimitSettings:
    """Limits on requests. Each API process counts for itself."""

    requests_a_minute: int = 6_000
    """Of one key."""
    strangers_a_minute: int = 600
    """Of one address, without a valid key."""
    strangers: int = 50
    """Requests at once of one address, without a key that was seen to be valid."""
    requests: int = 400
    """Requests at once, streams among them."""
    connections: int = 1_000
    """Connections at once."""
    uploads: int = 4
    """Uploads at once of one key …"""
    uploads_in_all: int = 16
    """… and of all."""
    streams: int = 20
    """Streams of events at once of one key …"""
    streams_in_all: int = 200
    """… and of all."""
    body_seconds: float = 30
    """Between two pieces of a body."""
    upload_seconds: float = 900
    """Until the body of an upload is complete; a minute for other bodies."""


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

    networks: tuple[str, ...] = ()
    """Networks that are not public and may be called, also by plain http: `["10.1.2.0/24"]`, receivers of the operator's."""
    private: bool = False
    """Whether every private address and plain http are allowed; `networks` allows less."""

    def __post_init__(self) -> None:
        """Check the networks; raises `ValueError`."""
        for network in self.networks:
            ipaddress.ip_network(network)


@dataclass(frozen=True, slots=True)
class SessionSettings:
    """How long somebody stays signed in."""

    idle_days: float = 7
    """A session that is not used for so long ends."""
    days: float = 30
    """Every session ends so long after the sign-in."""


@dataclass(frozen=True, slots=True)
class OidcSettings:
    """Sign-in with an OpenID provider; off without `issuer`."""

    issuer: str = ""
    """Such as `https://login.example.org`, where `/.well-known/openid-configuration` answers; https, or this machine."""
    client_id: str = ""
    client_secret: str = field(default="", repr=False)
    """From `PORTRAIT_TASKS__OIDC__CLIENT_SECRET` alone; empty for a client without one."""
    name: str = ""
    """What people call the provider; stands on the button."""
    scope: str = "openid"
    """What is asked of the provider: add what brings the claims below."""
    owner_claim: str = ""
    """The claim whose value names the owner. It must never change hands. Empty: a name made of issuer and `sub`."""
    group_claim: str = "groups"
    """The claim that the three lists below are compared with."""
    people: tuple[str, ...] = ()
    """Who may sign in; empty: everybody whom the provider lets in."""
    operators: tuple[str, ...] = ()
    admins: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class AppSettings:
    """The web server of the app's pages."""

    url: str = ""
    """The address under which people open the app, such as `https://portraits.example.org`. With https, cookies are sent
    over it alone. Empty: the address that it listens on."""
    proxies: str = "127.0.0.1"
    """Addresses or networks, separated by commas, of proxies whose `X-Forwarded-For` and `X-Forwarded-Proto` are believed."""
    visitor_upload_megabytes: int = 500
    """Size of the uploads of one visitor that are on their way through the app, or that it holds in memory, at once."""
    upload_megabytes: int = 2000
    """The same of all visitors together."""


@dataclass(frozen=True, slots=True)
class RetentionSettings:
    """Days for which each kind of thing is kept after its last use: looking at it, taking it home, marking or drawing it."""

    people_days: float | None = None
    """A person with photos, everything learned from them, and portraits; default `retention_days`."""
    portraits_days: float | None = None
    """Portraits that are no favourites; default as long as their person."""
    templates_days: float | None = None
    """Uploaded pictures; default `retention_days`."""
    jobs_days: float | None = None
    """Jobs that ended and left no portraits; default `retention_days`."""
    warning_days: float = 7
    """People with favourites, and pictures that were drawn in, are erased so long after their owner was warned, not before."""
    unseen_days: float = 365
    """… and so long after the last use where nobody came to be warned."""
    audit_days: float = 400
    """Entries of the audit log, after they were made."""
    proofs_days: float = 1095
    """What is kept of a consent, without a name, after its person was erased."""


@dataclass(frozen=True, slots=True)
class ConsentSettings:
    """What people agree to, and what must be said with it."""

    texts: Path | None = None
    """A TOML file with further versions of the text of consent; see docs/privacy/consent.md."""
    statements: bool = False
    """Whether the API refuses consents that do not say for whom and of what age, and pictures without the statement about the
    people on them. The app always asks."""


@dataclass(frozen=True, slots=True)
class TaskSettings:
    """Settings of jobs: ledger, broker, data folder, retention, lease, quotas and limits."""

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
    """Everything is erased so long after its last use; `retention` says otherwise for some kinds."""
    cpu_for_gpu_queues: bool = False
    """Whether a worker on a machine without a GPU may serve the queues `gpu.…`: everything there takes far longer."""
    lease: LeaseSettings = field(default_factory=LeaseSettings)
    quotas: QuotaSettings = field(default_factory=QuotaSettings)
    sessions: SessionSettings = field(default_factory=SessionSettings)
    oidc: OidcSettings = field(default_factory=OidcSettings)
    webhooks: WebhookSettings = field(default_factory=WebhookSettings)
    limits: LimitSettings = field(default_factory=LimitSettings)
    retention: RetentionSettings = field(default_factory=RetentionSettings)
    consent: ConsentSettings = field(default_factory=ConsentSettings)
    app: AppSettings = field(default_factory=AppSettings)
    files: FileSettings = field(default_factory=FileSettings)

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
        tasks.setdefault("database", f"sqlite:///{home(environment) / 'ledger.db'}")
        tasks.setdefault("broker", f"filesystem://{home(environment) / 'broker'}")
        tasks.setdefault("data", str(home(environment) / "data"))
    flows = _validate(Settings, tree, path)
    return Installation(flows, _validate(TaskSettings, tasks, path, "tasks"))


def _take_hub_variables(models: dict[str, Any], environment: Mapping[str, str]) -> None:
    """Take what is set for Hugging Face's own programs, where no setting says it."""
    if endpoint := environment.get("HF_ENDPOINT"):
        models.setdefault("hub", endpoint.rstrip("/"))
    home_cache = f"{environment['HF_HOME']}/hub" if environment.get("HF_HOME") else ""
    if cache := environment.get("HF_HUB_CACHE") or home_cache:
        models.setdefault("hub_cache", str(Path(cache).expanduser()))


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
