"""Writes the file of a portrait, with its digital source type and recipe, which stay in every other form that it is given.

Both stand in an XMP packet: IPTC's `DigitalSourceType` says how the picture came about, the recipe draws it again. It holds
no paths and no names of people.
"""

import io
import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from xml.sax.saxutils import escape, unescape

import PIL.Image
from PIL.PngImagePlugin import PngInfo

from pipelines.folders import atomic
from portrait.errors import UserError
from portrait.idphotos import Range
from portrait.photos.reasons import TIPS
from portrait.types import Portrait

FORMATS = {"jpg": "JPEG", "png": "PNG", "webp": "WEBP"}
SOURCE_TYPES = {
    "studio": "compositeSynthetic",
    "template": "compositeWithTrainedAlgorithmicMedia",
    "text": "trainedAlgorithmicMedia",
    "idphoto": "compositeSynthetic",
}
"""IPTC's NewsCodes by kind of style: a photo on a painted backdrop is a composite with synthetic elements; a face put into
another picture is marked as strictly as one that a network drew, so that nobody takes it for a photo."""
SAVE_OPTIONS: dict[str, dict[str, Any]] = {
    "JPEG": {"quality": 95, "subsampling": 0, "optimize": True},
    "PNG": {"compress_level": 4},
    "WEBP": {"quality": 95, "method": 4},
}
MIN_QUALITY, MAX_QUALITY = 40, 97
"""JPEG qualities between which a file size is searched: below, blocks show in skin; above, only bytes grow."""
MAX_JPEG_PACKET = 65_504
"""Bytes of an XMP packet in JPEG, whose segments have 65,533 with their name."""
CONVERTING_BYTES = 12
"""Memory that converting takes a pixel: the picture twice, and its encoder."""
VOCABULARY = "http://cv.iptc.org/newscodes/digitalsourcetype/"


@dataclass(frozen=True, slots=True)
class Deliver:
    """Writes portraits in one format."""

    format: str = "jpg"

    def __call__(self, portrait: Portrait, path: Path) -> Path:
        """Write the file atomically, and return its path with the format's suffix.

        Raises `UserError` (`bad_format`), `OperatorError` (`cannot_write`).
        """
        path = path.with_name(f"{path.name}.{self.format}")
        return atomic.write_file(path, encode(portrait, self.format))


def encode(portrait: Portrait, format: str) -> bytes:
    """Return the bytes of the file; raises `UserError` (`bad_format`)."""
    if format not in FORMATS:
        raise UserError("bad_format", f"Portraits are written as {', '.join(FORMATS)}.")
    name = FORMATS[format]
    picture = PIL.Image.fromarray(portrait.image)
    packet = xmp_packet(source_type(portrait.recipe), portrait.recipe)
    drawn = portrait.recipe.get("drawn")
    # What an ID-photo rule asks of the file itself: `dpi` and `kilobytes`.
    rule: Mapping[str, Any] | None = drawn.get("file") if isinstance(drawn, Mapping) else None
    options = SAVE_OPTIONS[name] | ({"dpi": (rule["dpi"], rule["dpi"])} if rule and name != "WEBP" else {})
    if name == "JPEG" and rule:
        return fit_file_size(
            lambda quality: save_jpeg(picture, packet, {**options, "quality": quality}), Range(*rule["kilobytes"])
        )
    return _write(picture, name, packet, options)


def convert(path: Path, format: str, side: int | None = None, max_bytes: float = float("inf")) -> bytes | None:
    """Return a delivered file in a format, its long side reduced to `side` pixels at most; None where it takes more memory.

    Digital source type, recipe and resolution in print stay. Raises `UserError` (`bad_format`, `unreadable`,
    `recipe_too_long`).
    """
    if format not in FORMATS:
        raise UserError("bad_format", f"Portraits are written as {', '.join(FORMATS)}.")
    name = FORMATS[format]
    try:
        with PIL.Image.open(path, formats=list(FORMATS.values())) as file:
            if file.width * file.height * CONVERTING_BYTES > max_bytes:
                return None
            packet, dpi = _read_packet(file), file.info.get("dpi")
            picture = file.convert("RGB")
    except (OSError, SyntaxError, ValueError) as error:
        raise UserError("unreadable", TIPS["unreadable"]) from error
    if name == "JPEG" and len(packet) > MAX_JPEG_PACKET:
        sentence = "The recipe of this portrait is longer than a JPEG file can carry. Take it as PNG or WebP."
        raise UserError("recipe_too_long", sentence)
    if side is not None:
        picture.thumbnail((side, side), PIL.Image.Resampling.LANCZOS)
    resolution = {"dpi": dpi} if dpi and name != "WEBP" else {}
    return _write(picture, name, packet, SAVE_OPTIONS[name] | resolution)


