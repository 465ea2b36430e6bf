"""Thumbnails are made once for all requests, within a bound, and are not cached longer than their files exist."""

import os
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from io import BytesIO
from pathlib import Path

import PIL.Image
import pytest

from portrait.errors import UserError
from tasks.api import picture_child
from tasks.api.picture_pool import PicturePool, Scene
from tasks.api.thumbnails import SIDES, ThumbnailCache, made_side
from tests.tasks.api.harness import ApiHarness, picture


class CountingPool(PicturePool):
    """Decodes in the thread that asks, and counts."""

    def __init__(self) -> None:
        super().__init__()
        self.asked: list[tuple[str, int]] = []

    def submit(
        self, path: Path, side: int, owner: str, scene: Scene | None = None, format: str = ""
    ) -> "Future[bytes]":
        self.asked.append((path.name, side))
        done: Future[bytes] = Future()
        made = picture_child.render(path, side, 1e9)
        if isinstance(made, bytes):
            done.set_result(made)
        else:
            done.set_exception(UserError(made["code"], made["message"]))
        return done


@pytest.fixture
def pool() -> CountingPool:
    return CountingPool()


@pytest.fixture
def shared() -> Iterator[ThumbnailCache]:
    """Thumbnails by real processes."""
    thumbnails = ThumbnailCache()
    yield thumbnails
    thumbnails.close()


def saved(folder: Path, name: str, seed: int = 0) -> Path:
    place = folder / name
    place.write_bytes(picture(seed))
    return place


def test_a_picture_is_decoded_once_for_each_side(tmp_path: Path, pool: CountingPool) -> None:
    thumbnails, place = ThumbnailCache(pool=pool), saved(tmp_path, "a")
    first = thumbnails.jpeg(place, 64)
    assert PIL.Image.open(BytesIO(first)).size == (64, 64)
    assert thumbnails.jpeg(place, 64) == first
    thumbnails.jpeg(place, 96)
    assert pool.asked == [("a", 64), ("a", 96)]
    saved(tmp_path, "a", 3)
    os.utime(place, (1, 1))
    assert thumbnails.jpeg(place, 64) != first, "another picture lies there now"


def test_however_many_sides_are_asked_for_few_are_made(tmp_path: Path, pool: CountingPool) -> None:
    thumbnails, place = ThumbnailCache(pool=pool), saved(tmp_path, "a")
    for side in range(64, 2049, 7):
        made = PIL.Image.open(BytesIO(thumbnails.jpeg(place, side)))
        assert max(made.size) <= side
    assert {side for _, side in pool.asked} <= set(SIDES)
    assert len(pool.asked) <= len(SIDES)
    assert [made_side(side) for side in (64, 95, 96, 320, 479, 2048)] == [64, 64, 96, 320, 320, 2048]


def test_the_least_recently_used_thumbnail_is_evicted_first(tmp_path: Path, pool: CountingPool) -> None:
    places = [saved(tmp_path, name, at) for at, name in enumerate("abc")]
    sizes = [len(ThumbnailCache(pool=pool).jpeg(place, 64)) for place in places]
    pool.asked.clear()
    thumbnails = ThumbnailCache(max_bytes=sum(sizes) - 1, pool=pool)
    for at in (0, 1, 0, 2, 0, 1):
        thumbnails.jpeg(places[at], 64)
    assert [name for name, _ in pool.asked] == ["a", "b", "c", "b"]
    assert sum(len(each) for each in thumbnails._cache.values()) <= thumbnails.max_bytes


def test_thumbnails_of_a_deleted_picture_are_evicted(tmp_path: Path, pool: CountingPool) -> None:
    thumbnails = ThumbnailCache(pool=pool)
    place, other = saved(tmp_path, "a"), saved(tmp_path, "b")
    thumbnails.jpeg(place, 64)
    place.unlink()
    with pytest.raises(UserError) as caught:
        thumbnails.jpeg(place, 64)
    assert caught.value.code == "not_found"
    thumbnails.jpeg(other, 64)
    assert [key[0][0] for key in thumbnails._cache] == [other]


def test_what_cannot_be_decoded_is_found_out_once(tmp_path: Path, pool: CountingPool) -> None:
    thumbnails, place = ThumbnailCache(pool=pool), tmp_path / "a"
    place.write_bytes(picture()[:500])
    for side in (64, 96, 128):
        with pytest.raises(UserError) as caught:
            thumbnails.jpeg(place, side)
        assert caught.value.code == "unreadable"
    assert len(pool.asked) == 1


def test_who_asks_for_the_same_picture_waits_for_the_same(tmp_path: Path, shared: ThumbnailCache) -> None:
    places = [saved(tmp_path, name, at) for at, name in enumerate("abcd")]
    with ThreadPoolExecutor(12) as threads:
        made = list(threads.map(lambda place: shared.jpeg(place, 64), places * 3))
    assert made[:4] == made[4:8] == made[8:]
    assert len(set(made)) == 4


def test_a_page_that_is_opened_again_decodes_nothing(api: ApiHarness) -> None:
    person, client = api.prepared_person(), api.client()
    added = client.post(f"/people/{person}/selfies", files=[("files", ("a.png", picture(4)))]).json()["added"][0]
    address, params = f"/selfies/{added['id']}/file", {"side": 64}
    first = client.get(address, params=params)
    assert first.status_code == 200
    api.context.thumbnails.close()
    assert client.get(address, params=params).content == first.content
    assert client.get(address, params={"side": 96}).json()["code"] == "busy"
    assert client.delete(f"/selfies/{added['id']}").status_code == 204
    assert client.get(address, params=params).status_code == 410
