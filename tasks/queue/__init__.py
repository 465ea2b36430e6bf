"""The queue: broker, workers, one job from claim to settlement, the keeper."""
