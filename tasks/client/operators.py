"""The client's methods of the caller and the installation, and of operators: everybody's jobs, workers, models, statistics."""

from collections.abc import Sequence

from tasks import schemas
from tasks.client.calls import call
from tasks.client.steps import TRIES, Request, Steps, act, get, listed, parse, post, respond, send

NEWEST_JOBS = 200
"""Jobs of everybody that are listed where nothing else is asked for."""


class OperatorsClient:
    """Methods of `tasks.client.client.Client`."""

    @call
    def me(self, tries: int = TRIES, idle: bool = False) -> Steps[schemas.Me]:
        """The caller, with quotas and their use; an `idle` question is no use of the key or session."""
        headers = {"Portrait-Idle": "1"} if idle else {}
        return get(schemas.Me, "/me", tries, headers=headers)

    @call
    def health(self) -> Steps[schemas.Health]:
        """Whether the API answers; needs no key."""
        return get(schemas.Health, "/health")

    @call
    def ready(self) -> Steps[schemas.Health]:
        """Whether jobs can be accepted, and what is away; needs no key. Asked once: `unready` is an answer, not an error."""
        # httpx raises nothing for 503, and the body is the same.
        response = yield Request("GET", "/ready")
        if isinstance(response, Exception) or response.status_code not in (200, 503):
            response = yield from respond(Request("GET", "/ready"), 1)
        return parse(schemas.Health, response)

    @call
    def abilities(self) -> Steps[list[schemas.Ability]]:
        """The abilities of the installation: ready, or what is missing."""
        return listed(schemas.Ability, "/abilities")

    @call
    def all_jobs(
        self, states: Sequence[str] = (), kind: str = "", owner: str = "", limit: int | None = NEWEST_JOBS
    ) -> Steps[list[schemas.Job]]:
        """The newest jobs of all owners, or of one, `limit` of them or for None all; for operators."""
        params = {"state": list(states), "kind": kind, "owner": owner, "limit": 200}
        return listed(schemas.Job, "/operator/jobs", params, limit)

    @call
    def any_job(self, id: str) -> Steps[schemas.Job]:
        """A job, whoever owns it, for operators."""
        return get(schemas.Job, f"/operator/jobs/{id}")

    @call
    def set_priority(self, id: str, priority: int) -> Steps[schemas.Job]:
        """Set the priority of a job that has not ended: those of a higher one are begun first. For operators."""
        return send(schemas.Job, "PATCH", f"/operator/jobs/{id}", json={"priority": priority})

    @call
    def job_log(self, id: str) -> Steps[list[schemas.JobLogEntry]]:
        """The states and steps of a job in their order, for operators."""
        return listed(schemas.JobLogEntry, f"/operator/jobs/{id}/log")

    @call
    def workers(self) -> Steps[list[schemas.Worker]]:
        """Live workers, for operators."""
        return listed(schemas.Worker, "/operator/workers")

    @call
    def queues(self) -> Steps[list[schemas.QueueCounts]]:
        """Jobs by queue and state, for operators."""
        return listed(schemas.QueueCounts, "/operator/queues")

    @call
    def metrics(self) -> Steps[str]:
        """Metrics of the API's process in Prometheus' text format, for operators."""
        return (yield from respond(Request("GET", "/metrics"))).text

    @call
    def models(self) -> Steps[list[schemas.ModelStatus]]:
        """Model files on the API's machine, for operators."""
        return listed(schemas.ModelStatus, "/operator/models")

    @call
    def profile(self) -> Steps[str]:
        """On what terms the installation works, `research` or `commercial`. For operators."""
        return (yield from get(schemas.ModelPage, "/operator/models", params={"limit": 1})).profile

    @call
    def add_model(self, order: schemas.ModelRequest) -> Steps[schemas.ModelStatus]:
        """Bring a model of one's own to the API's machine; `models` says how far it is. For operators."""
        return post(schemas.ModelStatus, "/operator/models", order)

    @call
    def remove_model(self, name: str) -> Steps[None]:
        """Delete a model of one's own, or stop adding one; for operators."""
        return act("DELETE", f"/operator/models/{name}")

    @call
    def statistics(self, days: float = 0) -> Steps[schemas.Statistics]:
        """Likeness, favourites and failures by style, times by kind of job, of the last `days` or of all; for operators."""
        return get(schemas.Statistics, "/operator/figures", params={"days": days} if days else {})

    @call
    def prune(self, days: float) -> Steps[int]:
        """Delete jobs that ended `days` ago and left no portraits; returns how many, for operators."""
        return (yield from send(schemas.PruneResult, "POST", "/operator/jobs/prune", params={"days": days})).jobs
