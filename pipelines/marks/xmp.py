"""The XMP packet of a file that leaves: IPTC's digital source type, the recipe, and the label that China asks for.

Every program that keeps metadata keeps it, and anybody can write one: it says how a picture came about and proves nothing.
"""

import json
import re
from collections.abc import Mapping
from typing import Any
from xml.sax.saxutils import escape, unescape

import PIL.Image

from pipelines.marks.source_types import VOCABULARY

MAX_JPEG_PACKET = 65_504
"""Bytes of an XMP packet in JPEG, whose segments have 65,533 with their name."""
_RECIPE = re.compile(r"<portrait:recipe>(.*?)</portrait:recipe>", re.DOTALL)
_SOURCE = re.compile(re.escape(VOCABULARY) + r"([A-Za-z]+)")
_LABEL = re.compile(r"<TC260:AIGC>(.*?)</TC260:AIGC>", re.DOTALL)


def packet(source: str, recipe: Mapping[str, object] | None = None, label: Mapping[str, str] | None = None) -> bytes:
    """Return the packet of a digital source type and, if given, a recipe and the label `AIGC` of GB 45438."""
    namespaces, elements = "", ""
    if recipe is not None:
        namespaces += ' xmlns:portrait="urn:portrait:1"'
        elements += f"<portrait:recipe>{_escaped_json(recipe)}</portrait:recipe>"
    if label is not None:
        namespaces += ' xmlns:TC260="http://www.tc260.org.cn/ns/AIGC/1.0/"'
        elements += f"<TC260:AIGC>{_escaped_json(label)}</TC260:AIGC>"
    return (
        '<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?><x:xmpmeta xmlns:x="adobe:ns:meta/">'
        '<rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#"><rdf:Description rdf:about="" '
        f'xmlns:Iptc4xmpExt="http://iptc.org/std/Iptc4xmpExt/2008-02-29/"{namespaces}>'
        f"<Iptc4xmpExt:DigitalSourceType>{VOCABULARY}{source}</Iptc4xmpExt:DigitalSourceType>"
        f'{elements}</rdf:Description></rdf:RDF></x:xmpmeta><?xpacket end="w"?>'
    ).encode()


def read(picture: PIL.Image.Image) -> bytes:
    """Return the XMP packet of an opened file, which PNG holds as text; empty without one."""
    found = picture.info.get("xmp") or picture.info.get("XML:com.adobe.xmp") or b""
    return found.encode() if isinstance(found, str) else found


def recipe_of(packet: bytes) -> dict[str, Any] | None:
    """Return the recipe of a packet; None where it holds none that can be read."""
    return _json_of(_RECIPE, packet)


def label_of(packet: bytes) -> dict[str, Any] | None:
    """Return the label `AIGC` of a packet; None where it holds none that can be read."""
    return _json_of(_LABEL, packet)


def source_of(packet: bytes) -> str | None:
    """Return the digital source type of a packet, IPTC's code without its vocabulary; None without one."""
    found = _SOURCE.search(packet.decode("utf-8", "replace"))
    return found[1] if found else None


def without_recipe(packet: bytes) -> bytes:
    """Return a packet without its recipe."""
    return _RECIPE.sub("", packet.decode("utf-8", "replace")).encode()


def _escaped_json(value: Mapping[str, object]) -> str:
    return escape(json.dumps(value, ensure_ascii=True, separators=(",", ":")))


def _json_of(pattern: re.Pattern[str], packet: bytes) -> dict[str, Any] | None:
    found = pattern.search(packet.decode("utf-8", "replace"))
    if found is None:
        return None
    try:
        return dict(json.loads(unescape(found[1])))
    except (ValueError, TypeError):
        return None
