"""Spans: what they are called and hold, what is not traced, and that nothing is loaded while traces are off."""

import importlib.util
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import StatusCode

from portrait.errors import EngineError, OperatorError
from tasks.jobs import Job
from tasks.telemetry import correlation, metrics, tracing
from tasks.telemetry.job_run import OTHER, running
from tasks.telemetry.settings import TracingSettings
from tests.tasks.api.harness import environment, new_home, open_api
from tests.tasks.stand import ROOT, new_job

TRACE, SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"


def named(spans: InMemorySpanExporter) -> dict[str, ReadableSpan]:
    return {span.name: span for span in spans.get_finished_spans()}


def test_nothing_is_loaded_while_traces_are_off() -> None:
    program = (
        "import sys\n"
        "from tasks.telemetry import tracing\n"
        "from tasks.telemetry.settings import TracingSettings\n"
        "tracing.configure('worker', TracingSettings())\n"
        "with tracing.span('job', '00-1-2-01') as span:\n"
        "    span.set(a=1); span.fail('x'); tracing.begin('step').end()\n"
        "tracing.flush()\n"
        "print(repr(span.traceparent + tracing.present()), [name for name in sys.modules if name.startswith('opentelemetry')])"
    )
    answer = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, cwd=ROOT)
    assert answer.stdout.strip() == "'' []", answer.stderr


def test_without_the_packages_an_endpoint_is_refused_with_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    with pytest.raises(OperatorError, match=r"portrait\[tracing\]") as refused:
        tracing.configure("api", TracingSettings("http://127.0.0.1:4318/v1/traces"))
    assert refused.value.code == "missing_library"


@pytest.mark.parametrize("share", [-0.1, 1.1])
def test_a_share_is_between_none_and_all(share: float) -> None:
    with pytest.raises(ValueError, match="between 0 and 1"):
        TracingSettings(share=share)


def test_an_error_leaves_its_code_and_no_message(spans: InMemorySpanExporter) -> None:
    with pytest.raises(EngineError), tracing.span("flow"):
        raise EngineError("out_of_memory", "The photo of Ann took all of it.")
    with pytest.raises(ValueError, match="Ann"), tracing.span("other"):
        raise ValueError("Ann's photo lies in /home/ann")
    found = named(spans)
    assert found["flow"].status.status_code is StatusCode.ERROR
    assert (found["flow"].status.description, found["other"].status.description) == ("out_of_memory", "ValueError")
    assert all(not span.events for span in found.values())


def test_a_span_goes_on_with_a_trace_and_is_left_out_where_that_is(spans: InMemorySpanExporter) -> None:
    with tracing.span("webhook", f"00-{TRACE}-{SPAN}-01", "client", {"attempt": 2}) as span:
        assert span.traceparent.startswith(f"00-{TRACE}-")
        assert tracing.present() == span.traceparent
    with tracing.span("unseen", f"00-{TRACE}-{SPAN}-00"):
        pass
    (webhook,) = spans.get_finished_spans()
    assert webhook.parent is not None
    assert f"{webhook.parent.span_id:016x}" == SPAN
    assert webhook.attributes == {"portrait.attempt": 2}


def steps(kind: str, step: str) -> float:
    registry = metrics.process_metrics().registry
    return registry.get_sample_value("portrait_job_step_seconds_count", {"kind": kind, "step": step}) or 0.0


def run(job: Job, doing: Sequence[str]) -> None:
    with running(job, "w:1", {"looking", "drawing"}) as told:
        for each in doing:
            told.step(each)


def test_steps_of_a_job_are_spans_within_its_own(spans: InMemorySpanExporter) -> None:
    job = new_job(request="request-1", traceparent=f"00-{TRACE}-{SPAN}-01", kind="made", started=1e9)
    before = [steps("made", step) for step in ("looking", "drawing", OTHER)]
    run(job, ["looking", "looking", "drawing", "ann", "bob", "drawing"])
    after = [steps("made", step) for step in ("looking", "drawing", OTHER)]
    assert [now - then for then, now in zip(before, after, strict=True)] == [1, 2, 1], (
        "any word is no series of its own"
    )
    found = spans.get_finished_spans()
    assert [span.name for span in found] == ["looking", "drawing", OTHER, "drawing", "job made"]
    own = found[-1].get_span_context()
    assert own is not None
    assert f"{own.trace_id:032x}" == TRACE
    assert {span.parent and span.parent.span_id for span in found[:-1]} == {own.span_id}
    assert found[-1].attributes is not None
    assert found[-1].attributes["portrait.job"] == job.id


def test_a_request_is_named_by_its_route_and_watchers_are_not_traced(
    spans: InMemorySpanExporter, tmp_path: Path
) -> None:
    with open_api(environment(new_home(tmp_path / "home"))) as api:
        client = api.client()
        client.get("/people/person_of_ann?cursor=secret", headers={"X-Request-ID": "request-1"})
        for quiet in ("/health", "/ready", "/metrics"):
            client.get(quiet)
    (span,) = spans.get_finished_spans()
    assert span.name == "GET /people/{id}"
    assert span.attributes == {"portrait.request": "request-1", "portrait.status": 404}
    assert "ann" not in span.to_json().replace("services", "")


def test_an_order_notes_its_request_and_trace_in_its_job(spans: InMemorySpanExporter, tmp_path: Path) -> None:
    with open_api(environment(new_home(tmp_path / "home"))) as api:
        person = api.prepared_person()
        headers = {"X-Request-ID": "request-of-ann", "traceparent": f"00-{TRACE}-{SPAN}-01"}
        order = {"people": {"1": person}, "style": "studio-warm"}
        placed = api.client().post("/generations", json=order, headers=headers)
        job = api.context.ledger.jobs.get_any(placed.json()["id"])
        assert "request-of-ann" not in placed.text, "it is no part of what was ordered"
    assert job.request == "request-of-ann"
    assert job.traceparent.startswith(f"00-{TRACE}-")
    assert correlation.request_id() == "", "and the next one has its own"
    assert named(spans)["POST /generations"].get_span_context() is not None
