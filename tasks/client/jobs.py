"""The client's methods of jobs: order portraits and trainings, list and follow jobs, stop them, try them again."""

import secrets
from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypedDict, Unpack

from portrait.errors import UserError
from tasks import schemas
from tasks.client.transport import HttpTransport

MAX_MARKED = 200
"""Jobs that one request marks as seen."""


class JobsOf(TypedDict, total=False):
    """What jobs belong to; what is empty is no condition."""

    order: str
    person: str


class JobsClient:
    """Methods of `tasks.client.client.Client`."""

    _http: HttpTransport

    def train(self, order: schemas.TrainingRequest) -> schemas.Job:
        """Queue a training: photos are judged and, with a base, a LoRA is trained."""
        return self._http.post(schemas.Job, "/trainings", order)

    def generate(self, order: schemas.GenerationRequest) -> schemas.Job:
        """Queue portraits of one style, or in an uploaded picture."""
        return self._http.post(schemas.Job, "/generations", order)

    def place_order(self, requests: Sequence[schemas.GenerationRequest], key: str = "") -> schemas.Order:
        """Queue portraits of 1 to 32 styles and pictures together: all of them, or none where one is refused.

        `key` is the Idempotency-Key, a new one when empty: the same key with the same requests places the order once.
        """
        body = schemas.OrderRequest(generations=list(requests)).model_dump(mode="json")
        headers = {"Idempotency-Key": key or secrets.token_hex(16)}
        return self._http.send(schemas.Order, "POST", "/orders", json=body, headers=headers)

    def edit(self, portrait: str, order: schemas.EditRequest) -> schemas.Job:
        """Queue an edit of a portrait."""
        return self._http.post(schemas.Job, f"/portraits/{portrait}/edits", order)

    def jobs(
        self,
        states: Sequence[str] = (),
        kind: str = "",
        all_owners: bool = False,
        limit: int = 200,
        **of: Unpack[JobsOf],
    ) -> list[schemas.Job]:
        """The newest 200 jobs, the newest first, `of` one order or person; those of all owners for operators."""
        asked = {"kind": kind, **of}
        params: dict[str, Any] = {"state": list(states), "limit": limit} | {
            name: each for name, each in asked.items() if each
        }
        path = "/operator/jobs" if all_owners else "/jobs"
        return self._http.get(schemas.Page[schemas.Job], path, params=params).items

    def unsettled_jobs(self) -> list[schemas.Job]:
        """Every job that has not ended, or that failed or expired and was not marked as seen, the newest first."""
        states = ["queued", "running", "cancelling", "failed", "expired"]
        return self._http.list(schemas.Job, "/jobs", {"state": states, "seen": "false", "limit": 200})

    def unseen_failures(self) -> list[schemas.Job]:
        """Every job that failed or expired and was not marked as seen, the newest first."""
        return self._http.list(schemas.Job, "/jobs", {"state": ["failed", "expired"], "seen": "false", "limit": 200})

    def job(self, id: str) -> schemas.Job:
        """One job."""
        return self._http.get(schemas.Job, f"/jobs/{id}")

    def mark_seen(self, *ids: str) -> int:
        """Note that it was seen how these jobs ended; those that have not are left. Returns how many were not seen before."""
        marked = 0
        for start in range(0, len(ids), MAX_MARKED):
            body = schemas.JobIds(jobs=list(ids[start : start + MAX_MARKED])).model_dump(mode="json")
            marked += self._http.send(schemas.JobCount, "POST", "/jobs/seen", json=body).jobs
        return marked

    def cancel(self, id: str, any_owner: bool = False) -> schemas.Job:
        """Cancel a job; what it has finished is kept. Raises `bad_transition` when it has ended."""
        return self._http.post(schemas.Job, f"{'/operator' if any_owner else ''}/jobs/{id}/cancel")

    def retry(self, id: str, any_owner: bool = False) -> schemas.Job:
        """Queue a job again that did not succeed; sent once, because a second retry may find it running."""
        path = f"{'/operator' if any_owner else ''}/jobs/{id}/retry"
        return self._http.send(schemas.Job, "POST", path, tries=1)

    def preview(self, job: str) -> bytes | None:
        """The newest preview of a running job as a JPEG; None while there is none."""
        try:
            return self._http.picture(f"/jobs/{job}/preview", None)
        except UserError as error:
            if error.code == "not_found":
                return None
            raise

    def follow(self, job: str) -> Iterator[schemas.JobEvent]:
        """Events of a job until it ends; a stream that breaks off resumes where it stopped."""
        return self._http.events(f"/jobs/{job}/events")

    def wait(self, job: str, on_event: Callable[[schemas.JobEvent], None] | None = None) -> schemas.Job:
        """Follow a job to its end and return it; `on_event` is called with each event."""
        for event in self.follow(job):
            if on_event is not None:
                on_event(event)
        return self.job(job)
