"""LoRA files of every program: key names, tensors, the layers of a base that they change, strengths by block, slots."""
