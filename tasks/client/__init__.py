"""A Python client of the task API."""
