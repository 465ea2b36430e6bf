"""Asks who of several people is the person: among the faces of one photo, and among photos that may be of two people."""

from collections.abc import Callable, Mapping, Sequence
from functools import cache, partial
from typing import Any

import streamlit as st

from app.components import errors, widgets
from app.components.canvas import parts
from app.people.selfies import faces
from app.session import client, get_state, set_state, translate
from tasks import schemas

_ANSWERS: Mapping[str, schemas.PhotoOverride] = {"yes": "include", "no": "exclude"}
_ASKED = 4
"""Photos of each side that a question shows."""
_REOPENED = "faces_reopened"
"""The photo of which another face is to be chosen."""
_HTML = '<div class="faces"><img alt=""></div>'
_CSS = """
.faces { position: relative; width: fit-content; margin: 0 auto; }
img { display: block; max-width: 100%; max-height: 70vh; border-radius: 0.6rem; }
button { position: absolute; min-width: 2.5rem; min-height: 2.5rem; padding: 0; border: 3px solid #fff; border-radius: 0.4rem; }
button { background: none; cursor: pointer; box-shadow: 0 0 0 1px #0008, inset 0 0 0 1px #0008; }
button:hover, button:focus-visible { border-color: #7fd3bd; outline: 3px solid #1d4a40; outline-offset: 1px; }
button[aria-pressed="true"] { border-color: #7fd3bd; }
b { position: absolute; left: -3px; bottom: 100%; min-width: 1.6rem; font: 600 1rem/1.6rem sans-serif; text-align: center; }
b { color: #fff; background: #1d4a40; border-radius: 0.4rem 0.4rem 0 0; }
button.low b { bottom: auto; top: 0; left: 0; border-radius: 0 0 0.4rem 0; }
"""
_SCRIPT = """
export default function ({ parentElement, data: [data], setTriggerValue }) {
  const frame = parentElement.querySelector(".faces"), image = frame.querySelector("img");
  image.src = data.url; image.alt = data.alt;
  frame.querySelectorAll("button").forEach((each) => each.remove());
  data.faces.forEach((face, at) => {
    const button = document.createElement("button"), number = document.createElement("b");
    const percent = (share) => `${100 * share}%`;
    button.type = "button";
    button.setAttribute("aria-label", data.labels[at]);
    button.setAttribute("aria-pressed", String(at === data.chosen));
    button.classList.toggle("low", face.top < 0.1);
    Object.assign(button.style, { left: percent(face.left), top: percent(face.top),
      width: percent(face.right - face.left), height: percent(face.bottom - face.top) });
    number.textContent = at + 1;
    button.append(number);
    button.onclick = () => setTriggerValue("face", at);
    frame.append(button);
  });
}
"""


def reopen(photo: schemas.Selfie) -> None:
    """Ask again which face of a photo is the person's."""
    set_state(_REOPENED, photo.id)


def show_groups(person: schemas.Person, photos: Sequence[schemas.Selfie]) -> None:
    """Ask in each photo of several people which one is the person."""
    asked = [each for each in photos if faces.is_open(each)]
    again = [each for each in photos if each.id == get_state(_REOPENED)]
    for each in again:
        with st.container(border=True, key=f"group-{each.id}"):
            _show_faces(person, each)
    if not asked:
        return
    with st.expander(translate("photos.groups", count=len(asked)), expanded=len(asked) == 1, icon=":material/groups:"):
        for each in asked:
            with st.container(border=True, key=f"group-{each.id}"):
                _show_faces(person, each)


def _show_faces(person: schemas.Person, photo: schemas.Selfie) -> None:
    """One photo with a numbered box around each face, and a button for each number; either chooses."""
    st.html(
        widgets.card_title(translate("photos.which", name=person.name)) + widgets.muted(translate("photos.which_lead"))
    )
    numbers = range(len(photo.faces))
    labels = [translate("photos.face", number=at + 1) for at in numbers]
    data = {
        "url": widgets.picture_url("selfie", photo.id, widgets.LARGE),
        "alt": translate("photos.alt_selfie", name=photo.name),
        "faces": [each.model_dump() for each in photo.faces],
        "labels": labels,
        "chosen": -1 if photo.face is None else faces.persons_face(photo),
    }
    clicked = _component()(data=data, key=f"faces-{photo.id}", on_face_change=lambda: None).get("face")
    with st.container(horizontal=True, gap="small"):
        for at, label in zip(numbers, labels, strict=True):
            action = errors.as_callback(partial(choose, photo, at))
            st.button(label, key=f"face-{photo.id}-{at}", on_click=action)
        if photo.face is not None:
            st.button(translate("photos.face_back"), key=f"face-back-{photo.id}", on_click=_take_back(photo))
    if clicked is not None and 0 <= int(clicked) < len(photo.faces):
        errors.attempt(partial(choose, photo, int(clicked)))


def choose(photo: schemas.Selfie, at: int) -> None:
    """Say that the face with this index is the person's."""
    box = photo.faces[at]
    client().choose_face(photo.id, (box.left + box.right) / 2, (box.top + box.bottom) / 2)
    set_state(_REOPENED, None)


def _take_back(photo: schemas.Selfie) -> Callable[[], None]:
    """What takes the answer back, so that it is open again whose face is the person's."""

    def action() -> None:
        client().clear_face(photo.id)
        set_state(_REOPENED, None)

    return errors.as_callback(action)


def show_questions(person: schemas.Person, photos: Sequence[schemas.Selfie]) -> None:
    """Ask whether photos of which it is not sure show the person."""
    by_id = {each.id: each for each in photos}
    for question in person.questions:
        with st.container(border=True, key=f"question-{question.number}"):
            st.html(widgets.card_title(translate("photos.question")))
            widgets.muted_text(translate("photos.question_lead"))
            left, right = st.columns(2)
            for column, ids, alt in ((left, question.person, "person"), (right, question.unsure, "unsure")):
                text = translate(f"photos.question_{alt}", name=person.name)
                pictures = [faces.face_square(by_id[id], text) for id in ids if id in by_id]
                with column.container():
                    _show_small(pictures[:_ASKED])
            with st.container(horizontal=True, gap="small"):
                for answer, override in _ANSWERS.items():
                    action = errors.as_callback(partial(_answer, question.unsure, override))
                    label = translate(f"photos.question_{answer}")
                    st.button(label, key=f"{answer}-{question.number}", on_click=action)


def _show_small(pictures: Sequence[str]) -> None:
    grid = st.grid(_ASKED, min_column_width=60)
    for picture in pictures:
        grid.html(picture)


def _answer(photos: Sequence[str], override: schemas.PhotoOverride) -> None:
    for id in photos:
        client().set_override(id, override)


def may_be_the_person(photo: schemas.Selfie, photos: Sequence[schemas.Selfie]) -> bool:
    """Whether a photo taken for somebody else's may as well be the person's: no more photos show the one than the other."""
    others = [each for each in photos if any(reason.code == "another_person" for reason in each.reasons)]
    own = [each for each in photos if each.verdict in {"use", "spare"} and each not in others]
    return photo in others and len(others) >= len(own)


def take_for_the_person(photo: schemas.Selfie, photos: Sequence[schemas.Selfie]) -> Callable[[], None]:
    """What says that a photo shows the person, and that those which were included before do not."""

    def action() -> None:
        for each in photos:
            if each.wish == "include" and each.id != photo.id:
                client().set_override(each.id, "")
        client().set_override(photo.id, "include")

    return action


@cache
def _component() -> Any:
    return parts.register("faces", _HTML, _CSS, _SCRIPT)
