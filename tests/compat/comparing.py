"""What was there before compared with what is there now: facts, pictures and the recipes that they carry."""

import json
import re
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any
from xml.sax.saxutils import unescape

import cv2
import numpy as np
import PIL.Image

from tests.compat.places import FIXTURES

NEAR = 8, 0.05
"""Largest and mean difference in levels that another kind of processor may make: 6 and 0.034 were seen, in a JPEG; other
grain in a face makes a mean of 0.065, a LoRA of 95 % one of 0.2."""


@cache
def stored(name: str) -> Any:
    """Facts of the fixtures."""
    return json.loads((FIXTURES / name).read_text("utf-8"))


def missing(before: Any, now: Any, place: str = "") -> list[str]:
    """Where something that was there before is gone or differs; what is new is not told."""
    if isinstance(before, Mapping) and isinstance(now, Mapping):
        return [
            wrong
            for name, each in before.items()
            for wrong in (missing(each, now[name], f"{place} {name}") if name in now else [f"{place} {name} is gone"])
        ]
    if isinstance(before, list) and isinstance(now, list):
        return [f"{place} {each} is gone" for each in before if each not in now]
    return [] if before == now else [f"{place}: {before!r} became {now!r}"]


def recipe_of(file: Path) -> dict[str, Any]:
    """The recipe that a portrait carries in its XMP."""
    with PIL.Image.open(file) as picture:
        packet = picture.info.get("xmp") or picture.info["XML:com.adobe.xmp"]
    text = packet.decode() if isinstance(packet, bytes) else packet
    found = re.search(r"<portrait:recipe>(.*?)</portrait:recipe>", text, re.DOTALL)
    assert found, "the picture carries a recipe"
    return json.loads(unescape(found[1]))


def pixels(file: Path) -> np.ndarray:
    """The picture, height×width×3."""
    with PIL.Image.open(file) as picture:
        return np.asarray(picture.convert("RGB"))


def processor() -> list[str]:
    """What kind of processor this is: networks and OpenCV compute a little differently on another kind."""
    file = Path("/proc/cpuinfo")
    said = file.read_text("utf-8") if file.is_file() else ""
    kind = [re.search(rf"^{name}\s*: (.*)$", said, re.M) for name in ("vendor_id", "cpu family", "model")]
    return [*(found[1] for found in kind if found), cv2.getCPUFeaturesLine()]


def assert_same_pixels(before: Path, now: Path, exact: bool = True) -> None:
    """The two pictures are equal; where another kind of processor computed them, or they need not be exact, nearly so."""
    one, other = pixels(before), pixels(now)
    assert one.shape == other.shape
    if exact and stored("machine.json")["processor"] == processor():
        assert np.array_equal(one, other)
    difference = np.abs(one.astype(int) - other)
    assert difference.max() <= NEAR[0]
    assert difference.mean() <= NEAR[1]
