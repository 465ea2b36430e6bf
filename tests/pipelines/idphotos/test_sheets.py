import io
import re
from dataclasses import replace

import numpy as np
import PIL.Image
import pytest

from pipelines.idphotos import presets, sheets
from pipelines.marks import credentials
from pipelines.marks.manifest import Manifest
from pipelines.marks.marks import Marks
from portrait.errors import UserError

POINT = 25.4 / 72
MARK = "compositeSynthetic"


@pytest.fixture
def origin(marks: Marks) -> sheets.Origin:
    """What the sheets say, signed."""
    return sheets.Origin(MARK, marks)


def photo(width: int, height: int) -> bytes:
    file = io.BytesIO()
    PIL.Image.new("RGB", (width, height), (200, 60, 60)).save(file, "JPEG", quality=95)
    return file.getvalue()


@pytest.mark.parametrize(
    ("paper", "size", "count"),
    [
        ("10x15", (35.0, 45.0), 8),
        ("6in", (35.0, 45.0), 8),
        ("5in", (35.0, 45.0), 4),
        ("a4", (35.0, 45.0), 30),
        ("10x15", (50.8, 50.8), 2),
        ("a4", (50.8, 50.8), 15),
    ],
)
def test_as_many_as_fit_lie_apart_and_inside(paper: str, size: tuple[float, float], count: int) -> None:
    layout = sheets.arrange_photos(presets.load_presets().paper(paper), size)
    assert len(layout.positions) == count
    for left, top in layout.positions:
        assert left >= sheets.MARGIN - 1e-6
        assert top >= sheets.MARGIN - 1e-6
        assert left + size[0] <= layout.paper[0] - sheets.MARGIN + 1e-6
        assert top + size[1] <= layout.paper[1] - sheets.MARGIN + 1e-6
    for one, (left, top) in enumerate(layout.positions):
        for other_left, other_top in layout.positions[one + 1 :]:
            assert abs(other_left - left) >= size[0] + 1.99 or abs(other_top - top) >= size[1] + 1.99


def test_no_mark_lies_on_a_photo() -> None:
    layout = sheets.arrange_photos((210.0, 297.0), (35.0, 45.0))
    assert len(layout.crop_marks()) == 8 * len(layout.positions)
    for x, y, to_x, to_y in layout.crop_marks():
        for left, top in layout.positions:
            apart = max(x, to_x) < left or min(x, to_x) > left + 35 or max(y, to_y) < top or min(y, to_y) > top + 45
            assert apart


def test_the_jpeg_sheet_has_the_papers_pixels_at_300_dpi(origin: sheets.Origin) -> None:
    layout = sheets.arrange_photos((210.0, 297.0), (35.0, 45.0))
    content = sheets.encode_jpeg(layout, photo(413, 531), 300, origin)
    picture = PIL.Image.open(io.BytesIO(content))
    assert picture.size == (2480, 3508)
    assert picture.info["dpi"] == (300, 300)
    red = np.asarray(picture)[..., 1] < 130
    assert red.sum() == pytest.approx(30 * 413 * 531, rel=0.02)


@pytest.mark.parametrize(("paper", "size"), [("a4", (35.0, 45.0)), ("10x15", (50.8, 50.8)), ("6in", (33.0, 48.0))])
def test_the_pdf_measures_right(paper: str, size: tuple[float, float], origin: sheets.Origin) -> None:
    layout = sheets.arrange_photos(presets.load_presets().paper(paper), size)
    content = sheets.encode_pdf(layout, photo(413, 531), origin).decode("latin-1")
    box = re.search(r"/MediaBox ?\[ ?0 0 ([\d.]+) ([\d.]+) ?\]", content)
    assert box
    assert (float(box[1]) * POINT, float(box[2]) * POINT) == pytest.approx(layout.paper, abs=0.01)
    drawn = re.findall(r"([\d.]+) 0 0 ([\d.]+) ([\d.]+) ([\d.]+) cm\s+/FormXob", content)
    assert len(drawn) == len(layout.positions)
    for (wide, tall, left, bottom), (expected_left, expected_top) in zip(drawn, layout.positions, strict=True):
        assert (float(wide) * POINT, float(tall) * POINT) == pytest.approx(size, abs=0.01)
        top = layout.paper[1] - float(bottom) * POINT - size[1]
        assert (float(left) * POINT, top) == pytest.approx((expected_left, expected_top), abs=0.01)
    assert re.search(r"/PrintScaling ?/None", content)
    assert content.count("/DCTDecode") == 1


