"""Examples of good and bad photos, with what makes them so."""

from html import escape

import streamlit as st

from app.components import widgets
from app.session import translate

GOOD, POOR = ("frontal", "shoulders", "light"), ("dark", "blurred", "cut", "sunglasses")
"""Names of the pictures in `app/server/examples`, which are also the keys of what is said about them."""


def show_examples() -> None:
    """Show small pictures of one person under "like this" and "not like this"."""
    widgets.muted_text(translate("examples.lead"))
    for kind, names in (("good", GOOD), ("poor", POOR)):
        pictures = "".join(_figure(name, kind) for name in names)
        title = widgets.card_title(translate(f"examples.{kind}"))
        st.html(f'{title}<div class="p-examples">{pictures}</div>')


def _figure(name: str, kind: str) -> str:
    """One picture with its sentence; the sentence is all that there is to say of it."""
    url = escape(widgets.picture_url("example", name, None))
    mark = {"good": "✓", "poor": "✗"}[kind]
    text = escape(translate(f"examples.{name}"))
    image = f'<img src="{url}" alt="" loading="lazy" width="240" height="240">'
    return f'<figure class="p-{kind}-example">{image}<figcaption><b aria-hidden="true">{mark}</b> {text}</figcaption></figure>'
