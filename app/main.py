"""The script that Streamlit runs for every visitor: signs them in, builds the navigation and runs the chosen page."""

from collections.abc import Callable
from pathlib import Path

import streamlit as st
from streamlit.runtime.scriptrunner import get_script_run_ctx

from app.components import errors, menu, widgets
from app.operators import accounts, audit, jobs, models, quality, workers
from app.operators.styles import listing, style
from app.people import help as help_page
from app.people import idphotos, photos, portrait, portraits, privacy, progress, styles, welcome
from app.session import begin_run, current_user, query, set_state, translate, was_restarted
from portrait.errors import PortraitError
from tasks import schemas

# By key, which is also the path of the address: the page and its icon.
PEOPLE: dict[str, tuple[Callable[[], None], str]] = {
    "welcome": (welcome.page, ":material/home:"),
    "photos": (photos.page, ":material/photo_library:"),
    "create": (styles.page, ":material/palette:"),
    "idphoto": (idphotos.page, ":material/id_card:"),
    "progress": (progress.page, ":material/hourglass_top:"),
    "results": (portraits.page, ":material/portrait:"),
    "portrait": (portrait.page, ":material/portrait:"),
    "privacy": (privacy.page, ":material/lock:"),
    "help": (help_page.page, ":material/help:"),
}
OPERATORS: dict[str, tuple[Callable[[], None], str]] = {
    "board": (jobs.page, ":material/list_alt:"),
    "machinery": (workers.page, ":material/memory:"),
    "models": (models.page, ":material/deployed_code:"),
    "quality": (quality.page, ":material/insights:"),
    "styles": (listing.page, ":material/style:"),
    "style": (style.page, ":material/style:"),
}
ADMINS: dict[str, tuple[Callable[[], None], str]] = {
    "accounts": (accounts.page, ":material/group:"),
    "audit": (audit.page, ":material/history:"),
}
ICON = Path(__file__).parent / "icon.svg"


def run() -> None:
    """One run of the app."""
    st.set_page_config(page_title=translate("app.name"), page_icon=str(ICON), layout="wide")
    begin_run()
    widgets.apply_stylesheet()
    try:
        user = current_user()
    except PortraitError as error:
        # The addresses of pages stay known, so that a reload comes back to the same page.
        st.navigation([_page(key, *PEOPLE[key]) for key in PEOPLE], position="hidden")
        errors.show_error_page(error)
        return
    pages = {key: _page(key, *each) for key, each in _bodies(user).items()}
    set_state("pages", pages)
    current_page = st.navigation(list(pages.values()), position="hidden")
    current = current_page.url_path or "welcome"
    st.set_page_config(page_title=f"{current_page.title} · {translate('app.name')}")
    menu.show_menu(current, list(pages))
    if was_restarted():
        st.info(translate("app.restarted"), icon=":material/restart_alt:")
    try:
        errors.show_callback_error()
        current_page.run()
    except PortraitError as error:
        errors.show_error_page(error)
    menu.show_foot(current, user.owner)


def _bodies(user: schemas.Me) -> dict[str, tuple[Callable[[], None], str]]:
    """The pages that a user may see."""
    beyond = {"person": {}, "operator": OPERATORS, "admin": OPERATORS | ADMINS}
    return PEOPLE | beyond[user.role]


def _page(key: str, body: Callable[[], None], icon: str) -> st.Page:
    return st.Page(
        lambda: _run_for_person(body),
        title=translate(f"nav.{key}"),
        icon=icon,
        url_path="" if key == "welcome" else key,
        default=key == "welcome",
    )


def _run_for_person(body: Callable[[], None]) -> None:
    """Run a page's body so that each of its widgets belongs to the person of the address.

    Streamlit knows a widget again by its page, its key and its texts. A button that was drawn for one person, and is pressed
    while the page is already being drawn for another, would be taken for theirs.
    """
    context = get_script_run_ctx()
    if context is not None:
        with context.run_with_active_hash(f"{context.page_script_hash}-{query('person')}"):
            body()


run()
