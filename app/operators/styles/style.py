"""The page of one style: its draft's status, test and form, and its published versions."""

from collections.abc import Sequence

import streamlit as st

from app.components import errors, markdown, style_titles, widgets
from app.operators.styles import draft_edits, form, labels, samples, versions
from app.operators.styles.draft_edits import DraftEdits
from app.operators.styles.fields import FieldMessage, Fields
from app.session import client, current_user, get_state, set_state, switch_page, translate, translate_or
from portrait.errors import UserError
from tasks import schemas


def page() -> None:
    """Show the style of `?id=`."""
    id = st.query_params.get("id", "")
    if not id:
        switch_page("styles")
        return
    if st.button(translate("style_one.back"), type="tertiary", icon=":material/arrow_back:"):
        switch_page("styles")
    style = client().operator_style(id)
    edits = draft_edits.load(style)
    _show_heading(style)
    # A container of its own even when it is empty: what follows must not move while the page is drawn again.
    with st.container():
        _show_notice()
    broken = (
        [errors.sentence(each.tip) for each in style.draft.findings if each.code == "style_broken"]
        if style.draft
        else []
    )
    if style.draft is not None and broken:
        _show_broken(style, style.draft, broken)
    elif edits is None:
        _show_without_draft(style)
    else:
        _show_draft(style, edits)
    versions.show_versions(style)


def _show_heading(style: schemas.OperatorStyle) -> None:
    facts = [translate_or(f"style_kind.{style.kind}", style.kind), style.id]
    if style.offered is not None:
        facts.append(translate("style_one.offered", version=style.offered))
    left, right = st.columns([3, 1], vertical_alignment="bottom")
    with left:
        widgets.page_heading(style_titles.localized_title(style))
        st.html(widgets.row(*labels.state_chips(style), widgets.single_line(" · ".join(facts))))
    with right:
        widgets.download_link(f"/take/styles.zip?id={style.id}", translate("style_one.export"))


def _show_without_draft(style: schemas.OperatorStyle) -> None:
    """Show the published style, with a button that creates the draft of its next version."""
    left, right = st.columns([1, 3])
    alt = translate("create.style_alt", style=style_titles.localized_title(style))
    left.html(widgets.picture(labels.picture_url(style), alt, "fit"))
    with right:
        st.write(translate("style_one.no_draft"))
        if st.button(translate("style_one.edit"), type="primary", icon=":material/edit:"):
            errors.attempt(lambda: client().write_draft(style.id, dict(style.content)))


def _show_broken(style: schemas.OperatorStyle, draft: schemas.StyleDraft, tips: Sequence[str]) -> None:
    """Show why a draft of an earlier version cannot be edited any more, with the button that deletes it."""
    with st.container(border=True, key="style-standing"):
        st.html(widgets.card_title(translate("finding.style_broken")) + widgets.bullet_list(tips))
        _delete_form(style, draft)


def _show_draft(style: schemas.OperatorStyle, edits: DraftEdits) -> None:
    """Show status, test and form of a draft; the status comes first and depends on the form's values."""
    status_box = st.container(border=True, key="style-standing")
    with st.container(border=True, key="style-trial"):
        st.html(widgets.card_title(translate("style_trial.title")))
        style_jobs = samples.jobs_of_style(style.id)
        busy = any(not each.done for each in style_jobs)
        if style.draft is not None:
            samples.show_test(style, style.draft, style_jobs)
        if style.draft is None or (style.draft.test is None and not busy):
            widgets.muted_text(translate("style_trial.nothing"))
    st.subheader(translate("style_form.title"), anchor=False)
    messages = _messages(style)
    fields = Fields(edits, messages)
    with st.container():
        for each in (note for note in messages if not note.field):
            st.html(each.html())
    edits = draft_edits.update(edits, form.show_fields(fields, style))
    _save_form(style, edits)
    with status_box:
        _show_status(style, edits, messages, busy)


