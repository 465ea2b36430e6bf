"""Serves the metrics of a worker or keeper on a port: what it counted, what is read at each scrape, and of its processes."""

import logging
import os
import shutil
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from prometheus_client import CollectorRegistry, ProcessCollector, generate_latest, start_http_server
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.multiprocess import MultiProcessCollector
from prometheus_client.registry import Collector

from portrait.errors import OperatorError
from tasks.telemetry import metrics
from tasks.telemetry.gpu import gpu_memory
from tasks.telemetry.settings import MetricsSettings

PORTS = 10
"""Ports that are tried, from that of the settings on."""
_log = logging.getLogger("portrait.metrics")


class MachineMetrics(Collector):
    """Gauges of the machine that are read at each scrape: the disk of the data folder, and GPUs."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def describe(self) -> Iterable[Metric]:
        """No metrics: registering must read nothing."""
        return []

    def collect(self) -> Iterator[Metric]:
        """Read them."""
        yield from self._disk()
        yield from _gpus()

    def _disk(self) -> Iterator[Metric]:
        try:
            usage = shutil.disk_usage(self._folder)
        except OSError:
            return
        yield GaugeMetricFamily("portrait_disk_free_bytes", "Free on the disk of the data folder.", usage.free)
        yield GaugeMetricFamily("portrait_disk_size_bytes", "Of the disk of the data folder.", usage.total)


class ProcessFamily(Collector):
    """The usual `process_…` metrics, of this process and its children together."""

    def describe(self) -> Iterable[Metric]:
        """No metrics: they are named by prometheus-client."""
        return []

    def collect(self) -> Iterator[Metric]:
        """Read them: the start and limits of this process, sums of what is used."""
        own = {each.name: each for each in _process(os.getpid())}
        sums: defaultdict[str, float] = defaultdict(float)
        for child in children(os.getpid()):
            for metric in _process(child):
                sums[metric.name] += metric.samples[0].value
        for name, metric in own.items():
            if name not in ("process_start_time_seconds", "process_max_fds"):
                (sample,) = metric.samples
                metric.samples = [sample._replace(value=sample.value + sums[name])]
            yield metric


def exposed(*more: Collector) -> CollectorRegistry:
    """Return a registry with all metrics of this process, of those that share theirs with it, and of `more`."""
    registry = CollectorRegistry()
    if os.environ.get(metrics.SHARED):
        MultiProcessCollector(registry)
    for each in (*registered(metrics.process_metrics().registry), ProcessFamily(), *more):
        registry.register(each)
    return registry


def registered(registry: CollectorRegistry) -> Sequence[Collector]:
    """Return a collector of all metrics of a registry; none where they are shared, and so told with those of the others."""
    return () if os.environ.get(metrics.SHARED) else (_Registered(registry),)


def exposition(*more: Collector) -> bytes:
    """Return the metrics as text for Prometheus; see `exposed`."""
    return generate_latest(exposed(*more))


@contextmanager
def serving(settings: MetricsSettings, *more: Collector) -> Iterator[int]:
    """Serve them within it, and give the port; raises `OperatorError` (`port_taken`)."""
    registry = exposed(*more)
    for port in range(settings.port, min(settings.port + PORTS, 65_536)):
        try:
            server, thread = start_http_server(port, settings.host, registry)
        except OSError:
            continue
        break
    else:
        last = settings.port + PORTS - 1
        sentence = f"None of the ports {settings.port} to {last} of {settings.host} is free: change tasks.metrics.port."
        raise OperatorError("port_taken", sentence)
    _log.info("metrics on port %d", port)
    try:
        yield port
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def children(pid: int) -> list[int]:
    """Return the processes that a process started and that run, with theirs; none where Linux does not tell."""
    found = []
    for task in Path(f"/proc/{pid}/task").glob("*/children"):
        try:
            begun = [int(each) for each in task.read_text().split()]
        except OSError:
            continue  # the thread has ended
        for child in begun:
            found += [child, *children(child)]
    return found


class _Registered(Collector):
    """All metrics of another registry."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._registry = registry

    def describe(self) -> Iterable[Metric]:
        return []

    def collect(self) -> Iterable[Metric]:
        return self._registry.collect()


def _process(pid: int) -> list[Metric]:
    return list(ProcessCollector(pid=lambda: pid, registry=CollectorRegistry()).collect())


def _gpus() -> Iterator[Metric]:
    found = gpu_memory()
    if not found:
        return
    used = GaugeMetricFamily("portrait_gpu_memory_used_bytes", "Memory in use of a GPU.", labels=("gpu",))
    total = GaugeMetricFamily("portrait_gpu_memory_bytes", "Memory of a GPU.", labels=("gpu",))
    for each in found:
        used.add_metric((str(each.index),), each.used)
        total.add_metric((str(each.index),), each.total)
    yield from (used, total)
