"""What may be wished of looks that are made of words: what is seen of the person, how good, and how the model is told who."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import streamlit as st

from app.people.choices import Look
from app.session import client, recall, say, say_or
from tasks import schemas

FAST = "fast"
"""What drawings of few steps take, in the list of abilities: a word beside those for ways."""
COLUMNS = 2


@dataclass(frozen=True, slots=True)
class Ways:
    """How one person can be drawn of words at present."""

    by_base: Mapping[str, Sequence[str]]
    """Ways of telling the model who, by base; the base that the person was learned on comes first."""
    fast: bool = False
    """Whether drawings of few steps are possible."""
    families: Mapping[str, str] = field(default_factory=dict)
    """By base: its family, where it is known."""

    @property
    def any(self) -> bool:
        """Whether the person can be drawn at all."""
        return any(self.by_base.values())

    def suiting(self, families: Collection[str]) -> "Ways":
        """Those on bases of some families, and on bases whose family nobody knows; all of them when none is named."""
        fits = {base for base in self.by_base if not families or self.families.get(base, "") in {"", *families}}
        return replace(self, by_base={base: names for base, names in self.by_base.items() if base in fits})


@dataclass(frozen=True, slots=True)
class Wishes:
    """What was wished, as a generation takes it."""

    technique: Mapping[str, Any] = field(default_factory=dict)
    traits: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    """By look."""


def ways(person: schemas.Person, abilities: Sequence[schemas.Ability]) -> Ways:
    """What workers are ready for; what was learned counts on the base it was learned on."""
    found: dict[str, list[str]] = {base: [] for base in person.learned}
    families: dict[str, str] = {}
    fast = False
    for each in abilities:
        parts = each.name.split(":")
        if parts[0] == "base":
            families[parts[1]] = each.family
        if parts[0] != "base" or len(parts) != 3 or not each.ready:
            continue
        _, base, way = parts
        fast = fast or way == FAST
        if way != FAST and (way != "lora" or base in person.learned):
            found.setdefault(base, []).append(way)
    by_base = {base: sorted(names, key=lambda way: way != "lora") for base, names in found.items() if names}
    return Ways(by_base, fast, families)


def ask(looks: Sequence[Look], known: Ways) -> Wishes:
    """Traits where a look asks for them, quality, and more for those who know; nothing where no look is made of words."""
    if not looks:
        return Wishes()
    before = recall("wish", {})
    traits = _traits(looks, before)
    qualities = ["fast", "balanced", "best"] if known.fast else ["balanced", "best"]
    usual = before.get("preset", "balanced")
    quality = st.segmented_control(
        say("wishes.quality"),
        qualities,
        default=usual if usual in qualities else "balanced",
        required=True,
        format_func=lambda each: say(f"quality_of.{each}"),
        help=say("wishes.quality_help"),
        key=f"quality-{before.get('at', 0)}",
    )
    for look in looks:  # one base is chosen for all of them
        known = known.suiting(look.families)
    return Wishes({"preset": quality or "balanced", **_more(known)}, traits)


def _traits(looks: Sequence[Look], before: Mapping[str, Any]) -> dict[str, dict[str, str]]:
    """What is wished of the person, asked once for all looks that ask the same."""
    asked: dict[tuple[str, tuple[str, ...]], list[str]] = {}
    for look in looks:
        for trait in client().traits(look.id):
            asked.setdefault((trait.name, tuple(trait.choices)), []).append(look.id)
    wished: dict[str, dict[str, str]] = {look.id: {} for look in looks}
    columns = st.columns(COLUMNS) if asked else []
    for number, ((name, choices), ids) in enumerate(asked.items()):
        with columns[number % COLUMNS]:
            wish = _trait(name, choices, str(before.get("traits", {}).get(name, "")), f"{number}-{before.get('at', 0)}")
        for id in ids:
            wished[id] |= {name: wish} if wish else {}
    return wished


def _trait(name: str, choices: Sequence[str], before: str, key: str) -> str:
    """One of the choices or, where there are none, a few words; empty for what the photos show."""
    label = say_or(f"trait.{name}", name.replace("_", " ").capitalize())
    if not choices:
        return st.text_input(label, before, max_chars=100, key=f"trait-{name}-{key}").strip()
    options = ["", *choices]
    return st.selectbox(
        label,
        options,
        index=options.index(before) if before in options else 0,
        format_func=lambda each: say_or(f"choice.{_plain(each)}", each) if each else say("wishes.as_is"),
        key=f"trait-{name}-{key}",
    )


def _more(known: Ways) -> dict[str, Any]:
    """Which base and which way, where there is more than one; nothing leaves it to the installation."""
    choices: list[tuple[str, tuple[str, ...]]] = [("", ())]
    for base, names in known.by_base.items():
        choices += [(base, (way,)) for way in names]
        choices += [(base, ("lora", way)) for way in names if "lora" in names and way != "lora"]
    if len(choices) <= 2:
        return {}
    with st.expander(say("wishes.more")):
        base, names = st.selectbox(
            say("wishes.way"),
            choices,
            format_func=lambda each: _way(each, len(known.by_base) > 1),
            help=say("wishes.way_help"),
            key="way",
        )
    return {"base": base, "identities": list(names)} if names else {}


def _way(choice: tuple[str, tuple[str, ...]], told: bool) -> str:
    """A choice in words, with its base where there are several."""
    base, names = choice
    if not names:
        return say("wishes.automatic")
    words = " + ".join(say_or(f"way.{way}", way) for way in names)
    return f"{words} · {base}" if told else words


def _plain(choice: str) -> str:
    """A choice as the key of its words."""
    return choice.replace(" ", "_").replace("-", "_")
