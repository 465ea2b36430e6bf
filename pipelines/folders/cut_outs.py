"""The small cut-out of a person in their training set, from which styles are previewed with them.

SET/references/cut_out.webp (colours and matte) and cut_out.json (the face), and the same as half_figure.* where a photo has
room for one. They lie among the references and are not listed in set.json, so that `training_sets.remove_photo` removes them
with any photo.
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import cv2
import numpy as np
import PIL.Image

from pipelines.folders import atomic
from portrait.arrays import read_numbers
from portrait.errors import UserError
from portrait.faces.geometry import scaling_matrix, transform_face
from portrait.studio.composition import USUAL
from portrait.studio.subject import CutOut
from portrait.types import Box, Composition, Face, Pose

SCHEMA = 1
SUITED: Mapping[str, Sequence[Composition]] = {"cut_out": USUAL, "half_figure": ("half_figure",)}
"""By name of a cut-out: the compositions for which its selfie was chosen."""
QUALITY = 90
MAX_SIDE = 1600
"""Longest side in pixels that is written; what `portrait.studio.preview.SIZE` needs is smaller."""


def place(folder: Path, compositions: Sequence[Composition] = ()) -> Path:
    """Where the picture lies, in the folder of a training set, that suits a style with these compositions."""
    return folder / "references" / f"{'half_figure' if compositions[:1] == ('half_figure',) else 'cut_out'}.webp"


def write(cut_out: CutOut, path: Path) -> None:
    """Write a cut-out, its picture at `path`; raises `OperatorError` (`cannot_write`)."""
    front, alpha, face = cut_out.front, cut_out.alpha, cut_out.face
    shrink = MAX_SIDE / max(alpha.shape)
    if shrink < 1:
        front = np.asarray(cv2.resize(front, None, fx=shrink, fy=shrink, interpolation=cv2.INTER_AREA), np.uint8)
        alpha = np.asarray(cv2.resize(alpha, None, fx=shrink, fy=shrink, interpolation=cv2.INTER_AREA), np.float32)
        face = transform_face(face, scaling_matrix(shrink))
    layers = np.dstack([front, np.asarray(np.clip(alpha * 255 + 0.5, 0, 255), np.uint8)])
    # Without the embeddings: a preview compares nobody.
    description = {
        "schema": SCHEMA,
        "box": [face.box.left, face.box.top, face.box.right, face.box.bottom],
        "landmarks": np.round(face.landmarks, 2).tolist(),
        "mesh": None if face.mesh is None else np.round(face.mesh, 2).tolist(),
        "pose": [face.pose.yaw, face.pose.pitch, face.pose.roll],
        "confidence": face.confidence,
        "residue": cut_out.residue,
    }
    with atomic.reported("The cut-out cannot be written"):
        path.parent.mkdir(parents=True, exist_ok=True)
        # `exact`: the colours beyond the matte's edge are those of hair, and are blended at other sizes.
        PIL.Image.fromarray(layers).save(path, "WEBP", quality=QUALITY, method=2, exact=True)
        path.with_suffix(".json").write_text(json.dumps(description), "utf-8")


def read(path: Path) -> CutOut:
    """Read a cut-out by the path of its picture; raises `UserError` (`not_found`) where there is no whole one."""
    try:
        described = json.loads(path.with_suffix(".json").read_text("utf-8"))
        with PIL.Image.open(path, formats=("WEBP",)) as picture:
            known = described["schema"] == SCHEMA and max(picture.size) <= MAX_SIDE
            layers = np.asarray(picture.convert("RGBA")) if known else None
        if layers is None:
            raise _not_found()
        mesh = described["mesh"]
        face = Face(
            Box(*described["box"]),
            read_numbers(described["landmarks"], 2),
            None if mesh is None else read_numbers(mesh, 2),
            {},
            Pose(*described["pose"]),
            described["confidence"],
        )
        alpha = np.asarray(layers[..., 3] / np.float32(255), np.float32)
        front = np.ascontiguousarray(layers[..., :3])
        return CutOut(front, alpha, face, described["residue"], path.name)
    except (OSError, ValueError, KeyError, TypeError, ArithmeticError) as error:
        raise _not_found() from error


def _not_found() -> UserError:
    return UserError("not_found", "There is no cut-out of this person. Have the photos judged again.")
