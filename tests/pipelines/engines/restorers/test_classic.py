import time

import cv2
import numpy as np
import pytest

from pipelines.engines.restorers.classic import ClassicRestorer, make, measure_defects, status
from pipelines.model_store.store import ModelStore
from pipelines.settings import Settings
from portrait.arrays import Image
from portrait.faces.geometry import scaling_matrix, transform_face
from portrait.faces.skin import skin_mask
from portrait.images.color import from_linear, to_linear
from portrait.photos.quality import face_light, measure_sharpness
from portrait.ports import FaceFinder, Matter
from portrait.types import Face
from tests import fakes, selfies
from tests.benchmarks.plugin import Record
from tests.seams import delta_e

FAULTS = {
    "good": selfies.astronaut,
    "dim": lambda: selfies.lit(selfies.astronaut(), -1),
    "dark": lambda: selfies.lit(selfies.astronaut(), -2.5),
    "grainy": lambda: selfies.noisy(selfies.astronaut(), 5),
    "noisy": lambda: selfies.noisy(selfies.astronaut(), 10),
    "dark and noisy": lambda: selfies.noisy(selfies.lit(selfies.astronaut(), -2), 5),
    "soft": lambda: selfies.blurred(selfies.astronaut(), 0.01),
    "blurred": lambda: selfies.blurred(selfies.astronaut(), 0.02),
    "yellow": lambda: tinted(selfies.astronaut(), 0.7),
    "blue": lambda: tinted(selfies.astronaut(), 1.35),
}


def tinted(image: Image, blue: float) -> Image:
    return from_linear(to_linear(image) * np.array([1, 1, blue], np.float32))


def middle(one: Image, two: Image) -> float:
    return float(np.median(delta_e(one, two)))


def test_it_needs_no_model() -> None:
    settings = Settings()
    models = ModelStore(settings.models)
    assert status(settings, models) == []
    assert isinstance(make(settings, models, None), ClassicRestorer)  # pyrefly: ignore[bad-argument-type] -- it asks for none


@pytest.mark.parametrize("side", [8, 40, 150])
def test_any_picture_passes_even_without_a_mesh(side: int) -> None:
    image = np.random.default_rng(0).integers(0, 256, (side, side + 3, 3), np.uint8)
    out = ClassicRestorer().restore(image, fakes.face(image))
    assert out.shape == image.shape
    assert out.dtype == np.uint8


def test_a_grey_picture_stays_grey() -> None:
    image = np.repeat(fakes.picture(3, 1)[..., 1:2], 3, axis=2)
    out = ClassicRestorer().restore(image, fakes.face(image)).astype(int)
    assert np.abs(out - out.mean(axis=2, keepdims=True)).max() <= 1


def test_a_good_photo_is_nearly_unchanged(astronaut: Image, astronaut_face: Face) -> None:
    out = ClassicRestorer().restore(astronaut, astronaut_face)
    assert out.shape == astronaut.shape
    assert middle(astronaut, out) < 1.0
    need = measure_defects(astronaut, astronaut_face)
    assert need.noise[0, 0] == 0
    assert need.blur == 0


def test_a_dark_photo_gets_its_light(astronaut_face: Face) -> None:
    dark = FAULTS["dark"]()
    out = ClassicRestorer().restore(dark, astronaut_face)
    assert face_light(out, astronaut_face)[0] > face_light(dark, astronaut_face)[0] + 45
    assert face_light(out, astronaut_face)[1] == 0
    assert middle(selfies.astronaut(), out) < 0.5 * middle(selfies.astronaut(), dark)


@pytest.mark.parametrize("sigma", [5, 10, 20])
def test_noise_goes_and_edges_stay(sigma: int, astronaut: Image, astronaut_face: Face) -> None:
    out = ClassicRestorer().restore(selfies.noisy(astronaut, sigma), astronaut_face)
    assert middle(astronaut, out) < 0.6 * middle(astronaut, selfies.noisy(astronaut, sigma))
    assert measure_sharpness(out, astronaut_face) > 0.44


@pytest.mark.parametrize("blue", [0.7, 1.35])
def test_a_cast_is_mostly_removed(blue: float, astronaut: Image, astronaut_face: Face) -> None:
    photo = tinted(astronaut, blue)
    out = ClassicRestorer().restore(photo, astronaut_face)
    skin = skin_mask(astronaut, astronaut_face) > 0.5
    assert middle(astronaut, out) < 0.6 * middle(astronaut, photo)
    assert np.median(delta_e(astronaut, out)[skin]) < 0.6 * np.median(delta_e(astronaut, photo)[skin])


def test_coloured_paper_colours_nobody(astronaut: Image, astronaut_face: Face, matter: Matter) -> None:
    alpha = matter.matte(astronaut, astronaut_face)[..., None]
    skin = skin_mask(astronaut, astronaut_face) > 0.5
    for paper in ((170, 165, 200), (215, 190, 110)):
        photo = np.asarray(astronaut * alpha + np.array(paper) * (1 - alpha), np.uint8)
        out = ClassicRestorer().restore(photo, astronaut_face)
        # 6 and 7 when the paper's colour was taken for the light's.
        assert np.median(delta_e(photo, out)[skin]) < 1.5


def test_a_soft_photo_gets_crisper_without_halos(astronaut: Image, astronaut_face: Face) -> None:
    soft = FAULTS["soft"]()
    out = ClassicRestorer().restore(soft, astronaut_face)
    assert measure_sharpness(out, astronaut_face) > measure_sharpness(soft, astronaut_face) + 0.015
    # A halo is light beyond what the neighbourhood had.
    near = np.ones((7, 7), np.uint8)
    grey, was = (cv2.cvtColor(each, cv2.COLOR_RGB2GRAY).astype(int) for each in (out, soft))
    over = np.maximum(grey - cv2.dilate(was.astype(np.uint8), near), cv2.erode(was.astype(np.uint8), near) - grey)
    assert np.percentile(over, 99.9) < 6


@pytest.mark.parametrize("fault", FAULTS)
def test_likeness_does_not_fall(fault: str, finder: FaceFinder, astronaut_face: Face) -> None:
    photo = FAULTS[fault]()
    clean = astronaut_face.embeddings[finder.space]
    found = finder.faces(photo)[0]
    after = finder.faces(ClassicRestorer().restore(photo, found))[0]
    before, now = (float(np.linalg.norm(each.embeddings[finder.space] - clean)) for each in (found, after))
    # The finder rounds landmarks to whole pixels before it embeds: on a face of 94 pixels that alone moves the vector
    # by up to 0.03 from one picture to the next.
    assert now <= before + 0.05


@pytest.mark.bench
def test_speed(astronaut: Image, astronaut_face: Face, figure: Record) -> None:
    large = selfies.noisy(selfies.large(astronaut, 1024, 1024), 8)
    face = transform_face(astronaut_face, scaling_matrix(2))
    threads = cv2.getNumThreads()
    cv2.setNumThreads(1)
    try:
        ClassicRestorer().restore(large, face)
        start = time.process_time()
        ClassicRestorer().restore(large, face)
        figure("Restoring 1024×1024 px: CPU time", time.process_time() - start, "s", at_most=0.6)
    finally:
        cv2.setNumThreads(threads)
