"""One order from the request to the webhook, through real workers and one failure: its trace, its metrics, its log lines."""

import json
import re
import time
from collections.abc import Iterator
from contextlib import suppress

import httpx
import pytest
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from prometheus_client.parser import text_string_to_metric_families

from tasks.queue import broker
from tasks.telemetry.metrics_server import PORTS
from tests.tasks import servers
from tests.tasks.api.harness import open_api
from tests.tasks.conftest import stand_at
from tests.tasks.stand import Stand, wait_until
from tests.tasks.telemetry.collector import Collector, collecting
from tests.tasks.webhook_receiver import Receiver, receiver

pytestmark = pytest.mark.services
REQUEST = "request-from-outside"
TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
FLOWS = "tests.tasks.telemetry.retried_flows:open_flows"


@pytest.fixture(scope="module")
def port() -> int:
    return servers.free_port()


@pytest.fixture(scope="module")
def collector() -> Iterator[Collector]:
    with collecting() as running:
        yield running


@pytest.fixture(scope="module")
def there() -> Iterator[Receiver]:
    with receiver() as running:
        yield running


@pytest.fixture(scope="module")
def stand(tmp_path_factory: pytest.TempPathFactory, port: int, collector: Collector) -> Iterator[Stand]:
    settings = {
        "METRICS__PORT": str(port),
        "TRACING__ENDPOINT": collector.url,
        "WEBHOOKS__PRIVATE": "true",
    }
    home = tmp_path_factory.mktemp("home")
    yield from stand_at(home, {"PORTRAIT_TASKS__BROKER": f"filesystem://{home / 'broker'}"} | tasks(settings))


def tasks(settings: dict[str, str]) -> dict[str, str]:
    return {f"PORTRAIT_TASKS__{name}": value for name, value in settings.items()}


@pytest.fixture(scope="module")
def job(stand: Stand, there: Receiver, module_spans: InMemorySpanExporter) -> str:
    """The id of a job that was ordered through the API, failed once, was drawn and called its webhook."""
    with open_api({**stand.environment, **tasks({"LIMITS__STRANGERS": "1000"})}) as api:
        person = api.prepared_person()
        api.client().post("/webhooks", json={"url": f"{there.url}/hook"}).raise_for_status()
        module_spans.clear()
        headers = {"X-Request-ID": REQUEST, "traceparent": f"00-{TRACE}-00f067aa0ba902b7-01"}
        order = {"people": {"1": person}, "style": "studio-warm", "count": 2}
        placed = api.client().post("/generations", json=order, headers=headers)
        id = str(placed.raise_for_status().json()["id"])
    stand.start_keeper()
    stand.start_worker(QUEUES="cpu", PROCESSES="2", FLOWS=FLOWS)
    stand.start_worker(QUEUES="io", START="spawn")
    broker.notify(stand.app, "cpu")
    wait_until(lambda: stand.ledger.jobs.get_any(id).done, what=stand.log())
    wait_until(lambda: there.calls, what=stand.log())
    return id


def test_the_trace_of_a_request_goes_on_through_a_retry_to_the_webhook(
    job: str, stand: Stand, collector: Collector, module_spans: InMemorySpanExporter
) -> None:
    assert stand.ledger.jobs.get_any(job).state == "succeeded"
    (request,) = [each for each in module_spans.get_finished_spans() if each.name == "POST /generations"]
    found = request.get_span_context()
    assert found is not None
    assert f"{found.trace_id:032x}" == TRACE
    wait_until(lambda: {"finish", "webhook"} <= {each.name for each in collector.of(TRACE)}, what=stand.log())
    told = collector.of(TRACE)
    runs = [each for each in told if each.name == "job generate"]
    assert {each.parent for each in runs} == {f"{found.span_id:016x}"}
    assert len(runs) == 2, "a retry goes on with the trace"
    by_name = {each.name: each for each in told}
    assert by_name["webhook"].parent == f"{found.span_id:016x}"
    assert {each.failed for each in told if each.name == "flow"} == {"out_of_memory", ""}
    names = [each.name for each in told]
    assert (names.count("deliver"), names.count("drawing")) == (2, 1)
    inside = {each.id for each in runs}
    assert {each.parent for each in told if each.name in ("drawing", "flow", "finish")} <= inside
    assert {each.service for each in told} == {"portrait-worker"}


def test_spans_hold_no_names_and_no_addresses(job: str, collector: Collector, there: Receiver) -> None:
    wait_until(lambda: any(each.name == "webhook" for each in collector.of(TRACE)))
    text = json.dumps([[each.name, each.attributes] for each in collector.spans])
    assert job in text
    assert not re.search(r"\bann\b|127\.0\.0\.1", text, re.I), "neither the owner nor the receiver"


def samples(port: int) -> dict[str, float]:
    """What both workers tell, whose ports follow each other; of what both do, that of the first."""
    found: dict[str, float] = {}
    for each in range(port, port + PORTS):
        with suppress(httpx.TransportError):
            text = httpx.get(f"http://127.0.0.1:{each}/metrics").raise_for_status().text
            families = text_string_to_metric_families(text)
            for sample in (sample for family in families for sample in family.samples):
                labels = ",".join(f"{name}={value}" for name, value in sorted(sample.labels.items()))
                found.setdefault(f"{sample.name}{{{labels}}}", sample.value)
    return found


def test_all_processes_of_a_worker_tell_their_metrics_together(job: str, stand: Stand, port: int) -> None:
    assert stand.ledger.jobs.get_any(job).state == "succeeded"
    wait_until(lambda: "portrait_webhook_calls_total{outcome=delivered}" in samples(port))
    found = samples(port)
    assert found["portrait_jobs_ended_total{code=,kind=generate,state=succeeded}"] == 1
    assert found["portrait_jobs_retried_total{code=out_of_memory,kind=generate}"] == 1
    assert found["portrait_job_seconds_count{kind=generate,state=queued}"] == 1
    assert found["portrait_job_seconds_count{kind=generate,state=succeeded}"] == 1
    assert found["portrait_job_wait_seconds_count{queue=cpu}"] == 2
    assert found["portrait_job_step_seconds_count{kind=generate,step=drawing}"] == 1
    assert found["portrait_webhook_calls_total{outcome=delivered}"] == 1
    assert found["portrait_disk_free_bytes{}"] > 0
    assert abs(found["portrait_clock_skew_seconds{}"]) < 1
    assert found["process_resident_memory_bytes{}"] > 3 * 20_000_000, "the worker and its two processes"


def test_log_lines_of_every_part_name_the_request(job: str, stand: Stand) -> None:
    lines = [json.loads(line) for line in (stand.home / "workers.log").read_text().splitlines()]
    about = [line for line in lines if line.get("request") == REQUEST]
    assert {line["logger"] for line in about} == {"portrait.runner", "portrait.webhooks"}
    assert {line["job"] for line in about if line["logger"] == "portrait.runner"} == {job}
    assert {line["trace"] for line in about if line["logger"] == "portrait.runner"} == {TRACE}


def test_a_keeper_says_that_it_runs(job: str, stand: Stand) -> None:
    assert job
    wait_until(lambda: stand.ledger.workers.list_keepers(time.time()))
    assert all(row.queues != ["keeper"] for row in stand.ledger.workers.list_live(time.time()))
