"""What data sheets allow: counted on published shapes, without weights or a GPU."""

from pathlib import Path

import pytest

from pipelines.diffusion.base.loading import open_base
from pipelines.diffusion.selftest.roofline import GPUS, DrawingPlan, Gpu, least_text, plan_drawing
from tests.pipelines.diffusion.base.families import published_shapes

pytestmark = pytest.mark.networks
PAGE = (Path(__file__).parents[4] / "docs" / "gpu.md").read_text("utf-8")


@pytest.mark.parametrize("name", ["sd35_medium", "flux_schnell"])
def test_rows_of_the_page_are_what_is_counted(name: str, tmp_path: Path) -> None:
    plan = plan_drawing(open_base(name, published_shapes.write(name, tmp_path / name)))
    assert plan.weights == 2 * published_shapes.BASES[name].counts["transformer"]
    # At least the products of the picture's 4096 tokens with the weights that see them: two operations each.
    assert 0.5 * 4096 * plan.weights < plan.flops < 1.6 * 4096 * plan.weights
    numbers = [str(plan.steps), f"{plan.passes * plan.flops / 1e12:.1f}", f"{plan.weights / 1e9:.1f}"]
    assert f"| {name} | {' | '.join([*numbers, *(least_text(plan, gpu) for gpu in GPUS)])} |" in PAGE


def test_the_slower_of_arithmetic_and_memory_counts() -> None:
    plan = DrawingPlan("made", 1024, steps=10, passes=2, flops=1e12, weights=8e9)
    assert plan.least_seconds(Gpu("slow to compute", 1e12, 8e12, 80e9)) == pytest.approx(20)
    assert plan.least_seconds(Gpu("slow to read", 1e18, 1e9, 80e9)) == pytest.approx(80)
    assert least_text(plan, Gpu("small", 1e12, 8e12, 4e9)) == "(20)"
