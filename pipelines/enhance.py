"""Enhances what a training set is made of: crops of poor quality, and references whose face is small.

A crop is restored by image processing where it is dark, soft or noisy: that was measured to make a face more like the person;
retouched skin never did (docs/judging.md). A small face gets some detail from a super-resolution network, once: the photo's own
low frequencies stay, so that colour, shape and light are the camera's. Whatever makes the person less like themselves is not
taken.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import cv2
import numpy as np

from portrait.arrays import Image, Mask
from portrait.faces.geometry import box_slices, scaling_matrix, transform_face
from portrait.faces.likeness import distance, mean_embedding
from portrait.images.filters import fast_gaussian_blur, noise_level
from portrait.images.resize import resize, scaled_size
from portrait.photos.quality import measure_sharpness
from portrait.ports import FaceFinder, Progress, Restorer, Upscaler
from portrait.types import Box, Face, Quality, Reference

POOR_QUALITY = 0.7
"""Parts of the quality below this are worth enhancing; the size, from 0.45 (115 px of face) down."""
NOISY = (3.5, 13.5)
"""Noise of a face in levels of 255 from which restoring makes it more like the person, and from which it is needed most: clean
photos measured 0.2 to 2.5, those with noise of 8 levels 5 to 6. Noise reads as sharpness, so the quality does not tell it."""
ENLARGED_FACE = 320
"""Width in pixels that a small face is enlarged to: what a portrait of 1500 pixels shows of it."""
FACTOR = 4
"""Of the network; a face is enlarged by no more."""
WIDTHS = (64, 100, 150)
CLEAR_STRENGTHS, BLURRED_STRENGTHS = (0.35, 0.18, 0.1), (0.35, 0.4, 0.3)
"""Share of the network's detail on faces of these widths in pixels, in sharp photos and in blurred ones: what a photo shows
needs no help. At 1 skin turns to paint and eyes come out unequal; at 0.5 faces became less like themselves by up to 0.04
(docs/judging.md)."""
BLURRED, CLEAR = 0.34, 0.42
"""Sharpness (`measure_sharpness`) of photos that are out of focus, noisy and compressed, and of good ones."""
LEAST_STRENGTH = 0.15
"""Below it the difference is not worth the network's time."""
KEPT_SIGMA = 3.0
"""Pixels of the photo: waves longer than a Gaussian of this width stay the photo's own."""
MOST_REFERENCES = 3
"""References that get detail: those that painters draw from first. The network takes seconds to half a minute each."""
NETWORK_FACE = 100
"""Width in pixels of the widest face that the network is shown, a larger one reduced to it: its time grows with the area, and
what it draws is larger than `ENLARGED_FACE` anyway."""
FACE_ROOM = (0.25, 0.4, 0.15)
"""Room beside, above and below a face that the network sees, in widths and heights of the face: the hair and the chin."""
PHOTO_ROOM = (4.0, 3.0, 6.0)
"""The same that is kept of a photo: more than a half figure shows, so that a far person does not make a picture of 100
megapixels."""
TOLERANCE = 0.02
"""Growth of a distance that is no loss of likeness: landmarks are rounded to whole pixels before a face is embedded, which
moves a vector by as much."""
OWN_CHANGE = 0.4
"""How far the face of a person's only photo may move, as a share of the distance up to which two faces are one person: it
measured 0.1 to 0.4 of it on seven people, mild and poor; photos of one person are 0.4 to 0.8 apart."""


