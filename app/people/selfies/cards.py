"""Shows photos as cards: the face, the verdict with its reasons, and what can be done about it."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import streamlit as st

from app.components import errors, markdown, undo, widgets
from app.people.selfies import checks, faces, groups
from app.session import client, get_state, set_state, translate
from tasks import schemas

_VARIANTS = {"use": "good", "spare": "fair", "refuse": "poor", "": "plain"}
_ORDER = ("", "refuse", "spare", "use")
"""Verdicts in the order of the cards: first those that ask for something."""
_NO_OVERRIDE = {
    *(
        "no_face",
        "face_unclear",
        "unreadable",
        "no_permission",
        "format_missing",
        "too_large",
        "blocked",
        "several_faces",
    )
}
"""Faults of photos that cannot be included all the same: nobody could say which of several faces is the person's."""


@dataclass(frozen=True, slots=True)
class Set:
    """The photos of a person, with why the last check refused single ones."""

    person: schemas.Person
    photos: Sequence[schemas.Selfie]
    faults: Mapping[str, schemas.ErrorDetail]


def show_cards(person: schemas.Person, photos: Sequence[schemas.Selfie], latest: schemas.Job | None) -> None:
    """Show every photo as a card: first those that ask for something, the newest of them first."""
    faults: Mapping[str, schemas.ErrorDetail] = {}
    if latest is not None and latest.fault is not None:
        faults = {each.where: each for each in latest.fault.errors}
    shown = Set(person, photos, faults)
    selecting = _show_tools(shown)
    grid = st.grid(4, min_column_width=160)
    ordered = [photo for verdict in _ORDER for photo in reversed(photos) if photo.verdict == verdict]
    for photo in ordered:
        with grid.container(border=True, height="stretch", key=f"photo-{photo.id}"):
            _show_card(shown, photo, selecting)


def _show_tools(shown: Set) -> bool:
    """What can be done with several photos at once; returns whether photos are being selected."""
    useless = [each for each in shown.photos if _is_useless(each, shown.photos)]
    with st.container(horizontal=True, vertical_alignment="center", key="photo-tools"):
        selecting = len(shown.photos) > 1 and st.toggle(translate("photos.select"), key="selecting")
        if len(useless) > 1:
            label = translate("photos.delete_useless", count=len(useless))
            action = errors.as_callback(partial(remove, useless))
            st.button(label, key="delete-useless", icon=":material/delete_sweep:", on_click=action)
        if selecting:
            chosen = [each for each in shown.photos if get_state(f"mark-{each.id}")]
            label = translate("photos.delete_chosen", count=len(chosen))
            action = errors.as_callback(partial(remove, chosen))
            st.button(label, key="delete-chosen", disabled=not chosen, icon=":material/delete:", on_click=action)
            action = errors.as_callback(partial(_exclude, chosen))
            label = translate("photos.exclude_chosen", count=len(chosen))
            st.button(label, key="exclude-chosen", disabled=not chosen, icon=":material/block:", on_click=action)
    return selecting


def _is_useless(photo: schemas.Selfie, photos: Sequence[schemas.Selfie]) -> bool:
    """Whether nothing can be made of a photo, and nobody is asked about it."""
    refused = photo.verdict == "refuse" and not photo.wish and not checks.differs(photo)
    return refused and not faces.is_open(photo) and not groups.may_be_the_person(photo, photos)


def remove(photos: Sequence[schemas.Selfie]) -> None:
    """Delete photos so that they can be brought back for some seconds."""
    done: list[schemas.Selfie] = []
    try:
        for each in photos:
            client().remove_selfie(each.id)
            done.append(each)
    finally:
        if done:
            set_state("selecting", False)
            text = translate("photos.deleted", count=len(done), name=done[0].name)
            undo.offer("selfie", [each.id for each in done], text)


def _exclude(photos: Sequence[schemas.Selfie]) -> None:
    for each in photos:
        client().set_override(each.id, "exclude")
    set_state("selecting", False)


def _show_card(shown: Set, photo: schemas.Selfie, selecting: bool) -> None:
    fault = shown.faults.get(photo.name)
    verdict = photo.verdict or ("refuse" if fault else "")
    image = faces.face_square(photo, translate("photos.alt_selfie", name=photo.name), dimmed=verdict == "refuse")
    label, variant = translate(f"verdict.{verdict or 'waiting'}"), _VARIANTS[verdict]
    if photo.verdict and checks.differs(photo):
        label, variant = translate("verdict.changed"), "plain"
    name = "" if selecting else widgets.single_line(photo.name)
    labels = widgets.row(widgets.chip(label, variant), name)
    st.html(image + labels + "".join(widgets.muted(each) for each in _lines(shown, photo, fault)))
    if selecting:
        st.checkbox(markdown.plain(photo.name), key=f"mark-{photo.id}")
        return
    with st.container(horizontal=True, gap="small"):
        _show_buttons(shown, photo)


def _lines(shown: Set, photo: schemas.Selfie, fault: schemas.ErrorDetail | None) -> list[str]:
    """The reasons of a photo's verdict, or that it is about to be checked."""
    if photo.verdict and checks.differs(photo):
        return [translate("photos.wish_waits")]
    if photo.verdict == "use":
        return [translate("photos.good"), *_served(photo)]
    if faces.is_open(photo):
        return [translate("photos.say_which", name=shown.person.name)]
    if groups.may_be_the_person(photo, shown.photos):
        return [translate("photos.say_who", name=shown.person.name)]
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
    if not kinds:
        return [translate("photos.serves_nothing")]
    return [translate("photos.serves", kinds=translate("photos.serves_comma").join(kinds))]


def _show_buttons(shown: Set, photo: schemas.Selfie) -> None:
    override: schemas.PhotoOverride = "" if photo.wish else ("exclude" if photo.verdict in {"use", ""} else "include")
    no_override = override == "include" and any(each.code in _NO_OVERRIDE for each in photo.reasons)
    if override == "include" and groups.may_be_the_person(photo, shown.photos):
        action = groups.take_for_the_person(photo, shown.photos)
        _button(photo, "this_is_me", f"wish-{photo.id}", errors.as_callback(action), shown.person)
    elif not no_override:
        action = partial(client().set_override, photo.id, override)
        _button(photo, f"wish_{override or 'undo'}", f"wish-{photo.id}", errors.as_callback(action), shown.person)
    if photo.face is not None and len(photo.faces) > 1:
        _button(photo, "other_face", f"regroup-{photo.id}", partial(groups.reopen, photo), shown.person)
    _button(photo, "delete", f"delete-{photo.id}", errors.as_callback(partial(remove, [photo])), shown.person)


def _button(photo: schemas.Selfie, word: str, key: str, action: Callable[[], None], person: schemas.Person) -> None:
    """A button of a card; the name of the photo in its label is hidden, so that screen readers alone tell one from the next."""
    kind = "tertiary" if word == "delete" else "secondary"
    label = f"{markdown.sentence(f'photos.{word}', name=person.name)} :gray[{markdown.plain(photo.name)}]"
    st.button(label, key=key, type=kind, on_click=action)
