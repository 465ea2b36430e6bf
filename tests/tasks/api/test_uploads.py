"""Uploads: streamed, bounded, recognised by their content, and nothing stored of what was refused."""

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from typing import Any

import httpx
import PIL.Image
import pytest

from pipelines import image_io as door
from tasks import auth
from tasks.ledger.ledger import open_ledger
from tests.tasks import servers
from tests.tasks.api.harness import ApiHarness, environment, new_home, open_api, picture
from tests.tasks.stand import ROOT, wait_until

BOUNDARY = "multipart/form-data; boundary=x"


@pytest.fixture
def narrow(tmp_path: Path) -> Iterator[ApiHarness]:
    """An API that takes 2 MB in one request."""
    with open_api(environment(new_home(tmp_path / "home"), quotas__upload_megabytes=2)) as api:
        yield api


def send(api: ApiHarness, person: str, *files: tuple[str, bytes]) -> Any:
    return api.client().post(f"/people/{person}/selfies", files=[("files", each) for each in files])


def pieces(size: int, piece: int = 65_536) -> Iterator[bytes]:
    """A form with one file of this size, without a length beforehand."""
    yield b'--x\r\nContent-Disposition: form-data; name="files"; filename="a.jpg"\r\n\r\n'
    start = picture(3, format="JPEG")
    yield start
    for _ in range(0, size - len(start), piece):
        yield bytes(piece)
    yield b"\r\n--x--\r\n"


def broken_exif() -> bytes:
    """A PNG whose EXIF is none."""
    content = BytesIO()
    PIL.Image.new("RGB", (80, 80)).save(content, "PNG", exif=b"Exif\0\0nothing of the kind")
    return content.getvalue()


def test_content_says_what_a_file_is(api: ApiHarness) -> None:
    person = api.prepared_person()
    formats = {"JPEG": "image/jpeg", "PNG": "image/png", "WEBP": "image/webp", "AVIF": "image/avif"}
    files = [("photo.exe", picture(at + 10, format=name)) for at, name in enumerate(formats)]
    added = send(api, person, *files).json()["added"]
    assert [each["format"] for each in added] == list(formats)
    assert [(each["width"], each["height"]) for each in added] == [(160, 160)] * 4
    for each, (_, content), media in zip(added, files, formats.values(), strict=True):
        file = api.client().get(f"/selfies/{each['id']}/file")
        assert (file.headers["content-type"], file.content) == (media, content)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\0" * 100,
        b"GIF89a" + b"\0" * 50,
        b"<svg xmlns='http://www.w3.org/2000/svg'/>",
        b"<html><script>alert(1)</script>",
        b"%PDF-1.7",
        b"PK\x03\x04",
        b"\xff\xd8\xff\xe0",
        picture(1)[:30],
        broken_exif(),
        picture(1, format="JPEG")[:300],
        b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR\0\0\xff\xff\0\0\xff\xff\x08\2\0\0\0",
        picture(1, format="WEBP")[:40],
    ],
    ids=lambda content: repr(content[:12]) + str(len(content)),
)
def test_junk_is_refused_by_name_and_leaves_nothing(api: ApiHarness, content: bytes) -> None:
    person = api.prepared_person()
    before = api.stored_files()
    refused = send(api, person, ("me.jpg", content))
    assert refused.status_code in {413, 422}, refused.text
    problem = refused.json()
    assert problem["code"] in {"unreadable", "too_large"}
    assert [each["where"] for each in problem["errors"]] == ["me.jpg"]
    template = api.client().post("/templates", files={"file": ("t.jpg", content)})
    assert template.status_code == refused.status_code
    assert api.stored_files() == before


def test_one_bad_photo_does_not_stop_the_others(api: ApiHarness) -> None:
    person = api.prepared_person()
    answer = send(api, person, ("a.png", picture(1)), ("b.txt", b"no"), ("c.png", picture(2)))
    assert answer.status_code == 201
    assert [each["name"] for each in answer.json()["added"]] == ["a.png", "c.png"]
    assert [(each["where"], each["code"]) for each in answer.json()["refused"]] == [("b.txt", "unreadable")]
    assert api.client().get(f"/people/{person}").json()["photos"] == 3


