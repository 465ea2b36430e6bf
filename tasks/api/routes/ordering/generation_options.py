"""Generation options of diffusion portraits: base, adapters and traits, chosen or refused before a job is queued."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from fastapi import APIRouter

from pipelines import model_requirements
from pipelines.model_store.store import ModelStore
from portrait.errors import UserError
from portrait.generation.abilities import check_options
from portrait.generation.passes import DEFAULT_PROMPT, Passes, check_strengths, control_scales, with_strengths
from portrait.generation.prompts import LORA
from tasks import schemas
from tasks.api.context import AppContext, CallerDep, ContextDep, ListPagingDep, PathId, page_of
from tasks.api.problems import problem_responses
from tasks.api.routes.styles import missing_by_ability
from tasks.ledger.rows import IdentityRow
from templates.schema import StyleFile
from templates.traits import prompt_traits

router = APIRouter(tags=["styles"])
REFERENCE = "reference"
"""The adapter that shows a person's photos to bases that draw from pictures."""
PREFERRED_ADAPTERS = (REFERENCE, "instantid", "photomaker_v2", "photomaker", "faceid_plus", "faceid")
"""Adapters for a person without a LoRA, the best likeness first."""


@dataclass(frozen=True, slots=True)
class Choice:
    """Base and identity adapters of one person."""

    base: str
    identities: Sequence[str]
    lora: IdentityRow | None
    """The identity whose LoRA is loaded, where one is."""


@router.get("/styles/{id}/traits", responses=problem_responses(401, 404, 422))
def list_style_traits(
    id: PathId, context: ContextDep, _: CallerDep, paging: ListPagingDep
) -> schemas.Page[schemas.Trait]:
    """The traits that the prompt of a style has placeholders for; none for styles without a prompt."""
    traits = prompt_traits(context.styles.find(id).style)
    items = [schemas.Trait.model_validate({"name": name, **trait.model_dump()}) for name, trait in traits.items()]
    items, more = page_of(items, paging, lambda trait: trait.name)
    return schemas.Page(items=list(items), next=more)


def complete(
    context: AppContext, owner: str, request: schemas.GenerationRequest, style: StyleFile, params: dict[str, object]
) -> frozenset[str]:
    """Choose what was left open for a text style and add it to `params`; returns the abilities that the job needs.

    Raises `UserError`: `bad_technique`, `bad_trait`, `licence_refused`, `wrong_family`, `not_learned`.
    """
    check_traits(style, request.traits)
    options, missing = _with_preset(context, request), missing_by_ability(context)
    check_strengths({**style.strengths, **options.strengths})
    rows = [row for row in context.ledger.people.identities(owner, request.people["1"]) if row.base]
    chosen = _choose(context, options, style, rows, missing)
    named, kinds = _with_image_prompt(options, style), {control.kind for control in options.hints}
    _check_terms(context, chosen, named, kinds)
    _check_choice(context, style, chosen)
    _check_abilities(context, chosen.base, options, style)
    _check_models(context, chosen.base, named)
    _check_controls(context, chosen.base, kinds)
    if chosen.lora is not None:
        params["identities"] = {"1": chosen.lora.id}
    given = options.model_dump(exclude_defaults=True)
    params["technique"] = {**given, "base": chosen.base, "identities": list(chosen.identities)}
    words = (*chosen.identities, *_preset_abilities(named), *_control_abilities(kinds))
    return frozenset({"draw:text", *(f"base:{chosen.base}:{word}" for word in words)})


