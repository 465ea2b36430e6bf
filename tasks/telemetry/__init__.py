"""What an installation tells of itself while it runs: metrics for Prometheus, traces by OpenTelemetry, ids in logs."""
