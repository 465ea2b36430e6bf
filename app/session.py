"""One visitor's session: the API client of the signed-in user, their language, the page's address, and Streamlit's state.

A reload, a closed tab or a restart of the app ends the session. What a page shows is in its address: the person, filters, what
is chosen. Everything that lasts is stored by the task API.
"""

import os
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import cache
from typing import Any, TypeVar
from urllib.parse import urlencode

import httpx
import streamlit as st
from streamlit.proto.WidgetStates_pb2 import WidgetState, WidgetStates
from streamlit.runtime.memory_uploaded_file_manager import MemoryUploadedFileManager
from streamlit.runtime.scriptrunner import RerunData, get_script_run_ctx
from streamlit.runtime.uploaded_file_manager import UploadedFile

from app.words import translation
from portrait.errors import UserError
from tasks import schemas
from tasks.client.client import Client

KEY_COOKIE = "portrait_key"
"""Holds the secret of the visitor's session; no script of a page can read it, and no form of another site carries it."""
HOST_PREFIX = "__Host-"
"""Before the name of that cookie over https: browsers take it from this very host alone, and not from its neighbours."""
MAX_SECRET_LENGTH = 200
"""Characters; what is longer is cut before it is checked."""
LANGUAGE_COOKIE = "portrait_language"
LEAVE_SCRIPT = 'window.portraitLeaves||window.location.replace("/sign-in?ended=1")'
"""Has the browser go to the sign-in, unless whoever is there leaves the page already.

As every script of a page, it runs because its hash is in the security headers."""

KEPT_SECONDS = 20.0
"""For which a visit keeps what it was told and what changes by itself: who is asking, styles, names of own pictures."""
PATIENCE = 3.0
"""Seconds that the task API may ask a page to wait before it asks again: longer, and somebody looks at an empty page."""
T = TypeVar("T")

_TRIGGERS = {"trigger_value", "string_trigger_value", "json_trigger_value", "chat_input_value"}
"""Kinds of a widget's value that stand for a click, and not for what it holds."""


def api_url() -> str:
    """The address of the task API: `PORTRAIT_API_URL`, or port 8000 of this machine."""
    return os.environ.get("PORTRAIT_API_URL") or "http://127.0.0.1:8000"


@cache
def connections() -> httpx.HTTPTransport:
    """The connections to the task API that all visitors share; whose a request is, is sent with each. Never closed."""
    return httpx.HTTPTransport()


def session_secret(cookies: Mapping[str, str]) -> str:
    """The secret of the session in a request's cookies; empty where there is none."""
    return (cookies.get(HOST_PREFIX + KEY_COOKIE) or cookies.get(KEY_COOKIE) or "")[:MAX_SECRET_LENGTH]


def client() -> Client:
    """The task API as the signed-in user; raises `UserError` (`unauthenticated`) when nobody has signed in."""
    if "client" not in st.session_state:
        secret = session_secret(st.context.cookies)
        if not secret:
            raise UserError("unauthenticated", "Nobody has signed in.")
        st.session_state["client"] = Client(api_url(), secret, transport=connections(), patience=PATIENCE)
    return st.session_state["client"]


def current_user() -> schemas.Me:
    """The signed-in user, as the API told at most `KEPT_SECONDS` ago."""
    return remembered("me", lambda: client().me())


def is_operator() -> bool:
    """Whether the user is an operator: only operators have the page of jobs."""
    return "board" in st.session_state["pages"]


def language() -> str:
    """The code of the visitor's language: the one that was chosen, or else the browser's."""
    chosen = st.session_state.get("language") or st.context.cookies.get(LANGUAGE_COOKIE)
    return chosen if chosen in translation.LANGUAGES else translation.language_from_locale(st.context.locale)


def translate(key: str, **values: object) -> str:
    """The message of a key in the visitor's language; see `app.words.translation.translate`."""
    return translation.translate(language(), key, **values)


def translate_or(key: str, default: str) -> str:
    """The message of a key in the visitor's language, or `default` where the key is unknown."""
    return translation.translate_or(language(), key, default)


