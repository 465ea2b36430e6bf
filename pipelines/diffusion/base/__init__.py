"""Base models: families, loading, memory, LoRA; a loaded base leased to one request at a time."""
