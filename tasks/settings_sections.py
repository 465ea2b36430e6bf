"""The sections of `[tasks]` in the settings, each a frozen dataclass with its defaults; loaded by `tasks.settings`."""

import ipaddress
from dataclasses import dataclass, field
from pathlib import Path


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
    losses: int = 5
    """Leases that may expire: workers that were switched off, cut off or frozen."""
    failures: int = 3
    """Errors of the flow, and processes that died while they did the job."""
    queued_hours: float = 72
    """A job that no worker claims for so long expires."""


@dataclass(frozen=True, slots=True)
class WorkerSettings:
    """How workers stop, and how one that learns and draws shares its time."""

    grace: float = 20
    """Seconds in which a worker that is to stop may finish its job, before it gives the job back."""
    training_turn: float = 120
    """A training gives its place to drawings that have waited so many seconds, after so many seconds of its own; then they
    give it back in turn. Only where one worker does both."""


@dataclass(frozen=True, slots=True)
class ApiSettings:
    """The server of the task API."""

    root_path: str = ""
    """The path under which a proxy shows the API, such as `/portrait`; empty where it is the root."""
    shutdown_seconds: float = 20
    """For which downloads may go on when API or app are to stop; streams of events end at once, to be resumed elsewhere."""

    def __post_init__(self) -> None:
        """Check the path; raises `ValueError`."""
        if self.root_path and not (self.root_path.startswith("/") and self.root_path.rstrip("/")):
            raise ValueError("root_path begins with a slash, such as /portrait")


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
