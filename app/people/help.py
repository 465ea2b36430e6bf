"""The page of help: how the app works, which photos are good, what likeness words mean, privacy, keys."""

from html import escape

import streamlit as st

from app.components import examples, widgets
from app.session import page_address, translate

ANSWERS = range(1, 7)
"""Numbers of the questions, each with its answer."""
PRIVACY = 5
"""The answer with the link to the page of privacy."""


def page() -> None:
    """Show the answers, and examples of photos."""
    widgets.page_heading(translate("help.title"), translate("help.lead"))
    answers = "".join(_answer(number) for number in ANSWERS)
    st.html(f'<dl class="p-answers">{answers}</dl>')
    st.subheader(translate("help.photos"), anchor=False)
    examples.show_examples()


def _answer(number: int) -> str:
    """One question with its answer, as HTML."""
    link = ""
    if number == PRIVACY:
        text = escape(translate("help.to_privacy"))
        link = f'<p><a href="{escape(page_address("privacy"))}" target="_self">{text}</a></p>'
    question, answer = (escape(translate(f"help.{kind}{number}")) for kind in ("q", "a"))
    return f"<div><dt>{question}</dt><dd>{answer}{link}</dd></div>"
