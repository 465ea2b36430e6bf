"""Traits: placeholders of a prompt, filled with what was asked for or with a safe default."""

import re
from collections.abc import Mapping

from templates.schema import StyleFile, Trait

PAINTERS = frozenset({"who", "traits"})
"""Placeholders that painters fill themselves: the person, and what was wished of them in free words."""
EVERYWHERE: Mapping[str, Trait] = {
    "gender": Trait(default="person", choices=("person", "woman", "man")),
    "age": Trait(choices=("young", "middle-aged", "elderly")),
    "glasses": Trait(choices=("with glasses", "without glasses")),
}
"""Every style may use these. Who says nothing is guessed nothing: a person, of no age, with what is on their photos."""

_PLACEHOLDER = re.compile(r"\{([^{}]*)\}")


def placeholders(words: str) -> list[str]:
    """The names in braces, in their order, each once."""
    return list(dict.fromkeys(_PLACEHOLDER.findall(words)))


def traits_of(style: StyleFile) -> dict[str, Trait]:
    """What the style's prompt may ask for; its own traits take the place of those of the same name."""
    return {**EVERYWHERE, **style.traits}


def offered(style: StyleFile) -> dict[str, Trait]:
    """The traits that its prompt has a place for, in their order there."""
    known = traits_of(style)
    return {name: known[name] for name in placeholders(f"{style.prompt} {style.negative}") if name in known}


def filled(words: str, style: StyleFile, wishes: Mapping[str, str]) -> str:
    """The words with every trait in place; what a painter fills stays. A wish that is no choice gives the default.

    What an empty trait leaves behind, doubled blanks and commas, is tidied.
    """
    known = traits_of(style)

    def chosen(found: re.Match[str]) -> str:
        name = found[1]
        if name not in known:
            return found[0]
        trait, wish = known[name], wishes.get(name, "").strip()
        # Without choices anything may be wished, but no braces or weights that a prompt would read.
        fits = wish in trait.choices if trait.choices else bool(wish) and not re.search(r"[{}()\[\]<>:]", wish)
        return wish[:100] if fits else trait.default

    text = re.sub(r"[ \t]{2,}", " ", _PLACEHOLDER.sub(chosen, words))
    text = re.sub(r"\s+,", ",", text)
    return re.sub(r"(,\s*){2,}", ", ", text).strip(" ,")
