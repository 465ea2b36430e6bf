"""Makes an ID photo: a picture of exact size from one photo and an authority's rule, with a report, rule by rule.

The photo is levelled, framed and set before a plain background; the face stays as it is: no retouch, no new light.
"""

import io
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import cv2
import numpy as np
import PIL.Image

from pipelines.deliver import fit_file_size, save_jpeg, xmp_packet
from pipelines.idphotos.presets import DPI, Preset, Presets
from portrait.arrays import Image, Mask, Size
from portrait.errors import UserError
from portrait.faces.geometry import RotatedRect, crop, image_size, scaling_matrix, transform_face
from portrait.idphotos import (
    HeadMeasures,
    Range,
    RuleResult,
    check_rule,
    eye_line,
    find_frame,
    frame_measures,
    judge_photo,
    measure_head,
    share_missing,
)
from portrait.images.masks import composite, estimate_foreground, face_size
from portrait.images.resize import scaled_size
from portrait.ports import FaceFinder, Matter
from portrait.types import Box

MAX_MISSING_SHARE = 0.002
"""Share of the picture in which shoulders may be missing before the rule fails: a sliver at the edge is not noticed."""
MAX_FACE_HEIGHT = 560.0
"""Height of a face, forehead to chin, beyond which the photo is reduced: no preset shows one larger."""
REGION_SIDE, REGION_ABOVE, REGION_BELOW = 2.4, 2.0, 2.6
"""The region of the photo that is used, from the face's middle, top and chin, in face heights: more than the frame of any
preset shows, at any tilt that is levelled."""
MAX_DEVIATION = 6.0
"""Largest standard deviation of a background's lightness, levels of 255: JPEG beside a plain colour reads 1 at most."""
EDGE_REPEAT = 0.01
"""Share of the height over which the photo's edge may be repeated."""
MATTE_VEIL = 0.05
"""Opacity up to which the matte is taken for background, and 1 minus which it is taken for solid."""
SHOULDERS_TIP = "The photo ends before the picture does. Take one from further away, with both shoulders in it."
CUT_OUT_TIP = "Something beside or behind the head was taken for part of it. Stand alone before a plain wall."
BACKGROUND_TIP = "The background is uneven. Stand before a plain wall without shadows, or let it be replaced."
FRAME_TIP = "No frame of this photo meets all rules at once. Take one with the head upright and hair close to it."
HAIR_TIP = "The hair does not fit into the picture. Wear it closer to the head."
FILE_SIZE_TIP = "No JPEG of this photo has a size in that range."


@dataclass(frozen=True, slots=True)
class IdPhotoOptions:
    """What an ID photo is made with, apart from the photo."""

    preset: Preset
    background: str = ""
    """Name or #rrggbb; the preset's own when empty."""
    keep_background: bool = False


@dataclass(frozen=True, slots=True, eq=False)
class IdPhoto:
    """A finished ID photo."""

    preset: Preset
    image: Image
    content: bytes
    """The JPEG file."""
    rules: tuple[RuleResult, ...]
    """Results for the picture: what the authority asks for."""
    photo_rules: tuple[RuleResult, ...]
    """Results for the photo: what no frame can mend."""

    @property
    def ok(self) -> bool:
        """Whether every rule holds."""
        return all(each.ok for each in (*self.rules, *self.photo_rules))


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
        """Results of the rules that no frame can mend."""
        return judge_photo(self.image, self.face, self.head, self._others)

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


def make_id_photo(photo: SourcePhoto, options: IdPhotoOptions, presets: Presets) -> IdPhoto:
    """Make the ID photo; rules that cannot be met stand in its results, never hidden."""
    preset = options.preset
    size = preset.pixels
    frame = find_frame(photo.head, preset.composition, size.width / size.height, image_size(photo.image))
    _, color = presets.background_color(preset, options.background)
    share = _matte_in_frame(photo.person, frame, size)
    if options.keep_background:
        image = crop(photo.image, frame, size)
    else:
        image = composite(
            crop(photo.foreground, frame, size), np.full((size.height, size.width, 3), color, np.uint8), share
        )
    kilobytes = preset.file_size
    content = encode_jpeg(
        image, kilobytes, "algorithmicallyEnhanced" if options.keep_background else "compositeSynthetic"
    )
    decoded = np.asarray(PIL.Image.open(io.BytesIO(content)))
    rules = [
        *_composition_rules(photo, frame, preset),
        check_rule(
            "shoulders",
            100 * share_missing(photo.person, frame),
            Range(None, 100 * MAX_MISSING_SHARE),
            "%",
            SHOULDERS_TIP,
        ),
        check_rule(
            "cut_out", 100 * _edge_coverage(share, eye_line(photo.head, frame)), Range(None, 0.5), "%", CUT_OUT_TIP
        ),
        check_rule(
            "background", _background_deviation(decoded, share), Range(None, MAX_DEVIATION), "levels", BACKGROUND_TIP
        ),
        check_rule("width", decoded.shape[1], Range(size.width, size.width), "px", ""),
        check_rule("height", decoded.shape[0], Range(size.height, size.height), "px", ""),
        check_rule("file_size", len(content) / 1000, kilobytes, "kB", FILE_SIZE_TIP),
    ]
    return IdPhoto(preset, image, content, tuple(rules), photo.rules)


def choose_photo(photos: Sequence[SourcePhoto]) -> SourcePhoto:
    """Return the photo that breaks the fewest rules no frame can mend; of equals the first."""
    return min(photos, key=lambda each: sum(not rule.ok for rule in each.rules))