def complete_each(
    context: AppContext, owner: str, request: schemas.GenerationRequest, style: StyleFile | None, params: dict[str, Any]
) -> frozenset[str]:
    """Choose what was left open for people drawn into a template: each by their LoRA, or by an adapter.

    Where `lora` is one of several identities, people without a LoRA are drawn with the others. Raises as `complete`.
    """
    if style is not None:
        check_traits(style, request.traits)
    options, missing = _with_preset(context, request), missing_by_ability(context)
    check_strengths({**({} if style is None else style.strengths), **options.strengths})
    if options.hints:
        raise UserError("bad_technique", "A template is its own hint. Leave hints out, or choose a style of words.")
    if options.look or options.sdedit:
        raise UserError(
            "bad_technique", "A template has its own look. Leave look and sdedit out, or choose a style of words."
        )
    drawn, chosen = dict(request.people), []
    for place, person in request.people.items():
        rows = [row for row in context.ledger.people.identities(owner, person) if row.base]
        known = rows if not options.base else _loras_by_base(context, rows).get(options.base)
        identities = [adapter for adapter in options.identities if known or adapter != "lora"] or options.identities
        each = _choose(context, options.model_copy(update={"identities": identities}), style, rows, missing)
        _check_terms(context, each, options, _needed_controls(style, options, _family_of(context, each.base)))
        _check_choice(context, style, each)
        _check_abilities(context, each.base, options, style)
        _check_models(context, each.base, options)
        chosen.append(each)
        drawn[place] = each.lora.id if each.lora is not None else params["identities"][place]
    params["identities"] = drawn
    bases = sorted({each.base for each in chosen})
    adapters = list(dict.fromkeys(adapter for each in chosen for adapter in each.identities))
    given = {"preset": options.preset, **options.model_dump(exclude_defaults=True), "identities": adapters}
    params["technique"] = {**given, "base": bases[0] if len(bases) == 1 else ""}
    words = {
        f"base:{each.base}:{adapter}" for each in chosen for adapter in (*each.identities, *_preset_abilities(options))
    }
    for base in bases:
        kinds = _needed_controls(style, options, _family_of(context, base))
        words |= {f"base:{base}:{word}" for word in _control_abilities(kinds)}
    return frozenset({"draw:inpaint", *words})


def check_base(context: AppContext, base: str) -> None:
    """Raise `UserError` for a base that neither the settings nor any live worker knows (`bad_technique`), or that the profile
    refuses (`licence_refused`)."""
    model_requirements.check_terms(context.installation.flows, (), [base])
    words = [word.split(":") for word in missing_by_ability(context)]
    known = {word[1] for word in words if word[0] in ("base", "train") and len(word) > 1}
    flows = context.installation.flows
    known |= {*model_requirements.first_bases(ModelStore(flows.models)), *flows.bases}
    if base not in known:
        choices = ", ".join(sorted(known))
        raise UserError("bad_technique", f"There is no base model {base!r} here. Choose one of: {choices}.")


def check_traits(style: StyleFile, values: Mapping[str, str]) -> None:
    """Raise `UserError` (`bad_trait`) for a trait that the style does not have, or a value that is none of its choices."""
    traits = prompt_traits(style)
    for name, value in values.items():
        if name not in traits:
            known = f"It asks for: {', '.join(traits)}." if traits else "It asks for none."
            raise UserError("bad_trait", f"The style {style.id} has no trait {name!r}. {known}")
        choices = traits[name].choices
        if choices and value not in choices:
            raise UserError("bad_trait", f"{name} cannot be {value!r} here. Choose one of: {', '.join(choices)}.")


def _with_preset(context: AppContext, request: schemas.GenerationRequest) -> schemas.GenerationOptions:
    """The requested options, with the preset of the installation where none was given."""
    options = request.technique or schemas.GenerationOptions.model_validate({})
    if "preset" in options.model_fields_set:
        return options
    return options.model_copy(update={"preset": context.installation.flows.draw.preset})


def _preset_abilities(options: schemas.GenerationOptions) -> list[str]:
    """Abilities of the base beside identities: `fast` where LCM is used, and the models of the store that are named."""
    fast = options.preset == "fast" and options.scheduler in ("", "lcm") and not options.few_steps
    return [*(["fast"] if fast else []), *(f"{kind}:{name}" for kind, name in _named_models(options))]


def _with_image_prompt(options: schemas.GenerationOptions, style: StyleFile) -> schemas.GenerationOptions:
    """The options with the adapter of the style's look where they have no look of their own: what a worker must have."""
    if options.look is not None or style.look is None:
        return options
    of_style = schemas.ImagePrompt.model_construct(template="", adapter=style.look.adapter, scale=style.look.scale)
    return options.model_copy(update={"look": of_style})


