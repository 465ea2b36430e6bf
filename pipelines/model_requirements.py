"""Which models each identity adapter and each control needs, by family of bases; read without loading their libraries.

The engines of `identities` and `controls` report the same in their `status`, but importing them loads torch into processes
that never draw. What a family can do by itself is said by its own file, which is read without being run.
"""

import importlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from pipelines.model_store.manifest import BasePair, Model, ModelKind, read_pair, refusal
from pipelines.model_store.store import ModelStore
from pipelines.settings import Settings
from portrait.errors import OperatorError, UserError
from portrait.generation.abilities import Abilities
from portrait.generation.options import IP_ADAPTERS
from portrait.licences import commercial_use

IDENTITY_MODELS: Mapping[str, Mapping[str, tuple[str, ...]]] = {
    "lora": {},
    "reference": {},
    "instantid": {"sdxl": ("instantid", "antelopev2")},
    "photomaker": {"sdxl": ("photomaker",)},
    "photomaker_v2": {"sdxl": ("photomaker_v2", "buffalo_l")},
    "faceid": {"sd15": ("faceid_sd15", "buffalo_l"), "sdxl": ("faceid_sdxl", "buffalo_l")},
    "faceid_plus": {
        "sd15": ("faceid_plusv2_sd15", "buffalo_l", "clip_vit_h"),
        "sdxl": ("faceid_plusv2_sdxl", "buffalo_l", "clip_vit_h"),
    },
}
"""By identity adapter: the models of the store, for each family that it was trained for; those that need no model have none."""
IMAGE_TOKEN_ADAPTERS = ("instantid", "faceid", "faceid_plus")
"""Identity adapters that bring image tokens; a U-Net takes those of one."""
PROMPT_ADAPTERS = ("photomaker", "photomaker_v2")
"""Identity adapters that bring the encoded prompt."""
FAST_MODELS: Mapping[str, tuple[str, ...]] = {"sd15": ("lcm_sd15",), "sdxl": ("lcm_sdxl",)}
"""Models of the preset `fast`, by family: LCM LoRAs, with which few steps suffice. Families that are not here need none."""
CONTROL_MODELS: Mapping[str, Mapping[str, tuple[str, ...]]] = {
    "canny": {
        "sd15": ("controlnet_canny_sd15",),
        "sdxl": ("controlnet_canny_sdxl",),
        "sd3": ("controlnet_canny_sd3",),
        "zimage": ("controlnet_union_zimage",),
        "flux": ("controlnet_union_flux",),
        "qwenimage": ("controlnet_union_qwenimage",),
    },
    "pose": {
        "sd15": ("controlnet_openpose_sd15", "pose"),
        "sdxl": ("controlnet_openpose_sdxl", "pose"),
        "sd3": ("controlnet_openpose_sd3", "pose"),
        "zimage": ("controlnet_union_zimage", "pose"),
        "flux": ("controlnet_union_flux", "pose"),
        "qwenimage": ("controlnet_union_qwenimage", "pose"),
    },
    "depth": {
        "sd15": ("controlnet_depth_sd15", "depth_anything"),
        "sdxl": ("controlnet_depth_sdxl", "depth_anything"),
        "sd3": ("controlnet_depth_sd3", "depth_anything"),
        "zimage": ("controlnet_union_zimage", "depth_anything"),
        "flux": ("controlnet_union_flux", "depth_anything"),
        "qwenimage": ("controlnet_union_qwenimage", "depth_anything"),
    },
    "tile": {
        "sd15": ("controlnet_tile_sd15",),
        "sdxl": ("controlnet_tile_sdxl",),
        "sd3": ("controlnet_tile_sd3",),
        "flux": ("controlnet_union_flux",),
    },
    "color": {"sd15": ("controlnet_color_sd15",)},
    "softedge": {
        "sd15": ("controlnet_softedge_sd15", "hed"),
        "sdxl": ("controlnet_softedge_sdxl", "hed"),
        "zimage": ("controlnet_union_zimage", "hed"),
        "qwenimage": ("controlnet_union_qwenimage", "hed"),
    },
    "segmentation": {"sd15": ("controlnet_segmentation_sd15", "upernet")},
}
"""By control: its ControlNet, then the model of the preprocessor, where there is one."""
IP_ADAPTER_MODELS: Mapping[str, Mapping[str, tuple[str, ...]]] = {
    name: {family: (f"{name}_{family}", "clip_vit_h") for family in ("sd15", "sdxl")} for name in IP_ADAPTERS
}
"""By look adapter: its IP-Adapter, then the encoder with which it sees the picture."""
INPAINT_PIPELINES = ("StableDiffusionInpaintPipeline", "StableDiffusionXLInpaintPipeline")
"""Pipeline classes of bases that were trained to inpaint: their U-Nets take nine channels."""
FAMILIES_PACKAGE = "pipelines.diffusion.base.families"
"""Found by its name, as engines are: what draws knows this module, and not the other way round."""
UNKNOWN_REFERENCES = (
    "Whether this base draws from photos of people is not known: name a hub folder of its family as its `configs`."
)
"""Of a base whose family is not known before it is loaded."""
NO_MODELS = ("", "base", "learned", "classic", "fuse", "skin", "swap", "tone", "upscale2", "upscale4")
"""Words that stand where recipes name models and are none: parts of a base, what was learned of people, steps that compute."""
OPTIONS = ("sentences", "prompt_weights", "clip_skip", "freeu", "skip_layer_guidance", "schedulers")
"""What of `Abilities` decides on the options of a drawing."""


