"""The page of an evaluation: a table of metrics, histograms, every picture with its numbers; one HTML file."""

from pathlib import Path
from typing import Any

from pipelines.folders import atomic
from pipelines.pages.html import jpeg_data_uri, render_template
from portrait.evaluation import Evaluation, Metric, PictureMeasures
from portrait.metrics import Values, histogram

PAGE_FILE = "evaluation.html"
MAX_PICTURES = 200
"""Pictures on the page; the least alike come first, as those are what people look for."""
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
"""Name and meaning of every metric, in the order of the page."""


def write(evaluation: Evaluation, page: Path) -> Path:
    """Write the page; raises `OperatorError` (`cannot_write`)."""
    return atomic.write_file(page, render(evaluation))


def render(evaluation: Evaluation) -> str:
    """Return the page as text."""
    first_pictures = sorted(evaluation.pictures, key=_sort_key)[:MAX_PICTURES]
    return render_template(
        "evaluation.html.j2",
        rows=make_rows(evaluation),
        plots=make_plots(evaluation),
        notes=evaluation.notes,
        cards=[
            {"name": each.name, "picture": jpeg_data_uri(each.thumb), "numbers": _summary_line(each)}
            for each in first_pictures
        ],
        count=len(evaluation.pictures),
        left=len(evaluation.pictures) - len(first_pictures),
        wide=PLOT_WIDTH,
        tall=PLOT_HEIGHT,
        whole=PLOT_HEIGHT + AXIS_HEIGHT,
    )


def make_rows(evaluation: Evaluation) -> list[dict[str, str]]:
    """Return every metric in the order of `MEASURES`, with its value or with what would make it possible."""
    measured = {each.name: each for each in evaluation.measures}
    missing = {each.name: each.why for each in evaluation.missing}
    found = []
    for name, (title, meaning) in MEASURES.items():
        if name in measured:
            cells = {"value": format_number(measured[name].value), "more": _details(measured[name]), "why": ""}
        elif name in missing:
            cells = {"value": "–", "more": "", "why": missing[name]}
        else:
            continue
        found.append({"name": name, "title": title, "meaning": meaning, **cells})
    return found


def make_plots(evaluation: Evaluation) -> list[dict[str, Any]]:
    """Return histograms of all that was measured picture by picture; bars and the limit, where it has one, in pixels."""
    pictures = evaluation.pictures
    values: dict[str, Values] = {
        "Distance to the person": [each.distance for each in pictures if each.distance is not None],
        "Distance between two faces": evaluation.pairs,
        "Sharpness": [each.sharpness for each in pictures if each.sharpness is not None],
        "CLIP score": [each.clip for each in pictures if each.clip is not None],
    }
    return [
        _plot(title, each, evaluation.limit if title.startswith("Distance") else None)
        for title, each in values.items()
        if len(each) > 1
    ]


def format_number(value: float) -> str:
    """Return a number with three significant digits or so, without an exponent."""
    places = 4 if abs(value) < 1 else 2 if abs(value) < 100 else 1
    return f"{value:.{places}f}"


def _plot(title: str, values: Values, limit: float | None) -> dict[str, Any]:
    counts, edges = histogram(values, bins=min(24, max(6, len(values) // 3)))
    low, high = edges[0], edges[-1]
    if limit is not None:
        # The limit belongs into the picture, wherever the values lie.
        low, high = min(low, limit), max(high, limit)
    room = (high - low) * 0.03
    low, high = low - room, high + room
    scale, most = PLOT_WIDTH / (high - low), max(counts)
    bars = [
        {
            "x": round((left - low) * scale, 2),
            "y": round(PLOT_HEIGHT - count / most * (PLOT_HEIGHT - 8), 2),
            "width": round(max(1.0, (right - left) * scale - 1), 2),
            "height": round(count / most * (PLOT_HEIGHT - 8), 2),
            "tooltip": f"{format_number(left)} to {format_number(right)}: {count}",
        }
        for count, left, right in zip(counts, edges, edges[1:], strict=False)
        if count
    ]
    line = None if limit is None else round((limit - low) * scale, 2)
    return {"title": title, "bars": bars, "low": format_number(low), "high": format_number(high), "limit": line}


def _details(measure: Metric) -> str:
    """Return what belongs to a metric, such as deviation and count, as one line."""
    words = {"deviation": "±", "count": "of", "faces": "faces found in"}
    forms = {"count": "{:.0f}".format, "against": "{:.0f}".format, "faces": "{:.0%}".format}
    parts = [f"{words.get(name, name)} {forms.get(name, format_number)(value)}" for name, value in measure.more.items()]
    return " · ".join(parts)


def _summary_line(picture: PictureMeasures) -> str:
    """Return the measures of a picture as one line."""
    measures = {"distance": picture.distance, "sharpness": picture.sharpness, "CLIP": picture.clip}
    parts = [f"{word} {format_number(value)}" for word, value in measures.items() if value is not None]
    return " · ".join(parts) if parts else "no face found"


def _sort_key(picture: PictureMeasures) -> tuple[float, float, str]:
    """Sort pictures without a face first, then by distance, then by sharpness."""
    apart = picture.distance if picture.distance is not None else (9.0 if not picture.faces else 0.0)
    return -apart, picture.sharpness or 0.0, picture.name
