"""Writes the file of a portrait with its marks, which stay in every other form that it is given.

Marks come last: the visible label and the invisible mark in its pixels, an XMP packet with the digital source type and the
recipe, and over all of it signed content credentials. They hold no paths, no names of people, and own words encrypted alone.
"""

import hashlib
import io
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import PIL.Image
from PIL.PngImagePlugin import PngInfo

from pipelines.folders import atomic
from pipelines.marks import credentials, xmp
from pipelines.marks.credentials import MIMES
from pipelines.marks.manifest import Manifest, Parent
from pipelines.marks.marks import Marks, manifest_of_recipe
from pipelines.marks.source_types import of_recipe
from portrait.errors import UserError
from portrait.idphotos import Range
from portrait.photos.reasons import TIPS
from portrait.types import Portrait

FORMATS = {"jpg": "JPEG", "png": "PNG", "webp": "WEBP"}
SAVE_OPTIONS: dict[str, dict[str, Any]] = {
    "JPEG": {"quality": 95, "subsampling": 0, "optimize": True},
    "PNG": {"compress_level": 4},
    "WEBP": {"quality": 95, "method": 4},
}
OPTIMIZED_PIXELS = 8_000_000
"""Pixels of a JPEG beyond which its codes are the standard's: fitting them to the picture holds 8 bytes a pixel in memory, and
saves a twentieth of the file."""
MIN_QUALITY, MAX_QUALITY = 40, 97
"""JPEG qualities between which a file size is searched: below, blocks show in skin; above, only bytes grow."""
CONVERTING_BYTES = 12
"""Memory that converting takes a pixel: the picture twice, and its encoder."""


@dataclass(frozen=True, slots=True)
class Deliver:
    """Writes portraits in one format."""

    format: str
    marks: Marks
    original: Path | None = None
    """The file that the portraits are edits of; it becomes an ingredient of their credentials."""

    def __call__(self, portrait: Portrait, path: Path, id: str = "") -> Path:
        """Write the file atomically, and return its path with the format's suffix; see `encode` for `id`.

        Raises `UserError` (`bad_format`), `OperatorError` (`cannot_write`, `cannot_sign`, `label_font`).
        """
        path = path.with_name(f"{path.name}.{self.format}")
        parent = None if self.original is None else parent_of(self.original)
        return atomic.write_file(path, encode(portrait, self.format, self.marks, id, parent))


def encode(portrait: Portrait, format: str, marks: Marks, id: str = "", parent: Parent | None = None) -> bytes:
    """Return the bytes of the file, of which `id` is the portrait's, by default one that its recipe gives.

    Raises `UserError` (`bad_format`), `OperatorError` (`cannot_sign`, `label_font`).
    """
    name = _pillow_name(format)
    recipe, id = marks.close(portrait.recipe), id or recipe_id(portrait.recipe)
    drawn = portrait.recipe.get("drawn")
    # What an ID-photo rule asks of the file itself: `dpi` and `kilobytes`. Its pixels are the authority's alone.
    rule: Mapping[str, Any] | None = drawn.get("file") if isinstance(drawn, Mapping) else None
    picture = PIL.Image.fromarray(portrait.image if is_id_photo(portrait.recipe) else marks.finish(portrait.image, id))
    packet, manifest = marks.packet(of_recipe(recipe), recipe, id), manifest_of_recipe(recipe, id)
    if len(packet) > xmp.MAX_JPEG_PACKET and (name == "JPEG" or marks.settings.credentials):
        packet = marks.packet(of_recipe(recipe), None, id)  # the credentials carry the recipe, of any length
    if parent is not None:
        manifest = replace(manifest, actions=("c2pa.edited",), parent=parent)
    options = SAVE_OPTIONS[name] | ({"dpi": (rule["dpi"], rule["dpi"])} if rule and name != "WEBP" else {})

    def write(quality: int | None = None) -> bytes:
        chosen = options if quality is None else {**options, "quality": quality}
        return marks.sign(save(picture, name, packet, chosen), MIMES[name], manifest)

    return fit_file_size(write, Range(*rule["kilobytes"])) if name == "JPEG" and rule else write()


def is_id_photo(recipe: Mapping[str, object]) -> bool:
    """Return whether a recipe draws an ID photo, in whose pixels there are no marks."""
    style = recipe.get("style")
    return isinstance(style, Mapping) and style.get("kind") == "idphoto"


