"""The script that Streamlit runs for every visitor: signs them in, builds the navigation and runs the chosen page."""

from collections.abc import Callable
from pathlib import Path

import streamlit as st

from app.components import errors, widgets
from app.operators import jobs, models, quality, workers
from app.operators.styles import listing, style
from app.people import photos, portrait, portraits, privacy, progress, styles, welcome
from app.session import current_user, set_state, translate
from portrait.errors import PortraitError
from tasks import schemas

# By key, which is also the path of the address: the page and its icon.
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
# Pages that the menu leaves out, because other pages link to them.
_HIDDEN = {"portrait", *OPERATORS} - {"board"}


def run() -> None:
    """One run of the app."""
    st.set_page_config(page_title=translate("app.name"), page_icon=str(ICON), layout="wide")
    widgets.apply_stylesheet()
    try:
        user = current_user()
    except PortraitError as error:
        # The addresses of pages stay known, so that a reload comes back to the same page.
        st.navigation([_page(key, *PEOPLE[key]) for key in PEOPLE], position="hidden")
        errors.show_error_page(error)
        return
    current_page = _navigation(user)
    try:
        errors.show_callback_error()
        current_page.run()
    except PortraitError as error:
        errors.show_error_page(error)
    query = f"?id={st.query_params['id']}" if "id" in st.query_params else ""
    widgets.footer(user.owner, f"/{current_page.url_path}{query}")


def _navigation(user: schemas.Me) -> st.Page:
    """The chosen page, after the menu is shown; of an operator's pages, which link to each other, it has the first."""
    pages = {key: _page(key, *PEOPLE[key]) for key in PEOPLE}
    if user.role != "person":
        pages |= {key: _page(key, *OPERATORS[key]) for key in OPERATORS}
    set_state("pages", pages)
    return st.navigation(list(pages.values()), position="top")


def _page(key: str, body: Callable[[], None], icon: str) -> st.Page:
    return st.Page(
        body,
        title=translate(f"nav.{key}"),
        icon=icon,
        url_path="" if key == "welcome" else key,
        default=key == "welcome",
        visibility="hidden" if key in _HIDDEN else "visible",
    )


run()
