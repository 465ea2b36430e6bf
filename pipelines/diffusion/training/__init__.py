"""Training a LoRA of a person: data, one step, validation, checkpoints."""