def _write(picture: PIL.Image.Image, name: str, packet: bytes, options: Mapping[str, Any]) -> bytes:
    """Return the file of a picture with an XMP packet, which may be empty; `name` is Pillow's of the format."""
    file = io.BytesIO()
    if name == "PNG":
        text = PngInfo()
        if packet:
            text.add_itxt("XML:com.adobe.xmp", packet.decode())
        picture.save(file, name, pnginfo=text, **options)
    else:
        picture.save(file, name, xmp=packet, **options)
    return file.getvalue()


def fit_file_size(write: Callable[[int], bytes], kilobytes: Range) -> bytes:
    """Return the file of the best JPEG quality whose size lies in the range; where none does, the one that comes nearest.

    `write` gives the file at a quality. Raw sizes grow with quality, so the best is found by halving.
    """
    low, high = MIN_QUALITY, MAX_QUALITY
    best = write(MAX_QUALITY)
    if kilobytes.low is not None and len(best) < kilobytes.low * 1000:
        finer = (write(quality) for quality in range(MAX_QUALITY + 1, 100))
        return next((tried for tried in finer if kilobytes.holds(len(tried) / 1000)), write(100))
    if kilobytes.high is None or len(best) <= kilobytes.high * 1000:
        return best
    best = write(MIN_QUALITY)
    while low <= high:
        middle = (low + high) // 2
        tried = write(middle)
        if len(tried) <= kilobytes.high * 1000:
            best, low = tried, middle + 1
        else:
            high = middle - 1
    return best


def source_type(recipe: Mapping[str, object]) -> str:
    """Return IPTC's digital source type of the portrait that a recipe draws."""
    style = recipe.get("style")
    kind = style["kind"] if isinstance(style, Mapping) else "template"
    drawn = recipe.get("drawn")
    keeps_background = kind == "idphoto" and isinstance(drawn, Mapping) and drawn.get("background") == "kept"
    refined = drawn.get("refined") if isinstance(drawn, Mapping) else None
    if kind == "studio" and isinstance(refined, Mapping) and "swap" in refined:
        return SOURCE_TYPES["template"]  # a network drew the face
    return "algorithmicallyEnhanced" if keeps_background else SOURCE_TYPES[str(kind)]


def xmp_packet(source: str, recipe: Mapping[str, object] | None = None) -> bytes:
    """Return the XMP packet of a digital source type and, if given, a recipe."""
    namespace, element = "", ""
    if recipe is not None:
        text = escape(json.dumps(recipe, ensure_ascii=True, separators=(",", ":")))
        namespace, element = ' xmlns:portrait="urn:portrait:1"', f"<portrait:recipe>{text}</portrait:recipe>"
    return (
        '<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?><x:xmpmeta xmlns:x="adobe:ns:meta/">'
        '<rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#"><rdf:Description rdf:about="" '
        f'xmlns:Iptc4xmpExt="http://iptc.org/std/Iptc4xmpExt/2008-02-29/"{namespace}>'
        f"<Iptc4xmpExt:DigitalSourceType>{VOCABULARY}{source}</Iptc4xmpExt:DigitalSourceType>"
        f'{element}</rdf:Description></rdf:RDF></x:xmpmeta><?xpacket end="w"?>'
    ).encode()


def save_jpeg(picture: PIL.Image.Image, packet: bytes, options: Mapping[str, Any]) -> bytes:
    """Return the JPEG file of a picture with an XMP packet; `options` are Pillow's."""
    file = io.BytesIO()
    picture.save(file, "JPEG", xmp=packet, **options)
    return file.getvalue()


def _read_packet(picture: PIL.Image.Image) -> bytes:
    """Return the XMP packet of a file, which PNG holds as text; empty without one."""
    packet = picture.info.get("xmp") or picture.info.get("XML:com.adobe.xmp") or b""
    return packet.encode() if isinstance(packet, str) else packet


def read_recipe(path: Path) -> dict[str, Any]:
    """Read the recipe from a delivered file; raises `UserError` (`no_recipe`) when it carries none."""
    try:
        with PIL.Image.open(path, formats=list(FORMATS.values())) as picture:
            packet = _read_packet(picture)
    except (OSError, SyntaxError, ValueError) as error:
        raise UserError("no_recipe", f"{path} cannot be read as a picture.") from error
    found = re.search(r"<portrait:recipe>(.*?)</portrait:recipe>", packet.decode("utf-8", "replace"), re.DOTALL)
    try:
        if found:
            return dict(json.loads(unescape(found[1])))
    except ValueError:
        pass
    raise UserError(
        "no_recipe", f"{path} carries no recipe: it was not made here, or was saved again by another program."
    )
