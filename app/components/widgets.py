"""Pieces that pages share: headings, pictures with their words, chips, links that look like buttons."""

from collections.abc import Sequence
from datetime import UTC, datetime
from functools import cache
from html import escape
from pathlib import Path
from urllib.parse import quote

import streamlit as st

from app.session import language, recall, say
from app.words import translation
from tasks.schemas import Area

CARD, THUMB, LARGE = 480, 320, 1600
"""Long sides of pictures in pixels: on a card, small, and large."""


@cache
def stylesheet() -> str:
    """The style of the app's own pieces."""
    return (Path(__file__).parent / "style.css").read_text("utf-8")


def dress() -> None:
    """Put the style into the page. Streamlit's own word on the button for files is English: ours is laid over it."""
    over = '[data-testid="stFileUploaderDropzone"] button p::after { content: "' + say("photos.upload") + '"; }'
    menu = '[data-testid="stExpandSidebarButton"]::after { content: "' + say("nav.menu") + '"; }'
    st.html(f"<style>{stylesheet()}{over}{menu}</style>")
    # Screen readers go by the language of the document, which Streamlit always calls English.
    st.html(f'<script>document.documentElement.lang = "{language()}"</script>', unsafe_allow_javascript=True)


def heading(title: str, lead: str = "") -> None:
    """The title of a page and what it is for, in a sentence."""
    st.title(title, anchor=False)
    if lead:
        st.html(f'<p class="p-lead">{escape(lead)}</p>')


def office_heading(key: str) -> None:
    """The title of an operator's page, below links to the other ones."""
    pages = recall("pages")
    with st.container(horizontal=True, key="office"):
        for each in ("board", "machinery", "models", "quality", "styles"):
            st.page_link(pages[each], label=say(f"{each}.title"))
    heading(say(f"{key}.title"), say(f"{key}.lead"))


def soft(text: str) -> None:
    """Words of less weight."""
    st.html(f'<p class="p-soft">{escape(text)}</p>')


def source(kind: str, id: str, side: int | None = CARD) -> str:
    """Where the app serves a picture."""
    return f"/picture/{kind}/{quote(id)}" + (f"?side={side}" if side else "")


def picture(address: str, alt: str, shape: str = "square", grey: bool = False) -> str:
    """A picture as HTML; the shape is `square`, `tall`, `entire` (tall with nothing cut off) or `whole`."""
    also = " p-grey" if grey else ""
    lazy = "" if shape == "whole" else ' loading="lazy"'
    return f'<p class="p-picture p-{shape}{also}"><img src="{escape(address)}" alt="{escape(alt)}"{lazy}></p>'


def boxed(address: str, alt: str, faces: Sequence[Area]) -> str:
    """A picture with its faces boxed and numbered from the left."""
    boxes = "".join(
        f'<span style="left:{each.left:.2%};top:{each.top:.2%};width:{each.right - each.left:.2%};'
        f'height:{each.bottom - each.top:.2%}"><b>{number}</b></span>'
        for number, each in enumerate(faces, 1)
    )
    image = f'<img src="{escape(address)}" alt="{escape(alt)}">'
    return f'<div class="p-picture p-faces">{image}{boxes}</div>'


def chip(text: str, mood: str = "plain") -> str:
    """A word on a coloured ground as HTML; the mood is `good`, `fair`, `poor` or `plain`."""
    return f'<span class="p-chip p-{mood}">{escape(text)}</span>'


def row(*parts: str) -> str:
    """Parts beside each other as HTML."""
    return f'<div class="p-row">{"".join(parts)}</div>'


def safe(text: str) -> str:
    """Text that may stand in HTML."""
    return escape(text)


def name(text: str) -> str:
    """A name that may be long, on one line, as HTML."""
    return f'<span class="p-name" title="{escape(text)}">{escape(text)}</span>'


def title(text: str) -> str:
    """The name of a card as HTML."""
    return f'<p class="p-title">{escape(text)}</p>'


def small(text: str) -> str:
    """Words of less weight as HTML."""
    return f'<p class="p-soft">{escape(text)}</p>'


def points(lines: Sequence[str]) -> str:
    """A list as HTML."""
    return '<ul class="p-list">' + "".join(f"<li>{escape(line)}</li>" for line in lines) + "</ul>"


def take_link(address: str, label: str) -> None:
    """A link to a file to take home."""
    st.html(f'<a class="p-button" href="{escape(address)}" download>{escape(label)}</a>')


def day(moment: datetime) -> str:
    """A date in the visitor's words."""
    return say("app.date", year=moment.year, month=say(f"month.m{moment.month}"), day=moment.day)


def ago(moment: datetime) -> str:
    """How long ago something was."""
    minutes = int((datetime.now(UTC) - moment).total_seconds() // 60)
    if minutes < 1:
        return say("app.just_now")
    if minutes < 60:
        return say("app.minutes_ago", count=minutes)
    if minutes < 24 * 60:
        return say("app.hours_ago", count=minutes // 60)
    return day(moment)


def span(seconds: float) -> str:
    """How long something takes."""
    if seconds < 60:
        return say("app.seconds", count=max(1, round(seconds)))
    if seconds < 3600:
        return say("app.minutes", count=round(seconds / 60))
    return say("app.hours", count=round(seconds / 3600))


def foot(owner: str, here: str) -> None:
    """The end of each page: who is signed in, other languages, the way out."""
    links = "".join(
        f'<a href="/language/{code}?back={quote(here, safe="/")}" lang="{code}" target="_self">{escape(own)}</a>'
        for code, own in translation.LANGUAGES.items()
        if code != language()
    )
    way_out = (
        f'<form method="post" action="/sign-out"><button type="submit">{escape(say("app.sign_out"))}</button></form>'
    )
    who = escape(say("app.signed_in", name=owner))
    st.html(f'<div class="p-foot"><span>{who}</span>{links}{way_out}</div>')
