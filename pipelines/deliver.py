"""Marks a portrait and writes the file; the last step, nothing re-encodes after it.

The mark is XMP: how the picture came about in IPTC's words (`DigitalSourceType`), and the recipe that draws it again. It
holds no paths and no names of people.
"""

import io
import json
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from xml.sax.saxutils import escape, unescape

import PIL.Image
from PIL.PngImagePlugin import PngInfo

from portrait.errors import OperatorError, UserError
from portrait.types import Portrait

FORMATS = {"jpg": "JPEG", "png": "PNG", "webp": "WEBP"}
SOURCE_TYPES = {
    "studio": "compositeSynthetic",
    "template": "compositeWithTrainedAlgorithmicMedia",
    "text": "trainedAlgorithmicMedia",
}
"""IPTC's NewsCodes by kind of style: a photo on a painted backdrop is a composite with synthetic elements; a face put into
another picture is marked as strictly as one that a network drew, so that nobody takes it for a photo."""
OPTIONS: dict[str, dict[str, Any]] = {
    "JPEG": {"quality": 95, "subsampling": 0, "optimize": True},
    "PNG": {"compress_level": 4},
    "WEBP": {"quality": 95, "method": 4},
}
VOCABULARY = "http://cv.iptc.org/newscodes/digitalsourcetype/"


@dataclass(frozen=True, slots=True)
class Deliver:
    """Write portraits in one format."""

    format: str = "jpg"

    def __call__(self, portrait: Portrait, path: Path) -> Path:
        """Write the file whole or not at all, and return its path with the format's suffix.

        Raises `UserError` (`bad_format`), `OperatorError` (`cannot_write`).
        """
        path = path.with_name(f"{path.name}.{self.format}")
        content = encode(portrait, self.format)
        staged = path.with_name(f".{path.name}.part")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            staged.write_bytes(content)
            os.replace(staged, path)  # noqa: PTH105 -- says plainly that it is atomic
        except OSError as error:
            staged.unlink(missing_ok=True)
            raise OperatorError("cannot_write", f"{path} cannot be written: {error.strerror}.") from error
        return path


def encode(portrait: Portrait, format: str) -> bytes:
    """The file's bytes, marked."""
    if format not in FORMATS:
        raise UserError("bad_format", f"Portraits are written as {', '.join(FORMATS)}.")
    name = FORMATS[format]
    file = io.BytesIO()
    picture = PIL.Image.fromarray(portrait.image)
    packet = mark(portrait.recipe)
    if name == "PNG":
        text = PngInfo()
        text.add_itxt("XML:com.adobe.xmp", packet.decode())
        picture.save(file, name, pnginfo=text, **OPTIONS[name])
    else:
        picture.save(file, name, xmp=packet, **OPTIONS[name])
    return file.getvalue()


def mark(recipe: Mapping[str, object]) -> bytes:
    """The XMP packet."""
    style = recipe["style"]
    kind = style["kind"] if isinstance(style, Mapping) else "template"
    text = escape(json.dumps(recipe, ensure_ascii=True, separators=(",", ":")))
    return (
        '<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?><x:xmpmeta xmlns:x="adobe:ns:meta/">'
        '<rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#"><rdf:Description rdf:about="" '
        'xmlns:Iptc4xmpExt="http://iptc.org/std/Iptc4xmpExt/2008-02-29/" xmlns:portrait="urn:portrait:1">'
        f"<Iptc4xmpExt:DigitalSourceType>{VOCABULARY}{SOURCE_TYPES[str(kind)]}</Iptc4xmpExt:DigitalSourceType>"
        f"<portrait:recipe>{text}</portrait:recipe></rdf:Description></rdf:RDF></x:xmpmeta>"
        '<?xpacket end="w"?>'
    ).encode()


def recipe_of(path: Path) -> dict[str, Any]:
    """The recipe in a delivered file; raises `UserError` (`no_recipe`) when it carries none."""
    try:
        with PIL.Image.open(path, formats=list(FORMATS.values())) as picture:
            packet = picture.info.get("xmp") or picture.info.get("XML:com.adobe.xmp") or b""
    except (OSError, SyntaxError, ValueError) as error:
        raise UserError("no_recipe", f"{path} cannot be read as a picture.") from error
    text = packet.decode("utf-8", "replace") if isinstance(packet, bytes) else packet
    found = re.search(r"<portrait:recipe>(.*?)</portrait:recipe>", text, re.DOTALL)
    try:
        if found:
            return dict(json.loads(unescape(found[1])))
    except ValueError:
        pass
    raise UserError(
        "no_recipe", f"{path} carries no recipe: it was not made here, or was saved again by another program."
    )
