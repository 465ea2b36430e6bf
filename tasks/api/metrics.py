"""What Prometheus is told of the ledger, asked at each scrape."""

from collections.abc import Iterable

from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from tasks.api.context import Office


class LedgerFigures(Collector):
    """Jobs by queue and state, live workers by queue, how long the next job of a queue has waited."""

    def __init__(self, office: Office) -> None:
        self._office = office

    def describe(self) -> Iterable[Metric]:
        """Nothing beforehand: registering must not ask the ledger."""
        return []

    def collect(self) -> Iterable[Metric]:
        """Ask the ledger."""
        store, now = self._office.store, self._office.now()
        jobs = GaugeMetricFamily("portrait_jobs", "Jobs in the ledger.", labels=("queue", "state"))
        for (queue, state), count in sorted(store.jobs.counts().items()):
            jobs.add_metric((queue, state), count)
        workers = GaugeMetricFamily("portrait_workers", "Live worker processes.", labels=("queue",))
        live = [queue for worker in store.staff.live(now) for queue in worker.queues]
        for queue in sorted(set(live)):
            workers.add_metric((queue,), live.count(queue))
        waits = GaugeMetricFamily("portrait_oldest_wait_seconds", "Age of the oldest queued job.", labels=("queue",))
        for queue, since in sorted(store.queue.oldest().items()):
            waits.add_metric((queue,), now - since)
        return [jobs, workers, waits]
