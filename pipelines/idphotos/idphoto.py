"""ID photos: one photo, a country's rule, and a picture of exact size with a report, rule by rule.

The photo is levelled, framed and set before a plain background; the face stays as it is: no retouch, no new light.
"""

import io
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import cv2
import numpy as np
import PIL.Image

from pipelines import refine
from pipelines.deliver import VOCABULARY, fit_file_size
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
from portrait.ports import FaceFinder, Matter, Progress
from portrait.types import Box, Candidate, PortraitRequest

CUT = 0.002
"""Share of the picture in which shoulders may be missing before it is told: a sliver at the edge is not seen."""
KEEP_BACKGROUND = "kept"
"""The background of a style that keeps the photo's own."""
MAX_PHOTOS = 4
"""Photos of a person that are looked at: the best ones."""
LARGEST = 560.0
"""Height of a face, forehead to chin, beyond which the photo is reduced: no preset shows one larger."""
ASIDE, ABOVE, BELOW = 2.4, 2.0, 2.6
"""What of the photo is looked at, from the face's middle, top and chin, in face heights: more than any preset's frame shows,
at any tilt that is levelled."""
EVEN = 6.0
"""Largest standard deviation of a background's lightness, levels of 255: JPEG beside a plain colour reads 1 at most."""
SLIVER = 0.01
"""Share of the height over which the photo's edge may be repeated."""
VEIL = 0.05
"""Opacity up to which the matte is taken for background, and 1 minus which it is taken for solid."""
SHOULDERS = "The photo ends before the picture does. Take one from further away, with both shoulders in it."
CUT_OUT = "Something beside or behind the head was taken for part of it. Stand alone before a plain wall."
BACKGROUND = "The background is uneven. Stand before a plain wall without shadows, or let it be replaced."
FRAME = "No frame of this photo meets all rules at once. Take one with the head upright and hair close to it."
HAIR = "The hair does not fit into the picture. Wear it closer to the head."
FILE_SIZE = "No JPEG of this photo has a size in that range."


@dataclass(frozen=True, slots=True)
class IdPhotoOptions:
    """What is asked for, apart from the photo."""

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
    """Of the picture: what the authority asks for."""
    photo_rules: tuple[RuleResult, ...]
    """Of the photo: what no frame can mend."""

    @property
    def ok(self) -> bool:
        """Whether every rule holds."""
        return all(each.ok for each in (*self.rules, *self.photo_rules))


class SourcePhoto:
    """One photo of a person, found and cut out once for any number of presets."""

    def __init__(self, image: Image, finder: FaceFinder, matter: Matter) -> None:
        """Raises `UserError` (`no_face`)."""
        self._matter = matter
        faces = finder.faces(image, embedded=0)
        if not faces:
            raise no_face_error()
        shrink = min(1.0, LARGEST / max(faces[0].box.height, 1.0))
        size = (max(1, round(image.shape[1] * shrink)), max(1, round(image.shape[0] * shrink)))
        if shrink < 1:
            image = np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA), np.uint8)
            faces = [transform_face(face, scaling_matrix(shrink)) for face in faces]
        rows, columns = _around(faces[0].box, image_size(image))
        self.image = np.ascontiguousarray(image[rows, columns])
        shift = np.array([[1, 0, -columns.start], [0, 1, -rows.start]], np.float64)
        self.face, *self._others = (transform_face(face, shift) for face in faces)

    @cached_property
    def person(self) -> Mask:
        """The matte."""
        return self._matter.matte(self.image, self.face)

    @cached_property
    def head(self) -> HeadMeasures:
        """Where the head lies."""
        return measure_head(self.person, self.face)

    @cached_property
    def rules(self) -> tuple[RuleResult, ...]:
        """What of the photo no frame can mend."""
        return judge_photo(self.image, self.face, self.head, self._others)

    @cached_property
    def foreground(self) -> Image:
        """The person's colours, spread beyond the edge so that no old background is left in hair."""
        return estimate_foreground(self.image, self.person, max(3, round(0.6 * face_size(self.face))))