def encode_jpeg(image: Image, kilobytes: Range, source_type: str) -> bytes:
    """Return a JPEG of the best quality whose size lies in the range; where none does, the one that comes nearest.

    `source_type` is IPTC's digital source type.
    """
    picture, packet = PIL.Image.fromarray(image), xmp_packet(source_type)
    options: dict[str, Any] = {"subsampling": 0, "optimize": True, "dpi": (DPI, DPI)}
    return fit_file_size(lambda quality: save_jpeg(picture, packet, options | {"quality": quality}), kilobytes)


def make_report(photo: IdPhoto, presets: Presets, options: IdPhotoOptions) -> dict[str, Any]:
    """Return the report as JSON: every rule with what was measured, what is allowed, and what to do."""
    preset, size = photo.preset, photo.preset.pixels
    return {
        "preset": preset.id,
        "title": preset.title,
        "source": preset.source,
        "pixels": [size.width, size.height],
        "millimetres": [round(each, 2) for each in preset.millimetres],
        "dpi": DPI,
        "background": "kept" if options.keep_background else presets.background_color(preset, options.background)[0],
        "ok": photo.ok,
        "rules": [_rule_to_dict(each) for each in photo.rules],
        "photo": [_rule_to_dict(each) for each in photo.photo_rules],
        "notes": make_notes(preset, options),
    }


def make_notes(preset: Preset, options: IdPhotoOptions) -> list[str]:
    """Return what the person should know that is no rule of the picture."""
    out = [preset.notes] if preset.notes else []
    if preset.unaltered and not options.keep_background:
        out.append(
            "This authority asks for photos that software has not changed. "
            "Take one before a plain wall and keep its background (--keep-background)."
        )
    chosen = options.background and not options.keep_background and options.background not in preset.backgrounds
    if chosen:
        out.append(f"This authority asks for another background: {' or '.join(preset.backgrounds)}.")
    return out


def _rule_to_dict(each: RuleResult) -> dict[str, Any]:
    """Return a result as reports and recipes hold it: with a tip where the rule fails."""
    measured = None if each.measured is None else round(each.measured, 3)
    ends = [None if end is None else round(end, 3) for end in (each.allowed.low, each.allowed.high)]
    content = {"rule": each.name, "measured": measured, "allowed": ends, "unit": each.unit, "ok": each.ok}
    return content if each.ok else content | {"tip": each.tip}


def _composition_rules(photo: SourcePhoto, frame: RotatedRect, preset: Preset) -> list[RuleResult]:
    """Check the rules about where the head lies, in the preset's own unit."""
    unit = "% of height" if preset.unit == "percent" else preset.unit
    rules = preset.composition
    measured = frame_measures(photo.head, frame, eye_line(photo.head, frame), rules.crown)
    ranges = {"head": rules.head, "eyes": rules.eyes, "top": rules.top, "below": rules.below, "breadth": rules.breadth}
    out = []
    for name, allowed in ranges.items():
        if allowed != Range():
            height = preset.scale_height
            ends = Range(*(None if end is None else round(end * height, 6) for end in (allowed.low, allowed.high)))
            out.append(check_rule(name, measured[name] * height, ends, unit, FRAME_TIP))
    # What is above the hair must be seen, whatever a rule takes for the crown.
    room = 1 - eye_line(photo.head, frame) - photo.head.hair / frame.height
    return [*out, check_rule("hair_inside", 100 * room, Range(0, None), "% of height", HAIR_TIP)]


def _matte_in_frame(person: Mask, frame: RotatedRect, size: Size) -> Mask:
    """Return the matte in the frame, without the veil that would make a plain background uneven."""
    share = crop(np.asarray(person * 255 + 0.5, np.uint8), frame, size).astype(np.float32) / 255
    enlarged = size.height / frame.height
    if enlarged > 1.5:
        # Enlarged steps of the old pixels would show along smooth outlines.
        share = cv2.GaussianBlur(share, (0, 0), 0.3 * enlarged)
    clean = np.clip((share - MATTE_VEIL) / (1 - 2 * MATTE_VEIL), 0, 1)
    return np.asarray(clean * _photo_coverage(person, frame, size), np.float32)


def _photo_coverage(person: Mask, frame: RotatedRect, size: Size) -> Mask:
    """Return where the photo is, and a sliver more in which its edge may be repeated; beyond, streaks would show."""
    there = cv2.warpAffine(
        np.ones_like(person), frame.matrix_to(size), (size.width, size.height), flags=cv2.INTER_NEAREST
    )
    side = 2 * round(EDGE_REPEAT * size.height) + 1
    return np.asarray(cv2.dilate(there, np.ones((side, side), np.uint8)), np.float32)


def _edge_coverage(share: Mask, line: float) -> float:
    """Return the share of the picture's edge, from the eyes upwards, that the matte covers."""
    above = share[: max(1, round((1 - line) * share.shape[0]))]
    edge = np.concatenate([above[0], above[:, 0], above[:, -1]])
    return float((edge > 0.1).mean())


def _background_deviation(decoded: Image, share: Mask) -> float:
    """Return the standard deviation of the background's lightness in the file, levels of 255; 0 without background."""
    behind = cv2.cvtColor(decoded, cv2.COLOR_RGB2GRAY)[share < 0.004]
    return float(behind.std()) if behind.size else 0.0