def query(name: str, default: str = "") -> str:
    """A parameter of the page's address."""
    return st.query_params.get(name, default)


def set_query(**values: str) -> None:
    """Change parameters of the page's address, without a step in the browser's history; an empty value removes one."""
    given = {name: value for name, value in values.items() if value}
    for name in values.keys() - given.keys():
        with suppress(KeyError):
            del st.query_params[name]
    if any(st.query_params.get(name) != value for name, value in given.items()):
        st.query_params.update(given)


def page_address(page: str, **query: str) -> str:
    """The path of the page of that key with `query`, for links; it keeps the person of the present page unless one is given."""
    parameters = urlencode(_keep_person(query))
    return f"/{'' if page == 'welcome' else page}{'?' if parameters else ''}{parameters}"


def switch_page(page: str, **query: str) -> None:
    """Go to the page of that key, with `query` in its address; it keeps the person of the present page unless one is given.

    Streamlit's own `st.switch_page` would write the new parameters beside the old page first, as a step of its own in the
    browser's history.
    """
    _request_run(st.session_state["pages"][page]._script_hash, urlencode(_keep_person(query)))


def _request_run(page_hash: str, query_string: str, states: WidgetStates | None = None) -> None:
    """End this run, and begin another of the page with that hash; it gets the values of widgets that are in `states`."""
    context = get_script_run_ctx()
    if context is None or context.script_requests is None:
        return
    context.script_requests.request_rerun(
        RerunData(
            query_string=query_string,
            widget_states=states,
            page_script_hash=page_hash,
            cached_message_hashes=context.cached_message_hashes,
            context_info=context.context_info,
        )
    )
    st.empty()  # whatever is written next ends this run


def _keep_person(values: Mapping[str, str]) -> dict[str, str]:
    person = st.query_params.get("person") or get_state("person", "")
    return {name: value for name, value in {"person": person, **values}.items() if value}


def begin_run() -> None:
    """Begin a run of the script.

    After a restart of the app, the first click comes from a page that this process has not drawn: what it was to act on may be
    lost. The page is drawn again without following the click, with what was typed into it, and `was_restarted` tells.
    """
    context = get_script_run_ctx()
    began = bool(get_state("began"))
    set_state("began", True)
    if not began and context is not None and (states := context.session_state.get_widget_states()):
        set_state("restarted", True)
        # Streamlit keeps what it was sent for a widget that it does not know until something else is said of that widget.
        kept = [WidgetState(id=each.id) if each.WhichOneof("value") in _TRIGGERS else each for each in states]
        _request_run(context.page_script_hash, context.query_string, WidgetStates(widgets=kept))
    st.query_params.update({})  # tells the browser the address of this run, which `switch_page` leaves to it


def was_restarted() -> bool:
    """Whether the app was restarted while its page was open; it is told once."""
    return bool(st.session_state.pop("restarted", False))


def release_upload(file: UploadedFile) -> None:
    """Free the bytes of an uploaded file: Streamlit itself holds them until two minutes after the session."""
    context = get_script_run_ctx()
    if context is not None and isinstance(context.uploaded_file_mgr, MemoryUploadedFileManager):
        context.uploaded_file_mgr.remove_file(context.session_id, file.file_id)
    file.close()


def remembered(name: str, fetch: Callable[[], T]) -> T:
    """What `fetch` gave this visit under that name at most `KEPT_SECONDS` ago."""
    asked, found = get_state(f"remembered_{name}", (0.0, None))
    if found is None or time.monotonic() - asked > KEPT_SECONDS:
        found = remember(name, fetch())
    return found


def remember(name: str, value: T) -> T:
    """Have `remembered` give a value that was just fetched; returns it."""
    set_state(f"remembered_{name}", (time.monotonic(), value))
    return value


def forget(name: str) -> None:
    """Have `remembered` fetch anew."""
    st.session_state.pop(f"remembered_{name}", None)


def set_state(name: str, value: Any) -> None:
    """Store a value in the session, across pages."""
    st.session_state[name] = value


def get_state(name: str, default: Any = None) -> Any:
    """A value that `set_state` stored in the session."""
    return st.session_state.get(name, default)
