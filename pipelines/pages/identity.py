"""What was learned of a person, as a page: curves, the last look, the photos; one file, no scripts, nothing fetched."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jinja2

from pipelines.pages.inline import to_data_uri
from portrait.training import TrainingResult
from portrait.types import TrainingSet

WIDTH, HEIGHT = 640, 200
"""Of a curve's drawing, in its own units."""
POINTS = 200
"""A curve is drawn through at most so many means; more cannot be told apart."""


@dataclass(frozen=True, slots=True)
class _Curve:
    """A line on the page."""

    title: str
    points: str
    low: str
    high: str
    first: int
    last: int


def render(description: Mapping[str, Any], learned: TrainingResult | None, training: TrainingSet | None) -> str:
    """The page as text; a merge has neither lesson nor photos."""
    template = jinja2.Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True).from_string(
        (Path(__file__).parent / "identity.html.j2").read_text("utf-8")
    )
    losses = learned.losses if learned else ()
    looks = learned.validations if learned else ()
    curves = [
        _curve("Loss", list(range(1, len(losses) + 1)), losses),
        _curve("Distance to the person", [look.step for look in looks], [look.distance for look in looks]),
    ]
    return template.render(
        told=description,
        curves=[curve for curve in curves if curve is not None],
        held_out=description["scores"]["held_out"],
        sheet=[(prompt, to_data_uri(image)) for prompt, image in (learned.sample_images if learned else ())],
        crops=[(crop.source, crop.caption, to_data_uri(crop.image)) for crop in (training.crops if training else ())],
        width=WIDTH,
        height=HEIGHT,
    )


def _curve(title: str, steps: Sequence[int], values: Sequence[float]) -> _Curve | None:
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
    return _Curve(title, points, f"{low:.3f}", f"{high:.3f}", places[0], places[-1])
