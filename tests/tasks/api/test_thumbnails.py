"""Small pictures are made once for all who ask, within bounds, and are not kept longer than their files."""

import os
import threading
from concurrent.futures import ThreadPoolExecutor
from io import BytesIO
from pathlib import Path
from typing import Any

import PIL.Image
import pytest

from pipelines import image_io as door
from portrait.errors import UserError
from tasks.api import thumbnails
from tasks.api.thumbnails import ThumbnailCache
from tests.tasks.api.harness import ApiHarness, picture


@pytest.fixture
def decoded(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, int | None]]:
    """What was decoded, and to which side."""
    found: list[tuple[str, int | None]] = []
    read = door.read

    def counting(path: Path, side: int | None = None) -> Any:
        found.append((path.name, side))
        return read(path, side)

    monkeypatch.setattr(door, "read", counting)
    return found


def saved(folder: Path, name: str, seed: int = 0) -> Path:
    place = folder / name
    place.write_bytes(picture(seed))
    return place


def test_a_picture_is_decoded_once_for_each_side(tmp_path: Path, decoded: list[tuple[str, int | None]]) -> None:
    kept, place = ThumbnailCache(), saved(tmp_path, "a")
    first = kept.jpeg(place, 80)
    assert PIL.Image.open(BytesIO(first)).size == (80, 80)
    assert kept.jpeg(place, 80) == first
    kept.jpeg(place, 100)
    assert decoded == [("a", 80), ("a", 100)]
    saved(tmp_path, "a", 3)
    os.utime(place, (1, 1))
    assert kept.jpeg(place, 80) != first, "another picture lies there now"


def test_what_nobody_asked_for_goes_first(tmp_path: Path, decoded: list[tuple[str, int | None]]) -> None:
    places = [saved(tmp_path, name, at) for at, name in enumerate("abc")]
    sizes = [len(ThumbnailCache().jpeg(place, 80)) for place in places]
    decoded.clear()
    kept = ThumbnailCache(max_bytes=sum(sizes) - 1)
    for at in (0, 1, 0, 2, 0, 1):
        kept.jpeg(places[at], 80)
    assert [name for name, _ in decoded] == ["a", "b", "c", "b"]
    assert sum(len(each) for each in kept._cache.values()) <= kept.max_bytes


def test_a_picture_that_was_forgotten_is_not_kept(tmp_path: Path) -> None:
    kept, place, other = ThumbnailCache(), saved(tmp_path, "a"), saved(tmp_path, "b")
    kept.jpeg(place, 80)
    place.unlink()
    with pytest.raises(UserError) as caught:
        kept.jpeg(place, 80)
    assert caught.value.code == "not_found"
    kept.jpeg(other, 80)
    assert [key[0] for key in kept._cache] == [other]


def test_few_are_decoded_at_once_and_the_same_one_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    places = [saved(tmp_path, name, at) for at, name in enumerate("abcd")]
    read, lock, seen = door.read, threading.Lock(), []
    busy = most = 0

    def slow(path: Path, side: int | None = None) -> Any:
        nonlocal busy, most
        with lock:
            seen.append(path.name)
            busy, most = busy + 1, max(most, busy + 1)
        threading.Event().wait(0.02)
        made = read(path, side)
        with lock:
            busy -= 1
        return made

    monkeypatch.setattr(door, "read", slow)
    kept = ThumbnailCache()
    with ThreadPoolExecutor(12) as pool:
        list(pool.map(lambda place: kept.jpeg(place, 80), places * 3))
    assert most <= thumbnails.MAX_CONCURRENT_DECODES
    assert set(seen) == set("abcd")
    assert len(seen) <= len(places) * thumbnails.MAX_CONCURRENT_DECODES, "who waited found what others made"


def test_a_page_that_is_opened_again_decodes_nothing(api: ApiHarness, decoded: list[tuple[str, int | None]]) -> None:
    person, client = api.prepared_person(), api.client()
    added = client.post(f"/people/{person}/selfies", files=[("files", ("a.png", picture(4)))]).json()["added"][0]
    address, asked = f"/selfies/{added['id']}/file", {"side": 64}
    first = client.get(address, params=asked)
    assert client.get(address, params=asked).content == first.content
    assert len(decoded) == 1
    assert client.delete(f"/selfies/{added['id']}").status_code == 204
    assert client.get(address, params=asked).status_code == 410
