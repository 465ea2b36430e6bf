"""The photo that ID photos are made of: its face is found and its person cut out once, for any number of presets."""

from functools import cached_property

import cv2
import numpy as np

from portrait.arrays import Image, Mask, Size
from portrait.errors import UserError
from portrait.faces.geometry import image_size, scaling_matrix, transform_face
from portrait.idphoto_rules import RuleResult, judge_eyes_and_light, judge_photo
from portrait.idphotos import HeadMeasures, measure_head
from portrait.images.cut_out import measure_residue
from portrait.images.masks import estimate_foreground, face_size
from portrait.images.resize import scaled_size
from portrait.ports import FaceFinder, Matter
from portrait.types import Box

MAX_FACE_HEIGHT = 560.0
"""Height of a face, forehead to chin, beyond which the photo is reduced: no preset shows one larger."""
REGION_SIDE, REGION_ABOVE, REGION_BELOW = 2.4, 2.0, 2.6
"""The region of the photo that is used, from the face's middle, top and chin, in face heights: more than the frame of any
preset shows, at any tilt that is levelled."""


class SourcePhoto:
    """A photo of a person: face found and person cut out once, for any number of presets."""

    def __init__(self, image: Image, finder: FaceFinder, matter: Matter) -> None:
        """Raises `UserError` (`no_face`)."""
        self._matter = matter
        faces = finder.faces(image, embedded=0)
        if not faces:
            raise no_face_error()
        shrink = min(1.0, MAX_FACE_HEIGHT / max(faces[0].box.height, 1.0))
        if shrink < 1:
            size = scaled_size(image.shape, shrink)
            image = np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA), np.uint8)
            faces = [transform_face(face, scaling_matrix(shrink)) for face in faces]
        rows, columns = _face_region(faces[0].box, image_size(image))
        self.image = np.ascontiguousarray(image[rows, columns])
        shift = np.array([[1, 0, -columns.start], [0, 1, -rows.start]], np.float64)
        self.face, *self._others = (transform_face(face, shift) for face in faces)

    @cached_property
    def person(self) -> Mask:
        """The matte of the person, 0..1."""
        return self._matter.matte(self.image, self.face)

    @cached_property
    def head(self) -> HeadMeasures:
        """Where the head lies in the photo."""
        return measure_head(self.person, self.face)

    @cached_property
    def rules(self) -> tuple[RuleResult, ...]:
        """Results of the rules of version 0.1.0 that no frame can mend."""
        return judge_photo(self.image, self.face, self.head, self._others)

    @cached_property
    def light_rules(self) -> tuple[RuleResult, ...]:
        """Results of those that came later."""
        return judge_eyes_and_light(self.image, self.face)

    @cached_property
    def silhouette(self) -> Mask:
        """A rough mask of the person, which takes much less time than the matte."""
        return self._matter.silhouette(self.image, self.face)

    @cached_property
    def faults(self) -> int:
        """How many of these rules are broken, as the silhouette shows the head."""
        head = measure_head(self.silhouette, self.face)
        rules = (*judge_photo(self.image, self.face, head, self._others), *self.light_rules)
        return sum(not rule.ok for rule in rules)

    @cached_property
    def residue(self) -> float:
        """How much of the room sticks to the cut-out, 0..1."""
        return measure_residue(self.image, self.person, self.face)

    @cached_property
    def foreground(self) -> Image:
        """The person's colours, spread beyond the edge so that no old background is left in hair."""
        return estimate_foreground(self.image, self.person, max(3, round(0.6 * face_size(self.face))))


def no_face_error() -> UserError:
    """Return the error for a photo without a face."""
    return UserError("no_face", "No face was found. Choose a photo in which your face is clearly visible.")


def _face_region(box: Box, size: Size) -> tuple[slice, slice]:
    """Return the rows and columns of the photo that a frame may show."""
    (middle, _), unit = box.centre, box.height
    top = max(0, round(box.top - REGION_ABOVE * unit))
    bottom = min(size.height, round(box.bottom + REGION_BELOW * unit))
    left, right = max(0, round(middle - REGION_SIDE * unit)), min(size.width, round(middle + REGION_SIDE * unit))
    return slice(top, bottom), slice(left, right)
