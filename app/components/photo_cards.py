"""Shows photos as cards: the verdict on each, its reasons, and advice on which photos would help."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from functools import partial

import streamlit as st

from app.components import errors, markdown, widgets
from app.session import client, translate, translate_or
from tasks import schemas

ENOUGH_GOOD_PHOTOS = 8
"""Good photos from which more change little: as many as show a face from all the sides that count."""
_ADVISED_FAULTS = {"turned_away", "blurred", "dark", "face_small", "eyes_closed", "several_faces"}
"""Faults that have an advice of their own."""
_VARIANTS = {"use": "good", "spare": "fair", "refuse": "poor", "": "plain"}
_ORDER = ("", "refuse", "spare", "use")
"""Verdicts in the order of the cards: first those that ask for something."""
_NO_OVERRIDE = {"no_face", "face_unclear", "unreadable", "no_permission", "too_large", "several_faces"}
"""Faults of photos that cannot be included all the same: nobody could say which of several faces is the person's."""
_ANSWERS: Mapping[str, schemas.PhotoOverride] = {"yes": "include", "no": "exclude"}
_ASKED = 4
"""Photos of each side that a question shows."""


def needs_check(photos: Sequence[schemas.Selfie]) -> bool:
    """Whether there are photos, inclusions or exclusions that the last check has not seen."""
    return any(_differs(each) for each in photos)


def advice(photos: Sequence[schemas.Selfie]) -> str:
    """One sentence on what would help most: "3 more frontal photos would help"."""
    missing = ENOUGH_GOOD_PHOTOS - sum(each.verdict == "use" for each in photos)
    if missing <= 0:
        return translate("advice.enough")
    faults = Counter(
        reason.code for each in photos if each.verdict in {"spare", "refuse"} for reason in each.reasons[:1]
    )
    counts = sorted(((count, code) for code, count in faults.items() if code in _ADVISED_FAULTS), reverse=True)
    # Of faults that are equally common none is named.
    clear = len(counts) == 1 or (len(counts) > 1 and counts[0][0] > counts[1][0])
    return translate(f"advice.{counts[0][1] if clear else 'any'}", count=missing)


def openings(person: schemas.Person) -> list[str]:
    """What more photos would open, one sentence each."""
    return [translate_or(f"opens.{each.code}", each.tip).format(name=person.name) for each in person.opens]


def show_questions(person: schemas.Person, check: Callable[[], None]) -> None:
    """Ask whether photos of which it is not sure show the person; `check` has the answer count."""
    for question in person.questions:
        with st.container(border=True, key=f"question-{question.number}"):
            st.html(widgets.card_title(translate("photos.question")))
            widgets.muted_text(translate("photos.question_lead"))
            left, right = st.columns(2)
            for column, ids, alt in ((left, question.person, "person"), (right, question.unsure, "unsure")):
                text = translate(f"photos.question_{alt}", name=person.name)
                pictures = [widgets.picture(widgets.picture_url("selfie", id, widgets.THUMB), text) for id in ids]
                with column.container():
                    _show_small(pictures[:_ASKED])
            with st.container(horizontal=True, gap="small"):
                for answer, override in _ANSWERS.items():
                    action = errors.as_callback(partial(_answer, question.unsure, override, check))
                    st.button(
                        translate(f"photos.question_{answer}"), key=f"{answer}-{question.number}", on_click=action
                    )


def _show_small(pictures: Sequence[str]) -> None:
    grid = st.grid(_ASKED, min_column_width=60)
    for picture in pictures:
        grid.html(picture)


def _answer(photos: Sequence[str], override: schemas.PhotoOverride, check: Callable[[], None]) -> None:
    for id in photos:
        client().set_override(id, override)
    check()


def show_cards(photos: Sequence[schemas.Selfie], latest: schemas.Job | None) -> None:
    """Show every photo as a card: first those that ask for something, the newest of them first."""
    faults: Mapping[str, schemas.ErrorDetail] = {}
    if latest is not None and latest.fault is not None:
        faults = {each.where: each for each in latest.fault.errors}
    grid = st.grid(4, min_column_width=160)
    ordered = [photo for verdict in _ORDER for photo in reversed(photos) if photo.verdict == verdict]
    for photo in ordered:
        with grid.cell(), st.container(border=True, height="stretch", key=f"photo-{photo.id}"):
            _show_card(photo, faults.get(photo.name))


def _show_card(photo: schemas.Selfie, fault: schemas.ErrorDetail | None) -> None:
    kind = "crop" if photo.verdict == "use" else "selfie"
    alt = translate(f"photos.alt_{kind}", name=photo.name)
    verdict = photo.verdict or ("refuse" if fault else "")
    image = widgets.picture(widgets.picture_url(kind, photo.id), alt, grey=verdict == "refuse")
    label, variant = translate(f"verdict.{verdict or 'waiting'}"), _VARIANTS[verdict]
    if photo.verdict and _differs(photo):
        label, variant = translate("verdict.changed"), "plain"
    labels = widgets.row(widgets.chip(label, variant), widgets.single_line(photo.name))
    st.html(image + labels + "".join(widgets.muted(each) for each in _lines(photo, fault)))
    with st.container(horizontal=True, gap="small"):
        _show_buttons(photo)


def _lines(photo: schemas.Selfie, fault: schemas.ErrorDetail | None) -> list[str]:
    """The reasons of a photo's verdict, or that its inclusion or exclusion counts from the next check on."""
    if photo.verdict and _differs(photo):
        return [translate("photos.wish_waits", again=translate("photos.judge"))]
    if photo.verdict == "use":
        return [translate("photos.good"), *_served(photo)]
    # Of several faces the other faults would be those of anybody.
    reasons = [each for each in photo.reasons if each.code == "several_faces"] or photo.reasons
    if fault and not reasons:
        return [errors.tip(fault.code, fault.message)]
    return [errors.tip(each.code, each.tip) for each in reasons]


def _served(photo: schemas.Selfie) -> list[str]:
    """What can be made from a photo, in one line; none where it is not known."""
    serves = photo.serves
    if serves is None:
        return []
    holds = {"studio": serves.studio, "idphoto": serves.idphoto, "template": serves.template}
    kinds = [translate(f"photos.serves_{kind}") for kind, value in holds.items() if value]
    return [translate("photos.serves", kinds=", ".join(kinds)) if kinds else translate("photos.serves_nothing")]


def _show_buttons(photo: schemas.Selfie) -> None:
    override: schemas.PhotoOverride = "" if photo.wish else ("exclude" if photo.verdict in {"use", ""} else "include")
    label = translate(f"photos.wish_{override or 'undo'}")
    no_override = override == "include" and any(each.code in _NO_OVERRIDE for each in photo.reasons)
    if not no_override:
        action = errors.as_callback(lambda: client().set_override(photo.id, override))
        st.button(
            label, key=f"wish-{photo.id}", help=markdown.sentence("photos.wish_help", name=photo.name), on_click=action
        )
    action = errors.as_callback(lambda: client().delete_selfie(photo.id))
    help_text = markdown.sentence("photos.delete_help", name=photo.name)
    st.button(translate("photos.delete"), key=f"delete-{photo.id}", type="tertiary", help=help_text, on_click=action)


def _differs(photo: schemas.Selfie) -> bool:
    if not photo.verdict:
        return True
    if photo.wish == "exclude":
        return photo.verdict == "use"
    if photo.wish == "include":
        return photo.verdict != "use"
    return any(each.code == "excluded" for each in photo.reasons)
