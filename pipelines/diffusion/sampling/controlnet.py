"""Pictures that a base follows: what a control draws of a photo, shown to the control network of the base's family."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
from diffusers import ControlNetModel

from pipelines import model_requirements
from pipelines.diffusion.base import checksums
from pipelines.diffusion.base.lease import Lease
from pipelines.diffusion.sampling import adapters
from pipelines.diffusion.sampling.pipeline_call import Conditions, Guide
from pipelines.model_store.store import Models
from portrait.arrays import Image, Size
from portrait.errors import UserError
from portrait.generation.options import Hint, mark
from portrait.ports import Control

MOST = 2.0
"""Largest scale; beyond 1 a network is louder than it was taught to be."""


def check(hints: Sequence[Hint], family: str, models: Models) -> None:
    """Raise what would keep them from being followed: `UserError` (`bad_technique`), `OperatorError` (`missing_model`)."""
    for hint in hints:
        if hint.kind not in model_requirements.CONTROLS:
            known = ", ".join(model_requirements.CONTROLS)
            raise UserError("bad_technique", f"There is no control {hint.kind!r}. Choose one of: {known}.")
        if not (0 <= hint.scale <= MOST and 0 <= hint.start < hint.end <= 1):
            raise UserError("bad_technique", f"A hint has a scale of 0 to {MOST:g}, and starts before it ends, 0 to 1.")
        if not model_requirements.followable(hint.kind, family):
            raise UserError("bad_technique", model_requirements.no_network(hint.kind, family))
        _folder(hint.kind, family, models)


def here(kind: str, family: str, models: Models) -> bool:
    """Whether a control's network for a family is in the store."""
    return model_requirements.followable(kind, family) and not models.missing(_name(kind, family))


def files(hints: Sequence[Hint], family: str, models: Models) -> dict[str, Path]:
    """Their networks' files; see `prints`."""
    kinds = {hint.kind for hint in hints}
    return {
        k: v for kind in kinds for k, v in checksums.named(_name(kind, family), _folder(kind, family, models)).items()
    }


def drawn(hints: Sequence[Hint], size: Size, control: Callable[[str], Control]) -> tuple[Hint, ...]:
    """The same as the networks are shown them, as large as what is drawn; raises what a control does.

    Before the base is loaded, and once for all portraits of a request.
    """
    return tuple(
        replace(hint, picture=_shown(hint, size, control), drawn=True, mark=hint.mark or mark(hint.picture))
        for hint in hints
    )


def guides(
    lease: Lease, hints: Sequence[Hint], size: Size, models: Models, control: Callable[[str], Control]
) -> Conditions:
    """Each hint's network with its picture, as large as what is drawn."""
    found = []
    for hint in hints:
        folder = _folder(hint.kind, lease.family.name, models)
        network = lease.keep(
            f"control {hint.kind}",
            lambda: adapters.network(ControlNetModel, folder, lease.dtype, lease.device),  # noqa: B023
        )
        found.append(Guide(network, _shown(hint, size, control), hint.scale, hint.start, hint.end))
    told = [{"kind": hint.kind, "scale": hint.scale, "start": hint.start, "end": hint.end} for hint in hints]
    return Conditions(guides=found, facts={"hints": told} if told else {})


def _shown(hint: Hint, size: Size, control: Callable[[str], Control]) -> Image:
    picture = covering(np.asarray(hint.picture, np.uint8), size)
    return picture if hint.drawn else control(hint.kind).draw(picture)


def _folder(kind: str, family: str, models: Models) -> Path:
    return models.folder(_name(kind, family))


def _name(kind: str, family: str) -> str:
    return model_requirements.CONTROLS[kind][family][0]


def covering(image: Image, size: Size) -> Image:
    """Brought to a size, its middle kept."""
    height, width = image.shape[:2]
    if (width, height) == (size.width, size.height):
        return image
    scale = max(size.width / width, size.height / height)
    large = (max(size.width, round(width * scale)), max(size.height, round(height * scale)))
    sized = cv2.resize(image, large, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_LANCZOS4)
    left, top = (large[0] - size.width) // 2, (large[1] - size.height) // 2
    return np.ascontiguousarray(sized[top : top + size.height, left : left + size.width], np.uint8)
