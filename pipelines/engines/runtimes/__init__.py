"""Runs network files: one module per runtime (ONNX Runtime, LiteRT), shared by the engines of all folders."""