def _messages(style: schemas.OperatorStyle) -> list[FieldMessage]:
    """The API's errors about the edits, and lint's findings about the saved draft."""
    messages = [
        FieldMessage("error", each.get("where", ""), "", errors.detail(each.get("code", ""), each.get("message", "")))
        for each in draft_edits.get_errors(style.id)
    ]
    found = style.draft.findings if style.draft is not None else []
    return messages + [
        FieldMessage(each.level, each.where, translate_or(f"finding.{each.code}", ""), errors.sentence(each.tip))
        for each in found
    ]


def _show_status(style: schemas.OperatorStyle, edits: DraftEdits, messages: Sequence[FieldMessage], busy: bool) -> None:
    """Show what is left to do, and buttons to test, check, publish and delete the draft."""
    draft = style.draft
    outdated = _is_outdated(style, edits)
    with st.container():
        if outdated:
            st.warning(_conflict_text(style), icon=":material/group:")
    if draft is None:
        return
    # One element, so that the buttons below stay where they are whatever it holds.
    status = _status_html(draft, messages, bool(edits.changed_fields))
    st.html(status if outdated else status + widgets.muted(_next_step(draft, bool(edits.changed_fields))))
    free = not edits.changed_fields and not busy
    people = samples.choose_people()
    with st.container(horizontal=True):
        if st.button(translate("style_one.test"), disabled=not free, icon=":material/brush:", key="style-test"):
            samples.start_test(style.id, people)
        if draft.picture and st.button(
            translate("style_one.check"), disabled=not free, icon=":material/visibility:", key="style-check"
        ):
            samples.start_check(style.id)
        ready = draft.publishable and free
        if st.button(translate("style_one.publish"), type="primary", disabled=not ready, key="style-publish"):
            _ask_or_publish(style, draft)
        _delete_form(style, draft)


def _status_html(draft: schemas.StyleDraft, messages: Sequence[FieldMessage], unsaved: bool) -> str:
    """The number of findings, the state of the draft, and the errors that prevent publishing."""
    changed = translate("style_one.changed", who=draft.changed_by, when=widgets.time_ago(draft.changed))
    chips = [labels.findings_chip(draft.findings)]
    if not draft.checked:
        chips.append(widgets.chip(translate("style_one.unchecked"), "fair"))
    if unsaved:
        chips.append(widgets.chip(translate("style_one.unsaved"), "fair"))
    lines = [f"{labels.field_label(each.field)}: {each.short}" for each in messages if each.level == "error"]
    mend = widgets.muted(translate("style_one.to_mend")) + widgets.bullet_list(lines) if lines else ""
    return widgets.row(*chips, widgets.single_line(changed)) + mend


def _next_step(draft: schemas.StyleDraft, unsaved: bool) -> str:
    """A sentence on the next step."""
    if unsaved:
        return translate("style_one.next_save")
    if any(each.level == "error" for each in draft.findings):
        return translate("style_one.next_mend")
    if not draft.checked:
        return translate("style_one.next_check")
    if draft.test is None or not draft.test.current:
        return translate("style_one.next_test")
    return translate("style_one.next_doubt" if samples.doubt(draft.test) else "style_one.next_publish")


def _ask_or_publish(style: schemas.OperatorStyle, draft: schemas.StyleDraft) -> None:
    """Publish a draft whose test came out well; ask before one that was not tried out or came out badly."""
    test = draft.test
    doubt = translate("style_one.untried") if test is None or not test.current else samples.doubt(test)
    if not doubt:
        errors.attempt(lambda: _publish(style, draft))
        return

    @st.dialog(translate("style_one.publish_sure"))
    def confirm() -> None:
        st.write(doubt)
        with st.container(horizontal=True):
            publish = errors.as_callback(lambda: _publish(style, draft))
            anyway = st.button(translate("style_one.publish_anyway"), key="style-publish-anyway", on_click=publish)
            if anyway or st.button(translate("style_one.publish_not"), type="primary", key="style-publish-not"):
                st.rerun()

    confirm()


def _publish(style: schemas.OperatorStyle, draft: schemas.StyleDraft) -> None:
    version = client().publish_style(style.id, draft.edition, samples.chosen_card(draft))
    draft_edits.discard(style.id)
    set_state("style-notice", translate("style_one.published", version=version.version))


