"""Files to be verified: ours in every form, what becomes of them outside, other people's; with what is to be said of each."""

import io
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import c2pa
import cv2
import numpy as np
import PIL.Image

from pipelines import deliver
from pipelines.marks import certificates, credentials, xmp
from pipelines.marks.certificates import certificate_pem
from pipelines.marks.manifest import Parent
from pipelines.marks.marks import Marks
from portrait.arrays import Image
from portrait.types import Portrait

SIGNED = ("yes", "signed", "no", "whole", "ours")
MARKED = ("yes", "marked", "unknown", "stripped", "ours")


@dataclass(frozen=True)
class Case:
    """A file, and what is to be said of it: made here, reason, altered, credentials, mark."""

    name: str
    content: bytes
    expected: tuple[str, str, str, str, str]
    source: str = ""


def portrait(image: Image, kind: str = "studio", seed: int = 1) -> Portrait:
    """A portrait as the studio, a template or an ID photo gives it."""
    style = {"id": kind, "version": 1, "kind": kind}
    drawn = {"file": {"dpi": 300, "kilobytes": [None, None]}} if kind == "idphoto" else {}
    recipe: dict[str, Any] = {"style": style, "seed": seed, "count": 1, "drawn": drawn}
    return Portrait(image, None, {}, {}, {}, recipe)


def ours(image: Image, marks: Marks, id: str) -> Iterator[Case]:
    """What leaves an installation: each format, an edit, an ID photo."""
    for format in deliver.FORMATS:
        content = deliver.encode(portrait(image), format, marks, id)
        yield Case(f"ours as {format}", content, SIGNED, "compositeSynthetic")
    first = deliver.encode(portrait(image), "jpg", marks, id)
    edited = deliver.encode(portrait(image, "text"), "jpg", marks, id, Parent(first, "image/jpeg"))
    yield Case("our edit", edited, SIGNED, "trainedAlgorithmicMedia")
    yield Case("our ID photo", id_photo(image, marks, id), (*SIGNED[:4], "none"), "compositeSynthetic")


def id_photo(image: Image, marks: Marks, id: str) -> bytes:
    """An ID photo, whose pixels carry no mark."""
    return deliver.encode(portrait(image, "idphoto"), "jpg", marks, id)


