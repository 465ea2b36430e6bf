"""The script that Streamlit runs for every visitor: who they are, which pages there are, and the page they chose."""

from collections.abc import Callable
from pathlib import Path

import streamlit as st

from app.components import errors, widgets
from app.operators import jobs, models, quality, workers
from app.operators.styles import listing, style
from app.people import photos, portrait, portraits, privacy, progress, styles, welcome
from app.session import me, remember, say
from portrait.errors import PortraitError
from tasks import schemas

# By key, which is the address too: the page and its icon.
PEOPLE: dict[str, tuple[Callable[[], None], str]] = {
    "welcome": (welcome.page, ":material/home:"),
    "photos": (photos.page, ":material/photo_library:"),
    "create": (styles.page, ":material/palette:"),
    "progress": (progress.page, ":material/hourglass_top:"),
    "results": (portraits.page, ":material/portrait:"),
    "portrait": (portrait.page, ":material/portrait:"),
    "privacy": (privacy.page, ":material/lock:"),
}
OPERATORS: dict[str, tuple[Callable[[], None], str]] = {
    "board": (jobs.page, ":material/list_alt:"),
    "machinery": (workers.page, ":material/memory:"),
    "models": (models.page, ":material/deployed_code:"),
    "quality": (quality.page, ":material/insights:"),
    "styles": (listing.page, ":material/style:"),
    "style": (style.page, ":material/style:"),
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
        errors.whole_page(error)
        return
    chosen = _navigation(visitor)
    try:
        errors.of_click()
        chosen.run()
    except PortraitError as error:
        errors.whole_page(error)
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
