"""Metrics: what each counts, what alerts and documents name, and how they are served."""

import json
import logging
import os
import re
import subprocess
import tempfile
import time
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any, get_args

import httpx
import promql_parser
import pytest
import yaml
from prometheus_client.metrics_core import Metric
from prometheus_client.parser import text_string_to_metric_families

from pipelines.engines import Engines
from pipelines.model_store.store import ModelStore
from pipelines.settings import ModelStoreSettings, Settings
from portrait.errors import OperatorError
from tasks.jobs import QUEUES, Fault, Job, JobState, Limits
from tasks.ledger.ledger import Ledger
from tasks.ledger.queue import Outcome
from tasks.queue.keeper_beat import KeeperBeat
from tasks.telemetry import gpu, metrics
from tasks.telemetry.metrics_server import MachineMetrics, exposition
from tasks.telemetry.model_events import count_models
from tasks.telemetry.serving import serve_metrics
from tasks.telemetry.settings import MetricsSettings
from tests.tasks import servers
from tests.tasks.api.harness import environment, new_home, open_api
from tests.tasks.stand import new_job

ROOT = Path(__file__).parents[3]
RULES = yaml.safe_load((ROOT / "deploy" / "alerts.yml").read_text())["groups"][0]["rules"]
PANELS = json.loads((ROOT / "deploy" / "grafana.json").read_text())["panels"]
OF_PROMETHEUS = {"up": {"job": {"api", "workers", "keeper"}, "instance": set()}}
"""What Prometheus itself says of its targets, which `deploy/prometheus.yml` names."""
OWN_LABELS = {"instance", "job"}
"""Labels that Prometheus adds to everything."""


def families(text: str) -> dict[str, Metric]:
    return {family.name: family for family in text_string_to_metric_families(text)}


def value(name: str, **labels: str) -> float:
    """A sample of this process's metrics; 0 where it was never counted."""
    return metrics.process_metrics().registry.get_sample_value(name, labels) or 0.0


def card(folder: Path, answer: str) -> str:
    """A PATH on which an nvidia-smi answers so."""
    tool = folder / "nvidia-smi"
    tool.write_text(f"#!/bin/sh\ncat <<'END'\n{answer}\nEND\n")
    tool.chmod(0o755)
    return str(folder)


@cache
def told_by_everything(home: Path, path: str) -> str:
    """Everything that an installation with a GPU, a storage and a keeper tells once all of it happened."""
    with pytest.MonkeyPatch.context() as patch, open_api(environment(new_home(home))) as api:
        patch.setenv("PATH", path, prepend=":")
        client, now = api.client("ann"), time.time()
        client.get("/me")
        api.prepared_person()
        api.context.ledger.jobs.add(new_job())
        KeeperBeat(api.context.ledger)(now)
        count_everything()
        return api.client("olga", "operator").get("/metrics").text


def count_everything() -> None:
    """Count one of each."""
    job, fault = new_job(), Fault("EngineError", "out_of_memory", "")
    running = replace(job, state="running", started=1.0)
    for state in get_args(JobState):
        metrics.job_changed(running, replace(running, state=state, fault=fault), 2.0)
    metrics.job_changed(running, replace(running, state="queued", losses=1), 2.0)
    metrics.job_changed(running, replace(running, state="queued", failures=1, fault=fault), 2.0)
    metrics.job_claimed("cpu", 1.0)
    metrics.job_step("generate", "drawing", 1.0)
    metrics.storage_request("put", 0.1, "storage_unreachable")
    metrics.storage_cache("hit")
    metrics.storage_cache_bytes(1)
    metrics.model_loaded("sdxl", 1.0)
    metrics.model_unloaded("sdxl")
    metrics.lora_read("hit")
    metrics.clock_skew(0.1)
    for outcome in ("delivered", "failed", "given_up"):
        metrics.webhook_call(outcome)
    for result in ("done", "failed"):
        metrics.keeper_pass(result)


@pytest.fixture(scope="module")
def everything(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Metric]:
    home = tmp_path_factory.mktemp("all")
    return families(told_by_everything(home / "home", card(home, "0, 1012, 143771")))


def selectors(expression: str) -> tuple[list[Any], set[str]]:
    """The selectors of a PromQL expression, and the labels that it groups and joins by; raises `ValueError`."""
    found: list[Any] = []
    labels: set[str] = set()

    def visit(node: Any) -> None:
        if isinstance(node, promql_parser.MatrixSelector):
            found.append(node.vector_selector)
        elif isinstance(node, promql_parser.VectorSelector):
            found.append(node)
        modifier = getattr(node, "modifier", None)
        labels.update(getattr(getattr(modifier, "matching", modifier), "labels", ()))

    promql_parser.walk(promql_parser.parse(expression), visit)
    return found, labels


