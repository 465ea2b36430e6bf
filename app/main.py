"""The script that Streamlit runs for every visitor: signs them in, builds the navigation and runs the chosen page."""

from collections.abc import Callable
from contextlib import suppress

import streamlit as st
from streamlit.proto.ForwardMsg_pb2 import ForwardMsg
from streamlit.proto.PageConfig_pb2 import PageConfig
from streamlit.runtime.scriptrunner import get_script_run_ctx

from app.components import current_person, errors, menu
from app.pages import OF_ONE_PERSON, PEOPLE, pages_of
from app.server import start_page
from app.session import begin_run, current_user, forget, query, set_state, translate, was_restarted
from portrait.errors import PortraitError


def run() -> None:
    """One run of the app."""
    _begin_page(translate("app.name"))
    begin_run()
    try:
        user = current_user()
    except PortraitError as error:
        # The addresses of pages stay known, so that a reload comes back to the same page.
        st.navigation([_page(key, *PEOPLE[key]) for key in PEOPLE], position="hidden")
        errors.show_error_page(error)
        return
    pages = {key: _page(key, *each) for key, each in pages_of(user.role).items()}
    set_state("pages", pages)
    current_page = st.navigation(list(pages.values()), position="hidden")
    current = current_page.url_path or "welcome"
    st.set_page_config(page_title=f"{current_page.title} · {translate('app.name')}")
    if current in OF_ONE_PERSON:
        with suppress(PortraitError):  # the page itself meets it again, and shows it
            current_person.name_in_address()
    menu.show_menu(current, list(pages))
    if was_restarted():
        st.info(translate("app.restarted"), icon=":material/restart_alt:")
    try:
        errors.show_callback_error()
        current_page.run()
    except PortraitError as error:
        forget("me")
        errors.show_error_page(error)
    menu.show_foot(current, user.owner)


def _begin_page(title: str) -> None:
    """Give the page its first title, its width, and our icon, which else would be that of the page.

    As `st.set_page_config` does, which loads numpy and Pillow for an icon, and registers the file in each run.
    """
    context = get_script_run_ctx()
    if context is None:
        return
    message = ForwardMsg()
    config = message.page_config_changed
    config.title, config.favicon, config.layout = title, start_page.icon(), PageConfig.WIDE
    config.initial_sidebar_state = PageConfig.SIDEBAR_UNSET
    context.enqueue(message)


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
