"""The styles and own pictures that are chosen for the next portraits: in the page's address, and remembered between pages."""

from collections.abc import Sequence
from dataclasses import dataclass

from app.session import get_state, query, set_query, set_state
from tasks import schemas

MOST = 32
"""Styles and pictures of one order."""


@dataclass(frozen=True, slots=True)
class StyleChoice:
    """A chosen style, or a chosen own picture, which has its `template`."""

    id: str
    name: str
    kind: str
    """As of a style; `template` for an own picture."""
    faces: int
    picture: str = ""
    """The address of its thumbnail."""
    template: schemas.Template | None = None
    families: tuple[str, ...] = ()
    """Families of base models that it may be drawn with; any when empty."""

    @property
    def from_text(self) -> bool:
        """Whether a diffusion model draws it from a prompt."""
        return self.kind == "text"


def chosen() -> list[str]:
    """Ids in the order in which they were chosen: those of the address, else this visit's, which it gets."""
    named = query("styles")
    if named:
        return list(dict.fromkeys(each for each in named.split(",") if each))[:MOST]
    remembered = list(get_state("chosen", []))
    if remembered:
        choose(remembered)
    return remembered


def choose(ids: Sequence[str]) -> None:
    """Choose exactly these, up to `MOST`."""
    ids = list(ids)[:MOST]
    set_state("chosen", ids)
    set_query(styles=",".join(ids))
