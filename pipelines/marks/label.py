"""The visible label: a few words in the lower right corner of a picture, on how it came about.

OpenCV carries the font: WenQuanYi Micro Hei (Apache 2.0), which knows Latin, Greek, Cyrillic and the Han characters.
"""

import re
from math import ceil

import cv2
import numpy as np

from portrait.arrays import Image
from portrait.errors import OperatorError

HEIGHT = 0.05
"""Of a capital letter or Han character, at least, as part of the short side (GB 45438-2025, 4.3)."""
CAPITALS = 0.74
"""Height of capital letters in this font, as part of its size; Han characters are taller."""
LINE, MARGIN = 1.35, 0.45
"""From line to line, and around the text, as parts of the size."""
SHADE = 0.3
"""Of the picture's brightness that is left behind white letters: a contrast of 8 to 1 on white paper."""
WEIGHT = 500
MOST = 0.5
"""Of the picture's height that a label may take."""
PARTS = re.compile(r"\s*(?:[\u2e80-\u9fff\uf900-\uffef]|[^\s\u2e80-\u9fff\uf900-\uffef]+)[、。》！），：；？]*")
"""Words, and single Han characters, with the marks that may not begin a line."""
UNKNOWN = "\ue000"
"""A character that no font has: how it is drawn, every other is that is missing."""


def draw(image: Image, text: str) -> Image:
    """Return the picture with the label, letters at least 5 % of the short side high.

    Raises `OperatorError` (`label_font` where the font lacks a character, `label_too_long`).
    """
    height, width = image.shape[:2]
    missing = sorted({character for character in text if not character.isspace() and _is_missing(character)})
    if missing:
        raise OperatorError("label_font", f"The label's font lacks {' '.join(missing)}. Write `marks.label` without.")
    size = ceil(HEIGHT * min(height, width) / CAPITALS)
    margin = ceil(MARGIN * size)
    lines = _lines(text, size, width - 2 * margin)
    across = max((_width(line, size) for line in lines), default=0)
    down = ceil(LINE * size) * len(lines)
    if down + margin > MOST * height or across + 2 * margin > width:
        raise OperatorError("label_too_long", "The label does not fit on a portrait. Write `marks.label` shorter.")
    labelled = image.copy()
    corner = labelled[height - down - margin :, width - across - 2 * margin :]
    corner[:] = np.rint(corner * SHADE).astype(np.uint8)
    for number, line in enumerate(lines):
        base = height - down - margin // 2 + ceil(LINE * size) * number + size
        place = (width - margin - _width(line, size), base)
        cv2.putText(labelled, line, place, (255, 255, 255), cv2.FontFace("uni"), size, WEIGHT)
    return labelled


def _width(line: str, size: int) -> int:
    return int(cv2.getTextSize((0, 0), line, (0, 0), cv2.FontFace("uni"), size, WEIGHT)[2])


def _lines(text: str, size: int, widest: int) -> list[str]:
    """The text, broken between words or Han characters where a line grows wider than `widest` pixels."""
    lines = [""]
    for part in PARTS.findall(" ".join(text.split())):
        if lines[-1] and _width(lines[-1] + part, size) > widest:
            lines.append(part.strip())
        else:
            lines[-1] += part if lines[-1] else part.strip()
    return [line for line in lines if line]


def _is_missing(character: str) -> bool:
    """Whether the font draws the same for a character as for one that it cannot have."""
    drawn = [np.zeros((64, 64, 3), np.uint8) for _ in range(2)]
    for canvas, each in zip(drawn, (character, UNKNOWN), strict=True):
        cv2.putText(canvas, each, (8, 48), (255, 255, 255), cv2.FontFace("uni"), 32, WEIGHT)
    return bool(np.array_equal(drawn[0], drawn[1]))
