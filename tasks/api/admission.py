"""What is checked before the body of an upload is read: consent and quotas, beside key, role and rate.

A route names its question with `before_body`; `tasks.api.context.AuthenticatedRoute` asks it.
"""

import re
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, TypeAlias, TypeVar

from portrait.errors import OperatorError, UserError
from tasks.ledger.ledger import Ledger
from tasks.ledger.usage import MEGA
from tasks.settings import TaskSettings

Endpoint = TypeVar("Endpoint", bound=Callable[..., Any])
_QUESTION = "asked_before_body"


@dataclass(frozen=True, slots=True)
class Upload:
    """A request whose body is not read yet."""

    ledger: Ledger
    tasks: TaskSettings
    owner: str
    path: Mapping[str, str]
    """Path parameters, as they came …"""
    query: Mapping[str, str]
    """… and those behind the question mark."""
    length: int
    """Bytes of the body by the request's header; 0 where it does not say."""
    now: float


Question: TypeAlias = Callable[[Upload], None]


def before_body(question: Question) -> Callable[[Endpoint], Endpoint]:
    """Have a question asked before the body of a route's requests is read; it raises what the request is refused for."""

    def mark(endpoint: Endpoint) -> Endpoint:
        setattr(endpoint, _QUESTION, question)
        return endpoint

    return mark


def question_of(endpoint: Callable[..., Any]) -> Question | None:
    """The question of a route; None for routes that take no upload."""
    return getattr(endpoint, _QUESTION, None)


def begin(question: Question, upload: Upload) -> int:
    """Ask, and charge the bytes of the body; returns the charge for `end`. Raises what the request is refused for."""
    question(upload)
    if upload.ledger.usage.stored_bytes(upload.owner) >= upload.tasks.quotas.stored_megabytes * MEGA:
        sentence = (
            f"{upload.tasks.quotas.stored_megabytes} MB are kept at most. Delete photos, pictures or portraits first."
        )
        raise UserError("storage_full", sentence)
    most = upload.tasks.quotas.upload_megabytes_a_day * MEGA
    return upload.ledger.usage.begin_upload(upload.owner, upload.length, most, upload.now)


def end(upload: Upload, charge: int, received: int) -> None:
    """Charge what was read of the body instead of what was announced."""
    with suppress(OperatorError):  # what was announced stays charged where the database is gone
        upload.ledger.usage.end_upload(charge, received)


def content_length(header: str) -> int:
    """Bytes of a body by the request's header; 0 where it does not say."""
    return int(header) if re.fullmatch(r"[0-9]{1,18}", header) else 0


def photos_of_person(upload: Upload) -> None:
    """Ask whether a person is the owner's and agrees, and whether photos are left today."""
    upload.ledger.people.require_consent(upload.owner, upload.path.get("id", ""))
    photos = upload.ledger.usage.today(upload.owner, upload.now)["photos"]
    if photos.amount >= upload.tasks.quotas.photos_a_day:
        sentence = f"{upload.tasks.quotas.photos_a_day} photos a day are allowed. Try again later."
        raise UserError("quota_photos", sentence, {"retry_after": photos.wait(upload.now)})


def own_picture(upload: Upload) -> None:
    """Ask whether an owner may have another picture, and a job that looks at it."""
    upload.ledger.templates.require_room(upload.owner, upload.tasks.quotas.templates)
    if upload.ledger.jobs.count_active(upload.owner) >= upload.tasks.quotas.jobs:
        sentence = f"{upload.tasks.quotas.jobs} jobs at once are allowed. Wait until one has ended."
        raise UserError("quota_jobs", sentence, {"retry_after": 10})


def styles(_: Upload) -> None:
    """Ask nothing more than the role of an operator, which the route requires."""
