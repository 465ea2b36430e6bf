"""The gallery page of portraits, with their likeness in words; one HTML file without scripts beside the portraits."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from urllib.parse import quote

import numpy as np

from pipelines.folders import atomic
from pipelines.pages.html import render_template, to_data_uri
from portrait.arrays import Image
from portrait.faces import likeness
from portrait.types import Portrait, Style

PAGE_FILE = "index.html"


def write(
    portraits: Sequence[tuple[Path, Style, Portrait]], folder: Path, notes: Sequence[tuple[str, str]] = ()
) -> Path:
    """Write `index.html` beside the portraits; `notes` are (words, link) to other pages. Raises `cannot_write`."""
    return atomic.write_file(folder / PAGE_FILE, render(portraits, folder, notes))


def render(portraits: Sequence[tuple[Path, Style, Portrait]], folder: Path, notes: Sequence[tuple[str, str]]) -> str:
    """Return the page as text."""
    cards = [
        {
            "link": quote(str(file.relative_to(folder))),
            "title": style.title,
            "likeness": likeness_in_words(portrait),
            "rules": rules_in_words(portrait),
            "credit": style.credit,
            "source": ", ".join(portrait.reference_names.values()),
            "before": "" if portrait.before is None else to_data_uri(_crop_face(portrait.before)),
            "after": "" if portrait.before is None else to_data_uri(_crop_face(portrait.image)),
        }
        for file, style, portrait in portraits
    ]
    return render_template("gallery.html.j2", cards=cards, notes=notes)


def _crop_face(image: Image) -> Image:
    """Return the part of a studio portrait that holds the face: below the headroom, above the shoulders."""
    height, width = image.shape[:2]
    return np.ascontiguousarray(
        image[round(height * 0.18) : round(height * 0.68), round(width * 0.2) : round(width * 0.8)]
    )


def rules_in_words(portrait: Portrait) -> str:
    """Return which rules an ID photo breaks; empty for other portraits."""
    drawn = portrait.recipe.get("drawn")
    rules = drawn.get("rules", ()) if isinstance(drawn, Mapping) else ()
    broken = [rule["rule"] for rule in rules if not rule["ok"]]
    return f"breaks rules: {', '.join(broken)}" if broken else "meets all rules" if rules else ""


def likeness_in_words(portrait: Portrait) -> str:
    """Return the likeness of the least alike face in words."""
    if not portrait.likeness:
        return "no face found again" if portrait.scores.get("measurable", 1.0) else "not measured: no photos"
    worst = max(portrait.likeness.values(), key=lambda each: each.distance)
    return likeness.likeness_in_words(worst.space, worst.distance)
