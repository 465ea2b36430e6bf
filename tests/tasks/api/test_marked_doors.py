"""Every file that a person takes home through the API is signed and marked, and says nothing of them."""

import io
import zipfile
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import PIL.Image
import pytest
from skimage.data import astronaut

from pipelines import deliver
from pipelines.marks import credentials, invisible, xmp
from pipelines.marks.marks import open_marks
from portrait.types import Portrait
from tests import fakes
from tests.tasks.api.harness import ApiHarness, OwnedIds
from tests.tasks.api.test_edits import known
from tests.tasks.api.test_idphotos import RECIPE as ID_PHOTO

OWNER, PERSON, NAME = "quillfeather-owner", "Zoraida Quill", "At the lighthouse"
RECIPE: dict[str, Any] = {
    "schema": 1,
    "style": {"id": "text-film", "version": 1, "kind": "text"},
    "people": {"1": "identity_1"},
    "seed": 7,
    "technique": {"base": "zoraida.safetensors", "traits": "with a lazy eye"},
    "edit": {"kind": "instruct", "words": "give her a crown", "picture": "0" * 64},
    "drawn": {"prompt": "sks person, with a lazy eye, film", "negative": "my old coat", "steps": 3},
}
WORDS = ("lazy eye", "a crown", "old coat", "zoraida")
SHAPE = (640, 640, 3)
MIMES = {"jpg": "image/jpeg", "png": "image/png", "webp": "image/webp", "pdf": "application/pdf"}


def delivered(api: ApiHarness, recipe: dict[str, Any]) -> OwnedIds:
    """Somebody with a portrait of that recipe, delivered and named."""
    things = api.one_of_each(OWNER, PERSON)
    known(api, things.portrait, recipe)
    row = api.context.ledger.portraits.get(OWNER, things.portrait)
    image = np.asarray(PIL.Image.fromarray(astronaut()).resize(SHAPE[:2]))
    portrait = Portrait(image, None, {1: "zoraida.jpg"}, {}, {}, recipe)
    marks = open_marks(api.context.installation.flows.marks)
    content = deliver.encode(portrait, "jpg", marks, row.id)
    api.context.files.portrait(OWNER, row.job, row.file).write_bytes(content)
    api.client(OWNER).patch(f"/portraits/{things.portrait}", json={"name": NAME})
    return things


def doors(api: ApiHarness, things: OwnedIds) -> Iterator[tuple[str, bytes]]:
    """Every way that a portrait is taken home, with the file's suffix."""
    client, path = api.client(OWNER), f"/portraits/{things.portrait}"
    for format in ("jpg", "png", "webp"):
        yield format, client.get(f"{path}/file", params={"format": format}).content
        archive = zipfile.ZipFile(io.BytesIO(client.get("/portraits/zip", params={"format": format}).content))
        yield format, archive.read(archive.namelist()[0])
        yield format, sheet(client, path, "jpg") if format == "jpg" else sheet(client, path, "pdf")
    yield "jpg", client.get(f"{path}/file").content


def sheet(client: Any, path: str, format: str) -> bytes:
    sent = client.get(f"{path}/sheet", params={"format": format})
    assert sent.status_code == 200, sent.text
    return sent.content


@pytest.mark.parametrize("recipe", [RECIPE, ID_PHOTO], ids=["text", "id photo"])
def test_every_file_is_signed_marked_and_says_nothing_of_people(api: ApiHarness, recipe: dict[str, Any]) -> None:
    things = delivered(api, recipe)
    keys = open_marks(api.context.installation.flows.marks).keys
    source = "trainedAlgorithmicMedia" if recipe is RECIPE else "compositeSynthetic"
    secrets = [*WORDS, OWNER, PERSON, NAME, PERSON.split()[0], things.person, things.selfie, "me.png", "zoraida.jpg"]
    taken = list(doors(api, things))
    assert len(taken) == 10
    for format, content in taken:
        mime = MIMES["pdf"] if content.startswith(b"%PDF") else MIMES[format]
        found = credentials.read(content, mime, keys.anchors)
        assert found is not None
        assert (found.trusted, found.faults, found.source_type) == (True, (), source)
        assert found.portrait == invisible.short_id(things.portrait)
        assert credentials.read(content, mime) == replace(found, trusted=False), "for others the signer is unknown"
        assert f"digitalsourcetype/{source}".encode() in content
        if recipe is RECIPE and format != "webp":
            assert_marked(content, invisible.Payload(keys.tag, invisible.short_id(things.portrait)))
        for secret in secrets:
            assert secret.encode() not in content
            assert secret.encode("utf-16-le") not in content


def assert_marked(content: bytes, payload: invisible.Payload) -> None:
    """Where a file is a portrait in its own size, it has the invisible mark."""
    if not content.startswith(b"%PDF"):
        with PIL.Image.open(io.BytesIO(content)) as picture:
            image = np.asarray(picture.convert("RGB"))
        assert image.shape != SHAPE or invisible.read(image) == payload


def test_one_changed_pixel_of_a_download_is_told(api: ApiHarness) -> None:
    things = delivered(api, RECIPE)
    keys = open_marks(api.context.installation.flows.marks).keys
    content = api.client(OWNER).get(f"/portraits/{things.portrait}/file", params={"format": "png"}).content
    with PIL.Image.open(io.BytesIO(content)) as picture:
        image, packet = np.array(picture), xmp.read(picture)
    image[0, 0, 0] ^= 1
    plain = deliver.save(PIL.Image.fromarray(image), "PNG", packet, {})
    # What somebody does who keeps the credentials of the file that they change.
    at = content.index(b"caBX") - 4
    size = int.from_bytes(content[at : at + 4], "big") + 12
    start = plain.index(b"IHDR") + 21
    found = credentials.read(plain[:start] + content[at : at + size] + plain[start:], "image/png", keys.anchors)
    assert found is not None
    assert found.altered


def test_files_from_before_are_signed_when_they_are_taken_home(api: ApiHarness) -> None:
    things = delivered(api, RECIPE)
    row = api.context.ledger.portraits.get(OWNER, things.portrait)
    old = io.BytesIO()
    packet = xmp.packet("trainedAlgorithmicMedia", {"seed": 7})
    PIL.Image.fromarray(fakes.picture(1, 1)).save(old, "JPEG", xmp=packet)
    api.context.files.portrait(OWNER, row.job, row.file).write_bytes(old.getvalue())
    taken = api.client(OWNER).get(f"/portraits/{things.portrait}/file", params={"format": "webp"}).content
    keys = open_marks(api.context.installation.flows.marks).keys
    found = credentials.read(taken, "image/webp", keys.anchors)
    assert found is not None
    assert (found.trusted, found.faults, found.source_type) == (True, (), "trainedAlgorithmicMedia")
    assert found.actions == ("c2pa.transcoded", "c2pa.opened")


def test_without_keys_nothing_is_sent_and_nothing_lost(api: ApiHarness) -> None:
    things, path = delivered(api, RECIPE), api.context.installation.flows.marks.folder / "signing.pem"
    before = path.read_bytes()
    path.write_text("damaged")
    client, address = api.client(OWNER), f"/portraits/{things.portrait}/file"
    refused = client.get(address, params={"format": "png"})
    assert (refused.status_code, refused.json()["code"]) == (503, "bad_signing_key")
    assert client.get(address).status_code == 200, "what is signed already needs no key"
    path.write_bytes(before)
    assert client.get(address, params={"format": "png"}).status_code == 200