def _delete_form(style: schemas.OperatorStyle, draft: schemas.StyleDraft) -> None:
    with st.popover(translate("style_one.delete"), icon=":material/delete:"):
        st.write(translate("style_one.delete_sure"))
        if st.button(translate("style_one.delete_now"), type="primary", key="style-delete"):
            with errors.show_errors():
                client().delete_draft(style.id, draft.edition)
                draft_edits.discard(style.id)
                if style.offered is None and not style.versions:
                    switch_page("styles")
                st.rerun()


def _save_form(style: schemas.OperatorStyle, edits: DraftEdits) -> None:
    """Buttons to save or undo the edits; where the draft changed meanwhile, the conflict instead."""
    if _is_outdated(style, edits):
        _show_conflict(style, edits)
        return
    with st.container(horizontal=True):
        if st.button(translate("style_one.save"), type="primary", icon=":material/save:", key="style-save"):
            _save(style, dict(edits.current), edits.edition)
        if edits.changed_fields and st.button(translate("style_one.undo"), key="style-undo"):
            draft_edits.discard(style.id)
            st.rerun()


def _save(style: schemas.OperatorStyle, content: dict[str, object], edition: str | None) -> None:
    """Save the content as the draft; the API's errors about it are stored for the fields, and the edits stay."""
    try:
        client().write_draft(style.id, content, edition)
    except UserError as error:
        if error.code == "bad_style" and error.details.get("errors"):
            draft_edits.set_errors(style.id, list(error.details["errors"]))
            st.rerun()
        if error.code == "draft_changed":
            st.rerun()
        with errors.show_errors():
            raise
        return
    draft_edits.discard(style.id)
    set_state("style-notice", translate("style_one.saved"))
    st.rerun()


def _is_outdated(style: schemas.OperatorStyle, edits: DraftEdits) -> bool:
    """Whether the draft was changed, published or deleted since the edits began."""
    return style.draft is None or style.draft.edition != edits.edition


def _conflict_text(style: schemas.OperatorStyle) -> str:
    """Who changed or removed the draft meanwhile."""
    draft = style.draft
    if draft is None:
        who = translate("style_one.gone")
    elif draft.changed_by == current_user().owner:
        who = translate("style_one.own_conflict")
    else:
        who = markdown.sentence("style_one.conflict", who=draft.changed_by)
    return widgets.join_sentences(who, translate("style_one.kept"))


def _show_conflict(style: schemas.OperatorStyle, edits: DraftEdits) -> None:
    """Show what both sides changed, with buttons to save one's own edits over theirs or to drop them."""
    draft = style.draft
    theirs = draft.content if draft is not None else style.content
    st.warning(_conflict_text(style), icon=":material/group:")
    own = widgets.format_list([labels.field_label(each) for each in edits.changed_fields])
    changed = [each for each in theirs if theirs[each] != edits.original.get(each)]
    others = widgets.format_list([labels.field_label(each) for each in changed])
    status = translate("style_one.mine", fields=own)
    if others:
        status = widgets.join_sentences(status, translate("style_one.others", fields=others))
    st.html(widgets.muted(status))
    both = [(labels.field_label(each), _value(theirs.get(each))) for each in edits.conflicts(theirs)]
    if both:
        lines = [translate("style_one.theirs", field=field, value=value) for field, value in both]
        st.html(widgets.muted(translate("style_one.both")) + widgets.bullet_list(lines))
    with st.container(horizontal=True):
        if st.button(translate("style_one.mine_over"), type="primary", key="style-over"):
            _save(style, edits.merge_onto(theirs), draft.edition if draft is not None else None)
        if st.button(translate("style_one.take_theirs"), key="style-theirs"):
            draft_edits.discard(style.id)
            st.rerun()


def _value(value: object) -> str:
    text = value if isinstance(value, str) else str(value)
    return text if len(text) <= 200 else f"{text[:200]} …"


def _show_notice() -> None:
    """Show the result of the last click."""
    notice = get_state("style-notice")
    set_state("style-notice", None)
    if notice:
        st.success(notice, icon=":material/check_circle:")
