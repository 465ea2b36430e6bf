"""One visitor's session: the API client of the signed-in user, their language, and Streamlit's session state.

A reload or a closed tab ends the session; everything that lasts is stored by the task API.
"""

import os
from collections.abc import Mapping
from typing import Any

import streamlit as st
from streamlit.runtime.memory_uploaded_file_manager import MemoryUploadedFileManager
from streamlit.runtime.scriptrunner import get_script_run_ctx
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
LEAVE_SCRIPT = 'window.location.replace("/sign-in?ended=1")'
"""Has the browser go to the sign-in; as every script of a page, it runs because its hash is in the security headers."""


def api_url() -> str:
    """The address of the task API: `PORTRAIT_API_URL`, or port 8000 of this machine."""
    return os.environ.get("PORTRAIT_API_URL") or "http://127.0.0.1:8000"


def session_secret(cookies: Mapping[str, str]) -> str:
    """The secret of the session in a request's cookies; empty where there is none."""
    return (cookies.get(HOST_PREFIX + KEY_COOKIE) or cookies.get(KEY_COOKIE) or "")[:MAX_SECRET_LENGTH]


def client() -> Client:
    """The task API as the signed-in user; raises `UserError` (`unauthenticated`) when nobody has signed in."""
    if "client" not in st.session_state:
        secret = session_secret(st.context.cookies)
        if not secret:
            raise UserError("unauthenticated", "Nobody has signed in.")
        st.session_state["client"] = Client(api_url(), secret)
    return st.session_state["client"]


def current_user() -> schemas.Me:
    """The signed-in user, fetched from the API."""
    return client().me()


def is_operator() -> bool:
    """Whether the user is an operator: only operators have the page of jobs."""
    return "board" in st.session_state["pages"]


def language() -> str:
    """The code of the visitor's language: the one that was chosen, or else the browser's."""
    chosen = st.session_state.get("language") or st.context.cookies.get(LANGUAGE_COOKIE)
    return chosen if chosen in translation.LANGUAGES else translation.language_from_locale(st.context.locale)


def language_script(code: str) -> str:
    """The script that names the language of the document."""
    return f'document.documentElement.lang = "{code}"'


def translate(key: str, **values: object) -> str:
    """The message of a key in the visitor's language; see `app.words.translation.translate`."""
    return translation.translate(language(), key, **values)


def translate_or(key: str, default: str) -> str:
    """The message of a key in the visitor's language, or `default` where the key is unknown."""
    return translation.translate_or(language(), key, default)


def switch_page(page: str, **query: str) -> None:
    """Go to the page of that key, with `query` as the parameters of its address."""
    st.switch_page(st.session_state["pages"][page], query_params=query or None)


def release_upload(file: UploadedFile) -> None:
    """Free the bytes of an uploaded file: Streamlit itself holds them until two minutes after the session."""
    context = get_script_run_ctx()
    if context is not None and isinstance(context.uploaded_file_mgr, MemoryUploadedFileManager):
        context.uploaded_file_mgr.remove_file(context.session_id, file.file_id)
    file.close()


def set_state(name: str, value: Any) -> None:
    """Store a value in the session, across pages."""
    st.session_state[name] = value


def get_state(name: str, default: Any = None) -> Any:
    """A value that `set_state` stored in the session."""
    return st.session_state.get(name, default)