def test_the_same_photo_gives_the_same_pdf_but_for_the_signature(marks: Marks) -> None:
    layout = sheets.arrange_photos((100.0, 150.0), (35.0, 45.0))
    unsigned = sheets.Origin(MARK, replace(marks, settings=replace(marks.settings, credentials=False)))
    assert sheets.encode_pdf(layout, photo(40, 50), unsigned) == sheets.encode_pdf(layout, photo(40, 50), unsigned)


def test_sheets_are_signed_and_name_the_photo(marks: Marks, origin: sheets.Origin) -> None:
    layout = sheets.arrange_photos((100.0, 150.0), (35.0, 45.0))
    signed = marks.sign(photo(40, 50), "image/jpeg", Manifest(MARK))
    made = {
        "image/jpeg": sheets.encode_jpeg(layout, signed, 300, origin),
        "application/pdf": sheets.encode_pdf(layout, signed, origin),
    }
    for mime, content in made.items():
        found = credentials.read(content, mime, marks.keys.anchors)
        assert found is not None
        assert (found.trusted, found.faults, found.source_type) == (True, (), MARK)
        assert found.actions == ("c2pa.edited", "c2pa.opened", "c2pa.created")


def test_a_paper_too_small_is_an_error() -> None:
    with pytest.raises(UserError, match="does not fit"):
        sheets.arrange_photos((40.0, 50.0), (50.0, 70.0))


def test_sheets_carry_the_mark_of_the_photo(origin: sheets.Origin) -> None:
    layout = sheets.arrange_photos((100.0, 150.0), (35.0, 45.0))
    picture = PIL.Image.open(io.BytesIO(sheets.encode_jpeg(layout, photo(40, 50), 300, origin)))
    assert f"digitalsourcetype/{MARK}" in picture.info["xmp"].decode()
    content = sheets.encode_pdf(layout, photo(40, 50), origin).decode("latin-1")
    assert re.search(r"/Metadata \d+ 0 R", content)
    assert f"digitalsourcetype/{MARK}" in content


@pytest.mark.parametrize(("gap", "count"), [(0.0, 8), (2.0, 8), (12.0, 4)])
def test_the_gap_between_photos_can_be_chosen(gap: float, count: int) -> None:
    layout = sheets.arrange_photos((100.0, 150.0), (35.0, 45.0), gap)
    assert len(layout.positions) == count
    lefts = sorted({left for left, _ in layout.positions})
    assert lefts[1] - lefts[0] == pytest.approx(35 + gap)
    for x, y, to_x, to_y in layout.crop_marks():
        for left, top in layout.positions:
            inside = max(x, to_x) > left + 1e-6 and min(x, to_x) < left + 35 - 1e-6
            assert not (inside and max(y, to_y) > top + 1e-6 and min(y, to_y) < top + 45 - 1e-6)


def test_photos_of_another_resolution_are_not_resampled(origin: sheets.Origin) -> None:
    """Finland's 500 × 653 pixels are 36 × 47 mm: at 353 dpi each pixel of the sheet is one of the photo."""
    content = sheets.encode_jpeg(sheets.arrange_photos((100.0, 150.0), (36.0, 47.0)), photo(500, 653), 353, origin)
    picture = PIL.Image.open(io.BytesIO(content))
    assert picture.info["dpi"] == (353, 353)
    pixels = np.asarray(picture).astype(int)
    red = (pixels[..., 0] - pixels[..., 1] > 100).any(axis=0)
    widths = np.diff(np.flatnonzero(np.diff(np.r_[0, red.astype(int), 0])))[::2]
    assert set(widths) == {500}
