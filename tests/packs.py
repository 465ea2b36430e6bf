"""Packs of styles as they come from elsewhere, made by hand: good ones, and one with three faults."""

import hashlib
import io
import json
import zipfile
from collections.abc import Collection, Mapping

import cv2
import numpy as np
import skimage.data

from tests import selfies

FAULTY = """
schema = 1
id = "launch"
kind = "template"
title = "Launch with Taylor Swift"
picture = { file = "picture.jpg" }
licence = "LicenseRef-unknown"
credit = "NASA"
tags = ["fun"]
"""
"""Names a real person, has no licence, and its picture shows a cup of coffee."""


def pack(files: Mapping[str, bytes], wrong: Collection[str] = ()) -> bytes:
    """A zip with its manifest; the hashes of `wrong` files do not hold."""
    listed: dict[str, dict[str, object]] = {
        name: {"sha256": "0" * 64 if name in wrong else hashlib.sha256(each).hexdigest(), "bytes": len(each)}
        for name, each in files.items()
    }
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", zipfile.ZIP_DEFLATED) as made:
        made.writestr("pack.json", json.dumps({"format": "portrait-styles", "schema": 1, "files": listed}))
        for name, each in files.items():
            made.writestr(name, each)
    return content.getvalue()


def faulty() -> bytes:
    """The pack with the three faults."""
    coffee = np.asarray(cv2.resize(skimage.data.coffee(), None, fx=1.5, fy=1.5), np.uint8)
    return pack({"launch/style.toml": FAULTY.encode(), "launch/picture.jpg": selfies.jpeg(coffee)})
