"""HTML of the pages: renders a template of this folder, and puts pictures into a page, so that it is one file."""

import base64
from pathlib import Path
from typing import Any

import jinja2

from pipelines import image_io
from portrait.arrays import Image

THUMBNAIL_SIDE = 420
"""Long side of the pictures on a page, pixels; the full ones lie beside it."""


def render_template(name: str, **values: Any) -> str:
    """Render `name` of this folder with these values, which are escaped."""
    environment = jinja2.Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True)
    return environment.from_string((Path(__file__).parent / name).read_text("utf-8")).render(**values)


def to_data_uri(image: Image) -> str:
    """Encode a picture as a JPEG data URI, reduced to `THUMBNAIL_SIDE`."""
    return jpeg_data_uri(image_io.encode_thumbnail(image, THUMBNAIL_SIDE))


def jpeg_data_uri(content: bytes) -> str:
    """The data URI of a JPEG."""
    return "data:image/jpeg;base64," + base64.b64encode(content).decode("ascii")
