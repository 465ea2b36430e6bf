"""Thumbnails are rendered once for all requests, within a bound, and are not cached longer than their files exist."""

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
from tasks.api.thumbnails import MAX_CONCURRENT_DECODES, ThumbnailCache
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
    thumbnails, place = ThumbnailCache(), saved(tmp_path, "a")
    first = thumbnails.jpeg(place, 80)
    assert PIL.Image.open(BytesIO(first)).size == (80, 80)
    assert thumbnails.jpeg(place, 80) == first
    thumbnails.jpeg(place, 100)
    assert decoded == [("a", 80), ("a", 100)]
    saved(tmp_path, "a", 3)
    os.utime(place, (1, 1))
    assert thumbnails.jpeg(place, 80) != first, "another picture lies there now"


def test_the_least_recently_used_thumbnail_is_evicted_first(
    tmp_path: Path, decoded: list[tuple[str, int | None]]
) -> None:
    places = [saved(tmp_path, name, at) for at, name in enumerate("abc")]
    sizes = [len(ThumbnailCache().jpeg(place, 80)) for place in places]
    decoded.clear()
    thumbnails = ThumbnailCache(max_bytes=sum(sizes) - 1)
    for at in (0, 1, 0, 2, 0, 1):
        thumbnails.jpeg(places[at], 80)
    assert [name for name, _ in decoded] == ["a", "b", "c", "b"]
    assert sum(len(each) for each in thumbnails._cache.values()) <= thumbnails.max_bytes


def test_thumbnails_of_a_deleted_picture_are_evicted(tmp_path: Path) -> None:
    thumbnails, place, other = ThumbnailCache(), saved(tmp_path, "a"), saved(tmp_path, "b")
    thumbnails.jpeg(place, 80)
    place.unlink()
    with pytest.raises(UserError) as caught:
        thumbnails.jpeg(place, 80)
    assert caught.value.code == "not_found"
    thumbnails.jpeg(other, 80)
    assert [key[0] for key in thumbnails._cache] == [other]


def test_few_are_decoded_at_once_and_the_same_one_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    places = [saved(tmp_path, name, at) for at, name in enumerate("abcd")]
    read, lock, running = door.read, threading.Lock(), []
    busy = most = 0

    def slow(path: Path, side: int | None = None) -> Any:
        nonlocal busy, most
        with lock:
            running.append(path.name)
            busy, most = busy + 1, max(most, busy + 1)
        threading.Event().wait(0.02)
        made = read(path, side)
        with lock:
            busy -= 1
        return made

    monkeypatch.setattr(door, "read", slow)
    thumbnails = ThumbnailCache()
    with ThreadPoolExecutor(12) as pool:
        list(pool.map(lambda place: thumbnails.jpeg(place, 80), places * 3))
    assert most <= MAX_CONCURRENT_DECODES
    assert set(running) == set("abcd")
    assert len(running) <= len(places) * MAX_CONCURRENT_DECODES, "who waited found what others made"


def test_a_page_that_is_opened_again_decodes_nothing(api: ApiHarness, decoded: list[tuple[str, int | None]]) -> None:
    person, client = api.prepared_person(), api.client()
    added = client.post(f"/people/{person}/selfies", files=[("files", ("a.png", picture(4)))]).json()["added"][0]
    address, params = f"/selfies/{added['id']}/file", {"side": 64}
    first = client.get(address, params=params)
    assert client.get(address, params=params).content == first.content
    assert len(decoded) == 1
    assert client.delete(f"/selfies/{added['id']}").status_code == 204
    assert client.get(address, params=params).status_code == 410
