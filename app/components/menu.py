"""The menu of all pages, as links that keep the person, and the foot."""

import json
from collections.abc import Sequence
from html import escape
from urllib.parse import quote, urlencode

import streamlit as st

from app.session import language, page_address, translate
from app.words import translation

_MAIN = ("welcome", "photos", "create", "idphoto", "progress", "results")
"""Pages that stand in the row; those that are not listed here or below are reached from other pages."""
_MORE = ("privacy", "help", "board")
_WITHIN = {
    "portrait": "results",
    "machinery": "board",
    "models": "board",
    "quality": "board",
    "guards": "board",
    "accounts": "board",
    "audit": "board",
    "styles": "board",
    "style": "board",
}
"""Pages that are reached from another one, which the menu marks for them."""


def show_menu(current: str, pages: Sequence[str]) -> None:
    """Write the menu: the main pages, and behind "More" the others, the languages and the button to sign out.

    `current` is the key of the page that is shown, `pages` are the keys of all that the visitor may see.
    """
    marked = _WITHIN.get(current, current)
    main = "".join(_link(page, marked) for page in _MAIN if page in pages)
    more = "".join(_link(page, marked) for page in _MORE if page in pages)
    followed = escape(json.dumps([page_address(page, person="") for page in pages]))
    st.html(
        f'<nav class="p-menu" aria-label="{escape(translate("nav.menu"))}" data-pages="{followed}"'
        f' data-page="{escape(page_address(current, person=""))}">{main}'
        f"<details{' data-current' if marked in _MORE else ''}>"
        f'<summary><span class="p-icon p-icon-more"></span><span>{escape(translate("nav.more"))}</span></summary>'
        f"<div>{more}{verify_link()}{language_links(current)}{sign_out_form()}</div></details></nav>"
    )


def show_foot(current: str, owner: str) -> None:
    """Write the end of a page: who is signed in, links to the other languages, the button to sign out."""
    who = escape(translate("app.signed_in", name=owner))
    st.html(f'<div class="p-foot"><span>{who}</span>{verify_link()}{language_links(current)}{sign_out_form()}</div>')


def verify_link() -> str:
    """A link as HTML to the page that says where a picture comes from, which is open to everybody."""
    return f'<a href="/verify" target="_self">{escape(translate("verify.link"))}</a>'


def language_links(current: str) -> str:
    """Links to the other languages as HTML; they come back to the page that is shown."""
    query = urlencode(st.query_params.to_dict())
    back = quote(page_address(current, person="") + (f"?{query}" if query else ""), safe="/")
    return "".join(
        f'<a href="/language/{code}?back={back}" data-language lang="{code}" target="_self">{escape(name)}</a>'
        for code, name in translation.LANGUAGES.items()
        if code != language()
    )


def sign_out_form() -> str:
    """The button to sign out as HTML."""
    return f'<form method="post" action="/sign-out"><button type="submit">{escape(translate("app.sign_out"))}</button></form>'


def _link(page: str, marked: str) -> str:
    mark = ' aria-current="page"' if page == marked else ""
    text = escape(translate(f"nav.{page}"))
    icon = f'<span class="p-icon p-icon-{page}"></span>'
    return f'<a href="{escape(page_address(page))}" target="_self"{mark}>{icon}<span>{text}</span></a>'
