"""A picture that is looked at: zoomed and moved, with the ones before and after it, and handed to other apps."""

from collections.abc import Callable
from dataclasses import dataclass

import streamlit as st

from app.components.canvas import parts
from app.session import translate

KEY = "viewer"
_WORDS = ("previous", "next", "smaller", "larger", "share", "share_again", "share_failed")


@dataclass(frozen=True, slots=True)
class ViewedPicture:
    """A picture with the addresses under which the app serves it."""

    url: str
    """Large enough for a screen."""
    whole: str
    """In full size; it is fetched when somebody zooms."""
    file: str
    """The file that is shared."""
    name: str
    """Of the shared file, without suffix."""
    alt: str
    shape: tuple[int, int]
    """Width and height."""


def show(
    picture: ViewedPicture,
    neighbours: tuple[str, str],
    place: str,
    on_go: Callable[[str], None],
    on_close: Callable[[], None],
) -> None:
    """Show a picture with `neighbours`, the ids before and after it (empty at the ends), and its `place` in words.

    Before the page runs again, `on_go` is called with the id of the neighbour that was asked for, `on_close` where somebody
    leaves by the Escape key.
    """

    def go() -> None:
        asked = st.session_state[KEY].go
        if asked in neighbours:
            on_go(str(asked))

    data = {
        "picture": picture.url,
        "whole": picture.whole,
        "file": picture.file,
        "name": picture.name,
        "alt": picture.alt,
        "ratio": picture.shape[0] / picture.shape[1],
        "previous": neighbours[0],
        "next": neighbours[1],
        "place": place,
        "words": {name: translate(f"viewer.{name}") for name in _WORDS} | {"viewer": picture.alt},
    }
    parts.component("viewer")(data=data, key=KEY, on_go_change=go, on_close_change=on_close)
