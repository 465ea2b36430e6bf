"""A face that was drawn into a template is reproduced bit for bit by the same models, and refused with others."""

import time
from typing import Any

import numpy as np
import torch

from pipelines.image_io import read
from pipelines.settings import Settings
from portrait.arrays import Image
from tasks.queue.runner import JobRunner
from tests.tasks.stand import new_job, portraits_of
from tests.tasks.test_templates import add_template, draw, people, runner, tiny  # noqa: F401 -- fixtures


def test_a_face_in_a_template_is_reproduced_by_the_same_models_only(
    runner: JobRunner,  # noqa: F811 -- the fixture
    tiny: Settings,  # noqa: F811 -- the fixture
    astronaut: Image,
) -> None:
    template = add_template(runner, astronaut, 1)
    image, recipe, row = draw(runner, template, {1: "cleo"}, identities=["instantid"])
    (facts,) = [facts for passes in recipe["drawn"]["faces"].values() for facts in list(passes.values())[:1]]
    assert "instantid/ip-adapter.bin" in facts["models"]
    params: dict[str, Any] = {**runner.ledger.jobs.get("ann", row.job).params, "remake": row.id}

    def again() -> Any:
        job = new_job(created=time.time(), kind="generate", params=params, needs=frozenset({"draw:template"}))
        runner.ledger.jobs.add(job, [])
        assert runner.run_next("cpu")
        return runner.ledger.jobs.get("ann", job.id)

    done = again()
    assert done.state == "succeeded", done.fault
    (twin,) = portraits_of(runner.ledger, done)
    file = runner.files.portraits("ann", done.id) / twin.file
    assert np.array_equal(read(file).image, image)
    adapter = tiny.models.folder / "instantid" / "ip-adapter.bin"
    before = adapter.read_bytes()
    torch.save({**torch.load(adapter, weights_only=True), "more": {}}, adapter)
    try:
        refused = again()
    finally:
        adapter.write_bytes(before)
    assert refused.state == "failed"
    assert refused.fault.code == "model_differs"
    assert "instantid/ip-adapter.bin" in refused.fault.message
