"""Settings of metrics and traces: both are off until a port or an address is given."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class MetricsSettings:
    """Metrics of workers and keepers, which listen on no port otherwise; those of the API are its route `/v1/metrics`."""

    port: int = 0
    """The port; where it is taken, as by another worker of this machine, the first free one of the nine after it. 0: none."""
    host: str = "127.0.0.1"
    """The address. Whoever reaches it may read: it asks for no key."""


@dataclass(frozen=True, slots=True)
class TracingSettings:
    """Traces, sent as OTLP over http; needs the extra `tracing`."""

    endpoint: str = ""
    """Of a collector, such as `http://127.0.0.1:4318/v1/traces`; empty: nothing is traced and no library loaded."""
    share: float = 1.0
    """Share of requests that are traced, 0..1; what follows from a request goes with it."""

    def __post_init__(self) -> None:
        """Check the share; raises `ValueError`."""
        if not 0 <= self.share <= 1:
            raise ValueError("tasks.tracing.share is between 0 and 1")
