"""A small picture of a person in a studio style: their cut-out, framed and lit as portraits are."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from portrait.arrays import Image, Size
from portrait.studio.backdrops import BackdropPicture
from portrait.studio.compositing import compose_portrait
from portrait.studio.composition import USUAL, compose
from portrait.studio.lens import GRAIN
from portrait.studio.subject import CutOut, frame_subject
from portrait.types import Composition

SIZE = Size(384, 480)
"""Size of the largest preview: 4:5, as portraits have it where nobody asks for another."""


@dataclass(frozen=True, slots=True)
class Scene:
    """What of a studio style decides how a portrait looks."""

    backdrop: str | BackdropPicture
    compositions: Sequence[Composition] = ()
    """Those that suit, the preferred one first; the usual ones when empty."""
    retouch: float = 0.4


def paint_preview(cut_out: CutOut, scene: Scene, size: Size = SIZE, seed: int = 0) -> Image | None:
    """The person before the backdrop in the framing that a portrait has; None where the photo has no room for any.

    Raises `KeyError` for a backdrop that is not there.
    """
    framing = compose(cut_out.alpha, cut_out.face, size, tuple(scene.compositions) or USUAL)
    if framing is None:
        return None
    subject = frame_subject(cut_out, framing, size, scene.retouch)
    # Fine detail of a reduced photo passes for grain, which the backdrop would get too.
    return compose_portrait(replace(subject, noise=min(subject.noise, GRAIN)), scene.backdrop, seed)[0]