def altered(image: Image, marks: Marks, id: str) -> Iterator[Case]:
    """What becomes of our files outside: the signature goes, the mark stays; or neither, or both without fitting."""
    signed = deliver.encode(portrait(image), "jpg", marks, id)
    pixels = decoded(signed)
    height, width = pixels.shape[:2]
    yield Case("saved as JPEG 60", encoded(pixels, quality=60), MARKED)
    yield Case("5 % cut off", encoded(pixels[height // 20 :, : -width // 20]), MARKED)
    yield Case("a screenshot", encoded(_on_screen(pixels), "PNG"), MARKED)
    painted = pixels.copy()
    cv2.circle(painted, (width // 3, height // 3), height // 12, (200, 30, 40), -1)
    yield Case("painted", encoded(painted, quality=90), MARKED)
    with_old = with_credentials_of(signed, encoded(painted, quality=90))
    yield Case("painted, its credentials put back", with_old, ("yes", "marked", "yes", "broken", "ours"))
    touched = bytearray(signed)
    touched[-len(touched) // 8] ^= 1
    yield Case("one byte changed", bytes(touched), ("yes", "marked", "yes", "broken", "ours"), "compositeSynthetic")
    official = id_photo(image, marks, id)
    packet = xmp.packet("compositeSynthetic", {"seed": 1})
    told = encoded(decoded(official), quality=90, xmp=packet)
    yield Case(
        "an ID photo whose XMP is left",
        told,
        ("unknown", "says_so", "unknown", "stripped", "none"),
        "compositeSynthetic",
    )
    yield Case(
        "an ID photo of which nothing is left", encoded(decoded(official)), ("no", "nothing", "unknown", "none", "none")
    )


def strange(photo: Image, image: Image, installations: tuple[Marks, Marks], id: str, tool: "Tool") -> Iterator[Case]:
    """Other people's: photos, another installation's files, another program's credentials, and what pretends to be ours.

    `installations` are ours and the other.
    """
    plain, (marks, other) = encoded(photo), installations
    yield Case("a photo", plain, ("no", "nothing", "unknown", "none", "none"))
    yield Case("a photo as PNG", encoded(photo, "PNG"), ("no", "nothing", "unknown", "none", "none"))
    signed = deliver.encode(portrait(image), "jpg", other, id)
    expected = ("no", "other_installation", "no", "foreign", "other")
    yield Case("another installation's", signed, expected, "compositeSynthetic")
    resaved = encoded(decoded(signed), quality=75)
    yield Case(
        "another installation's, saved again", resaved, ("no", "other_installation", "unknown", "stripped", "other")
    )
    official = id_photo(image, other, id)
    expected = ("no", "other_installation", "no", "foreign", "none")
    yield Case("another installation's ID photo", official, expected, "compositeSynthetic")
    by_tool = tool.sign(plain)
    yield Case("another program's", by_tool, ("no", "other_signer", "no", "foreign", "none"), "digitalCapture")
    broken = bytearray(by_tool)
    broken[-len(broken) // 8] ^= 1
    yield Case("another program's, changed", bytes(broken), ("unknown", "broken", "yes", "broken", "none"))
    mine = deliver.encode(portrait(image), "jpg", marks, id)
    again = tool.sign(encoded(decoded(mine), quality=90))
    yield Case(
        "ours, signed by another program", again, ("yes", "marked", "unknown", "foreign", "ours"), "digitalCapture"
    )
    moved = with_credentials_of(mine, plain)
    yield Case("a photo with our credentials", moved, ("unknown", "unfitting", "yes", "broken", "none"))
    packet = xmp.packet("compositeSynthetic", {"seed": 1})
    lying = encoded(photo, xmp=packet)
    yield Case(
        "a photo with our XMP", lying, ("unknown", "says_so", "unknown", "stripped", "none"), "compositeSynthetic"
    )
    small = np.asarray(PIL.Image.fromarray(photo).resize((48, 60)))
    yield Case("a tiny photo", encoded(small), ("unknown", "small", "unknown", "none", "small"))


class Tool:
    """Another program that signs, with somebody else's certificate."""

    def __init__(self) -> None:
        authority = certificates.make_authority("Elsewhere authority")
        signing = certificates.make_signing(authority, "Somebody Else")
        above, first = certificate_pem(authority.certificate), certificate_pem(signing.certificate)
        self._chain, self._key = first + above, signing.to_pem().removesuffix(first)

    def sign(self, content: bytes, mime: str = "image/jpeg") -> bytes:
        """A photo as a camera or an editor gives it."""
        kind = "http://cv.iptc.org/newscodes/digitalsourcetype/digitalCapture"
        actions = {"actions": [{"action": "c2pa.created", "digitalSourceType": kind}]}
        claim = {
            "claim_generator_info": [{"name": "Elsewhere", "version": "7"}],
            "assertions": [{"label": "c2pa.actions", "data": actions}],
        }
        info, signed = c2pa.C2paSignerInfo(b"es256", self._chain, self._key, None), io.BytesIO()
        with (
            c2pa.Context.from_dict(dict(credentials.SETTINGS)) as context,
            c2pa.Signer.from_info(info) as signer,
            c2pa.Builder(claim, context) as builder,
        ):
            builder.sign(signer, mime, io.BytesIO(content), signed)
        return signed.getvalue()


def encoded(image: Image, format: str = "JPEG", **options: Any) -> bytes:
    """A file without marks other than those in the pixels."""
    content = io.BytesIO()
    PIL.Image.fromarray(image).save(content, format, **options)
    return content.getvalue()


def decoded(content: bytes) -> Image:
    """The pixels of a file."""
    return np.asarray(PIL.Image.open(io.BytesIO(content)).convert("RGB"))


def with_credentials_of(signed: bytes, content: bytes) -> bytes:
    """A JPEG with the credentials of another one."""
    return content[:2] + b"".join(_credential_segments(signed)) + content[2:]


def _credential_segments(content: bytes) -> Iterator[bytes]:
    """The segments APP11 of a JPEG."""
    at = 2
    while content[at] == 0xFF and content[at + 1] != 0xDA:
        length = 2 + int.from_bytes(content[at + 2 : at + 4], "big")
        if content[at + 1] == 0xEB:
            yield content[at : at + length]
        at += length


def _on_screen(image: Image) -> Image:
    """The picture as a screen shows it, four fifths as large."""
    size = (image.shape[1] * 4 // 5, image.shape[0] * 4 // 5)
    return np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_LINEAR), np.uint8)