@dataclass(frozen=True, slots=True)
class IdPainter:
    """Frames a person's photos by a rule; the painter of styles of the kind `idphoto`."""

    finder: FaceFinder
    matter: Matter
    presets: Presets

    def paint(self, request: PortraitRequest, progress: Progress) -> list[Candidate]:
        """The photos that break the fewest rules, framed; the rules are told in the facts.

        Raises `UserError`: `bad_size`, `bad_refiner` for what an ID photo cannot have; `unknown_preset`, `no_face`.
        """
        style = request.style
        if request.size is not None:
            raise UserError("bad_size", "An ID photo has the size of its rule. Leave the size out.")
        if refine.steps_of(request):
            raise UserError(
                "bad_refiner", "Nothing is done to the face of an ID photo. Leave refining and enlarging out."
            )
        kept = style.background == KEEP_BACKGROUND
        wish = IdPhotoOptions(self.presets.find(style.preset), "" if kept else style.background, kept)
        self.presets.background_color(wish.preset, wish.background)
        photos = request.people[1].references[:MAX_PHOTOS]
        made: list[tuple[IdPhoto, str]] = []
        for number, photo in enumerate(photos):
            progress(number, len(photos), "Drawing", photo.image)
            with suppress(UserError):  # nobody is seen on it; another of the photos may do
                made.append(
                    (make_id_photo(SourcePhoto(photo.image, self.finder, self.matter), wish, self.presets), photo.name)
                )
        if not made:
            raise no_face_error()
        # Python sorts stably: of equals the better photo, which comes first, stays first.
        made.sort(key=lambda each: sum(not found.ok for found in (*each[0].rules, *each[0].photo_rules)))
        return [
            Candidate(photo.image, {1: name}, {"photo": float(number)}, None, self._facts(photo, wish))
            for number, (photo, name) in enumerate(made[: request.count])
        ]

    def _facts(self, photo: IdPhoto, wish: IdPhotoOptions) -> dict[str, object]:
        """The rules as they were measured, and what they ask of the file."""
        told = make_report(photo, self.presets, wish)
        kilobytes = photo.preset.file_size
        return {
            "preset": photo.preset.id,
            "background": told["background"],
            "file": {"dpi": DPI, "kilobytes": [kilobytes.low, kilobytes.high]},
            "rules": [*told["rules"], *told["photo"]],
            "notes": told["notes"],
        }


def no_face_error() -> UserError:
    """What is said of a photo without a face."""
    return UserError("no_face", "No face was found. Choose a photo in which your face is clearly visible.")


def _around(box: Box, size: Size) -> tuple[slice, slice]:
    """Rows and columns of the photo that a frame may show."""
    (middle, _), unit = box.centre, box.height
    top, bottom = max(0, round(box.top - ABOVE * unit)), min(size.height, round(box.bottom + BELOW * unit))
    left, right = max(0, round(middle - ASIDE * unit)), min(size.width, round(middle + ASIDE * unit))
    return slice(top, bottom), slice(left, right)


def make_id_photo(photo: SourcePhoto, options: IdPhotoOptions, presets: Presets) -> IdPhoto:
    """The ID photo of a sitting; rules that cannot be met are told in it, never hidden."""
    preset = options.preset
    size = preset.pixels
    frame = find_frame(photo.head, preset.composition, size.width / size.height, image_size(photo.image))
    _, colour = presets.background_color(preset, options.background)
    share = _share(photo.person, frame, size)
    if options.keep_background:
        image = crop(photo.image, frame, size)
    else:
        image = composite(
            crop(photo.foreground, frame, size), np.full((size.height, size.width, 3), colour, np.uint8), share
        )
    kilobytes = preset.file_size
    content = encode_jpeg(
        image, kilobytes, "algorithmicallyEnhanced" if options.keep_background else "compositeSynthetic"
    )
    shown = np.asarray(PIL.Image.open(io.BytesIO(content)))
    rules = [
        *_composed(photo, frame, preset),
        check_rule("shoulders", 100 * share_missing(photo.person, frame), Range(None, 100 * CUT), "%", SHOULDERS),
        check_rule("cut_out", 100 * _leaked(share, eye_line(photo.head, frame)), Range(None, 0.5), "%", CUT_OUT),
        check_rule("background", _unevenness(shown, share), Range(None, EVEN), "levels", BACKGROUND),
        check_rule("width", shown.shape[1], Range(size.width, size.width), "px", ""),
        check_rule("height", shown.shape[0], Range(size.height, size.height), "px", ""),
        check_rule("file_size", len(content) / 1000, kilobytes, "kB", FILE_SIZE),
    ]
    return IdPhoto(preset, image, content, tuple(rules), photo.rules)


def choose_photo(photos: Sequence[SourcePhoto]) -> SourcePhoto:
    """The photo that breaks the fewest rules no frame can mend; of equals the first."""
    return min(photos, key=lambda each: sum(not found.ok for found in each.rules))


def encode_jpeg(image: Image, kilobytes: Range, source: str) -> bytes:
    """A JPEG of the best quality whose size lies in the range; where none does, the one that comes nearest.

    `source` is IPTC's digital source type.
    """
    return fit_file_size(lambda quality: _jpeg(image, quality, source), kilobytes)


