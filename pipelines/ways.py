"""Which models each way of telling a diffusion model who takes, by family of bases; asked without loading a library.

The engines of `identities` say the same of themselves, but importing them loads torch into processes that never draw.
"""

import json
from collections.abc import Mapping

from pipelines.models import Models
from pipelines.settings import Settings

MODELS: Mapping[str, Mapping[str, tuple[str, ...]]] = {
    "lora": {"sd15": (), "sdxl": ()},
    "instantid": {"sdxl": ("instantid", "antelopev2")},
    "photomaker": {"sdxl": ("photomaker",)},
    "photomaker_v2": {"sdxl": ("photomaker_v2", "buffalo_l")},
    "faceid": {"sd15": ("faceid_sd15", "buffalo_l"), "sdxl": ("faceid_sdxl", "buffalo_l")},
    "faceid_plus": {
        "sd15": ("faceid_plusv2_sd15", "buffalo_l", "clip_vit_h"),
        "sdxl": ("faceid_plusv2_sdxl", "buffalo_l", "clip_vit_h"),
    },
}
"""By identity: the models of the store, for each family that it was made for."""
FAST: Mapping[str, tuple[str, ...]] = {"sd15": ("lcm_sd15",), "sdxl": ("lcm_sdxl",)}
"""What lets few steps suffice."""
PIPELINES = {"StableDiffusionPipeline": "sd15", "StableDiffusionXLPipeline": "sdxl"}
"""Families by what a hub folder names."""


def family_of(settings: Settings, base: str) -> str:
    """The family of a base of the settings or the store, as its hub folder says; empty where nothing says it."""
    if base not in settings.bases:
        return base if base in FAST else ""
    given = settings.bases[base]
    try:
        index = json.loads(((given.configs or given.path) / "model_index.json").read_text("utf-8"))
        return PIPELINES.get(str(index.get("_class_name")), "")
    except (OSError, ValueError, AttributeError):
        return ""


def missing(way: str, family: str, models: Models) -> list[str]:
    """What keeps an identity, or `fast`, from being used on a family, in sentences; empty when it is ready.

    For a family that nobody knows beforehand, what the least demanding one takes.
    """
    known = FAST if way == "fast" else MODELS[way]
    if family and family not in known:
        return [f"{way} was not made for the family {family}: choose another way of telling who, or another base."]
    lacks = [[line for model in needed for line in models.missing(model)] for needed in _of(known, family)]
    return min(lacks, key=len)


def _of(known: Mapping[str, tuple[str, ...]], family: str) -> list[tuple[str, ...]]:
    return [known[family]] if family else list(known.values())
