"""Makes an ID photo: a picture of exact size from one photo and an authority's rule, with a report, rule by rule.

The photo is levelled, framed and set before a plain background; the face stays as it is: no retouch, no new light.
"""

import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
import PIL.Image

from pipelines.deliver import fit_file_size, save
from pipelines.idphotos.picture_rules import border_rules, composition_rules, file_rules, later_rules
from pipelines.idphotos.presets import UNCHECKED, Preset, Presets
from pipelines.idphotos.source_photo import SourcePhoto, no_face_error
from pipelines.marks import xmp
from pipelines.marks.manifest import Manifest
from pipelines.marks.marks import Marks
from pipelines.marks.source_types import BY_KIND, KEPT_BACKGROUND
from portrait.arrays import Image, Mask, Size
from portrait.errors import UserError
from portrait.faces.geometry import RotatedRect, crop, image_size
from portrait.idphoto_rules import RuleResult
from portrait.idphotos import EDGE_REPEAT, find_covered_frame, find_frame, is_head_cut, measure_head, share_lost
from portrait.images.masks import composite

METHOD = 2
"""How ID photos are framed and judged now; recipes say it. 1, which no recipe says, is that of version 0.1.0: heads that the
photo's border cuts were delivered."""
MAX_LOST_SHARE = 0.015
"""Share of the head that may be lost in cutting it out: none is where it went well, 0.02 and more where it did not."""
MATTE_VEIL = 0.05
"""Opacity up to which the matte is taken for background, and 1 minus which it is taken for solid."""
HEAD_CUT = "The photo's border cuts the face or the hair. Choose one with room above the head and beside it."
HEAD_LOST = (
    "Part of the head was lost when it was cut out. Choose a photo before a plainer background, or keep the background."
)
NO_SHOULDERS = (
    "The photo ends before an ID photo does. Choose one from further away, upright, with both shoulders in it."
)
FRAME_OUTSIDE = (
    "With its own background, an ID photo would reach beyond this photo. Choose one from further away, or let the background "
    "be replaced."
)


@dataclass(frozen=True, slots=True)
class IdPhotoOptions:
    """What an ID photo is made with, apart from the photo."""

    preset: Preset
    background: str = ""
    """Name or #rrggbb; the preset's own when empty."""
    keep_background: bool = False
    method: int = METHOD
    """How it is framed and judged."""
    marks: Marks | None = None
    """What signs the file; None where the picture is written anew, by `pipelines.deliver`."""


@dataclass(frozen=True, slots=True, eq=False)
class IdPhoto:
    """A finished ID photo."""

    preset: Preset
    image: Image
    content: bytes
    """The JPEG file."""
    source_type: str
    """IPTC's digital source type, with which the file is marked."""
    rules: tuple[RuleResult, ...]
    """Results for the picture: what the authority asks for."""
    photo_rules: tuple[RuleResult, ...]
    """Results for the photo: what no frame can mend."""

    @property
    def ok(self) -> bool:
        """Whether every rule holds."""
        return self.broken == 0

    @property
    def broken(self) -> int:
        """How many rules do not hold."""
        return sum(not each.ok for each in (*self.rules, *self.photo_rules))


def make_id_photo(photo: SourcePhoto, options: IdPhotoOptions, presets: Presets) -> IdPhoto:
    """Make the ID photo; rules that are not met stand in its results, never hidden.

    Raises `UserError` (`head_cut`, `head_lost`, `no_shoulders`, `frame_outside`) where it would not show a whole person.
    """
    preset, size = options.preset, options.preset.pixels
    frame = _choose_frame(photo, options)
    _, color = presets.background_color(preset, options.background)
    share = _matte_in_frame(photo.person, frame, size)
    if options.keep_background:
        image = crop(photo.image, frame, size)
    else:
        image = composite(
            crop(photo.foreground, frame, size), np.full((size.height, size.width, 3), color, np.uint8), share
        )
    source_type = KEPT_BACKGROUND if options.keep_background else BY_KIND["idphoto"]
    content = encode_jpeg(image, preset, source_type, options.marks)
    decoded = np.asarray(PIL.Image.open(io.BytesIO(content)))
    rules = [*composition_rules(photo, frame, preset), *border_rules(photo, frame, share)]
    if options.method > 1:
        rules += later_rules(photo, frame, decoded, share, options.keep_background)
    rules += file_rules(content, decoded, share, preset)
    photo_rules = photo.rules if options.method == 1 else (*photo.rules, *photo.light_rules)
    return IdPhoto(preset, image, content, source_type, tuple(rules), photo_rules)


