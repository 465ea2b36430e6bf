"""The script of every page: it names the document's language, translates Streamlit's own words, says when the app is away,
follows links without a reload, and comes back to the place that was left in a list.

It is in the page that `app.server.start_page` makes, and runs because its hash is in the security headers; see
`app.server.headers`.
"""

import json
import re
from functools import cache
from pathlib import Path

from app.words import translation

_FILES = ("page.js", "links.js", "list_places.js")
STREAMLIT_TEXTS = (
    *(
        '[data-testid="InputInstructions"]',
        '[data-testid="stFileUploaderDropzone"]',
        '[data-testid="stFileUploaderFile"]',
    ),
    *('[data-testid="stCameraInput"]', '[data-testid="stSkipToContent"]', '[data-testid="stElementToolbar"]'),
    *('[role="listbox"]', ".react-aria-Popover", ".react-aria-Tooltip", '[data-testid="stNumberInput"]'),
    ".react-aria-FieldError",
)
"""Selectors of the elements in which Streamlit writes text of its own, apart from labels for screen readers."""


@cache
def page_script(language: str) -> str:
    """The script with the words of a language."""
    own, english = translation.messages(language), translation.messages(translation.FALLBACK)
    keys = [key for key in english if key.startswith("streamlit.") and own[key] != english[key]]
    settings = {
        "language": str(translation.locale(language)).replace("_", "-"),
        "places": ", ".join(STREAMLIT_TEXTS),
        "words": [[english[key], own[key]] for key in keys if "{" not in english[key]],
        "patterns": [_pattern(english[key], own[key]) for key in keys if "{" in english[key]],
        "busy": own["app.busy"],
        "away": own["trouble.away_title"],
        "lost": own["trouble.lost"],
        "reload": own["trouble.reload"],
    }
    # Nothing in it may end the tag that it stands in.
    written = json.dumps(settings, ensure_ascii=False).replace("<", "\\u003c")
    scripts = "".join((Path(__file__).parent / name).read_text("utf-8") for name in _FILES)
    return f"{{\nconst settings = {written};\n{scripts}}}\n"


def _pattern(english: str, own: str) -> tuple[str, str]:
    """A message with {placeholders} as a regular expression of JavaScript, and what takes the place of what it finds."""
    parts = re.split(r"\{(\w+)\}", english)
    names = parts[1::2]
    escaped = (re.sub(r"([\\^$.|?*+()\[\]{}/])", r"\\\1", part) for part in parts[::2])
    return f"^{'(.+?)'.join(escaped)}$", re.sub(r"\{(\w+)\}", lambda found: f"${names.index(found[1]) + 1}", own)