def recipe_id(recipe: Mapping[str, object]) -> str:
    """Return what a portrait is known by that has no id of a ledger: the SHA-256 of its recipe, in hexadecimal digits."""
    return hashlib.sha256(json.dumps(recipe, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def convert(path: Path, format: str, side: int | None = None, max_bytes: float = float("inf")) -> bytes | None:
    """Return a delivered file in a format, its long side reduced to `side` pixels at most; None where it takes more memory.

    The XMP packet and the resolution in print stay; credentials belong to the file that they were made for, `sign_converted`
    makes new ones. Raises `UserError` (`bad_format`, `unreadable`).
    """
    name = _pillow_name(format)
    try:
        with PIL.Image.open(path, formats=list(FORMATS.values())) as file:
            if file.width * file.height * CONVERTING_BYTES > max_bytes:
                return None
            packet, dpi = xmp.read(file), file.info.get("dpi")
            picture = file.convert("RGB")
    except (OSError, SyntaxError, ValueError) as error:
        raise UserError("unreadable", TIPS["unreadable"]) from error
    if name == "JPEG" and len(packet) > xmp.MAX_JPEG_PACKET:
        packet = xmp.without_recipe(packet)
    if side is not None:
        picture.thumbnail((side, side), PIL.Image.Resampling.LANCZOS)
    resolution = {"dpi": dpi} if dpi and name != "WEBP" else {}
    return save(picture, name, packet, SAVE_OPTIONS[name] | resolution)


def sign_converted(content: bytes, original: Path, marks: Marks) -> bytes:
    """Return what `convert` made of a delivered file with credentials of its own, in which that file is an ingredient.

    Raises `UserError` (`unreadable`), `OperatorError` (`cannot_sign`).
    """
    if not marks.settings.credentials:
        return content
    parent = parent_of(original)
    with PIL.Image.open(io.BytesIO(content)) as made, PIL.Image.open(io.BytesIO(parent.content)) as before:
        mime = MIMES[str(made.format)]
        actions = ("c2pa.resized",) * (made.size != before.size) + ("c2pa.transcoded",) * (mime != parent.mime)
        source = xmp.source_of(xmp.read(made)) or ""
    return marks.sign(content, mime, Manifest(source, actions or ("c2pa.transcoded",), parent=parent))


def parent_of(path: Path) -> Parent:
    """Return a file as what another was made from; raises `UserError` (`unreadable`) for one of another format."""
    try:
        content = path.read_bytes()
        with PIL.Image.open(io.BytesIO(content), formats=list(FORMATS.values())) as picture:
            return Parent(content, MIMES[str(picture.format)])
    except (OSError, SyntaxError, ValueError) as error:
        raise UserError("unreadable", TIPS["unreadable"]) from error


def _pillow_name(format: str) -> str:
    if format not in FORMATS:
        raise UserError("bad_format", f"Portraits are written as {', '.join(FORMATS)}.")
    return FORMATS[format]


def save(picture: PIL.Image.Image, name: str, packet: bytes, options: Mapping[str, Any]) -> bytes:
    """Return the file of a picture with an XMP packet, which may be empty; name and options are Pillow's of the format."""
    file = io.BytesIO()
    if name == "PNG":
        text = PngInfo()
        if packet:
            text.add_itxt("XML:com.adobe.xmp", packet.decode())
        picture.save(file, name, pnginfo=text, **options)
    else:
        if picture.width * picture.height > OPTIMIZED_PIXELS:
            options = {**options, "optimize": False}
        picture.save(file, name, xmp=packet, **options)
    return file.getvalue()


def fit_file_size(write: Callable[[int], bytes], kilobytes: Range) -> bytes:
    """Return the file of the best JPEG quality whose size lies in the range; where none does, the one that comes nearest.

    `write` gives the file at a quality, with all that it will carry. Raw sizes grow with quality, so the best is found by
    halving.
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


def read_recipe(path: Path, marks: Marks | None = None) -> dict[str, Any]:
    """Read the recipe from a delivered file, its XMP or its credentials; without marks own words stay encrypted.

    Raises `UserError`: `no_recipe` when it carries none, `recipe_sealed` when another installation encrypted its words.
    """
    try:
        content = path.read_bytes()
        with PIL.Image.open(io.BytesIO(content), formats=list(FORMATS.values())) as picture:
            packet, mime = xmp.read(picture), MIMES[str(picture.format)]
    except (OSError, SyntaxError, ValueError) as error:
        raise UserError("no_recipe", f"{path} cannot be read as a picture.") from error
    recipe = xmp.recipe_of(packet)
    if recipe is None:
        signed = credentials.read(content, mime)
        recipe = None if signed is None or signed.recipe is None else dict(signed.recipe)
    if recipe is None:
        raise UserError(
            "no_recipe", f"{path} carries no recipe: it was not made here, or was saved again by another program."
        )
    return recipe if marks is None else marks.open(recipe)