def check_identities(names: Sequence[str]) -> None:
    """Raise `UserError` (`bad_technique`) for identity adapters of which one would take the place of another."""
    for kind in (IMAGE_TOKEN_ADAPTERS, PROMPT_ADAPTERS):
        several = [name for name in names if name in kind]
        if len(several) > 1:
            raise UserError("bad_technique", f"{' and '.join(several)} do not go together: choose one of them.")


def family_names() -> list[str]:
    """Return the names of the families of base models."""
    return _families().family_names()


def family_abilities(family: str) -> Abilities:
    """Return what the bases of a family do beyond drawing words; of an unknown one that is not told."""
    return _families().family_abilities(family) if family in family_names() else Abilities()


def ability_words(family: str) -> list[str]:
    """Return the words for what the bases of a family do by themselves; for an unknown (empty) family all of `OPTIONS`."""
    able = family_abilities(family)
    options = [f"option:{name}" for name in OPTIONS if not family or getattr(able, name)]
    return ["instruct", *options] if able.instructions else options


def first_bases(models: ModelStore) -> list[str]:
    """Return the first base of each family that ships with this program, in the order of the manifest."""
    first: dict[str, str] = {}
    for model in models.of_kind("base"):
        if not model.own and model.family:
            first.setdefault(model.family, model.name)
    return list(first.values())


def check_model_family(family: str) -> None:
    """Raise `OperatorError` (`bad_model`) for what no model can be made for."""
    known = family_names()
    if family and family not in known:
        raise OperatorError("bad_model", f"There is no family {family!r}. Choose one of: {', '.join(known)}.")


def _families() -> Any:
    return importlib.import_module(FAMILIES_PACKAGE)


def family_of(settings: Settings, base: str) -> str:
    """Return the family of a base of the settings or the store, by its hub folder; empty where it is not known."""
    if base not in settings.bases:
        stored = _stored_base(base, ModelStore(settings.models))
        return stored.family if stored is not None else ""
    folder = _hub_folder(settings, base)
    return "" if folder is None else _families().family_of_folder(folder)


def is_distilled(settings: Settings, base: str, models: ModelStore) -> bool:
    """Return whether a base of the settings or the store draws in few steps by itself, whatever the preset."""
    if base in settings.bases:
        return settings.bases[base].facts.steps > 0
    stored = _stored_base(base, models)
    return stored is not None and bool(stored.facts.get("steps"))


def pair_of(settings: Settings, base: str, models: ModelStore) -> BasePair:
    """Return with which other bases a base of the settings or the store belongs together."""
    if base in settings.bases:
        location = settings.bases[base]
        return BasePair(location.learn_on, location.draw_on)
    stored = _stored_base(base, models)
    return read_pair(stored.facts) if stored is not None else BasePair()


def _stored_base(base: str, models: ModelStore) -> Model | None:
    return next((model for model in models.of_kind("base") if model.name == base), None)


def vaes(family: str, models: ModelStore) -> list[str]:
    """Return the VAEs that are here for a family, by name; for an unknown (empty) family all that are here."""
    return [model.name for model in _here("vae", family, models)]


def few_step_loras(family: str, models: ModelStore) -> list[str]:
    """Return the LoRAs of few steps that are here for a family; see `vaes`."""
    return [model.name for model in _here("lora", family, models) if model.facts.get("steps")]


