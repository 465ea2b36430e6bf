"""Pictures inside a page, so that it can be sent as one file."""

import base64

import cv2
import numpy as np

from portrait.arrays import Image

THUMBNAIL_SIDE = 420
"""Long side of the pictures on a page, pixels; the full ones lie beside it."""


def to_data_uri(image: Image) -> str:
    """A picture as a data URI, reduced to `THUMB`."""
    share = min(1.0, THUMBNAIL_SIDE / max(image.shape[:2]))
    small = cv2.resize(image, None, fx=share, fy=share, interpolation=cv2.INTER_AREA) if share < 1 else image
    flipped = cv2.cvtColor(np.asarray(small), cv2.COLOR_RGB2BGR)
    done, data = cv2.imencode(".jpg", flipped, [cv2.IMWRITE_JPEG_QUALITY, 88])
    return "data:image/jpeg;base64," + base64.b64encode(data.tobytes()).decode("ascii") if done else ""
