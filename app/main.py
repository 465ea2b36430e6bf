"""The script that Streamlit runs for every visitor: who they are, which pages there are, and the page they chose."""

from collections.abc import Callable
from pathlib import Path

import streamlit as st

from app import (
    board,
    create,
    machinery,
    models_page,
    portrait_page,
    privacy,
    progress,
    quality_page,
    results,
    troubles,
    upload,
    welcome,
    widgets,
)
from app.session import me, remember, say
from app.style_board import listing, one
from portrait.errors import PortraitError
from tasks import schemas

# By key, which is the address too: the page and its icon.
PEOPLE: dict[str, tuple[Callable[[], None], str]] = {
    "welcome": (welcome.page, ":material/home:"),
    "photos": (upload.page, ":material/photo_library:"),
    "create": (create.page, ":material/palette:"),
    "progress": (progress.page, ":material/hourglass_top:"),
    "results": (results.page, ":material/portrait:"),
    "portrait": (portrait_page.page, ":material/portrait:"),
    "privacy": (privacy.page, ":material/lock:"),
}
OPERATORS: dict[str, tuple[Callable[[], None], str]] = {
    "board": (board.page, ":material/list_alt:"),
    "machinery": (machinery.page, ":material/memory:"),
    "models": (models_page.page, ":material/deployed_code:"),
    "quality": (quality_page.page, ":material/insights:"),
    "styles": (listing.page, ":material/style:"),
    "style": (one.page, ":material/style:"),
}
ICON = Path(__file__).parent / "icon.svg"
# Pages that are reached from others.
_HIDDEN = {"portrait", *OPERATORS} - {"board"}


def run() -> None:
    """One run of the app."""
    st.set_page_config(page_title=say("app.name"), page_icon=str(ICON), layout="wide")
    widgets.dress()
    try:
        visitor = me()
    except PortraitError as error:
        # The addresses of pages stay known, so that a reload comes back to the same page.
        st.navigation([_page(key, *PEOPLE[key]) for key in PEOPLE], position="hidden")
        troubles.whole_page(error)
        return
    chosen = _navigation(visitor)
    try:
        troubles.of_click()
        chosen.run()
    except PortraitError as error:
        troubles.whole_page(error)
    query = f"?id={st.query_params['id']}" if "id" in st.query_params else ""
    widgets.foot(visitor.owner, f"/{chosen.url_path}{query}")


def _navigation(visitor: schemas.Me) -> st.Page:
    """The pages of this visitor. One entry stands for all of an operator's, which link to each other."""
    pages = {key: _page(key, *PEOPLE[key]) for key in PEOPLE}
    if visitor.role != "person":
        pages |= {key: _page(key, *OPERATORS[key]) for key in OPERATORS}
    remember("pages", pages)
    return st.navigation(list(pages.values()), position="top")


def _page(key: str, body: Callable[[], None], icon: str) -> st.Page:
    return st.Page(
        body,
        title=say(f"nav.{key}"),
        icon=icon,
        url_path="" if key == "welcome" else key,
        default=key == "welcome",
        visibility="hidden" if key in _HIDDEN else "visible",
    )


run()