def _here(kind: ModelKind, family: str, models: ModelStore) -> list[Model]:
    known = [model for model in models.of_kind(kind) if not family or model.family in ("", family)]
    return [model for model in known if not models.missing(model.name)]


def only_inpaints(settings: Settings, base: str) -> bool:
    """Return whether a base of the settings or the store was trained to inpaint, so that it draws into pictures alone."""
    folder = _hub_folder(settings, base)
    return folder is not None and _families().pipeline_class(folder) in INPAINT_PIPELINES


def _hub_folder(settings: Settings, base: str) -> Path | None:
    """Where the configurations of a base of the settings or the store lie; None where it is not here."""
    models = ModelStore(settings.models)
    if base in settings.bases:
        return settings.bases[base].configs or settings.bases[base].path
    return models.folder(base) if _stored_base(base, models) is not None and not models.missing(base) else None


def missing_models(ability: str, family: str, models: ModelStore) -> list[str]:
    """Return what keeps an identity adapter, or `fast`, from being used on a family, in sentences; empty when it is ready.

    For an unknown (empty) family, what is missing for the family that lacks least.
    """
    if ability == "fast":
        return _fewest_missing(FAST_MODELS, family, models) if not family or family in FAST_MODELS else []
    table = IDENTITY_MODELS[ability]
    if ability == "reference" and not family:
        return [UNKNOWN_REFERENCES]
    if not supports_identity(ability, family):
        return [f"{ability} was not made for the family {family}: choose another way of telling who, or another base."]
    return _fewest_missing(table, family, models) if table else []


def supports_identity(adapter: str, family: str) -> bool:
    """Return whether people are told by an adapter on a family; on an unknown (empty) family they may be."""
    if adapter == "reference":
        return not family or family_abilities(family).references > 0
    return not family or not IDENTITY_MODELS[adapter] or family in IDENTITY_MODELS[adapter]


def controls(family: str, models: ModelStore) -> list[str]:
    """Return the controls of a family, by name: those with a preprocessor, and ControlNets of one's own that are here.

    For an unknown (empty) family all of them.
    """
    shipped = [kind for kind, table in CONTROL_MODELS.items() if not family or family in table]
    return [*shipped, *(model.name for model in _here("controlnet", family, models) if model.own)]


def control_network(kind: str, family: str) -> str:
    """Return the model of a control's network for a family: a ControlNet of one's own is called as its model is."""
    return CONTROL_MODELS[kind][family][0] if kind in CONTROL_MODELS else kind


def supports_control(kind: str, family: str, models: ModelStore) -> bool:
    """Return whether a control has a ControlNet for a family; for an unknown (empty) family it may have."""
    if kind in CONTROL_MODELS:
        return not family or family in CONTROL_MODELS[kind]
    return kind in controls(family, models)


def missing_control_models(kind: str, family: str, models: ModelStore) -> list[str]:
    """Return what keeps a control from being used on a family, in sentences; see `missing_models`."""
    if not supports_control(kind, family, models):
        return [unsupported_control_message(kind, family, models)]
    return _fewest_missing(CONTROL_MODELS[kind], family, models) if kind in CONTROL_MODELS else models.missing(kind)


def ip_adapter_models(adapter: str, family: str, models: ModelStore, base: str = "") -> tuple[str, ...]:
    """Return the models of a look adapter for a family: its IP-Adapter, and the encoder with which it sees the picture.

    Raises `UserError` (`bad_technique`) for what is no look adapter, or one of another family, which is called `base`.
    """
    if adapter in IP_ADAPTER_MODELS:
        return _of_family(adapter, family, base or family)
    own = {model.name: model for model in models.of_kind("ip-adapter") if model.own}
    if adapter not in own:
        known = ", ".join([*IP_ADAPTER_MODELS, *own])
        raise UserError("bad_technique", f"There is no adapter {adapter!r} for a look. Choose one of: {known}.")
    if own[adapter].family not in ("", family):
        raise UserError("bad_technique", f"{adapter} gives a look on {own[adapter].family}, not on {base or family}.")
    return (adapter, "clip_vit_h")


def ip_adapters(family: str, models: ModelStore) -> list[str]:
    """Return the names of all look adapters for a family, here or not; of IP-Adapters of one's own those that are here."""
    shipped = [name for name, table in IP_ADAPTER_MODELS.items() if not family or family in table]
    return [*shipped, *(model.name for model in _here("ip-adapter", family, models) if model.own)]


