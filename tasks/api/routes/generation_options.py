"""What portraits made of words are drawn with: base, ways of telling who, traits; chosen or refused before it is queued."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

from fastapi import APIRouter

from pipelines import model_requirements
from portrait.errors import UserError
from portrait.generation.passes import Passes, followed, with_strengths
from tasks import schemas
from tasks.api.context import AnId, Office, TheCaller, TheOffice
from tasks.api.problems import documented
from tasks.api.routes.styles import abilities
from tasks.ledger.rows import IdentityRow
from tasks.styles.available import Offered
from templates.schema import StyleFile
from templates.traits import offered

router = APIRouter(tags=["styles"])
PREFERRED = ("instantid", "photomaker_v2", "photomaker", "faceid_plus", "faceid")
"""Ways of drawing somebody who was not learned, the most alike first."""
TOKENS = {"instantid", "faceid", "faceid_plus"}
"""Ways that bring image tokens: there is room for those of one."""


@dataclass(frozen=True, slots=True)
class Choice:
    """What a drawing is made with."""

    base: str
    identities: Sequence[str]
    learned: IdentityRow | None
    """The identity whose LoRA is worn, where one is."""


@router.get("/styles/{id}/traits", responses=documented(401, 404, 422))
def list_traits(id: AnId, office: TheOffice, _: TheCaller) -> schemas.Page[schemas.Trait]:
    """What a style that is made of words asks for of the person in the picture; nothing in others."""
    asked = offered(Offered(office.store, office.files).find(id).style)
    items = [
        schemas.Trait(name=name, default=trait.default, choices=list(trait.choices)) for name, trait in asked.items()
    ]
    return schemas.Page(items=items, next=None)


def complete(
    office: Office, owner: str, order: schemas.GenerationOrder, style: StyleFile, wants: dict[str, object]
) -> frozenset[str]:
    """Put all choices into what is wanted, and give the abilities that it takes.

    Raises `UserError`: `bad_technique`, `bad_trait`, `wrong_family`, `not_learned`.
    """
    check_traits(style, order.traits)
    technique, able = _wished(office, order), abilities(office)
    rows = [row for row in office.store.people.identities(owner, order.people["1"]) if row.base]
    chosen = _chosen(office, technique, style, rows, able)
    _check(office, style, chosen)
    kinds = {hint.kind for hint in technique.hints}
    _check_followable(office, chosen.base, kinds)
    if chosen.learned is not None:
        wants["identities"] = {"1": chosen.learned.id}
    said = technique.model_dump(exclude_defaults=True)
    wants["technique"] = {**said, "base": chosen.base, "identities": list(chosen.identities)}
    words = (f"base:{chosen.base}:{way}" for way in (*chosen.identities, *_more(technique), *_hints(kinds)))
    return frozenset({"draw:text", *words})


def complete_each(
    office: Office, owner: str, order: schemas.GenerationOrder, style: StyleFile | None, wants: dict[str, object]
) -> frozenset[str]:
    """The same for people who are drawn into a template: each by what they were learned on, or by an adapter.

    Where several ways are named, whoever was not learned is told by the others. Raises as `complete`.
    """
    if style is not None:
        check_traits(style, order.traits)
    technique, able = _wished(office, order), abilities(office)
    if technique.hints:
        raise UserError("bad_technique", "A template is its own hint. Leave hints out, or choose a style of words.")
    drawn, chosen = dict(order.people), []
    for place, person in order.people.items():
        rows = [row for row in office.store.people.identities(owner, person) if row.base]
        known = [row for row in rows if technique.base in ("", row.base)]
        ways_named = [way for way in technique.identities if known or way != "lora"] or technique.identities
        each = _chosen(office, technique.model_copy(update={"identities": ways_named}), style, rows, able)
        _check(office, style, each)
        chosen.append(each)
        drawn[place] = each.learned.id if each.learned is not None else dict(cast(Any, wants["identities"]))[place]
    wants["identities"] = drawn
    bases = sorted({each.base for each in chosen})
    told = list(dict.fromkeys(way for each in chosen for way in each.identities))
    said = {"preset": technique.preset, **technique.model_dump(exclude_defaults=True), "identities": told}
    wants["technique"] = {**said, "base": bases[0] if len(bases) == 1 else ""}
    words = {f"base:{each.base}:{way}" for each in chosen for way in (*each.identities, *_more(technique))}
    for base in bases:
        kinds = _needed(style, technique, model_requirements.family_of(office.installation.flows, base))
        words |= {f"base:{base}:{word}" for word in _hints(kinds)}
    return frozenset({"draw:inpaint", *words})


def check_base(office: Office, base: str) -> None:
    """Raise `UserError` (`bad_technique`) for a base that neither the settings nor any live worker knows."""
    words = [word.split(":") for word in abilities(office)]
    known = {word[1] for word in words if word[0] in ("base", "train") and len(word) > 1}
    known |= {*model_requirements.FAST, *office.installation.flows.bases}
    if base not in known:
        raise UserError(
            "bad_technique", f"There is no base model {base!r} here. Choose one of: {', '.join(sorted(known))}."
        )


def check_traits(style: StyleFile, wishes: Mapping[str, str]) -> None:
    """Raise `UserError` (`bad_trait`) for a trait that the style does not ask for, or a wish that is none of its choices."""
    traits = offered(style)
    for name, wish in wishes.items():
        if name not in traits:
            known = f"It asks for: {', '.join(traits)}." if traits else "It asks for none."
            raise UserError("bad_trait", f"The style {style.id} has no trait {name!r}. {known}")
        choices = traits[name].choices
        if choices and wish not in choices:
            raise UserError("bad_trait", f"{name} cannot be {wish!r} here. Choose one of: {', '.join(choices)}.")


def _wished(office: Office, order: schemas.GenerationOrder) -> schemas.Technique:
    """What was asked for, with the preset of the installation where none was."""
    technique = order.technique or schemas.Technique.model_validate({})
    if "preset" in technique.model_fields_set:
        return technique
    return technique.model_copy(update={"preset": office.installation.flows.draw.preset})


def _more(technique: schemas.Technique) -> list[str]:
    """What a technique takes of a base beside identities."""
    return ["fast"] if technique.preset == "fast" and technique.scheduler in ("", "lcm") else []


def _hints(kinds: Collection[str]) -> list[str]:
    """The same for controls that are followed."""
    return [f"hint:{kind}" for kind in sorted(kinds)]


def _needed(style: StyleFile | None, technique: schemas.Technique, family: str) -> set[str]:
    """Controls that the passes of a face cannot do without on a family; raises `UserError` (`bad_technique`)."""
    written = None if style is None else style.passes
    passes = Passes() if written is None else Passes(**written.model_dump())
    strengths = {**({} if style is None else style.strengths), **technique.strengths}
    passes = with_strengths(passes, {str(name): strength for name, strength in strengths.items()})
    drawn = [name for name in ("face", "ring") if getattr(passes, name) > 0]
    return {kind for name in drawn for kind in followed(passes, name, family) if kind in passes.needs}


def _check_followable(office: Office, base: str, kinds: Collection[str]) -> None:
    """Raise `UserError` (`bad_technique`) for a control that no network follows on the family of a base."""
    family = model_requirements.family_of(office.installation.flows, base)
    for kind in sorted(kinds):
        if not model_requirements.followable(kind, family):
            raise UserError("bad_technique", model_requirements.no_network(kind, family))


def _chosen(
    office: Office,
    technique: schemas.Technique,
    style: StyleFile | None,
    rows: Sequence[IdentityRow],
    able: Mapping[str, list[str]],
) -> Choice:
    """What was named; for the rest the first base and way that a live worker is ready for."""
    draw = office.installation.flows.draw
    named: Sequence[str] = technique.identities or draw.identities
    if technique.base:
        check_base(office, technique.base)
        bases = [technique.base]
    else:
        learned = [row.base for row in rows] if not named or "lora" in named else []
        ready = sorted(word.split(":")[1] for word, lines in able.items() if word.startswith("base:") and not lines)
        bases = list(dict.fromkeys([*learned, draw.base, *ready]))
        bases = [
            base for base in bases if _suits(style, model_requirements.family_of(office.installation.flows, base))
        ] or bases
    choices = [_with(base, named, rows, able) for base in bases]
    for each in choices:
        if each.identities and all(able.get(f"base:{each.base}:{way}") == [] for way in each.identities):
            return each
    return choices[0]


def _with(base: str, named: Sequence[str], rows: Sequence[IdentityRow], able: Mapping[str, list[str]]) -> Choice:
    """What a drawing on a base would be made with: the LoRA where there is one, else the best adapter that is ready."""
    learned = next((row for row in rows if row.base == base), None)
    usual = ["lora"] if learned else [way for way in PREFERRED if able.get(f"base:{base}:{way}") == []][:1]
    told = tuple(dict.fromkeys(named or usual))
    return Choice(base, told, learned if "lora" in told else None)


def _suits(style: StyleFile | None, family: str) -> bool:
    """Whether a style was written for a family; one that is not known may be."""
    return not family or style is None or not style.families or family in style.families


def _check(office: Office, style: StyleFile | None, chosen: Choice) -> None:
    """Raise what would keep it from being drawn, as far as it can be known without the base."""
    family = model_requirements.family_of(office.installation.flows, chosen.base)
    if style is not None and not _suits(style, family):
        sentence = f"The style {style.id} is for {', '.join(style.families)}; {chosen.base} is {family}."
        raise UserError("wrong_family", sentence)
    for way in chosen.identities:
        families = model_requirements.MODELS[way]
        if family and family not in families:
            sentence = f"{way} draws on a base of the family {', '.join(families)}; {chosen.base} is {family}."
            raise UserError("wrong_family", sentence)
    brings = [way for way in chosen.identities if way in TOKENS]
    if len(brings) > 1:
        raise UserError("bad_technique", f"{' and '.join(brings)} do not go together: choose one of them.")
    if not chosen.identities:
        raise UserError(
            "not_learned",
            "This style is drawn by a model that does not know this person yet: ask for a training with a base first. "
            "Where an adapter for a base is installed, one photo is enough.",
        )
    if "lora" in chosen.identities and chosen.learned is None:
        sentence = (
            f"This person was not learned on {chosen.base}: train them on it, or name the base they were learned on."
        )
        raise UserError("not_learned", sentence)
