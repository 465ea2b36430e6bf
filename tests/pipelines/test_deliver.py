import errno
import io
from pathlib import Path

import numpy as np
import PIL.Image
import pytest

from pipelines.deliver import Deliver, convert, encode, read_recipe
from portrait.errors import OperatorError, UserError
from portrait.types import Portrait
from tests.fakes import picture

RECIPE = {"schema": 1, "style": {"id": "a <b> & \"c\" 'd' é", "kind": "studio"}, "seed": 7, "candidate": 2}


def portrait(kind: str = "studio") -> Portrait:
    recipe = RECIPE | {"style": {"id": "a <b> & \"c\" 'd' é", "kind": kind}}
    return Portrait(picture(1, 1), None, {}, {}, {"total": 1.0}, recipe)


@pytest.mark.parametrize("format", ["jpg", "png", "webp"])
def test_written_marked_and_read_back(tmp_path: Path, format: str) -> None:
    path = Deliver(format)(portrait(), tmp_path / "new" / "a")
    assert path == tmp_path / "new" / f"a.{format}"
    assert read_recipe(path) == RECIPE
    with PIL.Image.open(path) as written:
        assert {"jpg": "JPEG", "png": "PNG", "webp": "WEBP"}[format] == written.format
        difference = np.abs(np.asarray(written.convert("RGB")).astype(int) - portrait().image)
    assert difference.mean() < (0.001 if format == "png" else 4)
    assert not list(path.parent.glob(".*"))


@pytest.mark.parametrize(
    ("kind", "source"), [("studio", "compositeSynthetic"), ("template", "compositeWithTrainedAlgorithmicMedia")]
)
def test_how_it_was_made_can_be_read_by_others(kind: str, source: str) -> None:
    with PIL.Image.open(io.BytesIO(encode(portrait(kind), "jpg"))) as written:
        described = written.getxmp()["xmpmeta"]["RDF"]["Description"]
    assert described["DigitalSourceType"] == f"http://cv.iptc.org/newscodes/digitalsourcetype/{source}"


def test_same_portrait_same_bytes() -> None:
    assert encode(portrait(), "jpg") == encode(portrait(), "jpg")


def test_other_pictures_carry_no_recipe(tmp_path: Path) -> None:
    path = Deliver("jpg")(portrait(), tmp_path / "a")
    with PIL.Image.open(path) as written:
        written.convert("RGB").save(tmp_path / "resaved.jpg")
    (tmp_path / "text.jpg").write_text("<portrait:recipe>{}</portrait:recipe>")
    for name in ("resaved.jpg", "text.jpg", "nothing.jpg"):
        with pytest.raises(UserError) as caught:
            read_recipe(tmp_path / name)
        assert caught.value.code == "no_recipe"


def test_unknown_format_is_refused() -> None:
    with pytest.raises(UserError) as caught:
        encode(portrait(), "gif")
    assert caught.value.code == "bad_format"


def test_a_full_disk_leaves_nothing_half_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(path: Path, content: bytes) -> int:
        path.open("wb").close()
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(OperatorError, match="No space left") as caught:
        Deliver("jpg")(portrait(), tmp_path / "a")
    assert caught.value.code == "cannot_write"
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("format", ["jpg", "png", "webp"])
@pytest.mark.parametrize("delivered", ["jpg", "png", "webp"])
def test_another_form_carries_all_that_the_file_did(tmp_path: Path, delivered: str, format: str) -> None:
    path = Deliver(delivered)(portrait(), tmp_path / "a")
    other = tmp_path / "other"
    other.write_bytes(convert(path, format, 100) or b"")
    assert read_recipe(other) == RECIPE
    with PIL.Image.open(path) as before, PIL.Image.open(other) as after:
        packets = [each.info.get("xmp") or each.info["XML:com.adobe.xmp"].encode() for each in (before, after)]
        assert packets[0] == packets[1]
        assert {"jpg": "JPEG", "png": "PNG", "webp": "WEBP"}[format] == after.format
        assert max(after.size) == 100 < max(before.size)


def test_no_picture_is_made_larger_and_resolution_in_print_stays(tmp_path: Path) -> None:
    rule = {"drawn": {"file": {"dpi": 600, "kilobytes": [None, None]}}}
    path = Deliver("jpg")(Portrait(picture(1, 1), None, {}, {}, {}, RECIPE | rule), tmp_path / "a")
    other = PIL.Image.open(io.BytesIO(convert(path, "png", 4000) or b""))
    assert other.size == (picture(1, 1).shape[1], picture(1, 1).shape[0])
    assert other.info["dpi"] == pytest.approx((600, 600), abs=0.1)


def test_what_cannot_be_converted_is_told(tmp_path: Path) -> None:
    path = Deliver("png")(Portrait(picture(1, 1), None, {}, {}, {}, RECIPE | {"words": "x" * 70_000}), tmp_path / "a")
    (tmp_path / "text.jpg").write_text("no picture")
    for file, format, code in (
        (path, "jpg", "recipe_too_long"),
        (tmp_path / "text.jpg", "png", "unreadable"),
        (path, "gif", "bad_format"),
    ):
        with pytest.raises(UserError) as caught:
            convert(file, format)
        assert caught.value.code == code
    assert convert(path, "webp", max_bytes=100) is None, "it takes more memory than that"