def _named_models(options: schemas.GenerationOptions) -> list[tuple[str, str]]:
    """Models of the store that the options name, by what they are in the words of abilities."""
    look = options.look.adapter if options.look is not None and options.look.scale else ""
    given = (("vae", options.vae if options.vae != "own" else ""), ("few_steps", options.few_steps), ("look", look))
    return [(kind, name) for kind, name in given if name]


def _check_models(context: AppContext, base: str, options: schemas.GenerationOptions) -> None:
    """Raise `UserError` (`bad_technique`) for a VAE or a LoRA of few steps that no worker has, where one draws on the base."""
    known = missing_by_ability(context)
    for kind, name in _named_models(options):
        prefix = f"base:{base}:{kind}:"
        if known.get(f"base:{base}") == [] and f"{prefix}{name}" not in known:
            others = sorted(word.removeprefix(prefix) for word in known if word.startswith(prefix))
            choices = f"Choose one of: {', '.join(others)}." if others else "There is none: leave it out."
            raise UserError("bad_technique", f"There is no {kind} {name!r} for {base} here. {choices}")


def _check_abilities(
    context: AppContext, base: str, options: schemas.GenerationOptions, style: StyleFile | None
) -> None:
    """Raise `UserError` (`bad_technique`) for options, or weights in prompts, that bases of a known family do not know."""
    family = _family_of(context, base)
    if family:
        able, spec = model_requirements.family_abilities(family), style or DEFAULT_PROMPT
        prompt = (able.sentences and spec.sentence) or spec.prompt
        windows = [(each.start, each.end) for each in options.hints]
        check_options(f"{base} ({family})", able, options, (prompt, spec.negative, options.traits), windows)


def check_training_terms(context: AppContext, base: str) -> None:
    """Raise `UserError` (`licence_refused`) where the profile refuses the base that people are learned on for this one."""
    flows = context.installation.flows
    pair = model_requirements.pair_of(flows, base, ModelStore(flows.models))
    model_requirements.check_terms(flows, [pair.learn_on or base], ())


def _check_terms(
    context: AppContext, chosen: Choice, options: schemas.GenerationOptions, kinds: Collection[str]
) -> None:
    """Raise `UserError` (`licence_refused`) for a base, adapter, control, VAE or LoRA that the profile refuses."""
    flows, family = context.installation.flows, _family_of(context, chosen.base)
    names = [name for _, name in _named_models(options)]
    names += [tag[1] for tag in LORA.finditer(options.traits)]
    for adapter in chosen.identities:
        names += model_requirements.IDENTITY_MODELS[adapter].get(family, ())
    for kind in kinds:
        names += model_requirements.CONTROL_MODELS.get(kind, {}).get(family, (kind,))
    model_requirements.check_terms(flows, [chosen.base], names)


def _control_abilities(kinds: Collection[str]) -> list[str]:
    """Abilities of the base for controls."""
    return [f"hint:{kind}" for kind in sorted(kinds)]


def _needed_controls(style: StyleFile | None, options: schemas.GenerationOptions, family: str) -> set[str]:
    """Controls that the passes of a face need on a family; raises `UserError` (`bad_technique`)."""
    written = None if style is None else style.passes
    passes = Passes() if written is None else Passes(**written.model_dump())
    strengths = {**({} if style is None else style.strengths), **options.strengths}
    passes = with_strengths(passes, {str(name): strength for name, strength in strengths.items()})
    drawn = [name for name in ("face", "ring") if getattr(passes, name) > 0]
    return {kind for name in drawn for kind in control_scales(passes, name, family) if kind in passes.needs}


def _check_controls(context: AppContext, base: str, kinds: Collection[str]) -> None:
    """Raise `UserError` (`bad_technique`) for a control without a ControlNet for the family of the base."""
    family, models = _family_of(context, base), ModelStore(context.installation.flows.models)
    for kind in sorted(kinds):
        if not model_requirements.supports_control(kind, family, models):
            sentence = model_requirements.unsupported_control_message(kind, family, models, f"{base} ({family})")
            raise UserError("bad_technique", sentence)


