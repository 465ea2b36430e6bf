"""ControlNet: control images made from photos, and the control networks of the base's family that follow them."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from diffusers import ControlNetModel

from pipelines import model_requirements
from pipelines.diffusion.base import checksums
from pipelines.diffusion.base.lease import Lease
from pipelines.diffusion.sampling.pipeline_call import Conditioning, ControlNetUnit
from pipelines.model_store.store import ModelStore
from portrait.arrays import Image, Size
from portrait.errors import UserError
from portrait.generation.options import ControlInput, picture_hash
from portrait.images.resize import crop_to_fill
from portrait.ports import ControlPreprocessor

MAX_SCALE = 2.0
"""Largest scale; beyond 1 a network counts more than it did in its training."""


def check_controls(inputs: Sequence[ControlInput], family: str, models: ModelStore) -> None:
    """Raise what keeps inputs from being used: `UserError` (`bad_technique`), `OperatorError` (`missing_model`)."""
    for each in inputs:
        if each.kind not in model_requirements.CONTROL_MODELS:
            known = ", ".join(model_requirements.CONTROL_MODELS)
            raise UserError("bad_technique", f"There is no control {each.kind!r}. Choose one of: {known}.")
        if not (0 <= each.scale <= MAX_SCALE and 0 <= each.start < each.end <= 1):
            raise UserError(
                "bad_technique", f"A hint has a scale of 0 to {MAX_SCALE:g}, and starts before it ends, 0 to 1."
            )
        if not model_requirements.supports_control(each.kind, family):
            raise UserError("bad_technique", model_requirements.unsupported_control_message(each.kind, family))
        _network_folder(each.kind, family, models)


def check_windows(inputs: Sequence[ControlInput], steps: int) -> None:
    """Raise `UserError` (`bad_technique`) for an input that acts in none of the steps."""
    for each in inputs:
        if not any(number / steps >= each.start and (number + 1) / steps <= each.end for number in range(steps)):
            raise UserError(
                "bad_technique",
                f"The hint {each.kind} from {each.start:g} to {each.end:g} holds none of the {steps} steps. "
                "Have it begin earlier or end later, or ask for more steps.",
            )


def has_network(kind: str, family: str, models: ModelStore) -> bool:
    """Whether a control's network for a family is in the store."""
    return model_requirements.supports_control(kind, family) and not models.missing(_network_name(kind, family))


def weight_files(inputs: Sequence[ControlInput], family: str, models: ModelStore) -> dict[str, Path]:
    """The weight files of their networks; see `checksums.weight_files`."""
    found: dict[str, Path] = {}
    for kind in {each.kind for each in inputs}:
        found |= checksums.weight_files(_network_name(kind, family), _network_folder(kind, family, models))
    return found


def prepare_inputs(
    inputs: Sequence[ControlInput], size: Size, control: Callable[[str], ControlPreprocessor]
) -> tuple[ControlInput, ...]:
    """Inputs whose pictures are control images at the generated size; raises what a preprocessor does.

    Done before the base is loaded, and once for all portraits of a request.
    """
    return tuple(
        replace(
            each,
            picture=_control_image(each, size, control),
            preprocessed=True,
            picture_hash=each.picture_hash or picture_hash(each.picture),
        )
        for each in inputs
    )


def load_controlnets(
    lease: Lease,
    inputs: Sequence[ControlInput],
    size: Size,
    models: ModelStore,
    control: Callable[[str], ControlPreprocessor],
) -> Conditioning:
    """The network of each input with its control image at the generated size."""
    units = []
    for each in inputs:
        folder = _network_folder(each.kind, lease.family.name, models)
        network = lease.load_network(f"control {each.kind}", ControlNetModel, folder)
        units.append(ControlNetUnit(network, _control_image(each, size, control), each.scale, each.start, each.end))
    recipe = [{"kind": each.kind, "scale": each.scale, "start": each.start, "end": each.end} for each in inputs]
    return Conditioning(controlnets=units, facts={"hints": recipe} if recipe else {})


def _control_image(each: ControlInput, size: Size, control: Callable[[str], ControlPreprocessor]) -> Image:
    picture = crop_to_fill(np.asarray(each.picture, np.uint8), size)
    return picture if each.preprocessed else control(each.kind).process(picture)


def _network_folder(kind: str, family: str, models: ModelStore) -> Path:
    return models.folder(_network_name(kind, family))


def _network_name(kind: str, family: str) -> str:
    return model_requirements.CONTROL_MODELS[kind][family][0]