def wrong_with(expression: str, everything: dict[str, Metric]) -> list[str]:
    """Names, labels and values in an expression that nothing tells."""
    samples = [sample for family in everything.values() for sample in family.samples]
    wrong, known = [], set(OWN_LABELS)
    found, grouped = selectors(expression)
    for selector in found:
        values: dict[str, set[str]] = dict(OF_PROMETHEUS.get(selector.name, {}))
        for sample in (each for each in samples if each.name == selector.name):
            for label, text in sample.labels.items():
                values.setdefault(label, set()).add(text)
        if selector.name not in OF_PROMETHEUS and not any(each.name == selector.name for each in samples):
            wrong.append(selector.name)
        known |= values.keys()
        for matcher in selector.matchers.matchers:
            fits = [each for each in values.get(matcher.name, ()) if re.fullmatch(matcher.value, each)]
            if matcher.name not in values or (not fits and not matcher.value.startswith("5")):
                wrong.append(f"{selector.name}{{{matcher.name}={matcher.value}}}")
    return wrong + sorted(grouped - known)


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule["alert"])
def test_alerts_name_what_is_told(rule: dict[str, Any], everything: dict[str, Metric]) -> None:
    assert wrong_with(rule["expr"], everything) == []
    assert rule["labels"]["severity"] in ("critical", "warning", "info")
    named = set(re.findall(r"\$labels\.(\w+)", rule["annotations"]["summary"]))
    _, grouped = selectors(rule["expr"])
    found = {label for family in everything.values() for sample in family.samples for label in sample.labels}
    assert named <= found | OWN_LABELS
    assert not grouped or named <= grouped, "labels that the expression leaves"


@pytest.mark.parametrize(
    ("expression", "wrong"),
    [
        ("portrait_jobs_endd_total > 0", ["portrait_jobs_endd_total"]),
        ('portrait_workers{queue="keepr"} > 0', ["portrait_workers{queue=keepr}"]),
        ('portrait_jobs_lost_total{state="x"} > 0', ["portrait_jobs_lost_total{state=x}"]),
        ("sum by (queu) (portrait_workers)", ["queu"]),
        ('up{job="apis"} == 0', ["up{job=apis}"]),
    ],
)
def test_an_alert_that_names_what_is_not_told_is_found(
    expression: str, wrong: list[str], everything: dict[str, Metric]
) -> None:
    assert wrong_with(expression, everything) == wrong


@pytest.mark.parametrize("panel", PANELS, ids=lambda panel: panel["title"])
def test_panels_of_the_board_name_what_is_told(panel: dict[str, Any], everything: dict[str, Metric]) -> None:
    for target in panel["targets"]:
        assert wrong_with(target["expr"], everything) == []
        named = set(re.findall(r"{{(\w+)}}", target["legendFormat"]))
        _, grouped = selectors(target["expr"])
        assert not grouped or named <= grouped, "labels that the expression leaves"


def test_there_is_an_alert_for_what_an_operator_must_know() -> None:
    named = {selector.name for rule in RULES for selector in selectors(rule["expr"])[0]}
    assert named >= {
        *("portrait_jobs", "portrait_workers", "portrait_oldest_wait_seconds", "portrait_jobs_ended_total"),
        *("portrait_keeper_passes_total", "portrait_storage_failures_total", "portrait_disk_free_bytes"),
        *("portrait_clock_skew_seconds", "portrait_requests_total", "up"),
    }


def test_the_document_has_every_metric_with_its_labels(everything: dict[str, Metric]) -> None:
    text = (ROOT / "docs" / "monitoring.md").read_text()
    rows = dict(re.findall(r"^\| `(portrait_\w+)` \|([^|]*)\|", text, re.M))
    told = {
        name: {label for sample in family.samples for label in sample.labels} - {"le"}
        for name, family in everything.items()
        if name.startswith("portrait_") and not name.endswith("_created")
    }
    documented = {name.removesuffix("_total"): set(re.findall(r"`(\w+)`", labels)) for name, labels in rows.items()}
    assert documented == told
    counters = {name for name, family in everything.items() if family.type == "counter"}
    assert {name.removesuffix("_total") for name in rows if name.endswith("_total")} == counters & told.keys()
    alerts = re.findall(r"^\| `([A-Z]\w+)` \|", text, re.M)
    assert alerts == [rule["alert"] for rule in RULES], "and every alert, in their order"


def test_each_end_loss_and_retry_of_a_job_is_counted_once_it_is_committed(sqlite: Ledger) -> None:
    def claim() -> Job:
        job = sqlite.queue.claim("w", "cpu", {"draw:studio"}, time.time(), 60)
        assert job is not None
        return job

    def counted() -> tuple[float, ...]:
        return (
            value("portrait_jobs_ended_total", kind="generate", state="succeeded", code=""),
            value("portrait_jobs_retried_total", kind="generate", code="made"),
            value("portrait_jobs_lost_total", kind="generate"),
            value("portrait_job_seconds_count", kind="generate", state="queued"),
        )

    def publish() -> None:
        raise OSError

    sqlite.jobs.add(new_job())
    before = counted()
    sqlite.queue.retry_or_fail(claim(), time.time(), Fault("EngineError", "made", ""), Limits())
    claim()
    sqlite.queue.requeue_expired(time.time() + 120, Limits())
    job = claim()
    with pytest.raises(OSError):  # noqa: PT011 -- it has no message
        sqlite.queue.finish(job, time.time(), Outcome(), publish)
    assert [after - first for first, after in zip(before, counted(), strict=True)] == [0, 1, 1, 2]
    sqlite.queue.finish(job, time.time(), Outcome(), lambda: None)
    assert [after - first for first, after in zip(before, counted(), strict=True)] == [1, 1, 1, 2]


