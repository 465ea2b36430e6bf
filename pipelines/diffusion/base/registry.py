"""The registry of base model families: all of them, and the one of a name, a pipeline or a weight file."""

import importlib
from collections.abc import Callable, Sequence
from pathlib import Path

from pipelines.diffusion.base import families
from pipelines.diffusion.base.family import Family
from portrait.errors import OperatorError

PREFIX = "model.diffusion_model."
"""What ComfyUI writes before the names of a denoiser that is alone in its file."""


def all_families() -> list[Family]:
    """All families."""
    return [
        importlib.import_module(f"pipelines.diffusion.base.families.{name}").FAMILY for name in families.family_names()
    ]


def family_by_name(name: str) -> Family:
    """A family by its name; raises `OperatorError` (`unknown_family`)."""
    return _first(lambda family: family.name == name, f"There is no family {name!r}")


def family_of_folder(folder: Path) -> Family:
    """The family of a hub folder, by what its configurations say; raises `OperatorError` (`unknown_family`)."""
    found, pipeline = families.family_of_folder(folder), families.pipeline_class(folder)
    return _first(lambda family: family.name == found, f"A base for {pipeline} is of no family that is known")


def family_of_weights(names: Sequence[str], configs: Path | None = None) -> Family:
    """The family of a single file, by the names of its weights; raises `OperatorError` (`unknown_family`).

    Of families whose denoisers are built alike it is that of `configs`, the hub folder that goes with the file, or the first.
    """
    known = {name.removeprefix(PREFIX) for name in names}
    named = "" if configs is None else families.family_of_folder(configs)
    for family in all_families():
        if family.name == named and family.detection_key in known:
            return family
    return _first(lambda family: family.detection_key in known, "The file is no base model of a family that is known")


def families_built_alike(family: Family) -> list[str]:
    """Names of the families whose single files cannot be told from those of a family, which is one of them."""
    return [each.name for each in all_families() if each.detection_key == family.detection_key]


def _first(matches: Callable[[Family], bool], otherwise: str) -> Family:
    known = all_families()
    for family in known:
        if matches(family):
            return family
    raise OperatorError("unknown_family", f"{otherwise}: {', '.join(family.name for family in known)}.")
