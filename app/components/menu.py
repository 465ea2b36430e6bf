"""The menu of all pages, as links that keep the person; the foot; and the script that follows links without a reload."""

from collections.abc import Sequence
from functools import cache
from html import escape
from typing import Any
from urllib.parse import quote, urlencode

import streamlit as st
from streamlit.components import v2

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
_SCRIPT = """
export default function ({ data }) {
  window.portraitPages = data.pages;
  if (window.portraitFollows) return;
  window.portraitFollows = true;
  const area = () => document.querySelector('[data-testid="stMain"]');
  const pushState = history.pushState.bind(history);
  const push = (state, title, url) => {
    history.replaceState({ ...history.state, top: area()?.scrollTop }, "");
    pushState(state, title, url);
  };
  const closeMenu = (within) => document.querySelectorAll(".p-menu details[open]").forEach((each) => {
    if (!each.contains(within)) each.open = false;
  });
  // What changes beside the same page is no step of its own.
  history.pushState = (state, title, url) =>
    new URL(url, location.href).pathname === location.pathname
      ? history.replaceState(state, title, url)
      : push(state, title, url);
  const follow = (event, link) => {
    const url = new URL(link.href);
    const connected = document.querySelector('[data-test-connection-state="CONNECTED"]');
    if (url.origin !== location.origin || !connected || !window.portraitPages.includes(url.pathname)) return;
    event.preventDefault();
    if (link.href !== location.href) push({}, "", link.href);
    closeMenu();
    dispatchEvent(new PopStateEvent("popstate", { state: {} }));
  };
  document.addEventListener("click", (event) => {
    const path = event.composedPath();
    closeMenu(path[0]);
    const link = path.find((each) => each.matches?.("a[href]"));
    if (!link || event.defaultPrevented || event.button || link.hasAttribute("download")) return;
    if (event.ctrlKey || event.metaKey || event.shiftKey || event.altKey) return;
    if (link.target && link.target !== "_self") return;
    if (link.dataset.language !== undefined) {
      link.search = new URLSearchParams({ back: location.pathname + location.search });
    } else {
      follow(event, link);
    }
  });
  // Back and forward come to the place that was left, once the page is drawn.
  addEventListener("popstate", (event) => {
    const top = event.state?.top;
    const from = Date.now();
    const timer = top && setInterval(() => {
      const drawn = Date.now() - from > 400 && document.querySelector('[data-test-script-state="notRunning"]');
      if (drawn) area().scrollTop = top;
      if ((drawn && area().scrollTop >= top - 2) || Date.now() - from > 5000) clearInterval(timer);
    }, 100);
  });
  document.addEventListener("keydown", (event) => {
    if (event.key === "Escape") closeMenu();
  });
}
"""


def show_menu(current: str, pages: Sequence[str]) -> None:
    """Write the menu: the main pages, and behind "More" the others, the languages and the button to sign out.

    `current` is the key of the page that is shown, `pages` are the keys of all that the visitor may see.
    """
    marked = _WITHIN.get(current, current)
    main = "".join(_link(page, marked) for page in _MAIN if page in pages)
    more = "".join(_link(page, marked) for page in _MORE if page in pages)
    st.html(
        f'<nav class="p-menu" aria-label="{escape(translate("nav.menu"))}">{main}'
        f"<details{' data-current' if marked in _MORE else ''}>"
        f'<summary><span class="p-icon p-icon-more"></span><span>{escape(translate("nav.more"))}</span></summary>'
        f"<div>{more}{verify_link()}{language_links(current)}{sign_out_form()}</div></details></nav>"
    )
    _component()(data={"pages": [page_address(page, person="") for page in pages]}, key="links")


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


@cache
def _component() -> Any:
    return v2.component("portrait_links", html="", js=_SCRIPT)
