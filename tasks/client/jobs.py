"""The client's methods of jobs: order portraits and trainings, list and follow jobs, stop them, try them again."""

from collections.abc import Callable, Sequence
from typing import TypedDict, Unpack

from portrait.errors import Cancelled, EngineError, UserError
from tasks import schemas
from tasks.client.calls import call, events
from tasks.client.steps import Steps, each, get, listed, picture, post, send
from tasks.client.steps import events as steps_of_events

MAX_MARKED = 200
"""Jobs that one request marks as seen."""


def raise_for_failure(job: schemas.Job) -> None:
    """Raise why a job that has ended did not succeed, if it did not; see `JobsClient.wait`."""
    if job.state in ("cancelled", "cancelling"):
        raise Cancelled
    if job.fault is not None and job.state != "succeeded":
        branch = EngineError if job.fault.again else UserError
        errors = [each.model_dump() for each in job.fault.errors]
        raise branch(job.fault.code, job.fault.message, {"job": job.id, "state": job.state, "errors": errors})


class JobsOf(TypedDict, total=False):
    """What jobs belong to; what is empty is no condition."""

    order: str
    person: str


class JobsClient:
    """Methods of `tasks.client.client.Client`."""

    @call
    def train(self, order: schemas.TrainingRequest) -> Steps[schemas.Job]:
        """Queue a training: photos are judged and, with a base, a LoRA is trained."""
        return post(schemas.Job, "/trainings", order)

    @call
    def generate(self, order: schemas.GenerationRequest) -> Steps[schemas.Job]:
        """Queue portraits of one style, or in an uploaded picture."""
        return post(schemas.Job, "/generations", order)

    @call
    def place_order(self, requests: Sequence[schemas.GenerationRequest], key: str = "") -> Steps[schemas.Order]:
        """Queue portraits of 1 to 32 styles and pictures together: all of them, or none where one is refused.

        `key` is the Idempotency-Key, a new one when empty: the same key with the same requests places the order once.
        """
        return post(schemas.Order, "/orders", schemas.OrderRequest(generations=list(requests)), key)

    @call
    def edit(self, portrait: str, order: schemas.EditRequest) -> Steps[schemas.Job]:
        """Queue an edit of a portrait."""
        return post(schemas.Job, f"/portraits/{portrait}/edits", order)

    @call
    def jobs(
        self,
        states: Sequence[str] = (),
        kind: str = "",
        all_owners: bool = False,
        limit: int | None = None,
        **of: Unpack[JobsOf],
    ) -> Steps[list[schemas.Job]]:
        """Jobs, the newest first, all or the first `limit`, `of` one order or person; those of all owners for operators."""
        path = "/operator/jobs" if all_owners else "/jobs"
        return listed(schemas.Job, path, {"state": list(states), "kind": kind, "limit": 200, **of}, limit)

    @call
    def unsettled_jobs(self) -> Steps[list[schemas.Job]]:
        """Every job that has not ended, or that failed or expired and was not marked as seen, the newest first."""
        states = ["queued", "running", "cancelling", "failed", "expired"]
        return listed(schemas.Job, "/jobs", {"state": states, "seen": "false", "limit": 200})

    @call
    def unseen_failures(self) -> Steps[list[schemas.Job]]:
        """Every job that failed or expired and was not marked as seen, the newest first."""
        return listed(schemas.Job, "/jobs", {"state": ["failed", "expired"], "seen": "false", "limit": 200})

    @call
    def job(self, id: str) -> Steps[schemas.Job]:
        """One job."""
        return get(schemas.Job, f"/jobs/{id}")

    @call
    def see_end(self, id: str) -> Steps[schemas.Job]:
        """Note that it was seen how a job ended; raises `bad_transition` while it has not. Many at once: `mark_seen`."""
        return send(schemas.Job, "POST", f"/jobs/{id}/seen")

    @call
    def mark_seen(self, *ids: str) -> Steps[int]:
        """Note that it was seen how these jobs ended; those that have not are left. Returns how many were not seen before."""
        marked = 0
        for start in range(0, len(ids), MAX_MARKED):
            body = schemas.JobIds(jobs=list(ids[start : start + MAX_MARKED])).model_dump(mode="json")
            marked += (yield from send(schemas.JobCount, "POST", "/jobs/seen", json=body)).jobs
        return marked

    @call
    def cancel(self, id: str, any_owner: bool = False) -> Steps[schemas.Job]:
        """Cancel a job; what it has finished is kept. Raises `bad_transition` when it has ended."""
        return post(schemas.Job, f"{'/operator' if any_owner else ''}/jobs/{id}/cancel")

    @call
    def retry(self, id: str, any_owner: bool = False) -> Steps[schemas.Job]:
        """Queue a job again that did not succeed; sent once, because a second retry may find it running."""
        path = f"{'/operator' if any_owner else ''}/jobs/{id}/retry"
        return send(schemas.Job, "POST", path)

    @call
    def preview(self, job: str) -> Steps[bytes | None]:
        """The newest preview of a running job as a JPEG; None while there is none."""
        try:
            return (yield from picture(f"/jobs/{job}/preview", None))
        except UserError as error:
            if error.code == "not_found":
                return None
            raise

    @events
    def follow(self, job: str) -> Steps[None]:
        """Events of a job until it ends; a stream that breaks off resumes where it stopped."""
        return steps_of_events(f"/jobs/{job}/events")

    @call
    def wait(
        self, job: str, on_event: Callable[[schemas.JobEvent], None] | None = None, check: bool = False
    ) -> Steps[schemas.Job]:
        """Follow a job to its end and return it; `on_event` is called with each event.

        With `check` a job that did not succeed raises why: `Cancelled`, or an error with the code of its fault and, in
        `details`, the job's id and state.
        """
        yield from each(steps_of_events(f"/jobs/{job}/events"), on_event or (lambda _: None))
        ended = yield from get(schemas.Job, f"/jobs/{job}")
        if check:
            raise_for_failure(ended)
        return ended
