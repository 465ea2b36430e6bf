"""Readiness: what is needed to accept a job, and what only makes it wait."""

import shutil
from dataclasses import replace

from tasks.api.recent import Recent
from tasks.queue import broker
from tasks.settings import TaskSettings
from tests.tasks.api.harness import ApiHarness


def test_while_the_broker_is_away_jobs_are_accepted_and_wait(api: ApiHarness) -> None:
    gone = broker.create_app(TaskSettings(broker="amqp://127.0.0.1:9//"))
    api = ApiHarness(replace(api.context, celery=gone, readiness=Recent(0.0)), portal=api.portal)
    ready = api.anonymous().get("/ready")
    assert (ready.status_code, ready.json()["status"]) == (200, "degraded")
    assert "broker" in ready.json()["checks"]["broker"]
    person = api.prepared_person()
    order = {"people": {"1": person}, "style": "studio-blue"}
    assert api.client().post("/generations", json=order).status_code == 202


def test_without_its_data_folder_it_is_not_ready(api: ApiHarness) -> None:
    shutil.rmtree(api.context.files.root)
    ready = ApiHarness(replace(api.context, readiness=Recent(0.0)), portal=api.portal).anonymous().get("/ready")
    assert (ready.status_code, ready.json()["status"]) == (503, "unready")
