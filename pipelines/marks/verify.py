"""Says of a picture whether it was made here, by which kind of process, and whether it was changed since.

Three witnesses are asked: the content credentials, whose signature proves; the invisible mark in the pixels, which outlives a
file that is saved again; and the XMP packet, which anybody can copy and which proves nothing. What none of them tells is said
to be unknown: a picture is never taken for one of ours on a word of its own.
"""

import io
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal, TypeAlias

import PIL.Image

from pipelines import pictures
from pipelines.marks import credentials, invisible, xmp
from pipelines.marks.trust import Trust
from portrait.arrays import Image

Answer: TypeAlias = Literal["yes", "no", "unknown"]
Reason: TypeAlias = Literal[
    "signed", "marked", "other_installation", "other_signer", "nothing", "unfitting", "says_so", "broken", "small"
]
"""Why it is said that a picture was made here (`signed`, `marked`) or not (`other_installation`, `other_signer`, `nothing`), or
why that cannot be told: our credentials do not fit the picture (`unfitting`), XMP alone speaks for it (`says_so`), somebody's
credentials do not hold (`broken`), or it is too small for the mark (`small`)."""
Credentials: TypeAlias = Literal["whole", "foreign", "stripped", "broken", "none"]
"""Ours and fitting, somebody else's and fitting, gone although another mark is there, not fitting or unreadable, none."""
Mark: TypeAlias = Literal["ours", "other", "none", "small"]
"""The invisible mark: with our tag, another installation's, not found, or a picture too small to hold one."""
OUR_XMP = b"urn:portrait:1"
"""The namespace of what this program writes into XMP."""
MAX_BYTES = 80_000_000
"""Largest file, as of photos."""
MAX_NAME = 200
"""Characters that are told of names which somebody else has written."""
LOOKED_AT = 2048
"""Long side in pixels to which larger pictures are reduced before the mark is looked for."""
_PDF = b"%PDF"
SMALLEST = 256
"""Short side in pixels below which no invisible mark is expected."""
_MIMES = {"AVIF": "image/avif", "HEIF": "image/heic", "MPO": "image/jpeg", **credentials.MIMES}
"""Media types by Pillow's names of formats."""


@dataclass(frozen=True, slots=True)
class Provenance:
    """What can be told of where a picture comes from."""

    made_here: Answer
    reason: Reason
    altered: Answer = "unknown"
    """Whether it was changed since it was signed: `no` only where credentials fit, whosever they are."""
    credentials: Credentials = "none"
    mark: Mark = "none"
    source: str = ""
    """IPTC's digital source type, such as `compositeSynthetic`; proven where credentials are `whole`. Empty: not told."""
    signer: str = ""
    """Who signed, as their certificate names them."""
    generator: str = ""
    """The program that wrote the credentials."""
    short_id: str = ""
    """Of the portrait, eight hexadecimal digits, where it was made here and is told."""


@dataclass(frozen=True, slots=True)
class Findings:
    """What the three witnesses say of one picture, before it is judged."""

    signature: Literal["ours", "other", "unreadable", "none"] = "none"
    fits: bool = False
    """Whether the credentials hold for these very bytes."""
    changed: bool = False
    """Whether the bytes are others than those that were signed."""
    mark: Mark = "none"
    claims_us: bool = False
    """Whether the XMP packet is one that this program writes."""
    source: str = ""
    signer: str = ""
    generator: str = ""
    short_id: str = ""


def verify(path: Path, trust: Trust, max_bytes: float = pictures.MAX_REDUCED_MEMORY) -> Provenance:
    """Say where the picture in a file comes from; its decoding takes at most `max_bytes`.

    Raises `UserError` (`unreadable`, `too_large`, `no_permission`).
    """
    with pictures.faults():
        if path.stat().st_size > MAX_BYTES:
            raise pictures.photo_error("too_large")
        content = path.read_bytes()
    if content.startswith(_PDF):
        return judge(find(content, None, trust))
    image = pictures.thumbnail(path, LOOKED_AT, max_bytes)
    if image is None:
        raise pictures.photo_error("too_large")
    return judge(find(content, image, trust))