def _jpeg(image: Image, quality: int, source: str) -> bytes:
    packet = (
        '<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?><x:xmpmeta xmlns:x="adobe:ns:meta/">'
        '<rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#"><rdf:Description rdf:about="" '
        'xmlns:Iptc4xmpExt="http://iptc.org/std/Iptc4xmpExt/2008-02-29/">'
        f"<Iptc4xmpExt:DigitalSourceType>{VOCABULARY}{source}</Iptc4xmpExt:DigitalSourceType>"
        '</rdf:Description></rdf:RDF></x:xmpmeta><?xpacket end="w"?>'
    )
    file = io.BytesIO()
    options: dict[str, Any] = {"quality": quality, "subsampling": 0, "optimize": True, "dpi": (DPI, DPI)}
    PIL.Image.fromarray(image).save(file, "JPEG", xmp=packet.encode(), **options)
    return file.getvalue()


def make_report(photo: IdPhoto, presets: Presets, options: IdPhotoOptions) -> dict[str, Any]:
    """The report as JSON: every rule with what was measured, what is allowed, and what to do."""
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
        "rules": [_told(each) for each in photo.rules],
        "photo": [_told(each) for each in photo.photo_rules],
        "notes": make_notes(preset, options),
    }


def make_notes(preset: Preset, options: IdPhotoOptions) -> list[str]:
    """What the person should know that is no rule of the picture."""
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


def _told(each: RuleResult) -> dict[str, Any]:
    measured = None if each.measured is None else round(each.measured, 3)
    ends = [None if end is None else round(end, 3) for end in (each.allowed.low, each.allowed.high)]
    told = {"rule": each.name, "measured": measured, "allowed": ends, "unit": each.unit, "ok": each.ok}
    return told if each.ok else told | {"tip": each.tip}


def _composed(sitting: SourcePhoto, frame: RotatedRect, preset: Preset) -> list[RuleResult]:
    """The rules about where the head lies, in the preset's own unit."""
    unit = "% of height" if preset.unit == "percent" else preset.unit
    rules = preset.composition
    found = frame_measures(sitting.head, frame, eye_line(sitting.head, frame), rules.crown)
    spans = {"head": rules.head, "eyes": rules.eyes, "top": rules.top, "below": rules.below, "breadth": rules.breadth}
    out = []
    for name, span in spans.items():
        if span != Range():
            whole = preset.scale_height
            ends = Range(*(None if end is None else round(end * whole, 6) for end in (span.low, span.high)))
            out.append(check_rule(name, found[name] * whole, ends, unit, FRAME))
    # What is above the hair must be seen, whatever a rule takes for the crown.
    room = 1 - eye_line(sitting.head, frame) - sitting.head.hair / frame.height
    return [*out, check_rule("hair_inside", 100 * room, Range(0, None), "% of height", HAIR)]


def _share(person: Mask, frame: RotatedRect, size: Size) -> Mask:
    """The matte in the frame, without the veil that would make a plain background uneven."""
    share = crop(np.asarray(person * 255 + 0.5, np.uint8), frame, size).astype(np.float32) / 255
    enlarged = size.height / frame.height
    if enlarged > 1.5:
        # Enlarged steps of the old pixels would show along smooth outlines.
        share = cv2.GaussianBlur(share, (0, 0), 0.3 * enlarged)
    clean = np.clip((share - VEIL) / (1 - 2 * VEIL), 0, 1)
    return np.asarray(clean * _reached(person, frame, size), np.float32)


def _reached(person: Mask, frame: RotatedRect, size: Size) -> Mask:
    """Where the photo is, and a sliver more in which its edge may go on; beyond, streaks would be seen."""
    there = cv2.warpAffine(
        np.ones_like(person), frame.matrix_to(size), (size.width, size.height), flags=cv2.INTER_NEAREST
    )
    side = 2 * round(SLIVER * size.height) + 1
    return np.asarray(cv2.dilate(there, np.ones((side, side), np.uint8)), np.float32)


def _leaked(share: Mask, line: float) -> float:
    """Share of the picture's edge, from the eyes upwards, at which there is somebody or something."""
    above = share[: max(1, round((1 - line) * share.shape[0]))]
    edge = np.concatenate([above[0], above[:, 0], above[:, -1]])
    return float((edge > 0.1).mean())


def _unevenness(shown: Image, share: Mask) -> float:
    """Standard deviation of the background's lightness in the finished file, levels of 255; 0 where none is seen."""
    behind = cv2.cvtColor(shown, cv2.COLOR_RGB2GRAY)[share < 0.004]
    return float(behind.std()) if behind.size else 0.0
