"""A raw photo as cameras write it: a DNG of one colour to a pixel, in the pattern of Bayer, uncompressed."""

import struct
from collections.abc import Sequence

import numpy as np

from portrait.arrays import Image

_BYTE, _ASCII, _SHORT, _LONG, _RATIONAL, _SIGNED = 1, 2, 3, 4, 5, 10
_SIZES = {_BYTE: "B", _ASCII: "B", _SHORT: "H", _LONG: "I", _RATIONAL: "I", _SIGNED: "i"}
SRGB = (3.2405, -1.5371, -0.4985, -0.9693, 1.8760, 0.0416, 0.0556, -0.2040, 1.0572)
"""XYZ to the colours of the camera, which are those of sRGB here."""


def dng(image: Image, orientation: int = 1) -> bytes:
    """The file of a picture of even width and height."""
    height, width = image.shape[:2]
    linear = (image.astype(np.float64) / 255) ** 2.2 * 16000
    values = np.zeros((height, width), "<u2")
    for row, column, channel in ((0, 0, 0), (0, 1, 1), (1, 0, 1), (1, 1, 2)):
        values[row::2, column::2] = linear[row::2, column::2, channel]
    pixels = values.tobytes()
    matrix = [part for each in SRGB for part in (round(each * 10000), 10000)]
    tags: list[tuple[int, int, Sequence[int]]] = [
        (254, _LONG, [0]),
        (256, _LONG, [width]),
        (257, _LONG, [height]),
        (258, _SHORT, [16]),
        (259, _SHORT, [1]),
        (262, _SHORT, [32803]),
        (271, _ASCII, b"Maker\0"),
        (272, _ASCII, b"Camera\0"),
        (273, _LONG, [8]),
        (274, _SHORT, [orientation]),
        (277, _SHORT, [1]),
        (278, _LONG, [height]),
        (279, _LONG, [len(pixels)]),
        (33421, _SHORT, [2, 2]),
        (33422, _BYTE, [0, 1, 1, 2]),
        (50706, _BYTE, [1, 4, 0, 0]),
        (50708, _ASCII, b"Camera\0"),
        (50714, _SHORT, [0]),
        (50717, _LONG, [16000]),
        (50721, _SIGNED, matrix),
        (50728, _RATIONAL, [1, 1, 1, 1, 1, 1]),
        (50778, _SHORT, [21]),
    ]
    begin = 8 + len(pixels)
    beyond, entries = begin + 2 + 12 * len(tags) + 4, b""
    tail = b""
    for tag, kind, numbers in tags:
        content = struct.pack(f"<{len(numbers)}{_SIZES[kind]}", *numbers)
        count = len(numbers) // (2 if kind in (_RATIONAL, _SIGNED) else 1)
        if len(content) > 4:
            entries += struct.pack("<HHII", tag, kind, count, beyond + len(tail))
            tail += content + bytes(len(content) % 2)
        else:
            entries += struct.pack("<HHI", tag, kind, count) + content.ljust(4, b"\0")
    return b"II*\0" + struct.pack("<I", begin) + pixels + struct.pack("<H", len(tags)) + entries + bytes(4) + tail
