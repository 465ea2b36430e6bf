"""The queue: the broker, workers, the flows and the run of one job, and the keeper."""
