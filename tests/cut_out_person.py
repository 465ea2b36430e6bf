"""A drawn person as a cut-out: head, neck and shoulders in one colour, with room around."""

import numpy as np

from portrait.studio.subject import CutOut
from tests.portrait.studio.test_composition import person

SKIN = (200, 150, 120)
HEIGHT, WIDTH = 800, 600


def cut_out() -> CutOut:
    """600×800 pixels; the face is 100 pixels high."""
    alpha, face = person(WIDTH, HEIGHT)
    front = np.full((HEIGHT, WIDTH, 3), SKIN, np.uint8)
    return CutOut(front, alpha, face, 0.1, "drawn")
