"""HTML of the pages: renders a template of this folder, and puts pictures into a page, so that it is one file."""

import base64
from pathlib import Path
from typing import Any

import cv2
import jinja2
import numpy as np

from portrait.arrays import Image

THUMBNAIL_SIDE = 420
"""Long side of the pictures on a page, pixels; the full ones lie beside it."""


def render_template(name: str, **values: Any) -> str:
    """Render `name` of this folder with these values, which are escaped."""
    environment = jinja2.Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True)
    return environment.from_string((Path(__file__).parent / name).read_text("utf-8")).render(**values)


def to_data_uri(image: Image) -> str:
    """Encode a picture as a JPEG data URI, reduced to `THUMBNAIL_SIDE`."""
    scale = min(1.0, THUMBNAIL_SIDE / max(image.shape[:2]))
    small = cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA) if scale < 1 else image
    bgr = cv2.cvtColor(np.asarray(small), cv2.COLOR_RGB2BGR)
    done, data = cv2.imencode(".jpg", bgr, [cv2.IMWRITE_JPEG_QUALITY, 88])
    return "data:image/jpeg;base64," + base64.b64encode(data.tobytes()).decode("ascii") if done else ""