def _choose(
    context: AppContext,
    options: schemas.GenerationOptions,
    style: StyleFile | None,
    rows: Sequence[IdentityRow],
    missing: Mapping[str, list[str]],
) -> Choice:
    """The requested base and adapters; where they were left open, the first that a live worker has."""
    draw = context.installation.flows.draw
    named: Sequence[str] = options.identities or draw.identities
    loras = _loras_by_base(context, rows)
    if options.base:
        check_base(context, options.base)
        bases = [options.base]
    else:
        lora_bases = list(loras) if not named or "lora" in named else []
        ready = sorted(word.split(":")[1] for word, lines in missing.items() if word.startswith("base:") and not lines)
        bases = list(dict.fromkeys([*lora_bases, draw.base, *ready]))
        bases = [base for base in bases if _suits_base(context, style, base)] or bases
    choices = [_choose_on(base, named, loras.get(base), missing) for base in bases]
    for each in choices:
        if each.identities and all(missing.get(f"base:{each.base}:{adapter}") == [] for adapter in each.identities):
            return each
    return choices[0]


def _loras_by_base(context: AppContext, rows: Sequence[IdentityRow]) -> dict[str, IdentityRow]:
    """The newest LoRA by each base that it draws on: where one draws what is learned on another, it comes before that."""
    found: dict[str, IdentityRow] = {}
    flows = context.installation.flows
    for row in rows:
        pair = model_requirements.pair_of(flows, row.base, ModelStore(flows.models))
        for base in filter(None, (pair.draw_on, row.base, pair.learn_on)):
            found.setdefault(base, row)
    return found


def _choose_on(base: str, named: Sequence[str], lora: IdentityRow | None, missing: Mapping[str, list[str]]) -> Choice:
    """The requested adapters on a base; where none, the person's LoRA beside their photos as references, else the best adapter
    that a live worker has."""
    ready = [adapter for adapter in PREFERRED_ADAPTERS if missing.get(f"base:{base}:{adapter}") == []]
    beside = [adapter for adapter in ready if adapter == REFERENCE]
    adapters = tuple(dict.fromkeys(named or (["lora", *beside] if lora else ready[:1])))
    return Choice(base, adapters, lora if "lora" in adapters else None)


def _family_of(context: AppContext, base: str) -> str:
    return model_requirements.family_of(context.installation.flows, base)


def _suits(style: StyleFile | None, family: str) -> bool:
    """Whether a style may be drawn on a family; an unknown family may suit."""
    return not family or style is None or not style.families or family in style.families


def _suits_base(context: AppContext, style: StyleFile | None, base: str) -> bool:
    """Whether a style may be drawn on a base: a base that was trained to inpaint draws into pictures alone."""
    return _suits(style, _family_of(context, base)) and not (_is_words(style) and _only_inpaints(context, base))


def _is_words(style: StyleFile | None) -> bool:
    return style is not None and style.kind == "text"


def _only_inpaints(context: AppContext, base: str) -> bool:
    return model_requirements.only_inpaints(context.installation.flows, base)


def _check_choice(context: AppContext, style: StyleFile | None, chosen: Choice) -> None:
    """Raise what would keep the worker from drawing, as far as it is known without loading the base."""
    family = _family_of(context, chosen.base)
    if style is not None and not _suits(style, family):
        sentence = f"The style {style.id} is for {', '.join(style.families)}; {chosen.base} is {family}."
        raise UserError("wrong_family", sentence)
    if _is_words(style) and _only_inpaints(context, chosen.base):
        sentence = f"{chosen.base} was made to draw into a part of a picture: choose another base for words."
        raise UserError("bad_technique", sentence)
    for adapter in chosen.identities:
        if not model_requirements.supports_identity(adapter, family):
            families = ", ".join(
                each
                for each in model_requirements.family_names()
                if model_requirements.supports_identity(adapter, each)
            )
            sentence = f"{adapter} draws on a base of the family {families}; {chosen.base} is {family}."
            raise UserError("wrong_family", sentence)
    model_requirements.check_identities(chosen.identities)
    if not chosen.identities:
        raise UserError(
            "not_learned",
            "This style is drawn by a model that does not know this person yet: ask for a training with a base first. "
            "Where an adapter for a base is installed, one photo is enough.",
        )
    if "lora" in chosen.identities and chosen.lora is None:
        sentence = (
            f"This person was not learned on {chosen.base}: train them on it, or name the base they were learned on."
        )
        raise UserError("not_learned", sentence)
