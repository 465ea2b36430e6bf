"""What sticks to a cut-out, on a drawn head before a wall; photos are in tests/benchmarks/test_mattes.py."""

import cv2
import numpy as np
import pytest

from portrait.arrays import Image, Mask
from portrait.images.cut_out import measure_residue
from portrait.types import Face
from tests import fakes

WALL, HAIR, SKIN, COAT, LAMP = (190, 186, 178), (70, 48, 34), (214, 170, 146), (40, 60, 110), (250, 240, 200)


@pytest.fixture(scope="module")
def cut_out() -> tuple[Image, Mask, Face]:
    """A head with hair and a coat before a wall, its matte, and the face."""
    image = np.full((400, 400, 3), WALL, np.uint8)
    alpha = np.zeros((400, 400), np.uint8)
    face = fakes.face(image, share=0.25)
    for picture, colours in ((image, (COAT, HAIR, SKIN)), (alpha, (255, 255, 255))):
        cv2.ellipse(picture, (200, 400), (140, 140), 0, 0, 360, colours[0], -1)
        cv2.ellipse(picture, (200, 180), (75, 95), 0, 0, 360, colours[1], -1)
        cv2.ellipse(picture, (200, 205), (42, 55), 0, 0, 360, colours[2], -1)
    noise = np.random.default_rng(0).normal(0, 4, image.shape)
    soft = np.asarray(cv2.GaussianBlur(alpha, (0, 0), 2) / 255, np.float32)
    return np.clip(image + noise, 0, 255).astype(np.uint8), soft, face


def with_piece(cut_out: tuple[Image, Mask, Face], colour: tuple[int, int, int], wide: int = 70) -> float:
    """The residue with a piece of `wide` pixels, 100 being a face, beside the head."""
    image, alpha = cut_out[0].copy(), cut_out[1].copy()
    cv2.rectangle(image, (265, 110), (265 + wide, 180), colour, -1)
    alpha[110:180, 265 : 265 + wide] = 1
    return measure_residue(image, alpha, cut_out[2])


def test_a_clean_cut_out_has_none(cut_out: tuple[Image, Mask, Face]) -> None:
    assert measure_residue(*cut_out) < 0.05


def test_a_piece_of_wall_or_a_lamp_beside_the_head_is_found(cut_out: tuple[Image, Mask, Face]) -> None:
    assert with_piece(cut_out, WALL) > 0.5
    assert with_piece(cut_out, LAMP) > 0.5


def test_more_hair_is_no_piece(cut_out: tuple[Image, Mask, Face]) -> None:
    assert with_piece(cut_out, HAIR, 40) < 0.05


def test_without_anything_in_the_matte_there_is_none(cut_out: tuple[Image, Mask, Face]) -> None:
    assert measure_residue(cut_out[0], np.zeros_like(cut_out[1]), cut_out[2]) == 0
