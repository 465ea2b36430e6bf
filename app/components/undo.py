"""The line that says what was deleted, with the button that brings it back, for as long as that is possible."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from html import escape
from typing import Literal, TypeAlias

import streamlit as st

from app.components import errors
from app.session import client, get_state, set_state, translate
from tasks.client.client import Client
from tasks.schemas import UNDO_SECONDS

Kind: TypeAlias = Literal["selfie", "template", "portrait"]
_RESTORE: Mapping[Kind, Callable[[Client, str], object]] = {
    "selfie": lambda api, id: api.restore_selfie(id),
    "template": lambda api, id: api.restore_template(id),
    "portrait": lambda api, id: api.restore_portrait(id),
}
_OFFERS = "undo"
_MARGIN = 2.0
"""Seconds before the API's time is over from which nothing is offered any more: a click takes a moment."""
_TICK = 5.0
"""Seconds after which the line is drawn again, or is gone."""


@dataclass(frozen=True, slots=True)
class Offer:
    """What was deleted together, and until when it can be brought back."""

    kind: Kind
    ids: tuple[str, ...]
    text: str
    until: float


def offer(kind: Kind, ids: Sequence[str], text: str) -> None:
    """Offer to bring back what was just deleted by `remove_selfie` and its like; `text` says what was deleted.

    It stays in the session over a change of the page, and `show` draws it.
    """
    made = Offer(kind, tuple(ids), text, time.time() + UNDO_SECONDS - _MARGIN)
    set_state(_OFFERS, [*_offers(), made])


def show() -> None:
    """Draw a line for the last deletion that can be undone, above the page's own content; nothing without one."""
    if _offers():
        with st.container(key="undo"):
            _draw()


@st.fragment(run_every=_TICK)
def _draw() -> None:
    for each in _offers()[-1:]:
        with st.container(horizontal=True, vertical_alignment="center"):
            st.html(f'<p role="status">{escape(each.text)}</p>')
            if st.button(translate("undo.now"), key=f"undo-{each.ids[0]}", icon=":material/undo:"):
                errors.attempt(partial(_restore, each))


def _restore(taken: Offer) -> None:
    """Bring everything of an offer back; raises the error of the API where something is erased by now."""
    set_state(_OFFERS, [each for each in _offers() if each != taken])
    for id in taken.ids:
        _RESTORE[taken.kind](client(), id)


def _offers() -> list[Offer]:
    """What can still be brought back, the newest last."""
    now = time.time()
    return [each for each in get_state(_OFFERS, []) if each.until > now]
