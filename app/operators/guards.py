"""The operators' page of guards: faces that are never drawn, and people who may be children."""

from html import escape

import streamlit as st

from app.components import errors, markdown, widgets
from app.session import client, get_state, release_upload, set_state, translate
from tasks import schemas

PHOTO_TYPES = ["jpg", "jpeg", "png", "webp", "heic", "avif"]
_BATCH = "guards_batch"
"""How many photos were sent: each gets a field of its own, so that the next one begins empty."""


def page() -> None:
    """Show blocked faces with the form that adds one, and the people whose age an operator may settle."""
    widgets.operator_heading("guards")
    left, right = st.columns(2, gap="large")
    with left:
        _show_blocked()
    with right:
        _show_ages()


def _show_blocked() -> None:
    st.subheader(translate("guards.blocked"), anchor=False)
    widgets.muted_text(translate("guards.blocked_help"))
    _block_form()
    blocked = client().blocked_people()
    if not blocked:
        st.info(translate("guards.nobody"), icon=":material/check:")
    for each in blocked:
        _show_blocked_person(each)


def _block_form() -> None:
    """The form that adds the face of a photo."""
    batch = get_state(_BATCH, 0)
    with st.expander(translate("guards.add"), icon=":material/person_off:"), st.form(f"block-{batch}", border=False):
        photo = st.file_uploader(translate("guards.photo"), PHOTO_TYPES, key=f"block-photo-{batch}")
        widgets.muted_text(translate("guards.photo_help"))
        note = st.text_input(translate("guards.note"), max_chars=200, help=translate("guards.note_help"))
        sent = st.form_submit_button(translate("guards.block"), type="primary", icon=":material/block:")
    if sent and (photo is None or not note.strip()):
        st.warning(translate("guards.need_both"))
    elif sent and photo is not None:
        with errors.show_errors(), st.spinner(translate("guards.reading")):
            try:
                client().block_face(photo.name, photo.getvalue(), note.strip())
            finally:
                release_upload(photo)
            set_state(_BATCH, batch + 1)
            st.rerun()


def _show_blocked_person(person: schemas.BlockedPerson) -> None:
    with st.container(border=True, key=f"blocked-{person.id}"):
        added = translate("guards.added", day=widgets.format_date(person.added), who=person.added_by.split(":")[0])
        spaces = translate("guards.spaces", spaces=widgets.format_list(person.spaces))
        st.html(widgets.card_title(person.note) + widgets.muted(added) + widgets.muted(spaces))
        if st.button(translate("guards.unblock"), key=f"unblock-{person.id}", icon=":material/undo:"):
            _ask_to_unblock(person)


def _ask_to_unblock(person: schemas.BlockedPerson) -> None:
    @st.dialog(translate("guards.unblock"))
    def confirm() -> None:
        st.write(markdown.sentence("guards.unblock_sure", note=person.note))
        with st.container(horizontal=True):
            act = errors.as_callback(lambda: client().unblock_person(person.id))
            sure = st.button(translate("guards.unblock"), type="primary", key="unblock-sure", on_click=act)
            if sure or st.button(translate("app.cancel"), key="unblock-cancel"):
                st.rerun()

    confirm()


def _show_ages() -> None:
    st.subheader(translate("guards.ages"), anchor=False)
    widgets.muted_text(translate("guards.ages_help"))
    asked = client().age_questions()
    if not asked:
        st.info(translate("guards.nobody_asked"), icon=":material/check:")
    for each in asked:
        with st.container(border=True, key=f"age-{each.person}"):
            state = "guards.waits" if each.waiting else "guards.agreed"
            since = translate("guards.since", day=widgets.format_date(each.created))
            chip = widgets.chip(translate(state), "fair" if each.waiting else "good")
            number = f"<code>{escape(each.person)}</code>"
            st.html(widgets.card_title(each.owner) + number + widgets.row(chip) + widgets.muted(since))
            if st.button(translate("guards.adult"), key=f"adult-{each.person}", help=translate("guards.adult_help")):
                errors.attempt(lambda id=each.person: client().settle_age(id))
