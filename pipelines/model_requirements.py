"""Which models telling a diffusion model who, and what to follow, takes, by family of bases; asked without loading a library.

The engines of `identities` and `controls` say the same of themselves, but importing them loads torch into processes that
never draw.
"""

import json
from collections.abc import Mapping

from pipelines.model_store.store import ModelStore
from pipelines.settings import Settings

IDENTITY_MODELS: Mapping[str, Mapping[str, tuple[str, ...]]] = {
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
FAST_MODELS: Mapping[str, tuple[str, ...]] = {"sd15": ("lcm_sd15",), "sdxl": ("lcm_sdxl",)}
"""What lets few steps suffice."""
CONTROL_MODELS: Mapping[str, Mapping[str, tuple[str, ...]]] = {
    "canny": {"sd15": ("controlnet_canny_sd15",), "sdxl": ("controlnet_canny_sdxl",)},
    "pose": {"sd15": ("controlnet_openpose_sd15", "pose"), "sdxl": ("controlnet_openpose_sdxl", "pose")},
    "depth": {
        "sd15": ("controlnet_depth_sd15", "depth_anything"),
        "sdxl": ("controlnet_depth_sdxl", "depth_anything"),
    },
    "tile": {"sd15": ("controlnet_tile_sd15",), "sdxl": ("controlnet_tile_sdxl",)},
    "color": {"sd15": ("controlnet_color_sd15",)},
}
"""By control: the network that follows it, then what sees it in a photo."""
FAMILY_BY_PIPELINE = {"StableDiffusionPipeline": "sd15", "StableDiffusionXLPipeline": "sdxl"}
"""Families by what a hub folder names."""


def family_of(settings: Settings, base: str) -> str:
    """The family of a base of the settings or the store, as its hub folder says; empty where nothing says it."""
    if base not in settings.bases:
        return base if base in FAST_MODELS else ""
    given = settings.bases[base]
    try:
        index = json.loads(((given.configs or given.path) / "model_index.json").read_text("utf-8"))
        return FAMILY_BY_PIPELINE.get(str(index.get("_class_name")), "")
    except (OSError, ValueError, AttributeError):
        return ""


def missing_models(ability: str, family: str, models: ModelStore) -> list[str]:
    """What keeps an identity, or `fast`, from being used on a family, in sentences; empty when it is ready.

    For a family that nobody knows beforehand, what the least demanding one takes.
    """
    known = FAST_MODELS if ability == "fast" else IDENTITY_MODELS[ability]
    if family and family not in known:
        return [f"{ability} was not made for the family {family}: choose another way of telling who, or another base."]
    return _lacks(known, family, models)


def supports_control(kind: str, family: str) -> bool:
    """Whether a network for a control was made for a family; for one that nobody knows beforehand it may have been."""
    return kind in CONTROL_MODELS and (not family or family in CONTROL_MODELS[kind])


def missing_control_models(kind: str, family: str, models: ModelStore) -> list[str]:
    """What keeps a control from being followed on a family, as `missing` says it."""
    if not supports_control(kind, family):
        return [unsupported_control_message(kind, family)]
    return _lacks(CONTROL_MODELS[kind], family, models)


def unsupported_control_message(kind: str, family: str) -> str:
    """That a control cannot be followed on a family, in a sentence."""
    others = [name for name, known in CONTROL_MODELS.items() if family in known]
    return f"There is no network for the control {kind!r} on {family}. It follows {', '.join(others)}."


def _lacks(known: Mapping[str, tuple[str, ...]], family: str, models: ModelStore) -> list[str]:
    lacks = [[line for model in needed for line in models.missing(model)] for needed in _of(known, family)]
    return min(lacks, key=len)


def _of(known: Mapping[str, tuple[str, ...]], family: str) -> list[tuple[str, ...]]:
    return [known[family]] if family else list(known.values())
