"""Which passes draw a person into a template, how strongly, and what they follow."""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace

from portrait.errors import UserError
from portrait.generation.options import Preset, PromptSpec

DEFAULT_PROMPT = PromptSpec(
    "a photo of {who}, {traits}, natural skin, sharp focus", "blurred, deformed, painting, cartoon"
)
"""What is drawn in templates that do not say it."""

CONTROLS: Mapping[str, Mapping[str, Mapping[str, float]]] = {
    "face": {"sd15": {"canny": 0.5, "pose": 0.5, "color": 0.85}, "sdxl": {"canny": 0.5}},
    "ring": {"sd15": {"canny": 1.0, "tile": 1.0}, "sdxl": {"canny": 1.0, "tile": 1.0}},
    "seam": {"sd15": {"canny": 1.0, "tile": 1.0}, "sdxl": {"canny": 1.0, "tile": 1.0}},
}
"""What each pass follows, by family of the base: controls with their scales, those of EasyPhoto. On SDXL an identity adapter
takes the place of pose and colour."""
STEPS: Mapping[Preset, Mapping[str, int]] = {"fast": {"face": 12, "ring": 8, "seam": 8}}
"""Steps of each pass where a preset's own are too few: a pass of strength 0.45 takes only 45 % of them."""


@dataclass(frozen=True, slots=True)
class Passes:
    """How strongly each pass changes what the one before it left, 0..1; 0 leaves it out. The numbers are EasyPhoto's."""

    face: float = 0.45
    """The first drawing, of the whole face."""
    tone: float = 1.0
    """After each drawing: how far the skin goes back to the tone of the template's."""
    fusion: float = 0.5
    """After the first: how much of a second fusion the skin takes; eyes take it whole, lips not at all."""
    ring: float = 0.35
    """The second drawing: the border of the face, its eyes and its mouth."""
    seam: float = 0.3
    """Between two people who stand near each other: the borders of both faces, drawn together."""
    controls: Mapping[str, float] = field(default_factory=dict)
    """How much of its scale a control keeps, 0..1; 0 does without it."""
    needs: tuple[str, ...] = ("canny",)
    """Controls whose network must be here; the others are followed where theirs is."""


STRENGTH_NAMES = tuple(each.name for each in fields(Passes) if each.name not in ("controls", "needs"))
"""Strengths by which passes are known in styles and techniques."""
CONTROL_NAMES = ("canny", "pose", "color", "tile")
"""Controls by which a strength is known too."""


def with_strengths(passes: Passes, strengths: Mapping[str, float]) -> Passes:
    """The passes with what a technique wishes otherwise; names of identities are none of theirs.

    Raises `UserError` (`bad_technique`).
    """
    wrong = [name for name in (*STRENGTH_NAMES, *CONTROL_NAMES) if not 0 <= strengths.get(name, 0) <= 1]
    if wrong:
        raise UserError("bad_technique", f"The strengths of {', '.join(wrong)} are 0 to 1.")
    wished = {name: strengths[name] for name in STRENGTH_NAMES if name in strengths}
    controls = {name: strengths[name] for name in CONTROL_NAMES if name in strengths}
    return replace(passes, **wished, controls={**passes.controls, **controls})


def control_scales(passes: Passes, name: str, family: str) -> dict[str, float]:
    """Controls of a pass on a family of bases, with their scales; those of which nothing is left do not appear."""
    usual = CONTROLS[name].get(family, {})
    scaled = {kind: scale * passes.controls.get(kind, 1.0) for kind, scale in usual.items()}
    return {kind: scale for kind, scale in scaled.items() if scale > 0}
