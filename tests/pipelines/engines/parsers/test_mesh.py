import cv2
import numpy as np
import pytest

from pipelines.engines.parsers import mesh
from pipelines.engines.parsers.mesh import MeshParser
from portrait.errors import EngineError
from portrait.types import Face, Image


def test_regions_of_a_face_are_where_its_colours_are(astronaut: Image, astronaut_face: Face) -> None:
    regions = MeshParser().parse(astronaut, astronaut_face)
    assert set(regions) == {"oval", "skin", "eyes", "brows", "lips", "mouth"}
    assert all(mask.shape == (512, 512) and mask.dtype == np.float32 for mask in regions.values())
    lab = cv2.cvtColor(astronaut, cv2.COLOR_RGB2LAB).astype(float)
    mean = {name: lab[mask > 0.5].mean(axis=0) for name, mask in regions.items()}
    assert mean["lips"][1] > mean["skin"][1] + 3  # redder
    assert mean["eyes"][0] < mean["skin"][0] - 20  # darker
    assert mean["mouth"][2] < mean["skin"][2] - 3  # teeth are less yellow
    for name in ("eyes", "brows", "lips"):
        assert (regions["skin"][regions[name] > 0.99] < 0.02).all()


def test_a_face_without_a_mesh_is_an_error(astronaut: Image, astronaut_face: Face) -> None:
    bare = Face(astronaut_face.box, astronaut_face.landmarks, None, {}, astronaut_face.pose, 1.0)
    with pytest.raises(EngineError, match="mesh"):
        MeshParser().parse(astronaut, bare)


def test_it_needs_no_model() -> None:
    assert isinstance(mesh.make(None, None, None), MeshParser)  # type: ignore[arg-type] -- it reads none of them
    assert mesh.status(None, None) == []  # type: ignore[arg-type]
