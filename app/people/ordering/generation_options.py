"""The form for styles that are drawn from a prompt: traits, quality, base model and identity adapters.

It shows what the bases can that the person may be drawn on, and once one is chosen, what that one can.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, get_args

import streamlit as st

from app.people.ordering.choices import StyleChoice
from app.session import client, get_state, translate, translate_or
from tasks import schemas
from tasks.schemas.jobs import IdentityAdapter

FAST = "fast"
"""Stands among the adapters in the names of abilities (`base:sdxl:fast`): drawing in few steps is possible."""
LORA = "lora"
"""The adapter that was trained on the person."""
REFERENCE = "reference"
"""The adapter of bases that draw from photos at once."""
ADAPTERS = get_args(IdentityAdapter)
IP_ADAPTERS = "look"
"""Stands before look adapters in the names of abilities (`base:sdxl:look:NAME`)."""
MODEL_OPTIONS = ("vae", "few_steps")
"""Options that name a model of the store, as they stand in the names of abilities (`base:sdxl:vae:NAME`)."""
COLUMNS = 2


@dataclass(frozen=True, slots=True)
class GenerationAbilities:
    """How one person can be drawn from a prompt at present."""

    adapters_by_base: Mapping[str, Sequence[str]]
    """Identity adapters by base model; the bases that the person was trained on come first."""
    fast: Collection[str] = ()
    """The bases on which drawing in few steps is possible."""
    families: Mapping[str, str] = field(default_factory=dict)
    """Families of base models by base, where they are known."""
    models: Mapping[str, Mapping[str, Sequence[str]]] = field(default_factory=dict)
    """Models of the store that may be named, by option (`vae`, `few_steps`) and base."""

    @property
    def can_generate(self) -> bool:
        """Whether the person can be drawn with any base."""
        return any(self.adapters_by_base.values())

    @property
    def can_see_photos(self) -> bool:
        """Whether a base draws the person from their photos at once, with nothing to learn."""
        return any(REFERENCE in adapters for adapters in self.adapters_by_base.values())

    def can_hurry(self, base: str = "") -> bool:
        """Whether drawing in few steps is possible on a base; without one, on any that the person is drawn on."""
        return any(each in self.fast for each in ([base] if base else self.adapters_by_base))

    def names(self, option: str, base: str = "") -> list[str]:
        """Models that may be named on a base; without one, those that may be on each base that the person is drawn on."""
        by_base = self.models.get(option, {})
        each = [set(by_base.get(known, ())) for known in ([base] if base else self.adapters_by_base)]
        return sorted(set.intersection(*each)) if each else []

    def for_families(self, families: Collection[str]) -> "GenerationAbilities":
        """The abilities on bases of these families or of unknown family; all of them when no family is given."""
        fits = {
            base for base in self.adapters_by_base if not families or self.families.get(base, "") in {"", *families}
        }
        by_base = {base: adapters for base, adapters in self.adapters_by_base.items() if base in fits}
        return replace(self, adapters_by_base=by_base)


@dataclass(frozen=True, slots=True)
class GenerationChoices:
    """What the form was filled with, as a generation request takes it."""

    options: Mapping[str, Any] = field(default_factory=dict)
    """The request's `technique`."""
    traits: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    """The values of traits by style."""


def generation_abilities(person: schemas.Person, abilities: Sequence[schemas.Ability]) -> GenerationAbilities:
    """How a person can be drawn with what workers are ready for; their LoRA counts on the base that draws with it."""
    found: dict[str, list[str]] = {base: [] for base in person.learned}
    families: dict[str, str] = {}
    models: dict[str, dict[str, list[str]]] = {option: {} for option in (*MODEL_OPTIONS, IP_ADAPTERS)}
    fast: set[str] = set()
    for each in abilities:
        parts = each.name.split(":")
        if parts[0] == "base":
            families[parts[1]] = each.family
        if parts[0] == "base" and len(parts) == 4 and parts[2] in models and each.ready:
            models[parts[2]].setdefault(parts[1], []).append(parts[3])
        if parts[0] != "base" or len(parts) != 3 or not each.ready:
            continue
        _, base, ability = parts
        if ability == FAST:
            fast.add(base)
        if ability in ADAPTERS and (ability != LORA or {base, each.learn_on} & {*person.learned}):
            found.setdefault(base, []).append(ability)
    adapters_by_base = {base: sorted(names, key=lambda name: name != LORA) for base, names in found.items() if names}
    return GenerationAbilities(adapters_by_base, fast, families, models)


def generation_form(styles: Sequence[StyleChoice], abilities: GenerationAbilities) -> GenerationChoices:
    """Show fields for traits, quality and adapters, and return their values; no fields where there are no styles."""
    if not styles:
        return GenerationChoices()
    settings = get_state("settings", {})
    traits = _trait_fields(styles, settings)
    for style in styles:  # one base is chosen for all of them
        abilities = abilities.for_families(style.families)
    place = st.container()  # the quality stands before the base, on which it depends
    more = _more_fields(abilities)
    with place:
        quality = _quality_field(settings, abilities.can_hurry(more.get("base", "")))
    return GenerationChoices({"preset": quality, **more}, traits)