@dataclass(frozen=True, slots=True)
class Enhance:
    """Enhances crops and references of one person."""

    finder: FaceFinder
    restorer: Restorer
    upscaler: Upscaler | None = None
    """Of factor 4; without one small faces stay as they are."""
    largest: int = 160
    """Width in pixels below which a reference's face gets detail."""
    known: Mapping[str, Reference] = field(default_factory=dict)
    """References that were enlarged before, by `Reference.selfie`: they are taken as they are."""

    def restore_crops(self, crops: Sequence[Reference], progress: Progress) -> dict[int, Image]:
        """Restore the faces of poorest quality, at most half of the crops, or the only one.

        Returns the better pictures by their place; one in which no face is found, or a less like one, is left out.
        """
        needs = {place: enhancement_need(crop.quality) + noise_need(crop) for place, crop in enumerate(crops)}
        poorest = sorted((place for place in needs if needs[place] > 0), key=lambda place: -needs[place])
        restored = {}
        for done, place in enumerate(chosen := poorest[: max(1, len(crops) // 2)]):
            crop = crops[place]
            progress(done, len(chosen), f"Enhancing {crop.name}", crop.image)
            better = self.restorer.restore(crop.image, crop.face)
            if self._keeps_likeness(crop, better, _others(crops, place)) is not None:
                restored[place] = better
        return restored

    def enlarge_references(self, references: Sequence[Reference], progress: Progress) -> tuple[Reference, ...]:
        """Enlarge the first references whose faces are small and give them detail; the others stay as they are."""
        out = list(references)
        small = [place for place, each in enumerate(references[:MOST_REFERENCES]) if self._needs_detail(each)]
        for done, place in enumerate(small):
            progress(done, len(small), f"Enhancing {references[place].name}", references[place].image)
            out[place] = self._enlarge(references[place], _others(references, place))
        return tuple(out)

    def _needs_detail(self, reference: Reference) -> bool:
        small = self.upscaler is not None and reference.enlarged == 1 and reference.face.box.width < self.largest
        return small and detail_strength(reference.image, reference.face) > LEAST_STRENGTH

    def _enlarge(self, reference: Reference, others: Sequence[Face]) -> Reference:
        """Enlarge one reference; itself where its face would not be found any more, or be less like the person."""
        if reference.selfie and reference.selfie in self.known:
            return replace(self.known[reference.selfie], name=reference.name)
        image, face = _cut_around(reference.image, reference.face, PHOTO_ROOM)
        factor = float(np.clip(ENLARGED_FACE / face.box.width, 1, FACTOR))
        size = scaled_size(image.shape, factor)
        plain = np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_LANCZOS4), np.uint8)
        enlarged = replace(reference, image=plain, face=transform_face(face, scaling_matrix(factor)), enlarged=factor)
        detailed = self._add_detail(image, face, plain, factor)
        found = self._keeps_likeness(enlarged, detailed, others)
        return reference if found is None else replace(enlarged, image=detailed, face=found)

    def _add_detail(self, image: Image, face: Face, plain: Image, factor: float) -> Image:
        """Give `plain`, which is `image` enlarged by `factor`, the network's detail on the face and the hair."""
        if self.upscaler is None:
            return plain
        left, top, right, bottom = _room_around(face.box, FACE_ROOM, image)
        window = image[top:bottom, left:right]
        shown = resize(window, scaled_size(window.shape, min(1.0, NETWORK_FACE / face.box.width))[::-1])
        drawn = self.upscaler.upscale(np.ascontiguousarray(shown), FACTOR)
        corner = round(left * factor), round(top * factor)
        width, height = scaled_size(window.shape, factor)
        # Rounded edges may lie a pixel beyond the picture's.
        width, height = min(width, plain.shape[1] - corner[0]), min(height, plain.shape[0] - corner[1])
        return mix_detail(
            plain, resize(drawn, (height, width)), corner, KEPT_SIGMA * factor, detail_strength(image, face)
        )

    def _keeps_likeness(self, before: Reference, after: Image, others: Sequence[Face]) -> Face | None:
        """The face in a changed picture, if it is found and as like the person as before; `others`: their other photos."""
        now, space = self._face_at(after, before.face), self.finder.space
        if now is None:
            return None
        vectors = [each.embeddings[space] for each in others if space in each.embeddings]
        if not vectors:
            # Whatever is done to the only photo moves it away from itself.
            own = before.face.embeddings.get(space)
            moved = 0.0 if own is None else distance(space, now.embeddings[space], own)
            return now if moved <= OWN_CHANGE * self.finder.same_person else None
        was, person = self._face_at(before.image, before.face), mean_embedding(space, vectors)
        limit = np.inf if was is None else distance(space, was.embeddings[space], person) + TOLERANCE
        return now if distance(space, now.embeddings[space], person) <= limit else None

    def _face_at(self, image: Image, face: Face) -> Face | None:
        """The face that the finder sees where `face` is, embedded; None where it sees none there."""
        left, top, right, bottom = _room_around(face.box, (1.2, 1.2, 1.2), image)
        matrix = np.array([[1, 0, left], [0, 1, top]], np.float64)
        for found in self.finder.faces(np.ascontiguousarray(image[top:bottom, left:right])):
            seen = transform_face(found, matrix)
            apart = np.abs(np.array(seen.box.centre) - face.box.centre).max()
            if seen.embeddings and apart < face.box.width / 2:
                return seen
        return None


def enhancement_need(quality: Quality) -> float:
    """Return how much a photo would gain from enhancement; 0 for a good one."""
    return sum(
        max(0.0, limit - part)
        for part, limit in ((quality.sharpness, POOR_QUALITY), (quality.exposure, POOR_QUALITY), (quality.size, 0.45))
    )


def noise_need(crop: Reference) -> float:
    """Return how much a photo would gain from having its noise taken off, 0..1."""
    rows, columns = box_slices(crop.face.box, crop.image.shape)
    face = crop.image[rows, columns]
    return float(np.interp(noise_level(face), NOISY, (0, 1))) if face.size else 0.0


def detail_strength(image: Image, face: Face) -> float:
    """Return the share of the network's detail that a face of a photo needs, 0..1."""
    clear, blurred = (float(np.interp(face.box.width, WIDTHS, each)) for each in (CLEAR_STRENGTHS, BLURRED_STRENGTHS))
    return float(np.interp(measure_sharpness(image, face), (BLURRED, CLEAR), (blurred, clear)))


def mix_detail(plain: Image, drawn: Image, corner: tuple[int, int], kept: float, strength: float) -> Image:
    """Give a picture the fine detail that a network drew for a window of it, fading out at the window's border.

    `drawn`: the window in the picture's own pixels, `corner`: its left and top; `kept`: sigma in pixels of the Gaussian below
    which nothing is taken of it.
    """
    rows, columns = slice(corner[1], corner[1] + drawn.shape[0]), slice(corner[0], corner[0] + drawn.shape[1])
    window = plain[rows, columns].astype(np.float32)
    difference = drawn.astype(np.float32) - window
    detail = difference - fast_gaussian_blur(difference, kept)
    out = plain.copy()
    mixed = window + detail * (strength * _fade(*drawn.shape[:2]))[..., None]
    out[rows, columns] = np.clip(mixed + 0.5, 0, 255).astype(np.uint8)
    return out


def _others(references: Sequence[Reference], place: int) -> list[Face]:
    return [each.face for at, each in enumerate(references) if at != place]


def _fade(height: int, width: int) -> Mask:
    """1 inside, falling to 0 over an eighth of the shorter side at the border."""
    reach = max(2.0, min(height, width) / 8)
    down, across = (np.minimum(np.arange(side) + 0.5, side - np.arange(side) - 0.5) for side in (height, width))
    ramps = [np.clip(each / reach, 0, 1) for each in (down, across)]
    smooth = [each * each * (3 - 2 * each) for each in ramps]
    return np.outer(*smooth).astype(np.float32)


def _room_around(box: Box, room: tuple[float, float, float], image: Image) -> tuple[int, int, int, int]:
    """Left, top, right, bottom of a box with room beside, above and below it, in its widths and heights, inside an image."""
    beside, above, below = room
    left, right = (
        np.clip(edge, 0, image.shape[1]) for edge in (box.left - beside * box.width, box.right + beside * box.width)
    )
    top, bottom = (
        np.clip(edge, 0, image.shape[0]) for edge in (box.top - above * box.height, box.bottom + below * box.height)
    )
    return int(left), int(top), int(np.ceil(right)), int(np.ceil(bottom))


def _cut_around(image: Image, face: Face, room: tuple[float, float, float]) -> tuple[Image, Face]:
    """A picture cut to the surroundings of a face, with the face in its pixels."""
    left, top, right, bottom = _room_around(face.box, room, image)
    moved = transform_face(face, np.array([[1, 0, -left], [0, 1, -top]], np.float64))
    return np.ascontiguousarray(image[top:bottom, left:right]), moved
