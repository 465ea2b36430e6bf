"""Where a picture shows a person's skin; clothes, walls and hair beside it are in the painter's tests."""

import numpy as np

from portrait.fusion.body_skin import body_skin_mask
from portrait.fusion.occluders import along_face
from portrait.ports import Matter
from portrait.types import Face
from tests import dressed, selfies


def test_a_high_forehead_is_skin_whether_lighter_or_darker_than_the_hair(
    group_faces: list[Face], matter: Matter
) -> None:
    image, face = selfies.group(), group_faces[5]
    assert face.mesh is not None
    truth = (dressed.skin_of(image, face) > 0.9) & (along_face(face.mesh, image.shape[:2]) < -0.3)
    for depth in (0.8, 0.0):
        mask = body_skin_mask(dressed.toned(image, face, depth), face, group_faces[:5], matter.silhouette)
        assert np.percentile(mask[truth], 10) > 0.7, f"depth {depth}"
