"""Text from people and packs inside the Markdown that Streamlit renders: titles, names, file names, messages.

Headings, notes, labels and tooltips take Markdown. A name that holds an image or a link would otherwise be fetched by the
browser of whoever sees the page.
"""

import re

from app.session import translate

_SPECIAL = re.compile(r"[\\`*_\[\]<>$:#~|&!]")
"""What begins or ends Markdown, HTML, mathematics and Streamlit's colours."""
_ADDRESS = re.compile(r"(?<=:)(?=//)|(?<=www)(?=\.)|(?<=@)", re.IGNORECASE)
"""Where what looks like an address becomes a link by itself, also where its signs are escaped."""
_JOINER = "\u2060"
"""Takes no room and breaks no line."""


def plain(text: str) -> str:
    """The text on one line, shown as it is."""
    line = _ADDRESS.sub(_JOINER, " ".join(text.split()))
    return _SPECIAL.sub(lambda found: f"\\{found[0]}", line)


def sentence(key: str, **values: object) -> str:
    """The message of a key in the visitor's language; the values in it are shown as they are."""
    return translate(key, **{name: plain(each) if isinstance(each, str) else each for name, each in values.items()})
