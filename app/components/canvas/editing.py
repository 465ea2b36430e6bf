"""Components of edits: a mask painted on a portrait, and the edges of a portrait dragged to another shape."""

import base64
import binascii
import io
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Optional

import streamlit as st

from app.components.canvas import parts
from app.session import translate

if TYPE_CHECKING:
    from portrait.arrays import Mask  # brings numpy, which few visits need

MAX_MASK_BYTES = 2_000_000
MAX_MASK_SIDE = 1024
_PREFIX = "data:image/png;base64,"
_PAINTER_WORDS = ("canvas", "tools", "size", "help", "paint", "erase", "undo", "clear", "done")
_SHAPE_WORDS = ("width", "height", "shapes", "help", "done")


def paint_mask(url: str, alt: str, shape: tuple[int, int], on_painted: "Callable[[Mask], None]", key: str) -> None:
    """Have a part of the picture at `url`, of that width and height, painted; `on_painted` is called with the mask, 0 or 1.

    The mask is smaller than the picture, and of its aspect ratio.
    """

    def painted() -> None:
        mask = read_mask(str(st.session_state[key].painted or ""))
        if mask is not None:
            on_painted(mask)

    words = {name: translate(f"painter.{name}") for name in _PAINTER_WORDS}
    data = {"picture": url, "alt": alt, "ratio": shape[0] / shape[1], "words": words}
    parts.component("mask_painter")(data=data, key=key, on_painted_change=painted)


def read_mask(url: str) -> Optional["Mask"]:
    """The mask in a data URL of a PNG, 1 where it is lighter than grey; None for what is no such picture or too large."""
    if not url.startswith(_PREFIX) or len(url) > MAX_MASK_BYTES:
        return None
    import numpy as np
    import PIL.Image

    try:
        with PIL.Image.open(
            io.BytesIO(base64.b64decode(url.removeprefix(_PREFIX), validate=True)), formats=["PNG"]
        ) as found:
            if max(found.size) > MAX_MASK_SIDE:
                return None
            return (np.asarray(found.convert("L")) >= 128).astype(np.float32)
    except (binascii.Error, OSError, SyntaxError):
        return None


def extend_shape(
    picture: Mapping[str, object],
    limits: tuple[float, int],
    shapes: Sequence[tuple[str, int, int]],
    on_extended: Callable[[int, int], None],
    key: str,
) -> None:
    """Have the edges of a picture (`picture`, `alt`, `width`, `height`) dragged outwards; `on_extended` is called with the
    new width and height in pixels.

    `limits` are the largest aspect ratio and the longest side in pixels; `shapes` are offered by name, with both sides.
    """

    def extended() -> None:
        size = st.session_state[key].extended
        if size is not None:
            on_extended(int(size["width"]), int(size["height"]))

    words = {name: translate(f"shape.{name}") for name in _SHAPE_WORDS}
    offered = [{"name": name, "width": width, "height": height} for name, width, height in shapes]
    data = {**picture, "aspect": limits[0], "most": limits[1], "shapes": offered, "words": words}
    parts.component("shape_handles")(data=data, key=key, on_extended_change=extended)