def missing_ip_adapter_models(adapter: str, family: str, models: ModelStore) -> list[str]:
    """Return what keeps a look adapter from being used on a family, in sentences; see `missing_models`."""
    if adapter in IP_ADAPTER_MODELS:
        return _fewest_missing(IP_ADAPTER_MODELS[adapter], family, models)
    return [line for model in (adapter, "clip_vit_h") for line in models.missing(model)]


def unsupported_control_message(kind: str, family: str, models: ModelStore, base: str = "") -> str:
    """Return the sentence for a control that has no ControlNet for a family, or for a base of it by its name."""
    others = ", ".join(controls(family, models))
    advice = f"It follows {others}." if others else "It follows none: leave the control out, or choose another base."
    return f"There is no network for the control {kind!r} on {base or family}. {advice}"


def refused_base(settings: Settings, base: str, models: ModelStore) -> str:
    """Return why the profile of the installation refuses a base, in a sentence; empty where it does not.

    A base of the settings is held to its `licence` there; a folder or file that a request names has no terms. Of what is
    nowhere here nothing is said.
    """
    if settings.profile != "commercial":
        return ""
    stored = _stored_base(base, models)
    if base not in settings.bases and stored is not None:
        return "" if models.is_allowed(stored) else refusal(stored)
    if base not in settings.bases and not Path(base).exists():
        return ""
    licence = settings.bases[base].licence if base in settings.bases else ""
    if commercial_use(licence, settings.models.commercial_licences) == "yes":
        return ""
    return (
        f"The licence of the base {base} ({licence or 'not stated'}) does not plainly allow commercial use, and the profile of "
        f"this installation is commercial: take sdxl or flux2_klein instead, or state its licence in bases.{base}.licence."
    )


def check_terms(settings: Settings, bases: Iterable[str], names: Iterable[str]) -> None:
    """Raise `UserError` (`licence_refused`) where the profile refuses one of these bases or other models of the store."""
    models = ModelStore(settings.models)
    refused = {each: refused_base(settings, each, models) for each in bases}
    refused |= {model.name: refusal(model) for model in models.refused(names)}
    fields = [{"where": name, "code": "", "message": sentence} for name, sentence in refused.items() if sentence]
    if fields:
        raise UserError("licence_refused", fields[0]["message"], {"fields": fields})


def models_of_recipe(recipe: Mapping[str, Any]) -> list[str]:
    """Return the names of what drew a portrait, by its recipe: models of the store, and bases that lie elsewhere.

    What found and measured faces is not among them, nor what was learned of the person.
    """
    found = [*_named(recipe.get("drawn", {})), *(str(step["name"]) for step in recipe.get("refiners", ()))]
    return [name for name in dict.fromkeys(found) if name not in NO_MODELS]


def _named(facts: Any) -> Iterator[str]:
    """The models in the facts of a drawing, at whatever depth: a template has those of each face and pass."""
    if isinstance(facts, Mapping):
        for name, each in facts.items():
            if name in ("base", "vae", "few_steps") and isinstance(each, str):
                yield each
            elif name == "matte" and isinstance(each, str):
                yield each.partition(" ")[0]
            elif name in ("models", "looks") and isinstance(each, Mapping):
                yield from (str(file).partition("/")[0] for file in each)
            elif name == "embeddings":
                yield from each
            else:
                yield from _named(each)
            if name == "faceswap" and isinstance(each, Mapping) and each.get("engine"):
                yield str(each["engine"])
    elif isinstance(facts, list | tuple):
        for each in facts:
            yield from _named(each)


def _of_family(adapter: str, family: str, named: str) -> tuple[str, ...]:
    table = IP_ADAPTER_MODELS[adapter]
    if family not in table:
        made = " and ".join(table)
        raise UserError("bad_technique", f"{adapter} gives a look on {made}, not on {named}: leave the look out.")
    return table[family]


def _fewest_missing(table: Mapping[str, tuple[str, ...]], family: str, models: ModelStore) -> list[str]:
    missing = [[line for model in needed for line in models.missing(model)] for needed in _requirements(table, family)]
    return min(missing, key=len)


def _requirements(table: Mapping[str, tuple[str, ...]], family: str) -> list[tuple[str, ...]]:
    return [table[family]] if family else list(table.values())
