"""What a prompt says beside its words: emphasis as web interfaces write it, LoRAs, embeddings by name, block weights.

`(a)` weighs 1.1, `((a))` 1.21, `[a]` 1/1.1, `(a:1.3)` 1.3; weights within each other are multiplied; `\\(` is a parenthesis.
`<lora:NAME:0.7>` puts a LoRA on; `<lora:NAME:TEXT:UNET>` gives it two strengths, in the order of the web interfaces.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from portrait.errors import UserError
from portrait.generation.options import LoraChoice

EMPHASIS = 1.1
"""What parentheses without a number multiply by, and brackets divide by, as in AUTOMATIC1111's interface."""
WEIGHT = re.compile(r":\s*(\d+(?:\.\d*)?|\.\d+)\s*$")
"""What ends words in parentheses that have a weight: `(red scarf:1.2)`."""
SCHEDULED = re.compile(r"\||:\s*[\d.]+\s*$")
"""In brackets: prompt editing (`[a:b:0.5]`) and alternation (`[a|b]`) of web interfaces, which are words here."""
LORA = re.compile(r"\s*<lora:([^<>:]+)((?::[^<>:]*)*)>\s*", re.IGNORECASE)
MAX_STRENGTH = 4.0
"""Largest strength of a LoRA in a prompt; beyond 2 pictures fall apart."""
MAX_LORAS = 8
"""LoRAs of one portrait beside the person's."""
CLOSING = {")": "(", "]": "["}

Part: TypeAlias = tuple[str, float]
"""A part of a prompt with its weight."""


@dataclass(slots=True)
class _Group:
    """What stands in parentheses or brackets, while it is read."""

    opening: str
    parts: list[Part]


def parse_weights(text: str) -> list[Part]:
    """The parts of a prompt with their weights.

    Everything that is no emphasis is a part of the words: parentheses that do not close or hold nothing, and the signs of
    other syntaxes, as in `C++`.
    """
    groups = [_Group("", [])]
    for piece in re.split(r"(\\[()\[\]\\]|[()\[\]])", text):
        if piece in ("(", "["):
            groups.append(_Group(piece, []))
        elif piece in CLOSING and groups[-1].opening == CLOSING[piece]:
            group = groups.pop()
            groups[-1].parts += _emphasize(group.parts, piece)
        elif piece:
            escaped = len(piece) == 2 and piece[0] == "\\" and piece[1] in "()[]\\"
            groups[-1].parts.append((piece[1] if escaped else piece, 1.0))
    while len(groups) > 1:
        group = groups.pop()
        groups[-1].parts += [(group.opening, 1.0), *group.parts]
    return _joined(groups[0].parts)


def _joined(parts: Sequence[Part]) -> list[Part]:
    """Parts of one weight that follow each other as one."""
    joined: list[Part] = []
    for words, weight in parts:
        if joined and joined[-1][1] == weight:
            words = joined.pop()[0] + words
        joined.append((words, weight))
    return joined


def _emphasize(group: Sequence[Part], closing: str) -> list[Part]:
    """The parts of what stood between two signs with their weight, or with the signs where they are no emphasis."""
    parts = _joined(group)
    words, last_weight = parts[-1] if parts else ("", 1.0)
    whole: list[Part] = [(CLOSING[closing], 1.0), *parts, (closing, 1.0)]
    if not "".join(each for each, _ in parts).strip():
        return whole
    if closing == "]":
        return whole if SCHEDULED.search(words) else [(each, weight / EMPHASIS) for each, weight in parts]
    found = WEIGHT.search(words) if last_weight == 1.0 else None
    if found is None:
        return [(each, weight * EMPHASIS) for each, weight in parts]
    if len(parts) == 1 and not words[: found.start()].strip():
        return whole
    weighed = [*parts[:-1], (words[: found.start()], 1.0)]
    return [(each, weight * float(found[1])) for each, weight in weighed if each]


def strip_weights(text: str) -> str:
    """A prompt without its weights."""
    return "".join(words for words, _ in parse_weights(text))


