"""Passes of drawing a person into a template with inpainting: strengths, steps and ControlNet scales of each."""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any

from portrait.errors import UserError
from portrait.generation.options import ADAPTERS, Preset, PromptSpec

DEFAULT_PROMPT = PromptSpec(
    "a photo of {who}, {traits}, natural skin, sharp focus",
    "blurred, deformed, painting, cartoon",
    sentence="A photograph of {who}, {traits}, with natural skin texture and the face in sharp focus.",
)
"""Prompt of templates that have none."""

CONTROLS: Mapping[str, Mapping[str, Mapping[str, float]]] = {
    "face": {"sd15": {"canny": 0.5, "pose": 0.5, "color": 0.85}, "sdxl": {"canny": 0.5}},
    "ring": {"sd15": {"canny": 1.0, "tile": 1.0}, "sdxl": {"canny": 1.0, "tile": 1.0}},
    "seam": {"sd15": {"canny": 1.0, "tile": 1.0}, "sdxl": {"canny": 1.0, "tile": 1.0}},
}
"""ControlNets of each pass by family of the base, with their conditioning scales: those of EasyPhoto. On SDXL an identity
adapter takes the place of pose and colour. Families that have no ControlNets are drawn on without."""
STEPS: Mapping[Preset, Mapping[str, int]] = {"fast": {"face": 12, "ring": 8, "seam": 8}}
"""Sampling steps of each pass where the preset's are too few: a pass of strength 0.45 runs only 45 % of them."""


@dataclass(frozen=True, slots=True)
class Passes:
    """Strength of each pass, 0..1; 0 leaves the pass out. The defaults are EasyPhoto's. Styles name them by these fields."""

    face: float = 0.45
    """First pass: img2img strength for the whole face."""
    tone: float = 1.0
    """After each pass: share of the way that the skin's tone goes back to that of the template."""
    fusion: float = 0.5
    """After the first pass: share of a second fusion in the skin; eyes take all of it, lips none."""
    ring: float = 0.35
    """Boundary pass: img2img strength for the border of the face, its eyes and its mouth."""
    seam: float = 0.3
    """Seam pass: img2img strength for the borders of two faces that stand near each other, drawn together."""
    controls: Mapping[str, float] = field(default_factory=dict)
    """Factor 0..1 on the scale of a control in `CONTROLS`; 0 does without it."""
    needs: tuple[str, ...] = ("canny",)
    """Controls whose network must be installed where the family has one; the others are used where it is."""


STRENGTH_NAMES = tuple(each.name for each in fields(Passes) if each.name not in ("controls", "needs"))
"""Names of pass strengths in styles and in `GenerationOptions.strengths`."""
CONTROL_NAMES = ("canny", "pose", "color", "tile")
"""Names of controls that `GenerationOptions.strengths` may scale too."""


STRENGTHS = (*ADAPTERS, *STRENGTH_NAMES, *CONTROL_NAMES)
"""Names of all strengths."""
MAX_ADAPTER_STRENGTH = 2.0
"""Largest strength of an identity adapter; those of passes and controls end at 1."""


def max_strength(name: str) -> float:
    """The largest strength of that name; raises `UserError` (`bad_technique`) where there is none."""
    if name in ADAPTERS:
        return MAX_ADAPTER_STRENGTH
    if name in STRENGTHS:
        return 1.0
    raise UserError("bad_technique", f"There is no strength {name!r}. Choose one of: {', '.join(STRENGTHS)}.")


def check_strengths(strengths: Mapping[str, float]) -> None:
    """Raise `UserError` (`bad_technique`) for a strength that does not exist, or is out of its range."""
    for name, strength in strengths.items():
        if not 0 <= strength <= max_strength(name):
            raise UserError("bad_technique", f"The strength {name} is 0 to {max_strength(name):g}, not {strength:g}.")


def with_strengths(passes: Passes, strengths: Mapping[str, float]) -> Passes:
    """The passes with the strengths of `GenerationOptions` in place of their own; other names are left.

    Raises what `check_strengths` does of their own names.
    """
    check_strengths({name: each for name, each in strengths.items() if name in (*STRENGTH_NAMES, *CONTROL_NAMES)})
    changed: dict[str, Any] = {name: strengths[name] for name in STRENGTH_NAMES if name in strengths}
    controls = {name: strengths[name] for name in CONTROL_NAMES if name in strengths}
    return replace(passes, **changed, controls={**passes.controls, **controls})


def control_scales(passes: Passes, name: str, family: str) -> dict[str, float]:
    """Conditioning scales of the controls of pass `name` on a family of bases; controls with scale 0 are left out."""
    scaled = {kind: scale * passes.controls.get(kind, 1.0) for kind, scale in CONTROLS[name].get(family, {}).items()}
    return {kind: scale for kind, scale in scaled.items() if scale > 0}
