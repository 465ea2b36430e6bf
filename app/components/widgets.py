"""Widgets that pages share: headings, pictures, chips, links styled as buttons, dates and durations.

Those that return a string return HTML, with their texts escaped; the others write to the page.
"""

from collections.abc import Callable, Iterable, Sequence
from datetime import datetime
from functools import cache
from html import escape
from pathlib import Path
from typing import Literal, TypeVar
from urllib.parse import quote, urlsplit

import segno
import streamlit as st

from app.components import markdown
from app.session import LEAVE_SCRIPT, get_state, language, translate
from app.words import formats
from tasks.schemas import FaceBox

_Item = TypeVar("_Item")
CARD, THUMB, LARGE = 480, 320, 1600
"""Long sides in pixels of pictures on a card, of thumbnails, and of large pictures."""


@cache
def stylesheet() -> str:
    """The CSS of the app's own widgets; it is part of the page that `app.server.start_page` makes."""
    return (Path(__file__).parent / "style.css").read_text("utf-8")


def page_heading(title: str, lead: str = "") -> None:
    """The title of a page, and a sentence on what it is for."""
    st.title(markdown.plain(title), anchor=False)
    if lead:
        st.html(f'<p class="p-lead">{escape(lead)}</p>')


def operator_heading(key: str) -> None:
    """The title of an operator's page, below links to the other pages of operators."""
    pages = get_state("pages")
    with st.container(horizontal=True, key="office"):
        for each in ("board", "machinery", "models", "quality", "styles", "guards", "accounts", "audit"):
            if each in pages:
                st.page_link(pages[each], label=translate(f"{each}.title"))
    page_heading(translate(f"{key}.title"), translate(f"{key}.lead"))


def cards(
    items: Iterable[_Item],
    show: Callable[[_Item], None],
    key: Callable[[_Item], str],
    columns: int | Literal["auto"] = "auto",
    width: int = 300,
) -> None:
    """Show each item as a card of a grid, at least `width` pixels wide; `show` fills it, `key` gives its key."""
    grid = st.grid(columns, min_column_width=width)
    for each in items:
        with grid.container(border=True, height="stretch", key=key(each)):
            show(each)


def muted_text(text: str) -> None:
    """Write text that is less prominent."""
    st.html(muted(text))


def picture_url(kind: str, id: str, side: int | None = CARD) -> str:
    """The path under which the app serves a picture; `side` bounds its long side in pixels. See `app.server.routes`."""
    return f"/picture/{kind}/{quote(id)}" + (f"?side={side}" if side else "")


def picture(url: str, alt: str, shape: str = "square", grey: bool = False) -> str:
    """A picture.

    The shape is `square`, `tall` (4:5), `entire` (4:5 with nothing cut off), `fit` (its own shape, as high as a card) or
    `whole` (its own shape, as large as the window).
    """
    grey_class = " p-grey" if grey else ""
    lazy = "" if shape == "whole" else ' loading="lazy"'
    return f'<p class="p-picture p-{shape}{grey_class}"><img src="{escape(url)}" alt="{escape(alt)}"{lazy}></p>'


def picture_with_boxes(url: str, alt: str, faces: Sequence[FaceBox], missed: Sequence[FaceBox] = ()) -> str:
    """A picture with a numbered box around each face, and a question mark where one may have been `missed`.

    Boxes are in shares of width and height.
    """
    marks = [*enumerate(faces, 1), *(("?", each) for each in missed)]
    boxes = "".join(
        f'<span style="left:{each.left:.2%};top:{each.top:.2%};width:{each.right - each.left:.2%};'
        f'height:{each.bottom - each.top:.2%}"><b>{number}</b></span>'
        for number, each in marks
    )
    image = f'<img src="{escape(url)}" alt="{escape(alt)}">'
    return f'<div class="p-picture p-faces">{image}{boxes}</div>'


def chip(text: str, variant: str = "plain") -> str:
    """A few words on a coloured ground; the variant is `good`, `fair`, `poor` or `plain`."""
    return f'<span class="p-chip p-{variant}">{escape(text)}</span>'


def row(*parts: str) -> str:
    """Pieces of HTML beside each other."""
    return f'<div class="p-row">{"".join(parts)}</div>'


def single_line(text: str) -> str:
    """Text on one line, cut off with an ellipsis where it is too long."""
    return f'<span class="p-name" title="{escape(text)}">{escape(text)}</span>'


def card_title(text: str) -> str:
    """The title of a card."""
    return f'<p class="p-title">{escape(text)}</p>'


def muted(text: str) -> str:
    """Text that is less prominent."""
    return f'<p class="p-soft">{escape(text)}</p>'


def bullet_list(lines: Sequence[str]) -> str:
    """A list with bullets."""
    return '<ul class="p-list">' + "".join(f"<li>{escape(line)}</li>" for line in lines) + "</ul>"


def download_link(url: str, label: str) -> None:
    """Write a link that downloads a file and looks like a button."""
    st.html(f'<a class="p-button" href="{escape(url)}" download>{escape(label)}</a>')


def format_date(moment: datetime) -> str:
    """A date in the visitor's language."""
    return formats.format_date(language(), moment)


def time_ago(moment: datetime) -> str:
    """How long ago a moment was, in the visitor's language; its date from a day on."""
    return formats.format_age(language(), moment)


def duration(seconds: float) -> str:
    """A duration in the visitor's language, in seconds, minutes or hours."""
    return formats.format_duration(language(), seconds)


def format_list(items: Sequence[str]) -> str:
    """Names in one line as the visitor's language joins them: "a, b and c"."""
    return formats.format_list(language(), items)


def join_sentences(*sentences: str) -> str:
    """Sentences one after the other, without a space between them in languages that have none."""
    return formats.join_sentences(language(), sentences)


def post_button(path: str, label: str) -> None:
    """Write a button that leaves the page by a form without fields, and looks like any other."""
    button = f'<button class="p-button" type="submit">{escape(label)}</button>'
    st.html(f'<form method="post" action="{path}">{button}</form>', width=320)


def leave_page() -> None:
    """Have the browser go to the sign-in, from a page whose session has ended."""
    st.html(f"<script>{LEAVE_SCRIPT}</script>", unsafe_allow_javascript=True)


def sign_in_link(code: str) -> str:
    """The link with a one-time code, under the address at which this browser opened the app."""
    parts = urlsplit(st.context.url or "")
    return f"{parts.scheme}://{parts.netloc}/sign-in?code={quote(code)}"


def qr_code(link: str, alt: str) -> str:
    """The QR code of a link as HTML."""
    drawn = segno.make(link, error="l", micro=False).svg_data_uri(border=3, scale=5, light="#fff")
    return f'<p class="p-code"><img src="{drawn}" alt="{escape(alt)}"></p>'
