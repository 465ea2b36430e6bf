"""One person's visit: who they are, in which language, and how the task API is asked for them.

Nothing is kept here that matters: a reload or a closed tab loses the visit, and the API knows everything.
"""

import os
from typing import Any

import streamlit as st
from streamlit.runtime.memory_uploaded_file_manager import MemoryUploadedFileManager
from streamlit.runtime.scriptrunner import get_script_run_ctx
from streamlit.runtime.uploaded_file_manager import UploadedFile

from app.cookies import KEY, LANGUAGE
from app.words import translation
from portrait.errors import UserError
from tasks import schemas
from tasks.client.client import Client


def api_url() -> str:
    """Where the task API is."""
    return os.environ.get("PORTRAIT_API_URL") or "http://127.0.0.1:8000"


def client() -> Client:
    """The API as this visitor; raises `UserError` (`unauthenticated`) when nobody signed in."""
    if "client" not in st.session_state:
        key = st.context.cookies.get(KEY)
        if not key:
            raise UserError("unauthenticated", "Nobody has signed in.")
        st.session_state["client"] = Client(api_url(), key)
    return st.session_state["client"]


def me() -> schemas.Me:
    """Who the visitor is, asked once in each run of the page."""
    return client().me()


def is_operator() -> bool:
    """Whether the visitor runs the place: the page of jobs is for those alone."""
    return "board" in st.session_state["pages"]


def language() -> str:
    """The visitor's language: chosen before, or the browser's."""
    chosen = st.session_state.get("language") or st.context.cookies.get(LANGUAGE)
    return chosen if chosen in translation.LANGUAGES else translation.language_of(st.context.locale)


def say(key: str, **values: object) -> str:
    """A text in the visitor's language."""
    return translation.text(language(), key, **values)


def say_or(key: str, otherwise: str) -> str:
    """A text in the visitor's language, or other words where there is none."""
    return translation.text_or(language(), key, otherwise)


def go(page: str, **query: str) -> None:
    """Open another page."""
    st.switch_page(st.session_state["pages"][page], query_params=query or None)


def let_go(file: UploadedFile) -> None:
    """Free the bytes of an upload: Streamlit by itself keeps them for two minutes after the visit."""
    context = get_script_run_ctx()
    if context is not None and isinstance(context.uploaded_file_mgr, MemoryUploadedFileManager):
        context.uploaded_file_mgr.remove_file(context.session_id, file.file_id)
    file.close()


def remember(name: str, value: Any) -> None:
    """Keep something for the rest of the visit, across pages."""
    st.session_state[name] = value


def recall(name: str, otherwise: Any = None) -> Any:
    """What was kept for the visit."""
    return st.session_state.get(name, otherwise)
