"""Measures of a set of pictures as a page: a table, plots drawn into it, every picture with its numbers; nothing fetched."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import jinja2

from pipelines.folders import atomic
from pipelines.pages.inline import to_data_uri
from portrait.evaluation import Evaluation, Metric, PictureMeasures
from portrait.metrics import histogram

PAGE_FILE = "evaluation.html"
MAX_PICTURES = 200
"""Pictures that the page shows: the least like first, as those are looked for."""
PLOT_WIDTH, PLOT_HEIGHT, AXIS_HEIGHT = 420, 150, 22
"""Pixels of a plot, and of the row of numbers below it."""
MEASURES = {
    "likeness": ("Likeness", "distance to the person, median; above the limit it is somebody else"),
    "diversity": ("Variety of faces", "mean distance between every two faces"),
    "diversity_pictures": ("Variety of pictures", "mean of 1 − cosine between every two pictures, in CLIP's space"),
    "sharpness": ("Sharpness", "of the face, median; sharp photos read 0.34 to 0.54"),
    "fid": ("FID", "Fréchet distance to the other set"),
    "kid": ("KID", "kernel distance to the other set, unbiased"),
    "inception_score": ("Inception score", "how sure and how varied what is shown is, 1 to 1008"),
    "clip_score": ("CLIP score", "how well the words are shown, 100 · cosine, mean"),
}
"""Name and meaning of every measure, in the order of the page."""


@dataclass(frozen=True, slots=True)
class Bar:
    """One bar of a plot, in its pixels."""

    x: float
    y: float
    width: float
    height: float
    tooltip: str


@dataclass(frozen=True, slots=True)
class Plot:
    """A histogram."""

    title: str
    bars: tuple[Bar, ...]
    low: str
    high: str
    limit: float | None
    """Where a line stands, in pixels; None without one."""


def write(evaluation: Evaluation, page: Path) -> Path:
    """Write the page; raises `OperatorError` (`cannot_write`)."""
    return atomic.write_file(page, render(evaluation))


def render(evaluation: Evaluation) -> str:
    """The page as text."""
    template = jinja2.Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True).from_string(
        (Path(__file__).parent / "evaluation.html.j2").read_text("utf-8")
    )
    shown = sorted(evaluation.pictures, key=_worst_first)[:MAX_PICTURES]
    return template.render(
        rows=make_rows(evaluation),
        plots=make_plots(evaluation),
        notes=evaluation.notes,
        cards=[{"name": each.name, "picture": to_data_uri(each.thumb), "numbers": _numbers(each)} for each in shown],
        count=len(evaluation.pictures),
        left=len(evaluation.pictures) - len(shown),
        wide=PLOT_WIDTH,
        tall=PLOT_HEIGHT,
        whole=PLOT_HEIGHT + AXIS_HEIGHT,
    )


def make_rows(evaluation: Evaluation) -> list[dict[str, str]]:
    """Every measure in the order of `NAMES`, with its value or with what would bring it."""
    measured = {each.name: each for each in evaluation.measures}
    missing = {each.name: each.why for each in evaluation.missing}
    found = []
    for name, (title, meaning) in MEASURES.items():
        if name in measured:
            told = {"value": format_number(measured[name].value), "more": _more(measured[name]), "why": ""}
        elif name in missing:
            told = {"value": "–", "more": "", "why": missing[name]}
        else:
            continue
        found.append({"name": name, "title": title, "meaning": meaning, **told})
    return found


def make_plots(evaluation: Evaluation) -> list[Plot]:
    """Histograms of all that was measured picture by picture."""
    pictures = evaluation.pictures
    values = {
        "Distance to the person": [each.distance for each in pictures if each.distance is not None],
        "Distance between two faces": list(evaluation.pairs),
        "Sharpness": [each.sharpness for each in pictures if each.sharpness is not None],
        "CLIP score": [each.clip for each in pictures if each.clip is not None],
    }
    return [
        _plot(title, each, evaluation.limit if title.startswith("Distance") else None)
        for title, each in values.items()
        if len(each) > 1
    ]


def format_number(value: float) -> str:
    """Three figures that count, without an exponent."""
    places = 4 if abs(value) < 1 else 2 if abs(value) < 100 else 1
    return f"{value:.{places}f}"


def _plot(title: str, values: Sequence[float], limit: float | None) -> Plot:
    counts, edges = histogram(values, bins=min(24, max(6, len(values) // 3)))
    low, high = edges[0], edges[-1]
    if limit is not None:
        # The limit belongs into the picture, wherever the values lie.
        low, high = min(low, limit), max(high, limit)
    room = (high - low) * 0.03
    low, high = low - room, high + room
    scale, most = PLOT_WIDTH / (high - low), max(counts)
    bars = tuple(
        Bar(
            round((left - low) * scale, 2),
            round(PLOT_HEIGHT - count / most * (PLOT_HEIGHT - 8), 2),
            round(max(1.0, (right - left) * scale - 1), 2),
            round(count / most * (PLOT_HEIGHT - 8), 2),
            f"{format_number(left)} to {format_number(right)}: {count}",
        )
        for count, left, right in zip(counts, edges, edges[1:], strict=False)
        if count
    )
    line = None if limit is None else round((limit - low) * scale, 2)
    return Plot(title, bars, format_number(low), format_number(high), line)


def _more(measure: Metric) -> str:
    words = {
        "deviation": "±",
        "p10": "p10",
        "p90": "p90",
        "count": "of",
        "against": "against",
        "faces": "faces found in",
    }
    parts = []
    for name, value in measure.more.items():
        told = (
            f"{value:.0f}"
            if name in ("count", "against")
            else f"{value:.0%}"
            if name == "faces"
            else format_number(value)
        )
        parts.append(f"{words[name]} {told}")
    return " · ".join(parts)


def _numbers(picture: PictureMeasures) -> str:
    told = {"distance": picture.distance, "sharpness": picture.sharpness, "CLIP": picture.clip}
    parts = [f"{word} {format_number(value)}" for word, value in told.items() if value is not None]
    return " · ".join(parts) if parts else "no face found"


def _worst_first(picture: PictureMeasures) -> tuple[float, float, str]:
    """No face first, then by distance, then by sharpness."""
    apart = picture.distance if picture.distance is not None else (9.0 if not picture.faces else 0.0)
    return -apart, picture.sharpness or 0.0, picture.name
