"""Masks that were painted in the browser: what is read, and what is refused."""

import base64
import io

import numpy as np
import PIL.Image

from app.components.canvas.editing import MAX_MASK_BYTES, MAX_MASK_SIDE, read_mask


def data_url(image: PIL.Image.Image, format: str = "PNG") -> str:
    content = io.BytesIO()
    image.save(content, format)
    return "data:image/png;base64," + base64.b64encode(content.getvalue()).decode()


def test_what_was_painted_is_one_and_the_rest_is_nothing() -> None:
    painted = np.zeros((40, 30), np.uint8)
    painted[10:20, 5:25] = 255
    mask = read_mask(data_url(PIL.Image.fromarray(painted)))
    assert mask is not None
    assert np.array_equal(mask, (painted > 0).astype(np.float32))


def test_what_is_no_mask_is_none() -> None:
    large = PIL.Image.new("L", (MAX_MASK_SIDE + 1, 4))
    whole = data_url(PIL.Image.new("L", (8, 8)))
    for url in (
        "",
        "data:image/png;base64,!",
        whole[:60],
        data_url(large),
        data_url(PIL.Image.new("L", (8, 8)), "GIF"),
    ):
        assert read_mask(url) is None, url[:40]
    assert read_mask("data:image/png;base64," + "A" * MAX_MASK_BYTES) is None
