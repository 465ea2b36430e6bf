"""Who is put into which face of a picture, and places that are marked by hand where a face was missed."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import streamlit as st

from app.components import markdown, widgets
from app.components.canvas import parts
from app.people.ordering.choices import StyleChoice
from app.session import client, translate
from tasks import schemas

MOST = 16
"""Faces of one picture that people can be put into."""
SIDE = 1024
"""Pixels of the picture in which places are marked."""


@dataclass(frozen=True, slots=True)
class Assignment:
    """Who is put where."""

    people: Mapping[str, str] = field(default_factory=dict)
    """Ids of people by number of the face."""
    places: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    """Of the numbers above those of the faces that were found: the point, in shares of the picture's width and height."""


def assign_faces(choice: StyleChoice, person: schemas.Person) -> Assignment:
    """Ask who is who in a picture; the one face of a style or picture goes to `person` without asking.

    Numbers above those of the faces stand for places: where somebody may have been missed, and what was marked by hand.
    """
    template = choice.template
    if template is None and choice.faces <= 1:
        return Assignment({"1": person.id})
    points = [_middle(box) for box in template.missed] if template is not None else []
    marked = len(points)
    if template is not None:
        points += _mark_places(choice, template)
    if choice.faces == 1 and not points:
        return Assignment({"1": person.id})
    people = _ask(choice, person, len(points), marked)
    places = {str(choice.faces + number): point for number, point in enumerate(points, 1)}
    return Assignment(people, {number: point for number, point in places.items() if number in people})


def _middle(box: schemas.FaceBox) -> dict[str, float]:
    return {"x": (box.left + box.right) / 2, "y": (box.top + box.bottom) / 2}


def _mark_places(choice: StyleChoice, template: schemas.Template) -> list[dict[str, float]]:
    """Show the picture with its faces, and return the places that are marked in it by hand."""
    found = list(template.faces or ())
    with st.expander(
        markdown.sentence("cast.by_hand", look=choice.name), expanded=choice.faces != 1 or bool(template.missed)
    ):
        marks = [_mark(box, str(number)) for number, box in enumerate(found, 1)]
        marks += [_mark(box, f"{len(found) + number} ?") for number, box in enumerate(template.missed, 1)]
        first = choice.faces + len(template.missed) + 1
        words = {name: translate(f"cast.{name}") for name in ("stage", "help", "add")}
        data = {
            "picture": widgets.picture_url("template", template.id, SIDE),
            "alt": translate("own.alt", name=template.name),
            "marks": marks,
            "places": [],
            "first": first,
            "most": max(0, MOST + 1 - first),
            "words": words | {"place": translate("cast.place", number="{number}")},
        }
        result = parts.component("places")(data=data, key=f"places-{template.id}", on_places_change=lambda: None)
    return _points(result.get("places") or (), data["most"])


def _mark(box: schemas.FaceBox, label: str) -> dict[str, Any]:
    return {**box.model_dump(), "label": label}


def _points(sent: Sequence[Mapping[str, Any]], most: int) -> list[dict[str, float]]:
    """What the component sent, as shares within the picture."""
    return [{axis: min(1.0, max(0.0, float(each[axis]))) for axis in ("x", "y")} for each in sent[:most]]


def _ask(choice: StyleChoice, person: schemas.Person, points: int, missed: int) -> dict[str, str]:
    """Ask for the person of each face and place; the first of all is `person` unless somebody says otherwise."""
    st.html(widgets.card_title(translate("cast.title", look=choice.name)))
    ready = [each for each in client().people() if each.consent and each.identity]
    names = {each.id: each.name for each in ready} | {"": translate("cast.nobody")}
    ids = ["", *(each.id for each in ready)]
    people: dict[str, str] = {}
    with st.container(horizontal=True):
        for number in range(1, choice.faces + points + 1):
            given = person.id if number == 1 or number > choice.faces + missed else ""
            key = f"cast-{choice.id}-{number}"
            id = st.selectbox(
                _label(number, choice.faces, missed),
                ids,
                index=ids.index(given) if given in ids else 0,
                format_func=lambda id: names[id],
                key=key,
                width=260,
            )
            if id:
                people[str(number)] = id
    if not people:
        st.warning(translate("cast.choose_one" if choice.faces + points else "cast.mark_one"))
    return people


def _label(number: int, faces: int, missed: int) -> str:
    if number <= faces:
        return translate("cast.face", number=number)
    return translate("cast.missed" if number <= faces + missed else "cast.place", number=number)
