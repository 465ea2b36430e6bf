"""Closed-form matting (Levin, Lischinski and Weiss 2006): the opacity of pixels that a trimap leaves open.

In each window of 3×3 pixels the opacity is a linear function of colour; together the windows give one linear system, which is
sparse. Numbers are in double precision.
"""

from dataclasses import dataclass

import cv2
import numpy as np
import scipy.sparse
import scipy.sparse.linalg
from numpy.typing import NDArray

from portrait.arrays import Image, Mask
from portrait.errors import EngineError
from portrait.images.masks import KNOWN_IN, UNKNOWN

Floats = NDArray[np.float64]
Numbers = NDArray[np.intp]

EPSILON = 1e-6
"""Regularisation of a window's colours: ten times what is usual, which follows sensor noise."""
RESIDUAL, MOST_STEPS = 1e-6, 5_000
"""Share of the right hand side that the solution may miss, an opacity of 0.0001 at most, and steps to find it in."""
REACH = 2
"""Pixels to each side that share a window with one."""
OFFSETS = [(down, across) for down in range(-REACH, REACH + 1) for across in range(-REACH, REACH + 1)]
MIDDLE = len(OFFSETS) // 2


def solve_closed_form(image: Image, known: Mask, prior: Mask, prior_weight: Mask) -> Mask:
    """The trimap `known` with its unknown pixels solved, drawn to a prior by its weight, against a Laplacian whose diagonal is
    about 1; the trimap itself where nothing is unknown or nothing is known to be the person."""
    unknown = known == UNKNOWN
    if not unknown.any() or not (known == KNOWN_IN).any():
        return known
    free = np.flatnonzero(unknown)
    laplacian, near = _laplacian(image, unknown, free), _neighbours(unknown.shape, free)
    weight = prior_weight.ravel()[free].astype(np.float64)
    laplacian[MIDDLE] += weight
    inside = np.pad(known == KNOWN_IN, REACH).ravel()[near]
    target = weight * prior.ravel()[free] - np.einsum("kn,kn->n", laplacian, inside)
    numbers = np.full(unknown.shape, -1, np.intp)
    numbers[unknown] = np.arange(len(free))
    columns = np.pad(numbers, REACH, constant_values=-1).ravel()[near].T
    kept = columns >= 0
    ends = np.concatenate([[0], np.cumsum(kept.sum(axis=1))])
    system = scipy.sparse.csr_matrix((laplacian.T[kept], columns[kept], ends), (len(free), len(free)))
    solved = _solve(system, target)
    out = known.copy()
    out[unknown] = np.clip(solved, 0, 1)
    return out


def _solve(system: scipy.sparse.csr_matrix, target: Floats) -> Floats:
    """The solution by conjugate gradients; the prior, which stands on the diagonal, lets them need about a hundred steps.

    Factors of the system would take gigabytes for the unknown pixels of long hair. Raises `EngineError` (`no_mask`).
    """
    scale = scipy.sparse.diags_array(1 / system.diagonal())
    solved, steps_missing = scipy.sparse.linalg.cg(system, target, rtol=RESIDUAL, maxiter=MOST_STEPS, M=scale)
    if steps_missing:
        raise EngineError("no_mask", "The edge of the person in this photo could not be worked out.")
    return solved


def _neighbours(shape: tuple[int, ...], free: Numbers) -> Numbers:
    """For each of `OFFSETS`, where that neighbour of each free pixel is in an array padded by `REACH`."""
    rows, columns = np.divmod(free, shape[1])
    width = shape[1] + 2 * REACH
    middle = (rows + REACH) * width + columns + REACH
    return middle + np.array([down * width + across for down, across in OFFSETS])[:, None]


def _laplacian(image: Image, unknown: NDArray[np.bool_], free: Numbers) -> Floats:
    """The matting Laplacian between each free pixel and its neighbours, by `OFFSETS`."""
    windows = _windows(image, unknown)
    rows = np.full(unknown.size, len(free), np.intp)  # what is known has one row together, which is left out
    rows[free] = np.arange(len(free))
    rows = rows[windows.members]
    laplacian = np.zeros((len(OFFSETS), len(free) + 1))
    for one in range(9):
        for other in range(9):
            down, across = other // 3 - one // 3, other % 3 - one % 3
            line = laplacian[OFFSETS.index((down, across))]
            line[rows[one]] += (1.0 if one == other else 0.0) - windows.weight(one, other)
    return laplacian[:, :-1]


@dataclass(frozen=True, slots=True, eq=False)
class _Windows:
    """Windows that hold something unknown; 9×N, their pixels by the nine places."""

    members: Numbers
    colours: tuple[Floats, ...]
    """Red, green, blue without their mean."""
    explained: tuple[Floats, ...]
    """The same through the inverse of the window's covariance, by 1/9."""

    def weight(self, one: int, other: int) -> Floats:
        """How much two pixels of each window have to do with each other."""
        products = [along[one] * colour[other] for along, colour in zip(self.explained, self.colours, strict=True)]
        return products[0] + products[1] + products[2] + 1 / 9


def _windows(image: Image, unknown: NDArray[np.bool_]) -> _Windows:
    around = cv2.dilate(unknown.astype(np.uint8), np.ones((3, 3), np.uint8))
    around[[0, -1]] = around[:, [0, -1]] = 0
    width = unknown.shape[1]
    members = (
        np.flatnonzero(around)
        + np.array([row * width + column for row in (-1, 0, 1) for column in (-1, 0, 1)])[:, None]
    )
    colours: list[Floats] = []
    for channel in cv2.split(image):
        levels = channel.ravel()[members] / 255.0
        colours.append(levels - levels.mean(axis=0))
    a, b, c, d, e, f = (
        np.einsum("kn,kn->n", colours[one], colours[other]) / 9 + (EPSILON / 9 if one == other else 0.0)
        for one, other in ((0, 0), (0, 1), (0, 2), (1, 1), (1, 2), (2, 2))
    )
    # The inverse of a symmetric 3×3 matrix by its cofactors.
    first, second, third = d * f - e * e, c * e - b * f, b * e - c * d
    rows = (first, second, third), (second, a * f - c * c, b * c - a * e), (third, b * c - a * e, a * d - b * b)
    scale = 1 / (9 * (a * first + b * second + c * third))
    explained = [
        (row[0] * scale) * colours[0] + (row[1] * scale) * colours[1] + (row[2] * scale) * colours[2] for row in rows
    ]
    return _Windows(np.asarray(members, np.intp), tuple(colours), tuple(explained))
