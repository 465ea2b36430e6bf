"""Flows without engines that deliver each portrait as soon as it is drawn, as the real ones do."""

from collections.abc import Callable

import numpy as np

from pipelines.deliver import Deliver
from pipelines.marks.marks import open_marks
from pipelines.settings import MarkSettings
from portrait.types import Likeness, Portrait
from tasks.ledger.queue import Outcome
from tasks.queue.delivery import PortraitDelivery
from tasks.queue.flows import FlowResult, JobContext
from tests.tasks.fake_flows import FakeFlows


class EarlyFlows(FakeFlows):
    """Params: count (of portraits), redrawn (of them, those that are replaced in the end)."""

    def __init__(self, at: Callable[[int, JobContext], object] = lambda _, __: None) -> None:
        self._at = at
        """Called before each portrait is drawn, with its number from 0."""

    def __call__(self, context: JobContext) -> FlowResult:
        params, now, marks = context.job.params, context.now(), MarkSettings(context.files.root.parent / "marks")
        count, redrawn = int(params.get("count", 4)), int(params.get("redrawn", 0))
        staged = context.staging / "portraits"
        delivery = PortraitDelivery(
            context.job, context.ledger, context.files, staged, context.now, Deliver("png", open_marks(marks)), now
        )
        drawn = []
        for number in range(count + redrawn):
            self._at(number, context)
            context.progress(number, count + redrawn, "Drawing")
            drawn.append(portrait(number))
            delivery(drawn[-1])
        ids = [delivery(each).id for each in reversed(drawn[redrawn:])]  # the later, the better
        return FlowResult(Outcome({"portraits": ids}, ranking=ids), lambda: None)


def portrait(number: int) -> Portrait:
    """A small portrait; the same number gives the same pixels."""
    image = np.full((8, 8, 3), 10 * number, np.uint8)
    recipe = {"schema": 1, "style": {"id": "made", "version": 1, "kind": "studio"}, "seed": 7, "candidate": number}
    return Portrait(image, None, {}, {1: Likeness("fake", 0.5 - number / 100)}, {"total": number / 100}, recipe)
