"""Which models each identity adapter and each control needs, by family of bases; read without loading their libraries.

The engines of `identities` and `controls` report the same in their `status`, but importing them loads torch into processes
that never draw.
"""

import json
from collections.abc import Mapping, Sequence

from pipelines.model_store.store import ModelStore
from pipelines.settings import Settings
from portrait.errors import UserError

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
"""By identity adapter: the models of the store, for each family that it was trained for."""
IMAGE_TOKEN_ADAPTERS = ("instantid", "faceid", "faceid_plus")
"""Identity adapters that bring image tokens; a U-Net takes those of one."""
PROMPT_ADAPTERS = ("photomaker", "photomaker_v2")
"""Identity adapters that bring the encoded prompt."""
FAST_MODELS: Mapping[str, tuple[str, ...]] = {"sd15": ("lcm_sd15",), "sdxl": ("lcm_sdxl",)}
"""Models of the preset `fast`, by family: LCM LoRAs, with which few steps suffice."""
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
"""By control: its ControlNet, then the model of the preprocessor, where there is one."""
FAMILY_BY_PIPELINE = {"StableDiffusionPipeline": "sd15", "StableDiffusionXLPipeline": "sdxl"}
"""Family by the pipeline class in a hub folder's `model_index.json`."""


def check_identities(names: Sequence[str]) -> None:
    """Raise `UserError` (`bad_technique`) for identity adapters of which one would take the place of another."""
    for kind in (IMAGE_TOKEN_ADAPTERS, PROMPT_ADAPTERS):
        several = [name for name in names if name in kind]
        if len(several) > 1:
            raise UserError("bad_technique", f"{' and '.join(several)} do not go together: choose one of them.")


def family_of(settings: Settings, base: str) -> str:
    """Return the family of a base of the settings or the store, by its hub folder; empty where it is not known."""
    if base not in settings.bases:
        return base if base in FAST_MODELS else ""
    location = settings.bases[base]
    try:
        index = json.loads(((location.configs or location.path) / "model_index.json").read_text("utf-8"))
        return FAMILY_BY_PIPELINE.get(str(index.get("_class_name")), "")
    except (OSError, ValueError, AttributeError):
        return ""


def missing_models(ability: str, family: str, models: ModelStore) -> list[str]:
    """Return what keeps an identity adapter, or `fast`, from being used on a family, in sentences; empty when it is ready.

    For an unknown (empty) family, what is missing for the family that lacks least.
    """
    table = FAST_MODELS if ability == "fast" else IDENTITY_MODELS[ability]
    if family and family not in table:
        return [f"{ability} was not made for the family {family}: choose another way of telling who, or another base."]
    return _fewest_missing(table, family, models)


def supports_control(kind: str, family: str) -> bool:
    """Return whether a control has a ControlNet for a family; for an unknown (empty) family it may have."""
    return kind in CONTROL_MODELS and (not family or family in CONTROL_MODELS[kind])


def missing_control_models(kind: str, family: str, models: ModelStore) -> list[str]:
    """Return what keeps a control from being used on a family, in sentences; see `missing_models`."""
    if not supports_control(kind, family):
        return [unsupported_control_message(kind, family)]
    return _fewest_missing(CONTROL_MODELS[kind], family, models)


def unsupported_control_message(kind: str, family: str) -> str:
    """Return the sentence for a control that has no ControlNet for a family."""
    others = [name for name, table in CONTROL_MODELS.items() if family in table]
    return f"There is no network for the control {kind!r} on {family}. It follows {', '.join(others)}."


def _fewest_missing(table: Mapping[str, tuple[str, ...]], family: str, models: ModelStore) -> list[str]:
    missing = [[line for model in needed for line in models.missing(model)] for needed in _requirements(table, family)]
    return min(missing, key=len)


def _requirements(table: Mapping[str, tuple[str, ...]], family: str) -> list[tuple[str, ...]]:
    return [table[family]] if family else list(table.values())
