"""Pictures of more pixels than most: reduced while they are decoded, kept and drawn into at a size that memory allows."""

import io
import threading
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import pytest

from pipelines import image_io, judging, prepare, template_faces
from pipelines.judging import PhotoJudge
from portrait.arrays import Size
from portrait.images.windows import Window
from tests import selfies
from tests.fakes import FakeFinder, RecordingProgress, picture, save

KINDS: dict[str, tuple[str, str, dict[str, Any]]] = {
    "JPEG": ("JPEG", "RGB", {"quality": 95}),
    "turned JPEG": (
        "JPEG",
        "RGB",
        {"quality": 95, "exif": b"Exif\0\0II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0\x06\0\0\0\0\0\0\0"},
    ),
    "CMYK": ("JPEG", "CMYK", {"quality": 95}),
    "PNG": ("PNG", "RGB", {}),
    "transparent PNG": ("PNG", "RGBA", {}),
    "palette": ("PNG", "P", {}),
    "HEIC": ("HEIF", "RGB", {"quality": 95}),
    "grey": ("PNG", "L", {}),
    "WebP": ("WEBP", "RGB", {"quality": 95}),
    "transparent WebP": ("WEBP", "RGBA", {"quality": 95}),
}


def encoded(kind: str) -> bytes:
    format, mode, options = KINDS[kind]
    content = io.BytesIO()
    PIL.Image.fromarray(selfies.astronaut()[:, :400]).convert(mode).save(content, format, **options)
    return content.getvalue()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("side", [401, 200, 90])
def test_a_picture_that_is_reduced_while_it_is_decoded_looks_the_same(
    kind: str, side: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    content = encoded(kind)
    before = image_io.decode(content, "photo", side)
    monkeypatch.setattr(image_io, "WHOLE_PIXELS", 1000)
    after = image_io.decode(content, "photo", side)
    assert after.image.shape == before.image.shape
    assert after.native_size == before.native_size
    assert np.abs(after.image.astype(int) - before.image).mean() < 3.5


def test_one_large_picture_is_decoded_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(image_io, "ALONE_BYTES", 1000)
    held: list[bool] = []
    strips = image_io.srgb_strips
    monkeypatch.setattr(image_io, "srgb_strips", lambda opened: held.append(image_io._ALONE.locked()) or strips(opened))
    image_io.decode(encoded("PNG"), "photo")
    assert held == [True]
    assert not image_io._ALONE.locked()


@pytest.mark.parametrize("size", [1000, 10])
def test_one_large_file_is_held_at_a_time(size: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(image_io, "FILE_BYTES", size)
    path = tmp_path / "photo.png"
    path.write_bytes(encoded("PNG"))
    large, held = path.stat().st_size > size, []
    monkeypatch.setattr(
        image_io, "_read_bytes", lambda path: held.append(image_io._ONE_FILE.locked()) or path.read_bytes()
    )
    image_io.read(path)
    image_io.read_part(path, None, lambda size: Window(0, 0, size.width, size.height))
    assert held == [large, large]
    assert not image_io._ONE_FILE.locked()


def test_references_of_many_pixels_are_reduced_to_what_all_may_have_together() -> None:
    share = prepare._reference_share
    assert share(Size(4000, 3000), 5) == 1, "as phones mostly have them"
    assert share(Size(6000, 4000), 2) == 1, "as cameras mostly have them"
    assert share(Size(8000, 6000), 5) == pytest.approx(0.5)
    assert share(Size(8000, 6000), 1) ** 2 * 48e6 == pytest.approx(25e6)
    for size in (Size(6000, 4000), Size(12_000, 9000)):
        pixels = size.width * size.height
        assert all(count * share(size, count) ** 2 * pixels <= 60.1e6 for count in range(3, 9))


def test_of_many_photos_each_is_kept_smaller_with_the_same_verdict(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = [save(tmp_path / f"{number}.png", picture(1, number, side=1200)) for number in range(5)]
    judge = PhotoJudge(FakeFinder())
    few = judge.judge_files(files, RecordingProgress())
    monkeypatch.setattr(judging, "MANY", 4)
    many = judge.judge_files(files, RecordingProgress())
    for before, after in zip(few, many, strict=True):
        assert before.selfie is not None
        assert after.selfie is not None
        assert before.face is not None
        assert after.face is not None
        assert max(before.selfie.image.shape) == judging.JUDGED_SIDE
        assert max(after.selfie.image.shape) == judging.KEPT_SIDE
        assert after.face.box.width == pytest.approx(before.face.box.width / 2)
        assert (after.verdict, after.reasons, after.quality) == (before.verdict, before.reasons, before.quality)


def test_two_photos_are_judged_at_a_time_and_no_more(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files = [save(tmp_path / f"{number}.png", picture(1, number)) for number in range(12)]
    judged: list[int] = []
    read, both, held, most = image_io.read, threading.Barrier(judging.AT_ONCE), set[Path](), [0]

    def count(path: Path, side: int | None = None) -> Any:
        held.add(path)
        most[0] = max(most[0], len(held))
        both.wait(60)  # each waits for the other: they are judged side by side
        held.discard(path)
        return read(path, side)

    monkeypatch.setattr(image_io, "read", count)

    def progress(done: int, total: int, doing: str, preview: Any = None) -> None:
        judged.append(done)

    found = PhotoJudge(FakeFinder()).judge_files(files, progress)
    assert [photo.name for photo in found] == [file.name for file in files], "in the order in which they were given"
    assert most == [judging.AT_ONCE]
    assert judged == list(range(13))


def test_a_template_of_many_pixels_is_drawn_into_smaller_and_pointed_at_as_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = save(tmp_path / "large.png", picture(1, 1, side=800))
    whole = template_faces.read_picture(file, FakeFinder())
    monkeypatch.setattr(template_faces, "MAX_PIXELS", 400 * 400)
    reduced = template_faces.read_picture(file, FakeFinder())
    assert reduced.image.shape == (400, 400, 3)
    assert reduced.scale == 2
    assert reduced.places[1] == pytest.approx(whole.places[1], abs=2), "in pixels of the file"
    assert template_faces.number_at(reduced, whole.places[1]) == 1
    assert whole.scale == 1