def find(content: bytes, image: Image | None, trust: Trust) -> Findings:
    """Ask the three witnesses about a file: its bytes, and its picture as H×W×3 uint8 RGB; None of a PDF, which is not drawn.

    Raises `UserError` (`unreadable`).
    """
    packet, mime = _of_pdf(content) if image is None else _packet_and_mime(content)
    found = credentials.read(content, mime, trust.anchors.encode() or None) if mime else None
    if image is None and found is not None and credentials.UNREADABLE in found.faults and b"C2PA" not in content:
        raise pictures.photo_error("unreadable")
    mark, marked_id = ("none", None) if image is None else _mark(image, trust.tag)
    told = Findings(
        mark=mark, claims_us=OUR_XMP in packet, source=xmp.source_of(packet) or "", short_id=_short_id(marked_id)
    )
    if found is None:
        return told
    ours = bool(trust.anchors) and found.trusted
    unreadable = credentials.UNREADABLE in found.faults
    return replace(
        told,
        signature="unreadable" if unreadable else "ours" if ours else "other",
        fits=found.valid,
        changed=found.altered,
        source=(found.source_type if found.valid else "") or told.source,
        signer=_line(found.signer),
        generator=_line(found.generator),
        short_id=_short_id(found.portrait if ours and found.valid else None) or told.short_id,
    )


def judge(found: Findings) -> Provenance:
    """Weigh what was found; says `yes` only for our own fitting signature or our own mark in the pixels."""
    made_here, reason = _made_here(found)
    return Provenance(
        made_here,
        reason,
        altered=_altered(found, reason),
        credentials=_credentials(found),
        mark=found.mark,
        source=found.source,
        signer=found.signer,
        generator=found.generator,
        short_id=found.short_id if made_here == "yes" else "",
    )


def _made_here(found: Findings) -> tuple[Answer, Reason]:
    """Whether it was made here, and why that is said; the strongest witness is heard first."""
    if found.signature == "ours" and found.fits:
        return "yes", "signed"
    if found.mark == "ours":
        return "yes", "marked"
    if found.signature == "ours":
        return "unknown", "unfitting"  # credentials can be put into any picture: it is the fitting that proves
    signed_elsewhere = found.signature == "other" and found.fits
    if found.mark == "other" or (signed_elsewhere and found.generator.startswith("Portrait")):
        return "no", "other_installation"
    if found.claims_us:
        return "unknown", "says_so"
    if signed_elsewhere:
        return "no", "other_signer"
    if found.signature != "none":
        return "unknown", "broken"
    return ("unknown", "small") if found.mark == "small" else ("no", "nothing")


def _altered(found: Findings, reason: Reason) -> Answer:
    """Whether it was changed since it was signed; unknown without a readable signature."""
    if found.signature in ("ours", "other") and found.fits:
        # Of ours, what somebody else signed was saved again before they did.
        return "unknown" if reason == "marked" else "no"
    return "yes" if found.changed else "unknown"


def _credentials(found: Findings) -> Credentials:
    if found.signature == "none":
        return "stripped" if found.claims_us or found.mark in ("ours", "other") else "none"
    if found.signature == "unreadable" or not found.fits:
        return "broken"
    return "whole" if found.signature == "ours" else "foreign"


def _packet_and_mime(content: bytes) -> tuple[bytes, str]:
    """The XMP packet of a file and its media type as C2PA names it; both empty for what carries none here."""
    with pictures.faults(), PIL.Image.open(io.BytesIO(content)) as picture:
        return xmp.read(picture), _MIMES.get(picture.format or "", "")


def _of_pdf(content: bytes) -> tuple[bytes, str]:
    """The XMP packet of a print sheet, which lies in it as it is, and the media type."""
    begin = content.find(b"<x:xmpmeta")
    end = content.find(b"</x:xmpmeta>", begin)
    return content[begin:end] if 0 <= begin < end else b"", "application/pdf"


def _mark(image: Image, tag: int | None) -> tuple[Mark, int | None]:
    """Whose invisible mark a picture carries, and the short id in it."""
    found = invisible.read(image)
    if found is None:
        return ("small" if min(image.shape[:2]) < SMALLEST else "none"), None
    return ("ours" if found.tag == tag else "other"), found.id


def _short_id(number: int | None) -> str:
    return "" if number is None else f"{number:08x}"


def _line(text: str) -> str:
    """One line of what somebody else has written, of a length that can be shown."""
    return "".join(each if each.isprintable() else " " for each in text)[:MAX_NAME].strip()
