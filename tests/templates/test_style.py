"""Conversion of a style.toml into a `Style`."""

from portrait.generation.passes import Passes
from templates.schema import StyleFile
from templates.style import to_style

INTO = {
    "schema": 1, "id": "moon", "kind": "template", "title": "Moon", "picture": {"file": "a.jpg"}, "licence": "CC0-1.0",
    "engines": ["diffusion"], "prompt": "{who} in a space suit", "loras": [{"model": "film", "strength": 0.6}],
    "passes": {"face": 0.6, "seam": 0, "controls": {"tile": 0.5}, "needs": ["canny", "tile"]},
}  # fmt: skip


def test_a_template_says_how_it_is_drawn_into() -> None:
    style = to_style(StyleFile.model_validate(INTO))
    assert style.passes == Passes(face=0.6, seam=0, controls={"tile": 0.5}, needs=("canny", "tile"))
    assert style.engines == ("diffusion",)
    assert style.prompt_spec is not None
    assert style.prompt_spec.prompt == "{who} in a space suit"


def test_a_template_that_says_nothing_of_it_has_no_scene() -> None:
    silent = to_style(StyleFile.model_validate({**INTO, "prompt": "", "loras": [], "passes": None, "engines": []}))
    assert (silent.prompt_spec, silent.passes, silent.engines) == (None, None, ())
