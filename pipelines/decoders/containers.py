"""The containers of JPEG, PNG and WebP: their parts by name, without decoding any.

So that files are read that every viewer opens, and libraries get no part of a file that costs more than it says.
"""

import io
import mmap
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, TypeAlias

File: TypeAlias = Path | bytes
Bytes: TypeAlias = bytes | mmap.mmap
SOS = 0xDA
PNG_METADATA = (b"eXIf", b"tEXt", b"zTXt", b"iTXt", b"iCCP")
MAX_XMP = 1_000_000
"""Bytes of a PNG's XMP that is looked at; of more, and of packed texts, nothing is."""
_XMP = b"XML:com.adobe.xmp\x00\x00"
PIECE = 1 << 16
"""Bytes that are looked through at once."""
END = b"\xff\xd9"
"""A JPEG's end marker."""


def open_stream(file: File) -> BinaryIO:
    """The content of a file, from its beginning."""
    return io.BytesIO(file) if isinstance(file, bytes) else file.open("rb")


def content_of(file: File) -> bytes:
    """The whole content of a file."""
    return file if isinstance(file, bytes) else file.read_bytes()


@contextmanager
def mapped(file: File) -> Iterator[Bytes]:
    """The content of a file, of which as much is read as is looked at."""
    if isinstance(file, bytes):
        yield file
        return
    with file.open("rb") as stream, mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ) as content:
        yield content


def segments(content: Bytes) -> Iterator[tuple[int, int, int]]:
    """Marker, start and end of each segment of a JPEG, with all from the first scan on as the last; raises `OSError`."""
    at = 2
    while (at := content.find(b"\xff", at)) >= 0 and at + 4 <= len(content):
        marker = content[at + 1]
        if marker == 0xFF:  # padding
            at += 1
        elif marker <= 1 or 0xD0 <= marker <= 0xD9:  # stands alone
            at += 2
        elif marker == SOS:
            yield marker, at, len(content)
            return
        else:
            end = at + 2 + int.from_bytes(content[at + 2 : at + 4], "big")
            yield marker, at, end
            at = end
    raise OSError("no scan")


def chunks(content: Bytes) -> Iterator[tuple[bytes, int, int]]:
    """Name, start and end of each chunk of a PNG."""
    at = 8
    while at + 8 <= len(content):
        end = at + 12 + int.from_bytes(content[at : at + 4], "big")
        yield content[at + 4 : at + 8], at, end
        at = end


def riff_chunks(content: bytes) -> Iterator[tuple[bytes, int, int]]:
    """Name, start and end of each chunk of a WebP."""
    at, last = 12, min(len(content), 8 + int.from_bytes(content[4:8], "little"))
    while at + 8 <= last:
        length = int.from_bytes(content[at + 4 : at + 8], "little")
        yield content[at : at + 4], at, at + 8 + length + length % 2
        at += 8 + length + length % 2


def has_scans(content: Bytes) -> bool:
    """Whether a JPEG comes in several scans: it is progressive, or its first scan lacks a component."""
    components = 0
    for marker, start, _ in segments(content):
        if marker in (0xC2, 0xC6, 0xCA, 0xCE):
            return True
        if marker in (0xC0, 0xC1, 0xC9):
            components = content[start + 9]
        if marker == SOS:
            return content[start + 4] < components
    return True


def late_exif(file: File) -> dict[str, Any]:
    """EXIF that stands behind the pixels of a PNG: found by the heads of the chunks."""
    with mapped(file) as content:
        found = [content[start + 8 : end - 4] for name, start, end in chunks(content) if name == b"eXIf"]
    return {"exif": b"Exif\x00\x00" + found[0]} if found else {}


def has_end(file: File) -> bool:
    """Whether a JPEG has its end marker: without it, it may be whole but for that, or cut anywhere before."""
    with mapped(file) as content:
        scan, size = next((start for marker, start, _ in segments(content) if marker == SOS), 0), len(content)
    with open_stream(file) as stream:
        # From behind, piece by piece: pages of a mapped file that were looked at count as this process's memory.
        end = size
        while end > scan:
            begin = max(scan, end - PIECE)
            stream.seek(begin)
            if END in stream.read(end - begin + 1):
                return True
            end = begin
    return False


def png_head(file: File) -> bytes:
    """All of a PNG before its pixels, without texts but XMP of some size: libraries unpack what they are given."""
    with mapped(file) as content:
        kept = [content[:8]]
        for name, start, end in chunks(content):
            if name == b"IDAT":
                kept.append(content[start : start + 8])
                break
            is_text = name in (b"tEXt", b"zTXt", b"iTXt")
            if not is_text or (end - start <= MAX_XMP and content[start + 8 : start + 8 + len(_XMP)] == _XMP):
                kept.append(content[start:end])
        return b"".join(kept)