def test_a_port_serves_the_process_and_the_next_one_is_taken_where_it_is_not_free(tmp_path: Path) -> None:
    settings = MetricsSettings(port=servers.free_port())
    with serve_metrics(settings, tmp_path) as first, serve_metrics(settings, tmp_path) as second:
        assert first == settings.port < second <= settings.port + 9
        found = families(httpx.get(f"http://127.0.0.1:{second}/metrics").text)
    assert found["portrait_disk_free_bytes"].samples[0].value > 0
    assert found["process_resident_memory_bytes"].samples[0].value > 1e7
    with pytest.raises(httpx.ConnectError):
        httpx.get(f"http://127.0.0.1:{first}/metrics")


def test_without_a_port_nothing_is_served(tmp_path: Path) -> None:
    with serve_metrics(MetricsSettings(), tmp_path) as port:
        assert port == 0


def test_an_address_that_is_not_ours_is_refused_with_the_setting_to_change(tmp_path: Path) -> None:
    with (
        pytest.raises(OperatorError, match=r"tasks\.metrics\.port") as refused,
        serve_metrics(MetricsSettings(9100, "192.0.2.1"), tmp_path),
    ):
        pass
    assert refused.value.code == "port_taken"


def test_a_disk_that_is_gone_is_left_out(tmp_path: Path) -> None:
    assert "portrait_disk_free_bytes" in families(exposition(MachineMetrics(tmp_path)).decode())
    assert "portrait_disk_free_bytes" not in families(exposition(MachineMetrics(tmp_path / "gone")).decode())


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("0, 1012, 143771\n1, 5, 81559\n", ((0, 1012 << 20, 143771 << 20), (1, 5 << 20, 81559 << 20))),
        ("0, [N/A], [N/A]\n", ()),
        ("NVIDIA-SMI has failed\n", ()),
        ("", ()),
    ],
)
def test_the_memory_of_gpus_is_read(text: str, found: tuple[tuple[int, int, int], ...]) -> None:
    assert tuple((each.index, each.used, each.total) for each in gpu.parse(text)) == found


def test_queues_of_alerts_are_those_there_are(everything: dict[str, Metric]) -> None:
    queues = {sample.labels["queue"] for sample in everything["portrait_jobs"].samples}
    assert queues <= set(QUEUES)
    assert "keeper" in {sample.labels["queue"] for sample in everything["portrait_workers"].samples}


def test_the_api_tells_requests_beside_what_the_process_counted(tmp_path: Path) -> None:
    metrics.webhook_call("delivered")
    with open_api(environment(new_home(tmp_path / "home"))) as api:
        api.client().get("/me")
        found = families(api.client("olga", "operator").get("/metrics").text)
    assert found["portrait_requests"].samples
    assert found["portrait_webhook_calls"].samples
    assert found["process_cpu_seconds"].samples


def test_models_are_counted_by_what_the_flows_log_of_them(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    def loads(model: str) -> float:
        return value("portrait_model_load_seconds_count", model=model)

    count_models()
    count_models()
    classic, made = loads("restorers/classic"), loads("faces/made")
    settings = Settings(models=ModelStoreSettings(folder=tmp_path))
    with caplog.at_level("INFO", "portrait.models"), Engines(settings, ModelStore(settings.models)) as engines:
        engines.restorer("classic")
        engines.restorer("classic")
        logging.getLogger("portrait.models").info(
            "made", extra={"event": "loaded", "model": "faces/made", "seconds": 2.0}
        )
        logging.getLogger("portrait.models").info("a line without an event")
    assert loads("restorers/classic") == classic + 1, "once, however often it is used"
    assert loads("faces/made") == made + 1


def test_folders_of_shared_metrics_that_killed_processes_left_are_removed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ended = subprocess.Popen(["true"])
    ended.wait()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setenv(metrics.SHARED, "")
    left, running = tmp_path / f"portrait-metrics-{ended.pid}-abc", tmp_path / f"portrait-metrics-{os.getpid()}-abc"
    for folder in (left, running):
        folder.mkdir()
        (folder / "counter_1.db").touch()
    made = metrics.share_between_processes()
    assert {path.name for path in tmp_path.iterdir()} == {running.name, made.name}
    assert metrics.share_between_processes() == made, "what a process starts shares its folder"
