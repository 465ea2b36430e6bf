"""Pictures that a base follows: what a control draws of a photo, shown to the control network of the base's family."""

from collections.abc import Callable, Sequence
from pathlib import Path

import cv2
import numpy as np
from diffusers import ControlNetModel

from pipelines.engines.diffusion import reading
from pipelines.engines.diffusion.calls import Conditions, Guide
from pipelines.engines.diffusion.lease import Lease
from pipelines.models import Models
from portrait.errors import UserError
from portrait.ports import Control
from portrait.techniques import Hint
from portrait.types import Image, Size

NETWORKS = {"canny": "canny", "pose": "openpose", "depth": "depth", "tile": "tile"}
"""What the control network of a kind is called in the model store, before the family."""


def check(hints: Sequence[Hint], family: str, models: Models) -> None:
    """Raise what would keep them from being followed: `UserError` (`bad_technique`), `OperatorError` (`missing_model`)."""
    for hint in hints:
        if hint.kind not in NETWORKS:
            known = ", ".join(NETWORKS)
            raise UserError("bad_technique", f"There is no control {hint.kind!r}. Choose one of: {known}.")
        _folder(hint.kind, family, models)


def here(kind: str, family: str, models: Models) -> bool:
    """Whether a control's network for a family is in the store."""
    return kind in NETWORKS and not models.missing(f"controlnet_{NETWORKS[kind]}_{family}")


def guides(
    lease: Lease, hints: Sequence[Hint], size: Size, models: Models, control: Callable[[str], Control]
) -> Conditions:
    """Each hint's network with its picture, as large as what is drawn."""
    found = []
    for hint in hints:
        folder = _folder(hint.kind, lease.family.name, models)
        network = lease.keep(
            f"control {hint.kind}",
            lambda: reading.network(ControlNetModel, folder, lease.dtype, lease.device),  # noqa: B023
        )
        picture = covering(np.asarray(hint.picture, np.uint8), size)
        shown = picture if hint.drawn else control(hint.kind).draw(picture)
        found.append(Guide(network, shown, hint.scale, hint.start, hint.end))
    told = [{"kind": hint.kind, "scale": hint.scale, "start": hint.start, "end": hint.end} for hint in hints]
    return Conditions(guides=found, facts={"hints": told} if told else {})


def _folder(kind: str, family: str, models: Models) -> Path:
    return models.folder(f"controlnet_{NETWORKS[kind]}_{family}")


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