def _choose_frame(photo: SourcePhoto, options: IdPhotoOptions) -> RotatedRect:
    """Return the frame of the picture; raises `UserError` where the photo does not fill one."""
    size, composition = options.preset.pixels, options.preset.composition
    aspect = size.width / size.height
    if options.method == 1:
        return find_frame(photo.head, composition, aspect, image_size(photo.image))
    lost = not options.keep_background and share_lost(photo.person, photo.silhouette, photo.head) > MAX_LOST_SHARE
    person = photo.silhouette if lost else photo.person
    if is_head_cut(person, photo.face, photo.head):
        raise UserError("head_cut", HEAD_CUT)
    frame = find_covered_frame(person, measure_head(person, photo.face), composition, aspect)
    if frame is None:
        raise UserError("no_shoulders", NO_SHOULDERS)
    if lost:
        raise UserError("head_lost", HEAD_LOST)
    if options.keep_background:
        # All of the picture is the photo's then, not the person alone.
        frame = find_covered_frame(np.ones_like(photo.person), photo.head, composition, aspect)
    if frame is None:
        raise UserError("frame_outside", FRAME_OUTSIDE)
    return frame


def make_best(
    photos: Sequence[SourcePhoto], options: IdPhotoOptions, presets: Presets, count: int = 1
) -> list[tuple[IdPhoto, int]]:
    """Make ID photos of a person's photos, each with the number of its photo; those that break the fewest rules come first.

    Photos are tried in the order of `SourcePhoto.faults`, until `count` pictures meet the rules of the picture. Raises the
    `UserError` of `make_id_photo` where none of them can be used.
    """
    return list(make_each(photos, options, presets, count))


def make_each(
    photos: Sequence[SourcePhoto], options: IdPhotoOptions, presets: Presets, count: int = 1
) -> Iterator[tuple[IdPhoto, int]]:
    """The ID photos of `make_best` one by one: such as break no rule when they are made, the others when all were tried."""
    faulty: list[tuple[IdPhoto, int]] = []
    refusals: list[UserError] = []
    numbers, fine, faultless = range(len(photos)), 0, 0
    for number in numbers if options.method == 1 else sorted(numbers, key=lambda one: photos[one].faults):
        try:
            made = make_id_photo(photos[number], options, presets)
        except UserError as error:  # another of the photos may do
            refusals.append(error)
            continue
        if made.broken:
            faulty.append((made, number))
        else:
            faultless += 1
            yield made, number
        fine += all(rule.ok for rule in made.rules)
        if options.method > 1 and fine >= count:
            break
    if not faulty and not faultless:
        raise refusals[0] if refusals else no_face_error()
    # Python sorts stably: of equals the better photo, which comes first, stays first.
    yield from sorted(faulty, key=lambda each: each[0].broken)


def encode_jpeg(image: Image, preset: Preset, source_type: str, marks: Marks | None = None) -> bytes:
    """Return a JPEG of the best quality whose size lies in the preset's range; where none does, the one that comes nearest.

    `source_type` is IPTC's digital source type. Without marks the file carries it alone, unsigned. Raises `cannot_sign`.
    """
    picture = PIL.Image.fromarray(image)
    packet = xmp.packet(source_type) if marks is None else marks.packet(source_type)
    options: dict[str, Any] = {"subsampling": 0, "optimize": True, "dpi": (preset.dpi, preset.dpi)}

    def write(quality: int) -> bytes:
        content = save(picture, "JPEG", packet, options | {"quality": quality})
        return content if marks is None else marks.sign(content, "image/jpeg", Manifest(source_type))

    return fit_file_size(write, preset.file_size)


def make_report(photo: IdPhoto, presets: Presets, options: IdPhotoOptions) -> dict[str, Any]:
    """Return the report as JSON: every rule with what was measured, what is allowed, and what to do."""
    preset, size = photo.preset, photo.preset.pixels
    return {
        "preset": preset.id,
        "title": preset.title,
        "source": preset.source,
        "checked": None if preset.checked is None else preset.checked.isoformat(),
        "pixels": [size.width, size.height],
        "millimetres": [round(each, 2) for each in preset.millimetres],
        "dpi": preset.dpi,
        "background": "kept" if options.keep_background else presets.background_color(preset, options.background)[0],
        "ok": photo.ok,
        "rules": [_rule_to_dict(each) for each in photo.rules],
        "photo": [_rule_to_dict(each) for each in photo.photo_rules],
        "notes": make_notes(preset, options),
    }


def make_notes(preset: Preset, options: IdPhotoOptions) -> list[str]:
    """Return what the person should know that is no rule of the picture."""
    out = [preset.notes] if preset.notes else []
    if preset.checked is None and options.method > 1:
        out.append(f"This rule was {UNCHECKED} ({preset.source}). Compare it before you send the photo.")
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
