"""Styles and own pictures that a person has chosen for the next order."""

from dataclasses import dataclass

import streamlit as st

from app.session import remember, say
from tasks import schemas


@dataclass(frozen=True, slots=True)
class Look:
    """A style or an own picture that was chosen."""

    id: str
    name: str
    faces: int
    template: schemas.Template | None = None
    words: bool = False
    """Whether a model draws it of words."""
    families: tuple[str, ...] = ()
    """Families of bases that it may be drawn on; any when empty."""


def choose(id: str, name: str, chosen: list[str]) -> None:
    """The button that puts a look on the list or takes it off."""
    here = id in chosen
    label, kind = (say("create.chosen"), "primary") if here else (say("create.choose"), "secondary")
    icon = ":material/check:" if here else None
    if st.button(label, key=f"choose-{id}", type=kind, icon=icon, width="stretch", help=name):
        remember("chosen", [each for each in chosen if each != id] if here else [*chosen, id])
        st.rerun()
