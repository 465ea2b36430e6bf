"""The page of a trained identity: curves, validation, sample images, photos; one HTML file without scripts."""

from collections.abc import Mapping, Sequence
from typing import Any

from pipelines.pages.html import render_template, to_data_uri
from portrait.training import TrainingResult
from portrait.types import TrainingSet

WIDTH, HEIGHT = 640, 200
"""Of a curve's drawing, in the units of its SVG."""
POINTS = 200
"""A curve is drawn through at most so many means; more cannot be distinguished."""


def render(description: Mapping[str, Any], result: TrainingResult | None, training: TrainingSet | None) -> str:
    """Return the page as text; a merged identity has neither a training result nor photos."""
    losses = result.losses if result else ()
    validations = result.validations if result else ()
    curves = [
        _curve("Loss", list(range(1, len(losses) + 1)), losses),
        _curve("Distance to the person", [each.step for each in validations], [each.distance for each in validations]),
    ]
    return render_template(
        "identity.html.j2",
        identity=description,
        curves=[curve for curve in curves if curve],
        test_results=description["scores"]["held_out"],
        samples=[(prompt, to_data_uri(image)) for prompt, image in (result.sample_images if result else ())],
        crops=[(crop.source, crop.caption, to_data_uri(crop.image)) for crop in (training.crops if training else ())],
        width=WIDTH,
        height=HEIGHT,
    )


def _curve(title: str, steps: Sequence[int], values: Sequence[float]) -> dict[str, Any] | None:
    """Return a line of the page; None where there is nothing to join."""
    if len(values) < 2:
        return None
    size = -(-len(values) // POINTS)
    means = [sum(values[at : at + size]) / len(values[at : at + size]) for at in range(0, len(values), size)]
    places = [steps[min(at + size, len(steps)) - 1] for at in range(0, len(steps), size)]
    low, high = min(means), max(means)
    span, wide = high - low or 1.0, places[-1] - places[0] or 1
    points = " ".join(
        f"{WIDTH * (place - places[0]) / wide:.1f},{HEIGHT * (high - mean) / span:.1f}"
        for place, mean in zip(places, means, strict=True)
    )
    ends = {"low": f"{low:.3f}", "high": f"{high:.3f}", "first": places[0], "last": places[-1]}
    return {"title": title, "points": points, **ends}