def _quality_field(settings: Mapping[str, Any], hurried: bool) -> str:
    """The preset; `hurried`: whether drawing in few steps is one."""
    qualities = ["fast", "balanced", "best"] if hurried else ["balanced", "best"]
    default = settings.get("preset", "balanced")
    quality = st.segmented_control(
        translate("wishes.quality"),
        qualities,
        default=default if default in qualities else "balanced",
        required=True,
        format_func=lambda each: translate(f"quality_of.{each}"),
        help=translate("wishes.quality_help"),
        key=f"quality-{settings.get('version', 0)}-{len(qualities)}",
    )
    return quality or "balanced"


def _trait_fields(styles: Sequence[StyleChoice], settings: Mapping[str, Any]) -> dict[str, dict[str, str]]:
    """The values of traits by style; styles with the same trait and choices share a field."""
    styles_by_trait: dict[tuple[str, tuple[str, ...]], list[str]] = {}
    for style in styles:
        for trait in client().traits(style.id):
            styles_by_trait.setdefault((trait.name, tuple(trait.choices)), []).append(style.id)
    traits_by_style: dict[str, dict[str, str]] = {style.id: {} for style in styles}
    columns = st.columns(COLUMNS) if styles_by_trait else []
    for number, ((name, choices), ids) in enumerate(styles_by_trait.items()):
        with columns[number % COLUMNS]:
            first = str(settings.get("traits", {}).get(name, ""))
            value = _trait_field(name, choices, first, f"{number}-{settings.get('version', 0)}")
        for id in ids:
            traits_by_style[id] |= {name: value} if value else {}
    return traits_by_style


def _trait_field(name: str, choices: Sequence[str], first: str, key: str) -> str:
    """One of the choices or, where there are none, text; empty to leave the trait as the photos show it."""
    label = translate_or(f"trait.{name}", name.replace("_", " ").capitalize())
    if not choices:
        return st.text_input(label, first, max_chars=100, key=f"trait-{name}-{key}").strip()
    titles = {"": translate("wishes.as_is")}
    for each in choices:
        titles[each] = translate_or(f"choice.{each.replace(' ', '_').replace('-', '_')}", each)
    options, key = list(titles), f"trait-{name}-{key}"
    index = options.index(first) if first in options else 0
    return st.selectbox(label, options, index=index, format_func=lambda each: titles[each], key=key)


def _more_fields(abilities: GenerationAbilities) -> dict[str, Any]:
    """The base, adapters and models of a `technique`, where there is a choice; empty to leave them to the worker."""
    choices: list[tuple[str, tuple[str, ...]]] = [("", ())]
    for base, adapters in abilities.adapters_by_base.items():
        choices += [(base, (adapter,)) for adapter in adapters]
        choices += [(base, (LORA, adapter)) for adapter in adapters if LORA in adapters and adapter != LORA]
    looks = any(abilities.names(IP_ADAPTERS, base) for base in abilities.adapters_by_base)
    pictures = {each.id: each.name for each in client().templates()} if looks else {}
    if len(choices) <= 2 and not pictures and not any(abilities.names(option) for option in MODEL_OPTIONS):
        return {}
    base, adapters = choices[0]
    with st.expander(translate("wishes.more")):
        if len(choices) > 2:
            base, adapters = st.selectbox(
                translate("wishes.way"),
                choices,
                format_func=lambda each: _adapter_label(each, len(abilities.adapters_by_base) > 1),
                help=translate("wishes.way_help"),
                key="way",
            )
        named: dict[str, Any] = {
            option: _model_field(option, abilities.names(option, base)) for option in MODEL_OPTIONS
        }
        named |= _image_prompt_field(abilities.names(IP_ADAPTERS, base), pictures)
    given = {"base": base, "identities": list(adapters)} if adapters else {}
    return given | {option: name for option, name in named.items() if name}


def _image_prompt_field(adapters: Sequence[str], pictures: Mapping[str, str]) -> dict[str, Any]:
    """The `look` of an uploaded picture, whose names `pictures` has by id; empty without one, and where no adapter is ready."""
    if not pictures or not adapters:
        return {}
    picture = st.selectbox(
        translate("wishes.look"),
        ["", *pictures],
        format_func=lambda each: pictures.get(each, translate("wishes.look_none")),
        help=translate("wishes.look_help"),
        key="look",
    )
    if not picture:
        return {}
    adapter = st.selectbox(
        translate("wishes.look_adapter"),
        adapters,
        format_func=lambda each: translate_or(f"look_adapter.{each}", each),
        key="look-adapter",
    )
    scale = st.slider(translate("wishes.look_scale"), 0.0, 1.0, 0.5, 0.1, key="look-scale")
    return {"look": {"template": picture, "adapter": adapter, "scale": scale}}


def _model_field(option: str, names: Sequence[str]) -> str:
    """The name of a model of the store; empty to leave it to the worker, and where there is no choice."""
    if not names:
        return ""
    return st.selectbox(
        translate(f"wishes.{option}"),
        ["", *names],
        format_func=lambda each: each or translate("wishes.automatic"),
        help=translate(f"wishes.{option}_help"),
        key=f"model-{option}",
    )


def _adapter_label(choice: tuple[str, tuple[str, ...]], with_base: bool) -> str:
    base, adapters = choice
    if not adapters:
        return translate("wishes.automatic")
    label = " + ".join(translate_or(f"way.{adapter}", adapter) for adapter in adapters)
    return f"{label} · {base}" if with_base else label
