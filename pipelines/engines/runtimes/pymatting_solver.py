"""Closed-form matting by pymatting, as the first versions of mattes had it: their recipes get the same pixels again.

`portrait.images.closed_form` solves the same equations in a third of the time, and without the 120 MB of pymatting's compiler,
but not to the bit.
"""

import importlib
import logging
from functools import cache
from typing import Any

import numpy as np
import scipy.sparse

from portrait.arrays import Image, Mask
from portrait.images.masks import KNOWN_IN, UNKNOWN

LAPLACIAN_EPSILON = 1e-6
"""Regularisation of the matting Laplacian: ten times pymatting's default, which follows sensor noise."""
SHIFTS = (1e-5, 1e-4, 1e-3, 1e-2, 0.1, 1.0)
"""Diagonal shifts that the incomplete factorisation tries in turn."""


def solve_closed_form(image: Image, known: Mask, prior: Mask, prior_weight: Mask) -> Mask:
    """Closed-form matting (Levin 2006) of a trimap's unknown pixels, drawn to a prior by its weight; the trimap itself where
    nothing is unknown or nothing is known to be the person."""
    unknown = known == UNKNOWN
    if not unknown.any() or not (known == KNOWN_IN).any():
        return known
    pymatting = _import_pymatting()
    laplacian = pymatting.cf_laplacian(image.astype(np.float64) / 255, epsilon=LAPLACIAN_EPSILON, is_known=~unknown)
    free = unknown.ravel()
    rows = laplacian[free]
    weight = prior_weight.ravel()[free].astype(np.float64)
    system = (rows[:, free] + scipy.sparse.diags_array(weight)).tocsr()
    target = weight * prior.ravel()[free] - rows[:, ~free].dot((known.ravel()[~free] == KNOWN_IN).astype(np.float64))
    # Measured fill is below 100 entries a row; pymatting would reserve 4 GB. Its shifts begin at 0, which often fails.
    factor = pymatting.ichol(system, max_nnz=int(system.shape[0]) * 200 + 1000, shifts=SHIFTS)
    out = known.ravel().copy()
    out[free] = pymatting.cg(system, target, M=factor, rtol=1e-4)
    return np.clip(out, 0, 1).reshape(known.shape)


@cache
def _import_pymatting() -> Any:
    """pymatting, imported by the first matte: 1 s, and 40 s once per installation while numba compiles all of its methods.

    numba keeps the compiled code in its cache folder.
    """
    pymatting = importlib.import_module("pymatting")
    # ichol prints when a shift is too small and another one is tried; standard output belongs to the command line.
    importlib.import_module("pymatting.preconditioner.ichol").__dict__["print"] = logging.getLogger(__name__).debug
    return pymatting
