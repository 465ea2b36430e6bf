"""What was found in each photo, in words, and what would help."""

from collections import Counter
from collections.abc import Mapping, Sequence

import streamlit as st

from app.components import errors, widgets
from app.session import client, say
from tasks import schemas

ENOUGH = 8
"""Good photos from which more change little: as many as show a face from all the sides that count."""
_MOODS = {"use": "good", "spare": "fair", "refuse": "poor", "": "plain"}
_ORDER = ("", "refuse", "spare", "use")
"""What asks for something comes first."""
_HOPELESS = {"no_face", "unreadable", "too_large", "several_faces"}
"""Faults of photos that are not offered for use: nobody could say which of several faces is the person's."""


def changed(photos: Sequence[schemas.Selfie]) -> bool:
    """Whether the visitor's wishes, or new photos, differ from what was judged."""
    return any(_differs(each) for each in photos)


def advice(photos: Sequence[schemas.Selfie]) -> str:
    """One sentence on what would help most: "3 more frontal photos would help"."""
    lacking = ENOUGH - sum(each.verdict == "use" for each in photos)
    if lacking <= 0:
        return say("advice.enough")
    faults = Counter(
        reason.code for each in photos if each.verdict in {"spare", "refuse"} for reason in each.reasons[:1]
    )
    known = {"turned_away", "blurred", "dark", "face_small", "eyes_closed", "several_faces"}
    counts = sorted(((count, code) for code, count in faults.items() if code in known), reverse=True)
    # Of faults that are equally common none is the one to name.
    clear = len(counts) == 1 or (len(counts) > 1 and counts[0][0] > counts[1][0])
    return say(f"advice.{counts[0][1] if clear else 'any'}", count=lacking)


def cards(photos: Sequence[schemas.Selfie], latest: schemas.Job | None) -> None:
    """Every photo as a card: first those that ask for something, of them the newest."""
    faults: Mapping[str, schemas.Detail] = {}
    if latest is not None and latest.fault is not None:
        faults = {each.where: each for each in latest.fault.errors}
    grid = st.grid(4, min_column_width=160)
    ordered = [photo for verdict in _ORDER for photo in reversed(photos) if photo.verdict == verdict]
    for photo in ordered:
        with grid.cell(), st.container(border=True, height="stretch", key=f"photo-{photo.id}"):
            _card(photo, faults.get(photo.name))


def _card(photo: schemas.Selfie, fault: schemas.Detail | None) -> None:
    kind = "crop" if photo.verdict == "use" else "selfie"
    alt = say(f"photos.alt_{kind}", name=photo.name)
    verdict = photo.verdict or ("refuse" if fault else "")
    shown = widgets.picture(widgets.source(kind, photo.id), alt, grey=verdict == "refuse")
    label, mood = say(f"verdict.{verdict or 'waiting'}"), _MOODS[verdict]
    if photo.verdict and _differs(photo):
        label, mood = say("verdict.changed"), "plain"
    told = widgets.row(widgets.chip(label, mood), widgets.name(photo.name))
    st.html(shown + told + "".join(widgets.small(each) for each in _words(photo, fault)))
    with st.container(horizontal=True, gap="small"):
        _buttons(photo)


def _words(photo: schemas.Selfie, fault: schemas.Detail | None) -> list[str]:
    """What was found in a photo, or what a wish about it waits for."""
    if photo.verdict and _differs(photo):
        return [say("photos.wish_waits", again=say("photos.judge"))]
    if photo.verdict == "use":
        return [say("photos.good")]
    # Of several faces the other faults would be those of anybody.
    reasons = [each for each in photo.reasons if each.code == "several_faces"] or photo.reasons
    if fault and not reasons:
        return [errors.tip(fault.code, fault.message)]
    return [errors.tip(each.code, each.tip) for each in reasons]


def _buttons(photo: schemas.Selfie) -> None:
    wish: schemas.Wish = "" if photo.wish else ("exclude" if photo.verdict in {"use", ""} else "include")
    label = say(f"photos.wish_{wish or 'undo'}")
    hopeless = wish == "include" and any(each.code in _HOPELESS for each in photo.reasons)
    if not hopeless:
        act = errors.click(lambda: client().wish(photo.id, wish))
        st.button(label, key=f"wish-{photo.id}", help=say("photos.wish_help", name=photo.name), on_click=act)
    act = errors.click(lambda: client().delete_selfie(photo.id))
    hint = say("photos.delete_help", name=photo.name)
    st.button(say("photos.delete"), key=f"delete-{photo.id}", type="tertiary", help=hint, on_click=act)


def _differs(photo: schemas.Selfie) -> bool:
    if not photo.verdict:
        return True
    if photo.wish == "exclude":
        return photo.verdict == "use"
    if photo.wish == "include":
        return photo.verdict != "use"
    return any(each.code == "excluded" for each in photo.reasons)