def test_the_same_bytes_are_one_photo(api: ApiHarness) -> None:
    person = api.prepared_person()
    twice = send(api, person, ("a.png", picture(1)), ("b.png", picture(1))).json()["added"]
    again = send(api, person, ("c.png", picture(1))).json()["added"]
    assert len({each["id"] for each in [*twice, *again]}) == 1
    assert again[0]["name"] == "a.png"
    assert sum("/selfies/" in name for name in api.stored_files()) == 2
    other = api.prepared_person()
    assert send(api, other, ("a.png", picture(1))).json()["added"][0]["person"] == other


def test_more_files_than_one_request_may_have(api: ApiHarness) -> None:
    person = api.prepared_person()
    before = api.stored_files()
    refused = send(api, person, *[(f"{at}.png", picture(1)) for at in range(61)])
    assert (refused.status_code, refused.json()["code"]) == (409, "too_many_photos")
    assert refused.json()["detail"] == "Send at most 60 photos at once."
    assert send(api, person, *[(f"{at}.png", b"x") for at in range(1001)]).status_code == 400
    assert api.stored_files() == before


def test_a_file_that_is_too_large_is_refused(api: ApiHarness, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(door, "MAX_BYTES", 1_000_000)
    person = api.prepared_person()
    before = api.stored_files()
    large = picture(1) + bytes(1_000_000)
    refused = send(api, person, ("a.png", large))
    assert (refused.status_code, refused.json()["code"]) == (413, "too_large")
    assert refused.json()["detail"] == "The file is larger than 1 MB."
    assert api.client().post("/templates", files={"file": ("t.png", large)}).status_code == 413
    assert api.stored_files() == before


@pytest.mark.parametrize("length", [True, False], ids=["a length beforehand", "in pieces"])
def test_a_request_that_is_too_large_is_refused(narrow: ApiHarness, length: bool) -> None:
    person, client = narrow.prepared_person(), narrow.client()
    before, read = narrow.stored_files(), 0

    def counted() -> Iterator[bytes]:
        nonlocal read
        for piece in pieces(20_000_000):
            read += len(piece)
            yield piece

    for path in (f"/people/{person}/selfies", "/templates"):
        content = b"".join(pieces(20_000_000)) if length else counted()
        refused = client.post(path, content=content, headers={"Content-Type": BOUNDARY})
        assert (refused.status_code, refused.json()["code"]) == (413, "too_large")
        assert refused.json()["detail"] == "A request has 2 MB at most. Send less at once."
    assert narrow.stored_files() == before


def test_an_order_is_small(api: ApiHarness) -> None:
    client = api.client()
    for content in (b" " * 1_000_001, iter([b" " * 600_000] * 2)):
        refused = client.post("/people", content=content, headers={"Content-Type": "application/json"})
        assert (refused.status_code, refused.json()["code"]) == (413, "too_large")


def test_a_length_that_is_no_number_is_no_harm(api: ApiHarness) -> None:
    headers = {"Content-Type": "application/json", "Content-Length": "x"}
    assert api.client().post("/people", content=b"{}", headers=headers).status_code == 422


def test_a_full_disk_is_reported_and_nothing_is_stored(api: ApiHarness, monkeypatch: pytest.MonkeyPatch) -> None:
    person = api.prepared_person()
    before = api.stored_files()

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(os, "fsync", full)
        refused = send(api, person, ("a.png", picture(1)))
        template = api.client().post("/templates", files={"file": ("t.png", picture(1))})
    for answer in (refused, template):
        assert (answer.status_code, answer.json()["code"]) == (503, "disk_full")
    assert api.stored_files() == before


@pytest.mark.parametrize(("errno", "code"), [(28, "disk_full"), (5, "cannot_write")])
def test_a_disk_that_is_full_before_the_request_was_read_is_reported_too(
    api: ApiHarness, monkeypatch: pytest.MonkeyPatch, errno: int, code: str
) -> None:
    person = api.prepared_person()
    before = api.stored_files()

    def full(_: object) -> None:
        raise OSError(errno, "No space left on device", "/somewhere/secret")

    with monkeypatch.context() as patched:
        patched.setattr(tempfile.SpooledTemporaryFile, "rollover", full)
        large = picture(1) + bytes(1_500_000)
        refused = send(api, person, ("a.png", large))
        template = api.client().post("/templates", files={"file": ("t.png", large)})
    for answer in (refused, template):
        assert (answer.status_code, answer.json()["code"]) == (503, code)
        assert "No space left on device" in answer.json()["detail"]
        assert "secret" not in answer.text
    assert api.stored_files() == before


def test_an_own_picture_is_uploaded_and_its_faces_are_detected(api: ApiHarness) -> None:
    client = api.client()
    made = client.post("/templates", files={"file": ("../beach.png", picture(1, side=300))})
    template = made.json()
    assert (made.status_code, template["name"], template["faces"]) == (201, "beach.png", None)
    assert made.headers["location"] == f"/v1/templates/{template['id']}"
    assert client.get(f"/jobs/{template['job']}").json()["kind"] == "look"
    api.complete_next_job("look")
    found = client.get(f"/templates/{template['id']}").json()
    assert found["faces"] == [{"left": 0.1, "top": 0.1, "right": 0.5, "bottom": 0.5}]
    assert client.get(f"/templates/{template['id']}/file").content == picture(1, side=300)
    person = api.prepared_person()
    order = {"people": {"2": person}, "template": template["id"]}
    outside = client.post("/generations", json=order)
    assert (outside.status_code, outside.json()["code"]) == (422, "template_face_missing")
    assert client.delete(f"/templates/{template['id']}").status_code == 204
    assert client.get(f"/templates/{template['id']}").status_code == 410
    assert not [name for name in api.stored_files() if "/templates/" in name]


def test_photos_are_excluded_and_deleted(api: ApiHarness) -> None:
    things, client = api.one_of_each(), api.client()
    changed = client.patch(f"/selfies/{things.selfie}", json={"wish": "exclude"})
    assert changed.json()["wish"] == "exclude"
    assert client.patch(f"/selfies/{things.selfie}", json={"wish": "perhaps"}).status_code == 422
    assert client.get(f"/selfies/{things.selfie}/crop").content == picture(9)
    deleted = client.delete(f"/selfies/{things.selfie}")
    assert deleted.status_code == 204, deleted.text
    for path in ("", "/file", "/crop"):
        assert client.get(f"/selfies/{things.selfie}{path}").status_code == 410
    assert not [name for name in api.stored_files() if "/selfies/" in name]


@pytest.mark.services
def test_a_large_upload_takes_little_memory_and_lies_on_the_disk_of_the_data(tmp_path: Path) -> None:
    home, port = new_home(tmp_path / "home"), servers.free_port()
    store = open_ledger(f"sqlite:///{home / 'ledger.db'}")
    key = auth.create_key(store, "ann", "k", "person", time.time()).secret
    person = store.people.add("ann", "Ann", "1", "Ann", time.time()).id
    store.close()
    command = [sys.executable, "-m", "app", "api", "--host", "127.0.0.1", "--port", str(port)]
    server = subprocess.Popen(command, cwd=ROOT, env={**os.environ, **environment(home)})
    try:
        wait_until(lambda: servers.accepts(port, 0.2), within=60)
        with httpx.Client(base_url=f"http://127.0.0.1:{port}/v1", headers={"Authorization": f"Bearer {key}"}) as caller:
            small = caller.post(f"/people/{person}/selfies", files=[("files", ("a.png", picture(1)))], timeout=60)
            assert small.status_code == 201
            before, places = peak(server.pid), set[str]()

            def watched() -> Iterator[bytes]:
                for at, piece in enumerate(pieces(79_000_000)):
                    if at % 100 == 99:
                        places.update(held(server.pid))
                    yield piece

            headers = {"Content-Type": BOUNDARY}
            large = caller.post(f"/people/{person}/selfies", content=watched(), headers=headers, timeout=120)
            assert (large.status_code, large.json()["added"][0]["bytes"] > 78_000_000) == (201, True), large.text
            assert peak(server.pid) - before < 30_000_000
            assert any(place.startswith(str(home / "data" / "incoming")) for place in places), places
            over = caller.post(f"/people/{person}/selfies", content=pieces(85_000_000), headers=headers, timeout=120)
            assert (over.status_code, over.json()["code"]) == (413, "too_large")
            assert peak(server.pid) - before < 30_000_000
    finally:
        server.terminate()
        assert server.wait(30) in {0, -15}
    files = [path for path in (home / "data").rglob("*") if path.is_file()]
    assert len(files) == 2, "the two photos, and nothing in `incoming`"


def peak(pid: int) -> int:
    """The most memory a process ever held, bytes."""
    lines = Path(f"/proc/{pid}/status").read_text().split("\n")
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM"))


def held(pid: int) -> set[str]:
    """The files a process has open, those without a name too."""
    found = set()
    for link in Path(f"/proc/{pid}/fd").iterdir():
        try:
            found.add(str(link.readlink()))
        except OSError:
            continue  # closed in between
    return found
