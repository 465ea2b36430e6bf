"""One style: where its draft stands, trying it out, what it says, and what was published of it."""

from collections.abc import Sequence

import streamlit as st

from app.components import errors, widgets
from app.operators.styles import draft_edits as desks
from app.operators.styles import form, labels, samples, versions
from app.operators.styles.draft_edits import Desk
from app.operators.styles.fields import Fields, Note
from app.session import client, go, recall, remember, say, say_or
from portrait.errors import UserError
from tasks import schemas


def page() -> None:
    """The style that the address names."""
    id = st.query_params.get("id", "")
    if not id:
        go("styles")
        return
    if st.button(say("style_one.back"), type="tertiary", icon=":material/arrow_back:"):
        go("styles")
    style = client().own_style(id)
    desk = desks.at(style)
    _heading(style)
    # A place of its own even when there is nothing to say: what follows must not move while the page is drawn anew.
    with st.container():
        _last_words()
    if desk is None:
        _no_draft(style)
    else:
        _draft(style, desk)
    versions.show(style)


def _heading(style: schemas.OwnStyle) -> None:
    facts = [say_or(f"style_kind.{style.kind}", style.kind), style.id]
    if style.offered is not None:
        facts.append(say("style_one.offered", version=style.offered))
    left, right = st.columns([3, 1], vertical_alignment="bottom")
    with left:
        widgets.heading(labels.title(style))
        st.html(widgets.row(*labels.states(style), widgets.name(" · ".join(facts))))
    with right:
        widgets.take_link(f"/take/styles.zip?id={style.id}", say("style_one.export"))


def _no_draft(style: schemas.OwnStyle) -> None:
    """A style as people get it; the way to its next version."""
    left, right = st.columns([1, 3])
    alt = say("create.style_alt", style=labels.title(style))
    left.html(widgets.picture(labels.picture(style), alt, "fit"))
    with right:
        st.write(say("style_one.no_draft"))
        if st.button(say("style_one.edit"), type="primary", icon=":material/edit:"):
            with errors.told():
                client().write_style(style.id, dict(style.content))
                st.rerun()


def _draft(style: schemas.OwnStyle, desk: Desk) -> None:
    """The draft from top to bottom; what is said at the top follows from what is typed below."""
    standing = st.container(border=True, key="style-standing")
    with st.container(border=True, key="style-trial"):
        st.html(widgets.title(say("style_trial.title")))
        tried = samples.found(style.id)
        working = any(not each.done for each in tried)
        if style.draft is not None:
            samples.show(style, style.draft, tried)
        if style.draft is None or (style.draft.test is None and not working):
            widgets.soft(say("style_trial.nothing"))
    st.subheader(say("style_form.title"), anchor=False)
    notes = _notes(style)
    fields = Fields(desk, notes)
    with st.container():
        for each in (note for note in notes if not note.where):
            st.html(each.html())
    desk = desks.take(desk, form.show(fields, style))
    _save(style, desk)
    with standing:
        _standing(style, desk, notes, working)


def _notes(style: schemas.OwnStyle) -> list[Note]:
    """What the API did not take, and what lint found in what was saved."""
    notes = [Note("error", each.get("where", ""), "", each.get("message", "")) for each in desks.wrong(style.id)]
    found = style.draft.findings if style.draft is not None else []
    return notes + [Note(each.level, each.where, say_or(f"finding.{each.code}", ""), each.tip) for each in found]


def _standing(style: schemas.OwnStyle, desk: Desk, notes: Sequence[Note], working: bool) -> None:
    """How far the draft is, what is left, and what can be done with it."""
    draft = style.draft
    outdated = _outdated(style, desk)
    with st.container():
        if outdated:
            st.warning(_quicker(style), icon=":material/group:")
    if draft is None:
        return
    # One piece, so that the buttons below stay where they are whatever is said.
    told = _told(draft, notes, bool(desk.changed))
    st.html(told if outdated else told + widgets.small(_next(draft, bool(desk.changed))))
    free = not desk.changed and not working
    with st.container(horizontal=True):
        if st.button(say("style_one.test"), disabled=not free, icon=":material/brush:", key="style-test"):
            samples.ask(style.id, "test")
        if style.kind == "template" and st.button(
            say("style_one.check"), disabled=not free, icon=":material/visibility:", key="style-check"
        ):
            samples.ask(style.id, "check")
        ready = draft.publishable and free
        if st.button(say("style_one.publish"), type="primary", disabled=not ready, key="style-publish"):
            _publish(style, draft)
        _throw_away(style, draft)


