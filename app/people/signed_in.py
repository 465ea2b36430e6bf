"""Where somebody is signed in: their sessions, the buttons that end them, and a code that signs in a phone."""

from urllib.parse import urlsplit

import streamlit as st

from app.components import errors, widgets
from app.session import client, get_state, set_state, translate
from tasks import schemas

MOST_SHOWN = 12
"""Sessions that are listed; "sign out everywhere" ends all of them."""
_CODE = "device_code"
_LOCAL = {"127.0.0.1", "localhost", "::1"}
"""Hosts that mean this machine, on every machine."""


def show_sessions() -> None:
    """List the sessions, this browser's first, and offer to sign in a phone; nothing for a program's key."""
    sessions = client().sessions()
    if not sessions:
        return
    st.subheader(translate("sessions.title"), anchor=False)
    for session in sorted(sessions, key=lambda each: (not each.current, -each.used.timestamp()))[:MOST_SHOWN]:
        _show_session(session)
    _phone()
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


def _phone() -> None:
    """The button that makes a code for another device, and the code while it may be used."""
    if st.button(translate("sessions.phone"), icon=":material/qr_code_2:", key="phone"):
        errors.attempt(lambda: set_state(_CODE, client().device_code()))
    made: schemas.Invitation | None = get_state(_CODE)
    if made is None:
        return
    link = widgets.sign_in_link(made.code)
    with st.container(border=True, key="phone-code"):
        st.html(widgets.qr_code(link, translate("sessions.phone_alt")))
        st.code(link, language=None, wrap_lines=True)
        widgets.muted_text(translate("sessions.phone_help"))
        if urlsplit(link).hostname in _LOCAL:
            st.warning(translate("sessions.phone_local"), icon=":material/wifi_off:")
        if st.button(translate("sessions.phone_done"), key="phone-done"):
            set_state(_CODE, None)
            st.rerun()
