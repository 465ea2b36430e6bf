"""Traits: placeholders of a prompt, filled with the requested value or a safe default."""

import re
from collections.abc import Mapping

from portrait.traits import CHOICES
from templates.schema import StyleFile, Trait

PAINTER_PLACEHOLDERS = frozenset({"who", "traits"})
"""Placeholders that painters fill themselves: the person, and the traits given in free words."""
COMMON_TRAITS: Mapping[str, Trait] = {
    "gender": Trait(default="person", choices=("person", "woman", "man")),
    **{name: Trait(choices=choices) for name, choices in CHOICES.items()},
}
"""Traits that every style may use. Nothing is guessed: by default a person, of no age, with what their photos show."""

_PLACEHOLDER = re.compile(r"\{([^{}]*)\}")


def placeholders(prompt: str) -> list[str]:
    """The names in braces, in their order, each once."""
    return list(dict.fromkeys(_PLACEHOLDER.findall(prompt)))


def known_traits(style: StyleFile) -> dict[str, Trait]:
    """Traits that the style's prompt may use, by name; its own replace common ones of the same name."""
    return {**COMMON_TRAITS, **style.traits}


def prompt_traits(style: StyleFile) -> dict[str, Trait]:
    """Traits that the style's prompts have placeholders for, in that order."""
    known = known_traits(style)
    prompts = f"{style.prompt} {style.sentence} {style.negative}"
    return {name: known[name] for name in placeholders(prompts) if name in known}


def add_own_words(prompt: str, style: StyleFile, values: Mapping[str, str]) -> str:
    """A prompt that says before `{traits}` what is known of the person and has no placeholder of its own in it."""
    asked = placeholders(f"{prompt} {style.negative}")
    words = [values[name] for name, choices in CHOICES.items() if name not in asked and values.get(name) in choices]
    return prompt.replace("{traits}", ", ".join([*words, "{traits}"]), 1)


def fill_traits(prompt: str, style: StyleFile, values: Mapping[str, str]) -> str:
    """A prompt with its traits filled in; placeholders of painters stay. A value that is no choice gives the default.

    Doubled blanks and commas that an empty trait leaves behind are removed.
    """
    known = known_traits(style)

    def replacement(found: re.Match[str]) -> str:
        name = found[1]
        if name not in known:
            return found[0]
        trait, value = known[name], values.get(name, "").strip()
        # Without choices anything is allowed, but no braces or weights that a prompt would read.
        fits = value in trait.choices if trait.choices else bool(value) and not re.search(r"[{}()\[\]<>:]", value)
        return value[:100] if fits else trait.default

    text = re.sub(r"[ \t]{2,}", " ", _PLACEHOLDER.sub(replacement, prompt))
    text = re.sub(r"\s+,", ",", text)
    return re.sub(r"(,\s*){2,}", ", ", text).strip(" ,")
