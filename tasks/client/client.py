"""Typed client of the task API, with one method a route; requests that are safe to repeat are retried.

Errors are those of `portrait.errors`, with the API's code and message; `details` holds `status`, `errors` (photo by photo)
and `retry_after` where the API said so. An API that does not answer is `OperatorError` (`api_unreachable`).
"""

from collections.abc import Sequence

import httpx

from tasks import schemas
from tasks.client.access import AccessClient
from tasks.client.guards import GuardsClient
from tasks.client.jobs import JobsClient
from tasks.client.people import PeopleClient
from tasks.client.portraits import PortraitsClient
from tasks.client.privacy import PrivacyClient
from tasks.client.styles import StylesClient
from tasks.client.transport import TRIES, HttpTransport


class Client(AccessClient, GuardsClient, JobsClient, PeopleClient, PortraitsClient, PrivacyClient, StylesClient):
    """A client of the task API with one key; use it as a context manager."""

    def __init__(
        self, url: str, key: str = "", timeout: float = 30.0, transport: httpx.BaseTransport | None = None
    ) -> None:
        self._http = HttpTransport(url, key, timeout, transport)

    def __enter__(self) -> "Client":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    # Webhooks

    def add_webhook(self, order: schemas.WebhookRequest) -> schemas.WebhookWithSecret:
        """Add a webhook that is called when jobs end."""
        return self._http.post(schemas.WebhookWithSecret, "/webhooks", order)

    def webhooks(self) -> list[schemas.Webhook]:
        """Webhooks, without their secrets."""
        return self._http.list(schemas.Webhook, "/webhooks")

    def delete_webhook(self, id: str) -> None:
        """Delete a webhook; calls that wait are dropped."""
        self._http.request("DELETE", f"/webhooks/{id}")

    # Me, and the installation

    def me(self, tries: int = TRIES, idle: bool = False) -> schemas.Me:
        """The caller, with quotas and their use; an `idle` question is no use of the key or session."""
        headers = {"Portrait-Idle": "1"} if idle else {}
        return self._http.get(schemas.Me, "/me", tries=tries, headers=headers)

    def abilities(self) -> list[schemas.Ability]:
        """The abilities of the installation: ready, or what is missing."""
        return self._http.list(schemas.Ability, "/abilities")

    def all_jobs(self, states: Sequence[str] = (), kind: str = "", owner: str = "") -> list[schemas.Job]:
        """The newest 200 jobs of all owners, or of one, for operators."""
        params = {"state": list(states), "limit": 200} | {
            name: each for name, each in {"kind": kind, "owner": owner}.items() if each
        }
        return self._http.get(schemas.Page[schemas.Job], "/operator/jobs", params=params).items

    def any_job(self, id: str) -> schemas.Job:
        """A job, whoever owns it, for operators."""
        return self._http.get(schemas.Job, f"/operator/jobs/{id}")

    def job_log(self, id: str) -> list[schemas.JobLogEntry]:
        """The states and steps of a job in their order, for operators."""
        return self._http.get(schemas.Page[schemas.JobLogEntry], f"/operator/jobs/{id}/log").items

    def workers(self) -> list[schemas.Worker]:
        """Live workers, for operators."""
        return self._http.list(schemas.Worker, "/operator/workers")

    def queues(self) -> list[schemas.QueueCounts]:
        """Jobs by queue and state, for operators."""
        return self._http.list(schemas.QueueCounts, "/operator/queues")

    def models(self) -> list[schemas.ModelStatus]:
        """Model files on the API's machine, for operators."""
        return self._http.list(schemas.ModelStatus, "/operator/models")

    def profile(self) -> str:
        """On what terms the installation works, `research` or `commercial`. For operators."""
        return self._http.get(schemas.ModelPage, "/operator/models").profile

    def add_model(self, order: schemas.ModelRequest) -> schemas.ModelStatus:
        """Bring a model of one's own to the API's machine; `models` says how far it is. For operators."""
        return self._http.post(schemas.ModelStatus, "/operator/models", order)

    def remove_model(self, name: str) -> None:
        """Delete a model of one's own, or stop adding one; for operators."""
        self._http.request("DELETE", f"/operator/models/{name}")

    def statistics(self, days: float = 0) -> schemas.Statistics:
        """Likeness, favourites and failures by style, times by kind of job, of the last `days` or of all; for operators."""
        return self._http.get(schemas.Statistics, "/operator/figures", params={"days": days} if days else {})

    def prune(self, days: float) -> int:
        """Delete jobs that ended `days` ago and left no portraits; returns how many, for operators."""
        return self._http.send(schemas.PruneResult, "POST", "/operator/jobs/prune", params={"days": days}).jobs
