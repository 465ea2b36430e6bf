"""ONNX networks: opened once, checked against what they must look like; shared by the engines that run them."""
