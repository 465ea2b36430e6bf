"""Has a worker or keeper serve its metrics on a port, where the settings give one."""

import shutil
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from tasks.telemetry.metrics import share_between_processes
from tasks.telemetry.settings import MetricsSettings


@contextmanager
def serve_metrics(settings: MetricsSettings, data: Path, processes: bool = False) -> Iterator[int]:
    """Serve the metrics of this process within it, and of its machine; gives the port, or 0 where none is set.

    With `processes` those of every process that it starts are added. `data` is the data folder, whose disk is told of. Raises
    `OperatorError` (`port_taken`).
    """
    if not settings.port:
        yield 0
        return
    with ExitStack() as stack:
        if processes:
            stack.callback(shutil.rmtree, share_between_processes(), ignore_errors=True)
        # After that: prometheus-client asks once, when it is imported, whether metrics are shared.
        from tasks.telemetry.metrics_server import MachineMetrics, serving

        yield stack.enter_context(serving(settings, MachineMetrics(data)))
