"""Forty selfies as people frame them, cut out of the two test photos: close, tilted, off-centre, cut by the border.

Sizes are in face heights of the person, so that one table serves people of any size. They are as soft as faces of 100
pixels are.
"""

import math
from dataclasses import dataclass

import cv2
import numpy as np

from portrait.arrays import Image, Size
from portrait.faces.geometry import RotatedRect, crop
from portrait.types import Face
from tests import selfies

HEIGHT = 600
"""Height in pixels of a framed selfie."""


@dataclass(frozen=True, slots=True)
class Framed:
    """One selfie: who, and how the camera was held."""

    name: str
    person: int
    """0 for the astronaut, 1 … 6 for the people of the group from left to right."""
    share: float
    """Height of the face over the photo's."""
    across: float = 0.5
    down: float = 0.42
    """Place of the face's middle over the photo's width and height."""
    roll: float = 0.0
    """Degrees by which the camera leaned, clockwise."""
    aspect: float = 0.75
    worn: str = ""
    """`fringe`, `glasses` or `sunglasses`, drawn on."""

    def rect(self, face: Face) -> RotatedRect:
        """What of the person's photo it shows."""
        tall = face.box.height / self.share
        wide, angle = tall * self.aspect, math.radians(self.roll)
        away = np.array([(0.5 - self.across) * wide, (0.5 - self.down) * tall])
        turn = np.array([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]])
        centre = np.array(face.box.centre) + turn @ away
        return RotatedRect((float(centre[0]), float(centre[1])), wide, tall, self.roll)


FORTY = (
    # Arm's length and nearer, held straight: shoulders cut by the lower border, then by the sides.
    Framed("arm's length", 0, 0.25, down=0.28),
    Framed("shoulders cut below", 0, 0.32, down=0.36),
    Framed("shoulders cut at the sides", 0, 0.40, down=0.42),
    Framed("one shoulder cut", 0, 0.34, across=0.30, down=0.38),
    Framed("other shoulder cut", 0, 0.34, across=0.72, down=0.38),
    Framed("neck cut", 0, 0.50, down=0.56),
    Framed("chin at the border", 0, 0.60, down=0.67),
    Framed("chin cut", 0, 0.66, down=0.74),
    Framed("hair cut", 0, 0.42, down=0.28),
    Framed("hair and shoulders cut", 0, 0.60, down=0.46),
    Framed("face fills", 0, 0.80, down=0.48),
    Framed("face from border to border", 0, 1.0, down=0.5),
    Framed("leaned left", 0, 0.40, down=0.40, roll=-12),
    Framed("leaned right", 0, 0.40, down=0.40, roll=12),
    Framed("leaned far left, close", 0, 0.50, down=0.45, roll=-20),
    Framed("leaned far right, close", 0, 0.50, down=0.45, roll=20),
    Framed("square", 0, 0.40, down=0.44, aspect=1.0),
    Framed("wide", 0, 0.45, across=0.62, down=0.46, aspect=1.33),
    Framed("tall", 0, 0.25, down=0.28, aspect=0.5625),
    Framed("with a fringe", 0, 0.45, down=0.45, worn="fringe"),
    Framed("with glasses", 0, 0.50, down=0.46, worn="glasses"),
    Framed("with sunglasses", 0, 0.45, down=0.45, roll=8, worn="sunglasses"),
    # The group: other people beside, heads that lean of themselves, hands and cards before the chest.
    Framed("man, arm's length", 3, 0.27, down=0.36),
    Framed("man, close", 3, 0.50, down=0.45),
    Framed("man, levelled by the camera", 3, 0.42, down=0.44, roll=15),
    Framed("man, leaned on", 3, 0.42, down=0.44, roll=-10),
    Framed("man, off-centre and close", 3, 0.55, across=0.36, down=0.45),
    Framed("man, chin cut", 3, 0.62, down=0.66),
    Framed("man with glasses", 3, 0.48, down=0.45, worn="glasses"),
    Framed("man with sunglasses", 3, 0.60, down=0.46, worn="sunglasses"),
    Framed("laughing man, arm's length", 4, 0.34, down=0.46),
    Framed("laughing man, close", 4, 0.55, down=0.48),
    Framed("laughing man, leaned", 4, 0.45, down=0.48, roll=20),
    Framed("laughing man, very close", 4, 0.85, down=0.5),
    Framed("fair woman, at the right border", 6, 0.40, across=0.70, down=0.40),
    Framed("fair woman, close", 6, 0.55, across=0.52, down=0.46),
    Framed("fair woman, hair cut at both sides", 6, 0.75, down=0.48, aspect=0.5625),
    Framed("long hair, at the left border", 1, 0.38, across=0.34, down=0.40),
    Framed("long hair, close and leaned", 1, 0.55, across=0.5, down=0.44, roll=-20),
    Framed("woman turned aside", 2, 0.40, across=0.45, down=0.42),
)  # fmt: skip
"""As selfies are framed: faces of a quarter to the whole of the height; chin, hair, shoulders cut; leaned by up to 20°."""


def take(selfie: Framed, source: Image, face: Face) -> Image:
    """The selfie, cut out of the person's photo at `HEIGHT` pixels."""
    worn = {"fringe": fringe, "glasses": lambda *one: selfies.glasses(*one)[0], "sunglasses": sunglasses}
    picture = worn[selfie.worn](source, face) if selfie.worn else source
    return crop(picture, selfie.rect(face), Size(round(HEIGHT * selfie.aspect), HEIGHT))


def sunglasses(image: Image, face: Face) -> Image:
    """With dark lenses that hide the eyes."""
    drawn, _ = selfies.glasses(image, face)
    unit = face.box.width
    lenses = np.zeros(image.shape[:2], np.float32)
    for x, y in face.landmarks[:2]:
        at = (float(x), float(y + 0.02 * unit))
        cv2.ellipse(lenses, (at, (0.37 * unit, 0.30 * unit), face.pose.roll), 1.0, -1, cv2.LINE_AA)
    return np.asarray(drawn + (np.array((22, 24, 28)) - drawn) * 0.93 * lenses[..., None], np.uint8)


def fringe(image: Image, face: Face, seed: int = 3) -> Image:
    """With strands of the person's own hair colour down to the brows."""
    random, unit = np.random.default_rng(seed), face.box.height
    left, right = face.box.left + 0.12 * face.box.width, face.box.right - 0.12 * face.box.width
    above = image[round(face.box.top - 0.12 * unit) : round(face.box.top), round(left) : round(right)]
    tone = np.median(above.reshape(-1, 3), axis=0)
    large = np.asarray(cv2.resize(image, None, fx=4, fy=4, interpolation=cv2.INTER_CUBIC), np.uint8)
    brows = float(face.landmarks[:2, 1].mean()) - 0.10 * unit
    for start in np.linspace(left, right, 60):
        bend, end = random.normal(0, 0.05 * unit), brows + random.normal(0, 0.03 * unit)
        at = np.array(
            [[start, face.box.top - 0.08 * unit], [start + bend / 3, brows - 0.1 * unit], [start + bend, end]]
        )
        colour = [int(each) for each in np.clip(tone * random.uniform(0.6, 1.15), 0, 255)]
        cv2.polylines(large, [np.round(at * 4).astype(np.int32)], False, colour, 3, cv2.LINE_AA)
    return np.asarray(cv2.resize(large, image.shape[1::-1], interpolation=cv2.INTER_AREA), np.uint8)
