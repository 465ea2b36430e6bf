"""Rows of the ledger as the API shows them."""

from datetime import UTC, datetime

from tasks import schemas
from tasks.api import problems
from tasks.jobs import Job
from tasks.ledger.jobs import Standing
from tasks.ledger.people import About
from tasks.ledger.rows import (  # fmt: skip
    ConsentRow,
    DeliveryRow,
    EventRow,
    KeyRow,
    PersonRow,
    PortraitRow,
    SelfieRow,
    TemplateRow,
    WebhookRow,
    WorkerRow,
)

DAY = 86_400.0


def moment(seconds: float) -> datetime:
    """A time of the ledger."""
    return datetime.fromtimestamp(seconds, UTC)


def perhaps(seconds: float | None) -> datetime | None:
    """A time that may not have come."""
    return None if seconds is None else moment(seconds)


def key(row: KeyRow) -> schemas.Key:
    """A key without its secret."""
    return schemas.Key(
        id=row.id,
        owner=row.owner,
        name=row.name,
        role=row.role,
        created=moment(row.created),
        used=perhaps(row.used),
        expires=perhaps(row.expires),
        revoked=perhaps(row.revoked),
    )


def person(row: PersonRow, about: About, retention_days: float) -> schemas.Person:
    """A person."""
    return schemas.Person(
        id=row.id,
        name=row.name,
        created=moment(row.created),
        used=moment(row.used),
        erased_after=moment(row.used + retention_days * DAY),
        photos=about.photos,
        consent=about.consent,
        identity=about.identity,
        learned=list(about.learned),
    )


def consent(row: ConsentRow) -> schemas.Consent:
    """A record of consent."""
    return schemas.Consent(
        text_version=row.text_version,
        given_by=row.given_by,
        given=moment(row.given),
        withdrawn=perhaps(row.withdrawn),
    )


def selfie(row: SelfieRow) -> schemas.Selfie:
    """A photo."""
    return schemas.Selfie.model_validate(
        {
            "id": row.id,
            "person": row.person,
            "name": row.name,
            "bytes": row.bytes,
            "width": row.width,
            "height": row.height,
            "format": row.format,
            "created": moment(row.created),
            "wish": row.wish,
            "verdict": row.verdict,
            "reasons": list(row.reasons),
            "quality": row.quality,
        }
    )


def job(row: Job, standing: Standing, takes: list[str]) -> schemas.Job:
    """A job with its place among the others."""
    return schemas.Job(
        id=row.id,
        owner=row.owner,
        kind=row.kind,
        queue=row.queue,
        state=row.state,
        phase=row.phase,
        progress=row.progress,
        message=row.message,
        preview=row.preview,
        place=standing.place,
        seconds_left=None if standing.seconds is None else round(standing.seconds, 1),
        missing=takes,
        wants=row.wants,
        result=row.result,
        fault=fault(row),
        losses=row.losses,
        failures=row.failures,
        created=moment(row.created),
        started=perhaps(row.started),
        finished=perhaps(row.finished),
    )


def fault(row: Job) -> schemas.Fault | None:
    """Why a job failed, or why its last run did."""
    if row.fault is None:
        return None
    return schemas.Fault(code=row.fault.code, message=row.fault.message, errors=problems.errors_of(row.fault.details))


def event(row: EventRow) -> schemas.JobEvent:
    """Something that happened to a job."""
    return schemas.JobEvent.model_validate({"state": row.state, **row.data})


def portrait(row: PortraitRow) -> schemas.Portrait:
    """A portrait."""
    return schemas.Portrait.model_validate(
        {
            "id": row.id,
            "job": row.job,
            "number": row.number,
            "style": row.style,
            "style_version": row.style_version,
            "format": row.format,
            "bytes": row.bytes,
            "width": row.width,
            "height": row.height,
            "likeness": row.likeness,
            "scores": row.scores,
            "recipe": row.recipe,
            "favourite": row.favourite,
            "created": moment(row.created),
        }
    )


def template(row: TemplateRow) -> schemas.Template:
    """A picture of the owner's."""
    faces = None if row.faces is None else [schemas.Area.model_validate(each) for each in row.faces]
    return schemas.Template(
        id=row.id,
        name=row.name,
        width=row.width,
        height=row.height,
        format=row.format,
        created=moment(row.created),
        job=row.job,
        faces=faces,
    )


def webhook(row: WebhookRow) -> schemas.Webhook:
    """A webhook without its secret."""
    return schemas.Webhook(
        id=row.id,
        url=row.url,
        events=list(row.events),
        created=moment(row.created),
        disabled=perhaps(row.disabled),
        why_disabled=row.why_disabled,
    )


def delivery(row: DeliveryRow) -> schemas.Delivery:
    """A call."""
    return schemas.Delivery(
        id=row.id,
        webhook=row.webhook,
        event=row.event,
        state=row.state,
        attempts=row.attempts,
        due=moment(row.due),
        status=row.status,
        answer=row.answer,
        created=moment(row.created),
        ended=perhaps(row.ended),
    )


def worker(row: WorkerRow) -> schemas.Worker:
    """A worker."""
    return schemas.Worker(
        id=row.id,
        queues=list(row.queues),
        abilities=list(row.abilities),
        missing={name: list(lines) for name, lines in row.missing.items()},
        device=row.device,
        started=moment(row.started),
        beat=moment(row.beat),
    )
