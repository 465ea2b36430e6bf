"""Pictures that a base follows: what a control draws of a photo, shown to the control network of the base's family."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
from diffusers import ControlNetModel

from pipelines import model_requirements
from pipelines.diffusion.base import checkpoint_files, checksums
from pipelines.diffusion.base.lease import Lease
from pipelines.diffusion.sampling.pipeline_call import Conditioning, ControlNetUnit
from pipelines.model_store.store import ModelStore
from portrait.arrays import Image, Size
from portrait.errors import UserError
from portrait.generation.options import ControlInput, picture_hash
from portrait.ports import ControlPreprocessor

MAX_SCALE = 2.0
"""Largest scale; beyond 1 a network is louder than it was taught to be."""


def check_controls(hints: Sequence[ControlInput], family: str, models: ModelStore) -> None:
    """Raise what would keep them from being followed: `UserError` (`bad_technique`), `OperatorError` (`missing_model`)."""
    for hint in hints:
        if hint.kind not in model_requirements.CONTROL_MODELS:
            known = ", ".join(model_requirements.CONTROL_MODELS)
            raise UserError("bad_technique", f"There is no control {hint.kind!r}. Choose one of: {known}.")
        if not (0 <= hint.scale <= MAX_SCALE and 0 <= hint.start < hint.end <= 1):
            raise UserError(
                "bad_technique", f"A hint has a scale of 0 to {MAX_SCALE:g}, and starts before it ends, 0 to 1."
            )
        if not model_requirements.supports_control(hint.kind, family):
            raise UserError("bad_technique", model_requirements.unsupported_control_message(hint.kind, family))
        _network_folder(hint.kind, family, models)


def has_network(kind: str, family: str, models: ModelStore) -> bool:
    """Whether a control's network for a family is in the store."""
    return model_requirements.supports_control(kind, family) and not models.missing(_network_name(kind, family))


def weight_files(hints: Sequence[ControlInput], family: str, models: ModelStore) -> dict[str, Path]:
    """Their networks' files; see `prints`."""
    kinds = {hint.kind for hint in hints}
    return {
        k: v
        for kind in kinds
        for k, v in checksums.weight_files(_network_name(kind, family), _network_folder(kind, family, models)).items()
    }


def prepare_inputs(
    hints: Sequence[ControlInput], size: Size, control: Callable[[str], ControlPreprocessor]
) -> tuple[ControlInput, ...]:
    """The same as the networks are shown them, as large as what is drawn; raises what a control does.

    Before the base is loaded, and once for all portraits of a request.
    """
    return tuple(
        replace(
            hint,
            picture=_control_image(hint, size, control),
            drawn=True,
            picture_hash=hint.picture_hash or picture_hash(hint.picture),
        )
        for hint in hints
    )


def load_controlnets(
    lease: Lease,
    hints: Sequence[ControlInput],
    size: Size,
    models: ModelStore,
    control: Callable[[str], ControlPreprocessor],
) -> Conditioning:
    """Each hint's network with its picture, as large as what is drawn."""
    found = []
    for hint in hints:
        folder = _network_folder(hint.kind, lease.family.name, models)
        network = lease.get_or_load(
            f"control {hint.kind}",
            lambda: checkpoint_files.load_network(ControlNetModel, folder, lease.dtype, lease.device),  # noqa: B023
        )
        found.append(ControlNetUnit(network, _control_image(hint, size, control), hint.scale, hint.start, hint.end))
    told = [{"kind": hint.kind, "scale": hint.scale, "start": hint.start, "end": hint.end} for hint in hints]
    return Conditioning(controlnets=found, facts={"hints": told} if told else {})


def _control_image(hint: ControlInput, size: Size, control: Callable[[str], ControlPreprocessor]) -> Image:
    picture = crop_to_fill(np.asarray(hint.picture, np.uint8), size)
    return picture if hint.drawn else control(hint.kind).process(picture)


def _network_folder(kind: str, family: str, models: ModelStore) -> Path:
    return models.folder(_network_name(kind, family))


def _network_name(kind: str, family: str) -> str:
    return model_requirements.CONTROL_MODELS[kind][family][0]


def crop_to_fill(image: Image, size: Size) -> Image:
    """Brought to a size, its middle kept."""
    height, width = image.shape[:2]
    if (width, height) == (size.width, size.height):
        return image
    scale = max(size.width / width, size.height / height)
    large = (max(size.width, round(width * scale)), max(size.height, round(height * scale)))
    sized = cv2.resize(image, large, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_LANCZOS4)
    left, top = (large[0] - size.width) // 2, (large[1] - size.height) // 2
    return np.ascontiguousarray(sized[top : top + size.height, left : left + size.width], np.uint8)
