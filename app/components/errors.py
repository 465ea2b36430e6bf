"""Shows errors as translated messages: what happened and what to do; no traceback reaches a page."""

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Literal

import streamlit as st

from app.components import markdown, widgets
from app.session import client, get_state, language, set_state, switch_page, translate, translate_or
from app.words import translation
from portrait.errors import PortraitError, UserError
from tasks.logs import format_trace

UNREACHABLE = {"api_unreachable", "bad_answer", "database_unreachable", "storage_unreachable", "not_ready"}
"""Error codes of an API that does not respond at present: the page waits for it."""
_SIGNED_OUT = {"unauthenticated", "bad_code"}
_RETRY_SECONDS = 3
"""Seconds between two requests that find out whether the API responds again."""
_CALLBACK_ERROR = "callback_error"
_log = logging.getLogger("portrait.app")


@contextmanager
def show_errors() -> Iterator[None]:
    """Show an error of the block in place and go on with the page; errors that concern the whole page are raised."""
    try:
        yield
    except PortraitError as error:
        if error.code in UNREACHABLE | _SIGNED_OUT:
            raise
        show_error(error)


@contextmanager
def show_errors_in_fragment() -> Iterator[None]:
    """As `show_errors`, for a fragment that refreshes itself: it waits there for an API that does not respond."""
    try:
        yield
    except PortraitError as error:
        if error.code in _SIGNED_OUT:
            st.rerun()
        elif error.code in UNREACHABLE:
            st.caption(translate("trouble.away_waiting"))
        else:
            show_error(error)


def attempt(action: Callable[[], object], page: str = "", scope: Literal["app", "fragment"] = "app") -> None:
    """Do what a click asked for; then go to a page, or draw this one again. An error is shown in place instead."""
    with show_errors():
        action()
        if page:
            switch_page(page)
        st.rerun(scope=scope)


def as_callback(action: Callable[[], object]) -> Callable[[], None]:
    """A button's `on_click` that runs `action` and stores its error for `show_callback_error`.

    Callbacks run before the page is drawn again, so that a second click that follows at once cannot undo the first.
    """

    def callback() -> None:
        try:
            action()
        except PortraitError as error:
            set_state(_CALLBACK_ERROR, error)

    return callback


def show_callback_error() -> None:
    """Show the error of the callback that led to this run; raises errors that concern the whole page."""
    error = get_state(_CALLBACK_ERROR)
    set_state(_CALLBACK_ERROR, None)
    if isinstance(error, PortraitError):
        with show_errors():
            raise error


def show_error(error: PortraitError) -> None:
    """Show an error in place, with a line for each of its first twelve details."""
    icon = ":material/info:" if isinstance(error, UserError) else ":material/build:"
    show = st.warning if isinstance(error, UserError) else st.error
    show(markdown.plain(error_message(error.code, error.message)), icon=icon)
    for each in (error.details.get("errors") or [])[:12]:
        text = detail(str(each.get("code", "")), str(each.get("message", "")))
        st.caption(markdown.plain(translate("trouble.detail", where=each.get("where", ""), text=text)))


def error_message(code: str, message: str) -> str:
    """The translated message of an error code, or `message` where the code is unknown."""
    return translate_or(f"error.{code}", sentence(message))


def tip(code: str, message: str) -> str:
    """The translated tip of a photo's fault, or `message` where the code is unknown."""
    return translate_or(f"tip.{code}", sentence(message))


def detail(code: str, message: str) -> str:
    """What is wrong with one photo or field of a request."""
    known = tip(code, "") or translate_or(f"field.{code}", "") or translate_or(f"error.{code}", "")
    if known or language() == translation.FALLBACK:
        return known or message
    text = sentence(message)
    return text if text != message else translate("field.other")


def sentence(message: str) -> str:
    """A sentence that the service gives in English, such as what is missing, in the visitor's language; without code marks."""
    return translation.translate_sentence(language(), message).replace("`", "")


def show_error_page(error: PortraitError) -> None:
    """Show an error in place of the page."""
    if error.code in _SIGNED_OUT:
        _show_signed_out()
    elif error.code in UNREACHABLE:
        _show_unreachable()
    elif error.code == "forbidden":
        st.title(translate("trouble.forbidden_title"), anchor=False)
        st.info(markdown.plain(error_message(error.code, error.message)))
    else:
        st.title(translate("trouble.title"), anchor=False)
        show_error(error)
        if st.button(translate("trouble.start"), type="primary"):
            switch_page("welcome")


def on_script_error(error: Exception) -> bool:
    """Streamlit's handler of exceptions that no page caught; True, so that Streamlit shows no message of its own."""
    if isinstance(error, PortraitError):
        show_error_page(error)
        return True
    # The message of an unknown error may hold personal data: the log gets its class and where it was raised.
    where = format_trace(error.__traceback__, 1)
    _log.error("unexpected %s at %s", type(error).__name__, where)
    st.error(translate("trouble.unexpected"), icon=":material/build:")
    return True


def _show_signed_out() -> None:
    st.title(translate("trouble.signed_out_title"), anchor=False)
    st.write(translate("trouble.signed_out"))
    st.html(f'<a class="p-button" href="/sign-in" target="_self">{translate("trouble.sign_in")}</a>', width=220)
    widgets.leave_page()


def _show_unreachable() -> None:
    """Show that the API does not respond, and show the page again as soon as it does."""
    st.title(translate("trouble.away_title"), anchor=False)
    st.write(translate("trouble.away"))
    st.progress(0, text=translate("trouble.away_waiting"))
    if st.button(translate("trouble.away_now")):
        st.rerun()
    _retry()


@st.fragment(run_every=_RETRY_SECONDS)
def _retry() -> None:
    try:
        client().me()
    except PortraitError as error:
        if error.code in UNREACHABLE:
            return
    st.rerun()
