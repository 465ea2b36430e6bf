import io

import PIL.Image
import PIL.PngImagePlugin
import pytest
from defusedxml.ElementTree import fromstring

from pipelines.marks import xmp

RECIPE = {"words": "a <b> & \"c\" 'd' é", "seed": 2**62}
LABEL = {"Label": "1", "ContentProducer": "<&>"}


def test_a_packet_is_xml_that_gives_back_what_was_put_in() -> None:
    packet = xmp.packet("compositeSynthetic", RECIPE, LABEL)
    fromstring(packet.decode().partition("?>")[2].rpartition("<?xpacket")[0])
    assert xmp.source_of(packet) == "compositeSynthetic"
    assert xmp.recipe_of(packet) == RECIPE
    assert xmp.label_of(packet) == LABEL
    short = xmp.without_recipe(packet)
    assert (xmp.source_of(short), xmp.recipe_of(short), xmp.label_of(short)) == ("compositeSynthetic", None, LABEL)
    assert len(xmp.packet("compositeSynthetic", {"x": "y" * 64_000})) < xmp.MAX_JPEG_PACKET


@pytest.mark.parametrize("name", ["JPEG", "PNG", "WEBP"])
def test_packets_of_files_are_found(name: str) -> None:
    content, packet = io.BytesIO(), xmp.packet("algorithmicallyEnhanced")
    if name == "PNG":
        text = PIL.PngImagePlugin.PngInfo()
        text.add_itxt("XML:com.adobe.xmp", packet.decode())
        PIL.Image.new("RGB", (8, 8)).save(content, name, pnginfo=text)
    else:
        PIL.Image.new("RGB", (8, 8)).save(content, name, xmp=packet)
    with PIL.Image.open(content) as picture:
        assert xmp.source_of(xmp.read(picture)) == "algorithmicallyEnhanced"


@pytest.mark.parametrize("packet", [b"", b"\xff\xfe", b"<portrait:recipe>{</portrait:recipe>", b"<x/>"])
def test_other_packets_say_nothing(packet: bytes) -> None:
    assert (xmp.source_of(packet), xmp.recipe_of(packet), xmp.label_of(packet)) == (None, None, None)
    with PIL.Image.open(io.BytesIO(_plain())) as picture:
        assert xmp.read(picture) == b""


def _plain() -> bytes:
    content = io.BytesIO()
    PIL.Image.new("RGB", (8, 8)).save(content, "PNG")
    return content.getvalue()
