"""Schemas of the caller and the installation: quotas, abilities, workers, models, statistics, health."""

from collections.abc import Mapping
from typing import Literal

from pydantic import Field

from tasks.schemas.shared import RequestBody, ResponseBody, Role, State, Timestamp


class QuotaUse(ResponseBody):
    """A quota and how much of it is used."""

    used: int
    most: int


class Quotas(ResponseBody):
    """The quotas of an owner and their use."""

    owner: str
    jobs: QuotaUse
    people: QuotaUse
    photos_a_day: int
    photos_of_a_person: int
    portraits_today: QuotaUse
    retention_days: float
    photos_today: QuotaUse = QuotaUse(used=0, most=0)
    upload_megabytes_today: QuotaUse = QuotaUse(used=0, most=0)
    trainings_today: QuotaUse = QuotaUse(used=0, most=0)
    worker_minutes_today: QuotaUse = QuotaUse(used=0, most=0)
    stored_megabytes: QuotaUse = QuotaUse(used=0, most=0)


class Me(Quotas):
    """The caller, with quotas and their use."""

    role: Role
    consent_version: str = Field("", description="Version of the present text of consent: `GET /v1/consent-text`.")


class Erased(ResponseBody):
    """What was erased, by ids."""

    people: list[str] = Field(default_factory=list)
    selfies: list[str] = Field(default_factory=list)
    portraits: list[str] = Field(default_factory=list)
    templates: list[str] = Field(default_factory=list)
    jobs: list[str] = Field(default_factory=list)
    files: list[str] = Field(
        default_factory=list, description="Always empty: where files lay is not told. Earlier versions did."
    )
    identities: list[str] = Field(default_factory=list)
    webhooks: list[str] = Field(default_factory=list)
    keys: list[str] = Field(default_factory=list)
    erasure: str = Field("", description="Id of the receipt: `GET /v1/me/erasures/{id}`.")
    done: Timestamp | None = Field(
        None, description="When the last file was erased; null while that is not possible, and tried again until it is."
    )


class Erasure(ResponseBody):
    """The receipt of an erasure, without names: who asked when, and what went."""

    id: str
    owner: str
    kind: Literal["person", "owner", "selfie", "training_set", "identity", "portrait", "template"]
    subject: str = Field(description="Id of what was to be erased.")
    actor: str = Field(description="The owner and the id of the key or session that asked, or `system`.")
    asked: Timestamp
    done: Timestamp | None = Field(description="When nothing was left; null until then.")
    ids: Mapping[str, list[str]] = Field(description="Ids of what went, by kind.")


class ErasureRequest(RequestBody):
    """An erasure of things of an owner who asked an operator for it."""

    owner: str = Field(max_length=64, examples=["ann"])
    person: str | None = Field(None, max_length=64, description="One person; everything of the owner without it.")


class Ability(ResponseBody):
    """An ability of the installation: ready, or what is missing."""

    name: str
    ready: bool
    missing: list[str]
    family: str = Field(
        "", description="Of `base:…` and `train:…`: the family of the base, as styles name them; empty when not known."
    )
    learn_on: str = Field(
        "",
        description="Of `base:…` and `train:…`: the base that people are learned on in its place, whose LoRAs it draws with; "
        "empty for itself.",
    )


class Worker(ResponseBody):
    """A live worker process."""

    id: str
    queues: list[str]
    abilities: list[str]
    missing: Mapping[str, list[str]]
    device: str
    started: Timestamp
    beat: Timestamp
    stopping: bool = Field(False, description="Whether it begins no more jobs, because it is to stop.")
    version: str = Field("", description="Version of the program that it runs.")


class QueueCounts(ResponseBody):
    """Number of jobs of a queue by state."""

    queue: str
    states: Mapping[str, int]


class JobLogEntry(ResponseBody):
    """A state or step that a job came to."""

    at: Timestamp
    state: State
    phase: str
    progress: float


class StyleStatistics(ResponseBody):
    """Statistics of a style."""

    style: str
    portraits: int
    favourites: int
    failures: int
    likeness_median: float | None
    likeness_worst_tenth: float | None = Field(description="90th percentile of the distance.")


class JobTimes(ResponseBody):
    """Seconds that the last hundred jobs of a kind waited and ran."""

    kind: str
    jobs: int
    wait_median: float
    wait_p90: float
    run_median: float
    run_p90: float


class Statistics(ResponseBody):
    """Statistics by style and by kind of job."""

    styles: list[StyleStatistics]
    times: list[JobTimes]


class PruneResult(ResponseBody):
    """How many finished jobs were deleted."""

    jobs: int


class Health(ResponseBody):
    """Health of the process or the installation."""

    status: Literal["ok", "degraded", "unready"]
    checks: Mapping[str, str] = {}
