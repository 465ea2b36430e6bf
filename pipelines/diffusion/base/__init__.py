"""Base models: families, loading, memory, LoRA; one loaded base lent to one request at a time."""
