"""Converts a style.toml into the `Style` that painters get."""

from collections.abc import Mapping
from typing import Any

from portrait.generation.options import LoraChoice, PromptSpec, split_merge_share
from portrait.generation.passes import DEFAULT_PROMPT, Passes
from portrait.types import Refinement, Style
from templates.schema import StyleFile
from templates.traits import add_own_words, fill_traits


def to_style(file: StyleFile, traits: Mapping[str, str] | None = None) -> Style:
    """The `Style` of a style.toml without its picture; `traits` are the values of its placeholders by name."""
    return Style(
        id=file.id,
        version=file.version,
        kind=file.kind,
        title=file.title,
        backdrop=file.backdrop,
        blur=file.blur,
        compositions=file.compositions,
        prompt_spec=_prompt_spec(file, traits or {}),
        passes=None if file.passes is None else Passes(**file.passes.model_dump()),
        preset=file.preset,
        background=file.background,
        skin=file.skin,
        retouch=file.retouch,
        engines=file.engines,
        refiners=tuple(Refinement(step.name, step.strength) for step in file.refiners),
        licence=file.licence,
        credit=file.credit,
    )


def _prompt_spec(file: StyleFile, traits: Mapping[str, str]) -> PromptSpec | None:
    """The prompts with traits filled in; None for a studio, and for a template that has none of its own.

    PhotoMaker's strength in a style of version 0.1.0 is its `start_merge_step`.
    """
    fields = (file.prompt, file.sentence, file.negative, file.families, file.strengths, file.loras)
    if file.kind == "studio" or not (any(fields) or file.start_merge_step is not None):
        return None
    strengths, share = split_merge_share(file.strengths)
    sentence = file.sentence or ("" if file.prompt else DEFAULT_PROMPT.sentence)
    look: dict[str, Any] = (
        {} if file.look is None else {"look_adapter": file.look.adapter, "look_scale": file.look.scale}
    )
    return PromptSpec(
        fill_traits(add_own_words(file.prompt or DEFAULT_PROMPT.prompt, file, traits), file, traits),
        fill_traits(file.negative or ("" if file.prompt else DEFAULT_PROMPT.negative), file, traits),
        file.families,
        strengths,
        tuple(LoraChoice(each.model, each.strength, blocks=each.blocks) for each in file.loras),
        share if file.start_merge_step is None else file.start_merge_step,
        sentence=fill_traits(add_own_words(sentence, file, traits), file, traits),
        **look,
    )