def escape_plain(text: str) -> str:
    """A prompt in which only parentheses with a number weigh, as version 0.1.0 read it, in the syntax of today."""
    groups = [""]
    for piece in re.split(r"([()\[\]])", text):
        if piece == "(":
            groups.append("")
        elif piece == ")" and len(groups) > 1:
            group = groups.pop()
            groups[-1] += f"({group})" if WEIGHT.search(group) else rf"\({group}\)"
        else:
            groups[-1] += f"\\{piece}" if piece in ("[", "]") else piece
    return "(".join(groups)


def take_loras(text: str) -> tuple[str, tuple[LoraChoice, ...]]:
    """A prompt without its `<lora:…>`, and the LoRAs that they name; raises `UserError` (`bad_lora_tag`)."""
    choices = tuple(_parse_lora(found) for found in LORA.finditer(text))
    if len({choice.model for choice in choices}) < len(choices):
        raise UserError(
            "bad_lora_tag", "The prompt names a LoRA twice. Name each once, with the strength that is meant."
        )
    if len(choices) > MAX_LORAS:
        raise UserError("bad_lora_tag", f"The prompt names {len(choices)} LoRAs; {MAX_LORAS} are the most.")
    if not choices:
        return text, ()
    return re.sub(r"(\s*,)+", ",", LORA.sub(" ", text)).strip(" ,"), choices


def _parse_lora(found: re.Match[str]) -> LoraChoice:
    """A LoRA of `<lora:NAME:0.7>`, `<lora:NAME:TEXT:UNET>`, or with `te=`, `unet=` and `lbw=` (block weights)."""
    named: dict[str, str] = {}
    numbers = []
    for argument in filter(None, (each.strip() for each in found[2].split(":"))):
        name, equals, value = argument.partition("=")
        if equals:
            named[name.strip().lower()] = value
        else:
            numbers.append(argument)
    unknown = sorted(named.keys() - {"te", "unet", "lbw"})
    if unknown or len(numbers) > 2:
        raise _bad_tag(found[0], f"{unknown[0]}= is not read" if unknown else "there are more than two strengths")
    text = _strength(named.get("te", numbers[0] if numbers else "1"), found[0])
    unet = _strength(named.get("unet", numbers[1] if len(numbers) > 1 else str(text)), found[0])
    blocks = parse_block_weights(named["lbw"]) if "lbw" in named else ()
    return LoraChoice(found[1].strip(), unet, None if text == unet else text, blocks)


def _strength(text: str, tag: str) -> float:
    try:
        strength = float(text)
    except ValueError as error:
        raise _bad_tag(tag, f"{text!r} is no number") from error
    if not -MAX_STRENGTH <= strength <= MAX_STRENGTH:
        raise _bad_tag(tag, f"strengths lie between -{MAX_STRENGTH:g} and {MAX_STRENGTH:g}")
    return strength


def _bad_tag(tag: str, why: str) -> UserError:
    return UserError("bad_lora_tag", f"{tag.strip()} cannot be read: {why}. Write <lora:NAME:0.7>.")


def parse_block_weights(text: str) -> tuple[float, ...]:
    """Block weights of `1,0,0.5`; raises `UserError` (`bad_blocks`)."""
    try:
        weights = tuple(float(each) for each in text.split(","))
    except ValueError as error:
        raise UserError("bad_blocks", f"{text!r} is no list of block weights, such as 1,0,0.5,1.") from error
    if not all(-MAX_STRENGTH <= each <= MAX_STRENGTH for each in weights):
        raise UserError("bad_blocks", f"Block weights lie between -{MAX_STRENGTH:g} and {MAX_STRENGTH:g}.")
    return weights


def named_embeddings(text: str, names: Sequence[str]) -> list[str]:
    """Those of the names that a prompt names, as a word of its own or in angle brackets, whatever their case."""
    return [name for name in names if _embedding_pattern(name).search(text)]


def put_embeddings(text: str, tokens: Mapping[str, str]) -> str:
    """A prompt with the tokens of embeddings in place of their names."""
    for name, token in tokens.items():
        text = _embedding_pattern(name).sub(lambda _, token=token: f" {token} ", text)
    return text


def _embedding_pattern(name: str) -> re.Pattern[str]:
    own = re.escape(name)
    return re.compile(rf"<{own}>|(?<![\w<-]){own}(?![\w>-])", re.IGNORECASE)
