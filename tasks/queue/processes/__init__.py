"""The processes of a worker: what keeps them apart, and what says that they live."""
