"""Rules of the picture of an ID photo: where the head lies in it, what stands around, the file itself."""

import cv2
import numpy as np

from pipelines.idphotos.presets import Preset
from pipelines.idphotos.source_photo import SourcePhoto
from portrait.arrays import Image, Mask
from portrait.faces.geometry import RotatedRect
from portrait.idphoto_rules import RuleResult, check_rule
from portrait.idphotos import MAX_MISSING_SHARE, Range, eye_line, frame_measures, share_missing

MAX_DEVIATION = 6.0
"""Largest standard deviation of a background's lightness, levels of 255: JPEG beside a plain colour reads 1 at most."""
MAX_RESIDUE = 0.2
"""Largest `measure_residue` of a cut-out: clean ones read 0.02 at most."""
MAX_TILT = 5.0
"""Largest remaining roll of the head in the picture, degrees (ISO/IEC 19794-5)."""
MAX_BACKGROUND_SHADOW = 20.0
"""Levels of 255 by which a kept background may be darker somewhere than in the middle of its range."""
SHOULDERS_TIP = "The photo ends before the picture does. Take one from further away, with both shoulders in it."
CUT_OUT_TIP = "Something beside or behind the head was taken for part of it. Stand alone before a plain wall."
BACKGROUND_TIP = "The background is uneven. Stand before a plain wall without shadows, or let it be replaced."
RESIDUE_TIP = (
    "Part of the room sticks to the head or hair. Stand before a plain wall, or clearly away from what is behind you."
)
TILT_TIP = (
    "The head is tilted, and levelling it would show where the photo ends. Hold it upright, or leave more room around."
)
SHADOW_TIP = "There is a shadow on the background. Stand further from the wall, with the light in front of you."
FRAME_TIP = "No frame of this photo meets all rules at once. Take one with the head upright and hair close to it."
HAIR_TIP = "The hair does not fit into the picture. Wear it closer to the head."
FILE_SIZE_TIP = "No JPEG of this photo has a size in that range."


def composition_rules(photo: SourcePhoto, frame: RotatedRect, preset: Preset) -> list[RuleResult]:
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


def border_rules(photo: SourcePhoto, frame: RotatedRect, share: Mask) -> list[RuleResult]:
    """Check that the person is there down to the lower edge, and that nothing else was taken for the person."""
    missing = 100 * share_missing(photo.person, frame)
    covered = 100 * _edge_coverage(share, eye_line(photo.head, frame))
    return [
        check_rule("shoulders", missing, Range(None, 100 * MAX_MISSING_SHARE), "%", SHOULDERS_TIP),
        check_rule("cut_out", covered, Range(None, 0.5), "%", CUT_OUT_TIP),
    ]


def later_rules(
    photo: SourcePhoto, frame: RotatedRect, decoded: Image, share: Mask, keeps_background: bool
) -> list[RuleResult]:
    """Check the rules that came after version 0.1.0; `share` is the person's of the finished file's pixels."""
    tilt = check_rule("tilt", photo.head.roll - frame.roll, Range(-MAX_TILT, MAX_TILT), "°", TILT_TIP)
    if keeps_background:
        shadow = _background_shadow(decoded, share)
        return [tilt, check_rule("background_shadow", shadow, Range(None, MAX_BACKGROUND_SHADOW), "levels", SHADOW_TIP)]
    return [tilt, check_rule("residue", photo.residue, Range(None, MAX_RESIDUE), "0..1", RESIDUE_TIP)]


def file_rules(content: bytes, decoded: Image, share: Mask, preset: Preset) -> list[RuleResult]:
    """Check the rules about the finished file."""
    size, deviation = preset.pixels, _background_deviation(decoded, share)
    return [
        check_rule("background", deviation, Range(None, MAX_DEVIATION), "levels", BACKGROUND_TIP),
        check_rule("width", decoded.shape[1], Range(size.width, size.width), "px", ""),
        check_rule("height", decoded.shape[0], Range(size.height, size.height), "px", ""),
        check_rule("file_size", len(content) / 1000, preset.file_size, "kB", FILE_SIZE_TIP),
    ]


def _edge_coverage(share: Mask, line: float) -> float:
    """Return the share of the picture's edge, from the eyes upwards, that the matte covers."""
    above = share[: max(1, round((1 - line) * share.shape[0]))]
    edge = np.concatenate([above[0], above[:, 0], above[:, -1]])
    return float((edge > 0.1).mean())


def _background_deviation(decoded: Image, share: Mask) -> float:
    """Return the standard deviation of the background's lightness in the file, levels of 255; 0 without background."""
    behind = cv2.cvtColor(decoded, cv2.COLOR_RGB2GRAY)[share < 0.004]
    return float(behind.std()) if behind.size else 0.0


def _background_shadow(decoded: Image, share: Mask) -> float:
    """Return how much darker than its median the background is in its darkest twentieth, levels of 255."""
    behind = cv2.GaussianBlur(cv2.cvtColor(decoded, cv2.COLOR_RGB2GRAY), (0, 0), 0.01 * decoded.shape[0])[share < 0.004]
    return float(np.median(behind) - np.percentile(behind, 5)) if behind.size else 0.0
