"""Flows without engines that fail the first time a job is run, and deliver when it is tried again."""

import os
from pathlib import Path

from pipelines.settings import Settings
from portrait.errors import EngineError
from tasks.queue.flows import FlowResult, JobContext
from tests.tasks.early_flows import EarlyFlows


class RetriedFlows(EarlyFlows):
    """As `EarlyFlows`, with one failure first."""

    def __call__(self, context: JobContext) -> FlowResult:
        tried = Path(os.environ["PORTRAIT_HOME"]) / f"tried-{context.job.id}"
        if not tried.exists():
            tried.touch()
            raise EngineError("out_of_memory", "There was not enough memory.")
        return super().__call__(context)


def open_flows(_: Settings) -> RetriedFlows:
    return RetriedFlows()
