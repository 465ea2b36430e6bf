"""The self-test of a device: tiny networks made here draw and learn on it, and are compared with the CPU."""
