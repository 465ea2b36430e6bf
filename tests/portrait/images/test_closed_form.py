"""Closed-form matting: its equations against a plain computation, and what is left alone."""

import numpy as np
from numpy.typing import NDArray

from portrait.arrays import Image, Mask
from portrait.images.closed_form import EPSILON, solve_closed_form
from portrait.images.masks import KNOWN_IN, KNOWN_OUT, UNKNOWN


def photo(height: int = 14, width: int = 17) -> tuple[Image, Mask]:
    """Noise, and a trimap: the person on the left, the room on the right, both known at the borders too."""
    image = np.random.default_rng(3).integers(0, 256, (height, width, 3), np.uint8)
    known = np.full((height, width), UNKNOWN, np.float32)
    known[:, :5], known[:, 11:] = KNOWN_IN, KNOWN_OUT
    return image, known


def laplacian(image: Image) -> NDArray[np.float64]:
    """The matting Laplacian of a whole picture, window by window, as the paper has it."""
    height, width = image.shape[:2]
    out = np.zeros((height * width,) * 2)
    for row in range(1, height - 1):
        for column in range(1, width - 1):
            places = [(row + y) * width + column + x for y in (-1, 0, 1) for x in (-1, 0, 1)]
            colours = image.reshape(-1, 3)[places] / 255
            off = colours - colours.mean(axis=0)
            inverse = np.linalg.inv(off.T @ off / 9 + np.eye(3) * EPSILON / 9)
            out[np.ix_(places, places)] += np.eye(9) - (1 + off @ inverse @ off.T) / 9
    return out


def test_the_unknown_pixels_are_those_of_the_papers_equations() -> None:
    image, known = photo()
    prior = np.random.default_rng(5).random(known.shape).astype(np.float32)
    weight = np.full(known.shape, 0.05, np.float32)
    matrix, free = laplacian(image), known.ravel() == UNKNOWN
    target = 0.05 * prior.ravel()[free] - matrix[free][:, ~free] @ (known.ravel()[~free] == KNOWN_IN)
    wanted = np.linalg.solve(matrix[free][:, free] + 0.05 * np.eye(int(free.sum())), target)
    found = solve_closed_form(image, known, prior, weight)
    np.testing.assert_allclose(found.ravel()[free], np.clip(wanted, 0, 1), atol=1e-5)
    assert (found[known != UNKNOWN] == known[known != UNKNOWN]).all()


def test_unknown_pixels_at_the_border_are_solved_too() -> None:
    image, known = photo()
    known[:2] = UNKNOWN
    found = solve_closed_form(
        image, known, np.full(known.shape, 0.5, np.float32), np.full(known.shape, 0.01, np.float32)
    )
    assert np.isfinite(found).all()
    assert 0 <= found.min() <= found.max() <= 1


def test_a_trimap_without_anything_to_solve_stays() -> None:
    image, known = photo()
    whole = np.where(known == UNKNOWN, np.float32(KNOWN_IN), known)
    nobody = np.where(known == KNOWN_IN, np.float32(KNOWN_OUT), known)
    for each in (whole, nobody):
        assert solve_closed_form(image, each, each, each) is each
