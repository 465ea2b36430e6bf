"""Pages of operators: jobs, workers, models, quality, styles."""
