"""The styles and own pictures that are chosen for the next portraits, and the button that chooses one."""

from dataclasses import dataclass

import streamlit as st

from app.components import markdown
from app.session import set_state, translate
from tasks import schemas


@dataclass(frozen=True, slots=True)
class StyleChoice:
    """A chosen style, or a chosen own picture, which has its `template`."""

    id: str
    name: str
    faces: int
    template: schemas.Template | None = None
    from_text: bool = False
    """Whether a diffusion model draws it from a prompt."""
    families: tuple[str, ...] = ()
    """Families of base models that it may be drawn with; any when empty."""


def choice_button(id: str, name: str, chosen: list[str]) -> None:
    """The button that adds a style or picture to the chosen ones, or removes it."""
    selected = id in chosen
    label, kind = (translate("create.chosen"), "primary") if selected else (translate("create.choose"), "secondary")
    icon = ":material/check:" if selected else None
    if st.button(label, key=f"choose-{id}", type=kind, icon=icon, width="stretch", help=markdown.plain(name)):
        set_state("chosen", [each for each in chosen if each != id] if selected else [*chosen, id])
        st.rerun()
