"""Where somebody is signed in: their sessions, and the buttons that end them."""

import streamlit as st

from app.components import errors, widgets
from app.session import client, translate
from tasks import schemas

MOST_SHOWN = 12
"""Sessions that are listed; "sign out everywhere" ends all of them."""


def show_sessions() -> None:
    """List the sessions, this browser's first; nothing for a program's key."""
    sessions = client().sessions()
    if not sessions:
        return
    st.subheader(translate("sessions.title"), anchor=False)
    for session in sorted(sessions, key=lambda each: (not each.current, -each.used.timestamp()))[:MOST_SHOWN]:
        _show_session(session)
    widgets.post_button("/sign-out/everywhere", translate("sessions.everywhere"))
    widgets.muted_text(translate("sessions.everywhere_help"))


def _show_session(session: schemas.Session) -> None:
    since = widgets.format_date(session.created)
    left, right = st.columns([3, 1], vertical_alignment="center")
    if session.current:
        left.write(translate("sessions.here", day=since))
        return
    left.write(translate("sessions.other", day=since, when=widgets.time_ago(session.used)))
    label = translate("sessions.end")
    if right.button(label, key=f"end-{session.id}", width="stretch"):
        errors.attempt(lambda: client().end_session(session.id))