def _told(draft: schemas.StyleDraft, notes: Sequence[Note], unsaved: bool) -> str:
    """What was found in a draft, and what of it is in the way."""
    changed = say("style_one.changed", who=draft.changed_by, when=widgets.ago(draft.changed))
    chips = [labels.faults(draft.findings)]
    if not draft.checked:
        chips.append(widgets.chip(say("style_one.unchecked"), "fair"))
    if unsaved:
        chips.append(widgets.chip(say("style_one.unsaved"), "fair"))
    lines = [f"{labels.label(each.where)}: {each.short}" for each in notes if each.level == "error"]
    mend = widgets.small(say("style_one.to_mend")) + widgets.points(lines) if lines else ""
    return widgets.row(*chips, widgets.name(changed)) + mend


def _next(draft: schemas.StyleDraft, unsaved: bool) -> str:
    """The next step, in a sentence."""
    if unsaved:
        return say("style_one.next_save")
    if any(each.level == "error" for each in draft.findings):
        return say("style_one.next_mend")
    if not draft.checked:
        return say("style_one.next_check")
    if draft.test is None or not draft.test.current:
        return say("style_one.next_test")
    return say("style_one.next_publish")


def _publish(style: schemas.OwnStyle, draft: schemas.StyleDraft) -> None:
    with errors.told():
        version = client().publish_style(style.id, draft.edition)
        desks.forget(style.id)
        remember("style-said", say("style_one.published", version=version.version))
        st.rerun()


def _throw_away(style: schemas.OwnStyle, draft: schemas.StyleDraft) -> None:
    with st.popover(say("style_one.delete"), icon=":material/delete:"):
        st.write(say("style_one.delete_sure"))
        if st.button(say("style_one.delete_now"), type="primary", key="style-delete"):
            with errors.told():
                client().delete_draft(style.id, draft.edition)
                desks.forget(style.id)
                if style.offered is None and not style.versions:
                    go("styles")
                st.rerun()


def _save(style: schemas.OwnStyle, desk: Desk) -> None:
    """Keep what was typed as the draft, or forget it."""
    if _outdated(style, desk):
        _conflict(style, desk)
        return
    with st.container(horizontal=True):
        if st.button(say("style_one.save"), type="primary", icon=":material/save:", key="style-save"):
            _saved(style, dict(desk.typed), desk.edition)
        if desk.changed and st.button(say("style_one.undo"), key="style-undo"):
            desks.forget(style.id)
            st.rerun()


def _saved(style: schemas.OwnStyle, content: dict[str, object], edition: str | None) -> None:
    """Send a draft; what the API does not take is told beside the fields, and nothing that was typed goes."""
    try:
        client().write_style(style.id, content, edition)
    except UserError as error:
        if error.code == "bad_style" and error.details.get("errors"):
            desks.refused(style.id, list(error.details["errors"]))  # type: ignore[call-overload]  # as the wire has them
            st.rerun()
        if error.code == "draft_changed":
            st.rerun()
        with errors.told():
            raise
        return
    desks.forget(style.id)
    remember("style-said", say("style_one.saved"))
    st.rerun()


def _outdated(style: schemas.OwnStyle, desk: Desk) -> bool:
    """Whether somebody changed, published or deleted the draft while something was typed."""
    return style.draft is None or style.draft.edition != desk.edition


def _quicker(style: schemas.OwnStyle) -> str:
    """What somebody else did meanwhile."""
    draft = style.draft
    who = say("style_one.gone") if draft is None else say("style_one.conflict", who=draft.changed_by)
    return f"{who} {say('style_one.kept')}"


def _conflict(style: schemas.OwnStyle, desk: Desk) -> None:
    """Somebody else was quicker: who, where both wrote, and the two ways on."""
    draft = style.draft
    theirs = draft.content if draft is not None else style.content
    st.warning(_quicker(style), icon=":material/group:")
    mine = ", ".join(labels.label(each) for each in desk.changed)
    others = ", ".join(labels.label(each) for each in theirs if theirs[each] != desk.begun.get(each))
    told = [say("style_one.mine", fields=mine)] + ([say("style_one.others", fields=others)] if others else [])
    st.html(widgets.small(" ".join(told)))
    both = desk.clashes(theirs)
    if both:
        told = [say("style_one.theirs", field=labels.label(each), value=_value(theirs.get(each))) for each in both]
        st.html(widgets.small(say("style_one.both")) + widgets.points(told))
    with st.container(horizontal=True):
        if st.button(say("style_one.mine_over"), type="primary", key="style-over"):
            _saved(style, desk.over(theirs), draft.edition if draft is not None else None)
        if st.button(say("style_one.take_theirs"), key="style-theirs"):
            desks.forget(style.id)
            st.rerun()


def _value(value: object) -> str:
    text = value if isinstance(value, str) else str(value)
    return text if len(text) <= 200 else f"{text[:200]} …"


def _last_words() -> None:
    """What the last click came to."""
    said = recall("style-said")
    remember("style-said", None)
    if said:
        st.success(said, icon=":material/check_circle:")
