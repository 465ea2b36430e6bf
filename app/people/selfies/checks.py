"""Has a person's photos checked by itself whenever they change: photos added, deleted or restored, choices made."""

from collections.abc import Hashable, Mapping, Sequence

from app.components import errors
from app.session import client, get_state, set_state
from portrait.errors import UserError
from tasks import schemas

_NOT_CANCELLED = ("queued", "running", "cancelling", "succeeded", "failed", "expired")
_SEEN = "photos_seen"
"""By person, what the photos were when the page was drawn last."""


def follow_changes(
    person: schemas.Person, photos: Sequence[schemas.Selfie], latest: schemas.Job | None
) -> schemas.Job | None:
    """Request a check where photos have changed since the page was drawn last, or were never checked.

    Returns the newest check, `latest` or the one that was requested.
    """
    seen: Mapping[str, Hashable] = get_state(_SEEN, {})
    now = frozenset((each.id, each.wish, each.face and (each.face.x, each.face.y)) for each in photos)
    changed = seen[person.id] != now if person.id in seen else _is_unchecked(photos, latest)
    set_state(_SEEN, {**seen, person.id: now})
    return request_check(person.id) or latest if photos and changed else latest


def request_check(person: str) -> schemas.Job | None:
    """Request a check of the person's photos; None where it was refused, which is shown.

    One that waits already will see every change up to its beginning; one that is running has seen too little and is cancelled.
    """
    for job in client().jobs(states=["queued", "running"], kind="prepare", person=person):
        if job.state == "queued":
            return job
        _cancel(job)
    with errors.show_errors():
        return client().train(schemas.TrainingRequest.model_validate({"person": person}))
    return None


def latest_check(person: str) -> schemas.Job | None:
    """The newest check of a person's photos that was not cancelled."""
    return next(iter(client().jobs(states=_NOT_CANCELLED, kind="prepare", person=person, limit=1)), None)


def differs(photo: schemas.Selfie) -> bool:
    """Whether a photo was not checked since it was added, included, left out, or one of its faces was chosen."""
    if not photo.verdict:
        return True
    if photo.wish == "exclude":
        return photo.verdict == "use"
    if photo.wish == "include":
        return photo.verdict != "use"
    codes = {each.code for each in photo.reasons}
    return "excluded" in codes or (photo.face is not None and "several_faces" in codes)


def _is_unchecked(photos: Sequence[schemas.Selfie], latest: schemas.Job | None) -> bool:
    """Whether some photo waits for a check that nobody has requested; a failed one is not repeated by itself."""
    if not any(differs(each) for each in photos):
        return False
    newest = max(each.created for each in photos)
    return latest is None or (latest.done and (latest.state == "succeeded" or latest.created < newest))


def _cancel(job: schemas.Job) -> None:
    try:
        client().cancel(job.id)
    except UserError:
        return  # it has ended just now
