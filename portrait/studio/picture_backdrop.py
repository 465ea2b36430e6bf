"""A picture as a backdrop: its middle cropped to the portrait, out of focus as far as the style says, and its light."""

import cv2
import numpy as np

from portrait.arrays import Image, Size, random_generator
from portrait.images.color import from_linear, to_linear
from portrait.images.resize import resize, scaled_size, shrink_to_side, strips
from portrait.studio.backdrops import BackdropPicture, Light
from portrait.studio.lens import add_grain, as_color, defocus

MAX_BLUR = 0.06
"""Radius of the disc of a point at blur 1, over the height: twice that of the painted places."""
_MAX_RADIUS = 14.0
"""Radius in pixels beyond which the picture is reduced before it is blurred: nothing finer is left in it."""
_LIGHT_SIDE = 64
"""Longer side in pixels at which the light of a picture is measured."""
_MOST_SIDE = 0.9
"""Largest side of the light, as that of the painted places."""
_TINT = 0.25
"""How much of the picture's own colour its light has: most of it is that of walls and leaves."""


def crop(image: Image, size: Size) -> Image:
    """The middle of a picture at `size`, as large as it can be."""
    height, width = image.shape[:2]
    share = min(width / size.width, height / size.height)
    wide, tall = max(1, min(width, round(share * size.width))), max(1, min(height, round(share * size.height)))
    left, top = (width - wide) // 2, (height - tall) // 2
    return resize(image[top : top + tall, left : left + wide], (size.height, size.width), cv2.INTER_CUBIC)


def paint(picture: BackdropPicture, size: Size, seed: int) -> Image:
    """The backdrop at `size`, with the grain of painted ones; the seed decides the grain alone."""
    cropped = _blur(crop(picture.image, size), picture.blur)
    return add_grain(((rows, cropped[rows]) for rows in strips(size.height)), size, random_generator(seed))


def light_of(picture: BackdropPicture, size: Size) -> Light:
    """The light of a backdrop at `size`: from its brighter side, tinted by its bright parts."""
    linear = to_linear(shrink_to_side(crop(picture.image, size), _LIGHT_SIDE))
    # Lamps, windows and the sky light a room more than their area says.
    weight = linear.mean(axis=2) ** 2 + 1e-6
    across = np.linspace(-1, 1, weight.shape[1], dtype=np.float32)
    side = float((weight * across).sum() / weight.sum()) * 2
    colour = (linear * weight[..., None]).reshape(-1, 3).sum(axis=0) / weight.sum() + 1e-4
    tint = np.clip((colour / colour.mean()) ** _TINT, 0.9, 1.1)
    return Light(float(np.clip(side, -_MOST_SIDE, _MOST_SIDE)), as_color(tint / tint[1]))


def _blur(image: Image, blur: float) -> Image:
    """Defocus a picture in linear light, where lamps become discs."""
    radius = blur * MAX_BLUR * image.shape[0]
    if radius < 0.5:
        return image
    shrink = min(1.0, _MAX_RADIUS / radius)
    width, height = scaled_size(image.shape, shrink, 8)
    small = to_linear(resize(image, (height, width)))
    return resize(from_linear(defocus(small, max(0.5, radius * shrink) / height)), image.shape, cv2.INTER_CUBIC)
