"""Metrics for Prometheus: of requests, counted as they end, and of the ledger, read at each scrape."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from prometheus_client import CollectorRegistry, Counter, Histogram
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from tasks.api.context import AppContext
from tasks.telemetry import metrics
from tasks.telemetry.metrics_server import MachineMetrics, registered


@dataclass(frozen=True, slots=True)
class RequestMetrics:
    """Counter and latency histogram of requests, by method, route template and status."""

    registry: CollectorRegistry
    requests: Counter = field(init=False)
    seconds: Histogram = field(init=False)

    def __post_init__(self) -> None:
        names = ("method", "route", "status")
        counter = Counter("portrait_requests", "Requests answered.", names, registry=self.registry)
        seconds = Histogram("portrait_request_seconds", "Until the answer began.", names[:2], registry=self.registry)
        object.__setattr__(self, "requests", counter)
        object.__setattr__(self, "seconds", seconds)


class LedgerMetrics(Collector):
    """Gauges of the ledger: jobs by queue and state, live workers and keepers, the age of the oldest queued job by queue."""

    def __init__(self, context: AppContext) -> None:
        self._context = context

    def describe(self) -> Iterable[Metric]:
        """No metrics: registering must not read the ledger."""
        return []

    def collect(self) -> Iterable[Metric]:
        """Read the ledger; called at each scrape."""
        ledger, now = self._context.ledger, self._context.now()
        metrics.clock_skew(ledger.now.skew())
        jobs = GaugeMetricFamily("portrait_jobs", "Jobs in the ledger.", labels=("queue", "state"))
        for (queue, state), count in sorted(self._context.job_counts().items()):
            jobs.add_metric((queue, state), count)
        workers = GaugeMetricFamily("portrait_workers", "Live processes of workers, and of keepers.", labels=("queue",))
        running = [*ledger.workers.list_live(now), *ledger.workers.list_keepers(now)]
        live = [queue for worker in running for queue in worker.queues]
        for queue in sorted(set(live)):
            workers.add_metric((queue,), live.count(queue))
        waits = GaugeMetricFamily("portrait_oldest_wait_seconds", "Age of the oldest queued job.", labels=("queue",))
        for queue, since in sorted(ledger.queue.oldest_waiting().items()):
            waits.add_metric((queue,), now - since)
        return [jobs, workers, waits]


def collectors(context: AppContext, requests: RequestMetrics) -> Sequence[Collector]:
    """Return what an API process tells besides its own counters: requests, the ledger, the disk of the data folder."""
    return [*registered(requests.registry), LedgerMetrics(context), MachineMetrics(context.files.root)]
