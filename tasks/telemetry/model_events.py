"""Counts what the flows log of models: the floors below know nothing of metrics, and write lines all the same.

A record of the logger `portrait.models` carries `event` (`loaded`, `unloaded`, `lora`) with `model` and `seconds`, or `result`.
"""

import logging

from tasks.telemetry import metrics

LOGGER = "portrait.models"


class ModelEvents(logging.Handler):
    """Counts the records of the logger of models."""

    def emit(self, record: logging.LogRecord) -> None:
        """Count one record; those without an event are lines and nothing else."""
        said = record.__dict__
        match said.get("event"):
            case "loaded":
                metrics.model_loaded(said["model"], said["seconds"])
            case "unloaded":
                metrics.model_unloaded(said["model"])
            case "lora":
                metrics.lora_read(said["result"])


def count_models() -> None:
    """Count from now on what is logged of models in this process."""
    logger = logging.getLogger(LOGGER)
    if not any(isinstance(each, ModelEvents) for each in logger.handlers):
        logger.addHandler(ModelEvents())
