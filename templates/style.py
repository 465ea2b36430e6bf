"""A style's file as the value that flows from request to portrait."""

from collections.abc import Mapping

from portrait.generation.options import Scene
from portrait.generation.passes import USUAL, Passes
from portrait.types import Refinement, Style
from templates.schema import StyleFile
from templates.traits import filled


def style_of(file: StyleFile, wishes: Mapping[str, str] | None = None) -> Style:
    """The value that flows, without its picture; `wishes` are traits by name."""
    return Style(
        id=file.id,
        version=file.version,
        kind=file.kind,
        title=file.title,
        backdrop=file.backdrop,
        scene=_scene(file, wishes or {}),
        passes=None if file.passes is None else Passes(**file.passes.model_dump()),
        preset=file.preset,
        background=file.background,
        retouch=file.retouch,
        engines=file.engines,
        refiners=tuple(Refinement(step.name, step.strength) for step in file.refiners),
        licence=file.licence,
        credit=file.credit,
    )


def _scene(file: StyleFile, wishes: Mapping[str, str]) -> Scene | None:
    """What a diffusion model is told; for a template only where the style says something of it."""
    said = (file.prompt, file.negative, file.families, file.strengths, file.loras)
    if file.kind == "studio" or not any(said):
        return None
    return Scene(
        filled(file.prompt or USUAL.prompt, file, wishes),
        filled(file.negative or ("" if file.prompt else USUAL.negative), file, wishes),
        file.families,
        file.strengths,
        tuple((each.model, each.strength) for each in file.loras),
    )
