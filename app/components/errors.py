"""Where errors become words a person can act on: what happened, and the next step. No traceback reaches a page."""

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import streamlit as st

from app.session import client, go, recall, remember, say, say_or
from portrait.errors import PortraitError, UserError

AWAY = {"api_unreachable", "bad_answer", "database_unreachable", "not_ready"}
"""Codes of an installation that does not answer at present: the page waits for it."""
_OUT = {"unauthenticated", "bad_code"}
_RETRY = 3
"""Seconds between two looks whether the installation answers again."""
_CLICK = "trouble_of_click"
_log = logging.getLogger("portrait.app")


@contextmanager
def told() -> Iterator[None]:
    """Turn an error into words where it happened, and go on with the page."""
    try:
        yield
    except PortraitError as error:
        if error.code in AWAY | _OUT:
            raise
        say_here(error)


@contextmanager
def living() -> Iterator[None]:
    """The same inside a part of a page that refreshes itself: an installation that is away is waited for there."""
    try:
        yield
    except PortraitError as error:
        if error.code in _OUT:
            st.rerun()
        elif error.code in AWAY:
            st.caption(say("trouble.away_waiting"))
        else:
            say_here(error)


def click(act: Callable[[], object]) -> Callable[[], None]:
    """What a button does, done before the page is drawn anew: a second click that follows at once cannot undo the first.

    What goes wrong is said above the page, see `of_click`.
    """

    def clicked() -> None:
        try:
            act()
        except PortraitError as error:
            remember(_CLICK, error)

    return clicked


def of_click() -> None:
    """What went wrong with the click that led to this page; raises what concerns the whole page."""
    error = recall(_CLICK)
    remember(_CLICK, None)
    if isinstance(error, PortraitError):
        with told():
            raise error


def say_here(error: PortraitError) -> None:
    """What went wrong, in place."""
    icon = ":material/info:" if isinstance(error, UserError) else ":material/build:"
    show = st.warning if isinstance(error, UserError) else st.error
    show(words(error.code, error.message), icon=icon)
    parts = error.details.get("errors") or []
    lines = [
        f"{each.get('where', '')}: {tip(str(each.get('code', '')), str(each.get('message', '')))}" for each in parts
    ]
    for line in lines[:12]:
        st.caption(line)


def words(code: str, message: str) -> str:
    """What happened and what to do, in the visitor's language where the code is known."""
    return say_or(f"error.{code}", message)


def tip(code: str, message: str) -> str:
    """What a person can do about a photo."""
    return say_or(f"tip.{code}", message)


def whole_page(error: PortraitError) -> None:
    """A page that cannot be shown."""
    if error.code in _OUT:
        _signed_out()
    elif error.code in AWAY:
        _away()
    elif error.code == "forbidden":
        st.title(say("trouble.forbidden_title"), anchor=False)
        st.info(words(error.code, error.message))
    else:
        st.title(say("trouble.title"), anchor=False)
        say_here(error)
        if st.button(say("trouble.start"), type="primary"):
            go("welcome")


def caught(error: Exception) -> bool:
    """What no page foresaw; returns that it was dealt with, so that Streamlit shows nothing of its own."""
    if isinstance(error, PortraitError):
        whole_page(error)
        return True
    # The sentence of an unknown error may hold anything: the log gets its class and where it was raised.
    trace, where = error.__traceback__, ""
    while trace is not None:
        where = f"{trace.tb_frame.f_code.co_filename.rsplit('/', 1)[-1]}:{trace.tb_lineno}"
        trace = trace.tb_next
    _log.error("unexpected %s at %s", type(error).__name__, where)
    st.error(say("trouble.unexpected"), icon=":material/build:")
    return True


def _signed_out() -> None:
    st.title(say("trouble.signed_out_title"), anchor=False)
    st.write(say("trouble.signed_out"))
    st.html(f'<a class="p-button" href="/sign-in" target="_self">{say("trouble.sign_in")}</a>', width=220)


def _away() -> None:
    """Wait, and come back without being asked."""
    st.title(say("trouble.away_title"), anchor=False)
    st.write(say("trouble.away"))
    st.progress(0, text=say("trouble.away_waiting"))
    if st.button(say("trouble.away_now")):
        st.rerun()
    _look_again()


@st.fragment(run_every=_RETRY)
def _look_again() -> None:
    try:
        client().me()
    except PortraitError as error:
        if error.code in AWAY:
            return
    st.rerun()
