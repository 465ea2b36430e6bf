"""Marks a page as a list, so that the page's script comes back to the place that was left in it."""

from html import escape

import streamlit as st

from app.session import get_state, set_state

_RETURNS = "returns_to_lists"


def mark_return() -> None:
    """Note that a page goes back to the list that led to it."""
    set_state(_RETURNS, get_state(_RETURNS, 0) + 1)


def keep(address: str) -> None:
    """Keep the place in the list that this page shows, by its address.

    It is scrolled to again after `mark_return`, and after a step back in the browser's history; links lead to its beginning.
    The script is `app/components/list_places.js`: a component of its own would bring 200 KB of Streamlit's scripts.
    """
    returns = get_state(_RETURNS, 0)
    st.html(f'<p class="p-place" data-address="{escape(address)}" data-returned="{returns}"></p>')
