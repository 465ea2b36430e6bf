import errno
import io
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import pytest

from pipelines.deliver import Deliver, convert, encode, read_recipe, recipe_id, sign_converted
from pipelines.marks import credentials, invisible, xmp
from pipelines.marks.marks import Marks, open_marks
from pipelines.settings import MarkSettings
from portrait.errors import OperatorError, UserError
from portrait.types import Portrait
from tests.fakes import picture

RECIPE = {
    "schema": 1,
    "style": {"id": "a <b> & \"c\" 'd' é", "kind": "studio"},
    "seed": 2**62,
    "candidate": 2,
    "share": 0.1,
}
MIMES = {"jpg": "image/jpeg", "png": "image/png", "webp": "image/webp"}
OWN_WORDS = ("walks her dog", "red hat", "with freckles", "ann-base")


def portrait(kind: str = "studio", **more: Any) -> Portrait:
    recipe = RECIPE | {"style": {"id": "a <b> & \"c\" 'd' é", "kind": kind}} | more
    return Portrait(picture(1, 1), None, {}, {}, {"total": 1.0}, recipe)


@pytest.fixture
def plain(marks: Marks) -> Marks:
    """The same installation with every mark off that can be."""
    return replace(marks, settings=replace(marks.settings, credentials=False, invisible=False))


@pytest.mark.parametrize("format", ["jpg", "png", "webp"])
def test_written_marked_and_read_back(tmp_path: Path, marks: Marks, format: str) -> None:
    path = Deliver(format, marks)(portrait(), tmp_path / "new" / "a")
    assert path == tmp_path / "new" / f"a.{format}"
    assert read_recipe(path) == RECIPE
    with PIL.Image.open(path) as written:
        assert {"jpg": "JPEG", "png": "PNG", "webp": "WEBP"}[format] == written.format
        image = np.asarray(written.convert("RGB")).astype(int)
    marked = marks.finish(portrait().image, recipe_id(RECIPE))
    assert np.abs(image - marked).mean() < (0.001 if format == "png" else 4)
    assert not list(path.parent.glob(".*"))
    found = credentials.read(path.read_bytes(), MIMES[format], marks.keys.anchors)
    assert found is not None
    assert (found.trusted, found.faults) == (True, ())
    assert (found.source_type, found.actions) == ("compositeSynthetic", ("c2pa.created",))
    assert found.recipe == RECIPE, "large numbers and fractions as they were"
    assert found.portrait == invisible.short_id(recipe_id(RECIPE))


@pytest.mark.parametrize(
    ("kind", "source"), [("studio", "compositeSynthetic"), ("template", "compositeWithTrainedAlgorithmicMedia")]
)
def test_how_it_was_made_can_be_read_by_others(marks: Marks, kind: str, source: str) -> None:
    with PIL.Image.open(io.BytesIO(encode(portrait(kind), "jpg", marks))) as written:
        described = written.getxmp()["xmpmeta"]["RDF"]["Description"]
    assert described["DigitalSourceType"] == f"http://cv.iptc.org/newscodes/digitalsourcetype/{source}"


def test_same_portrait_same_bytes_but_for_the_signature(marks: Marks, plain: Marks) -> None:
    assert encode(portrait(), "jpg", plain) == encode(portrait(), "jpg", plain)
    one, other = (
        np.asarray(PIL.Image.open(io.BytesIO(encode(portrait(), "png", marks, "portrait_1")))) for _ in range(2)
    )
    assert np.array_equal(one, other)


def test_each_mark_can_be_left_out(marks: Marks, plain: Marks) -> None:
    content = encode(portrait(), "png", plain)
    assert np.array_equal(np.asarray(PIL.Image.open(io.BytesIO(content))), portrait().image)
    assert credentials.read(content, "image/png") is None
    assert xmp.source_of(xmp.read(PIL.Image.open(io.BytesIO(content)))) == "compositeSynthetic", "this one always"


def test_an_id_photo_has_no_mark_in_its_pixels_and_keeps_its_kilobytes(marks: Marks) -> None:
    rng = np.random.default_rng(1)
    image = np.clip(picture(1, 1).astype(int) + rng.integers(-4, 5, (*picture(1, 1).shape[:2], 1)), 0, 255)
    labelled = replace(marks, settings=replace(marks.settings, label="AI"))
    bounds: list[list[Any]] = [[20, 30], [90, 110], [None, 16]]
    for kilobytes in bounds:
        rule = {"drawn": {"file": {"dpi": 300, "kilobytes": kilobytes}}}
        made = replace(portrait("idphoto", **rule), image=image.astype(np.uint8))
        content = encode(made, "jpg", labelled)
        assert (kilobytes[0] or 0) * 1000 <= len(content) <= kilobytes[1] * 1000
        found = credentials.read(content, "image/jpeg", marks.keys.anchors)
        assert found is not None
        assert (found.trusted, found.faults) == (True, ())
        lossless = encode(made, "png", labelled)
        assert np.array_equal(np.asarray(PIL.Image.open(io.BytesIO(lossless))), made.image)


def test_one_changed_pixel_is_told(marks: Marks) -> None:
    content = encode(portrait(), "png", marks)
    at = content.index(b"IDAT") + 60
    changed = content[:at] + bytes([content[at] ^ 1]) + content[at + 1 :]
    found = credentials.read(changed, "image/png", marks.keys.anchors)
    assert found is not None
    assert found.altered
    assert "assertion.dataHash.mismatch" in found.faults


def test_an_edit_names_what_it_began_from(tmp_path: Path, marks: Marks) -> None:
    first = Deliver("jpg", marks)(portrait("text"), tmp_path / "ann-at-sea")
    edit = {"kind": "instruct", "picture": "0" * 64, "words": "a red hat"}
    second = Deliver("png", marks, first)(portrait("text", edit=edit), tmp_path / "b")
    found = credentials.read(second.read_bytes(), "image/png", marks.keys.anchors)
    assert found is not None
    assert (found.trusted, found.faults) == (True, ())
    assert found.actions == ("c2pa.edited", "c2pa.opened", "c2pa.created")
    assert found.source_type == "trainedAlgorithmicMedia"
    assert found.recipe is not None
    assert found.recipe["edit"] == {"kind": "instruct", "picture": "0" * 64}
    assert b"ann-at-sea" not in second.read_bytes()


def private_portrait() -> Portrait:
    technique = {"base": "ann-base.safetensors", "traits": "with freckles", "preset": "best"}
    drawn = {"prompt": "sks person, who walks her dog", "passes": [{"negative": "a red hat", "steps": 3}]}
    return portrait("text", technique=technique, drawn=drawn)


@pytest.mark.parametrize("format", ["jpg", "png", "webp"])
def test_own_words_are_read_only_where_they_were_written(tmp_path: Path, marks: Marks, format: str) -> None:
    made = private_portrait()
    path = Deliver(format, marks)(made, tmp_path / "a")
    for content in (path.read_bytes(), sign_converted(convert(path, "webp", 100) or b"", path, marks)):
        for words in OWN_WORDS:
            assert words.encode() not in content
    assert read_recipe(path, marks) == made.recipe
    assert read_recipe(path)["drawn"]["passes"] == [{"steps": 3}]
    with pytest.raises(UserError) as caught:
        read_recipe(path, open_marks(MarkSettings(tmp_path / "another")))
    assert caught.value.code == "recipe_sealed"


def test_a_recipe_from_before_is_still_read(tmp_path: Path, marks: Marks) -> None:
    before = {**RECIPE, "drawn": {"prompt": "sks person"}}
    PIL.Image.fromarray(picture(1, 1)).save(tmp_path / "old.jpg", xmp=xmp.packet("compositeSynthetic", before))
    assert read_recipe(tmp_path / "old.jpg", marks) == before


@pytest.mark.parametrize("format", ["jpg", "png", "webp"])
def test_a_recipe_of_any_length_is_carried(tmp_path: Path, marks: Marks, format: str) -> None:
    """65 kB are what XMP in JPEG has room for; what does not fit there stands in the credentials."""
    made = portrait(notes=["x" * 70_000])
    path = Deliver(format, marks)(made, tmp_path / "a")
    assert read_recipe(path, marks) == made.recipe
    other = tmp_path / "other"
    other.write_bytes(sign_converted(convert(path, "jpg", 100) or b"", path, marks))
    assert read_recipe(other, marks) == made.recipe
    unsigned = replace(marks, settings=replace(marks.settings, credentials=False))
    path = Deliver(format, unsigned)(made, tmp_path / "unsigned")
    if format == "jpg":
        with pytest.raises(UserError, match="no recipe"):
            read_recipe(path)
    else:
        assert read_recipe(path) == made.recipe
        assert xmp.source_of(xmp.read(PIL.Image.open(io.BytesIO(convert(path, "jpg") or b"")))) == "compositeSynthetic"


def test_other_pictures_carry_no_recipe(tmp_path: Path, marks: Marks) -> None:
    path = Deliver("jpg", marks)(portrait(), tmp_path / "a")
    with PIL.Image.open(path) as written:
        written.convert("RGB").save(tmp_path / "resaved.jpg")
    (tmp_path / "text.jpg").write_text("<portrait:recipe>{}</portrait:recipe>")
    for name in ("resaved.jpg", "text.jpg", "nothing.jpg"):
        with pytest.raises(UserError) as caught:
            read_recipe(tmp_path / name)
        assert caught.value.code == "no_recipe"


def test_unknown_format_is_refused(marks: Marks) -> None:
    with pytest.raises(UserError) as caught:
        encode(portrait(), "gif", marks)
    assert caught.value.code == "bad_format"


def test_a_full_disk_leaves_nothing_half_written(tmp_path: Path, marks: Marks, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(path: Path, content: bytes) -> int:
        path.open("wb").close()
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(OperatorError, match="No space left") as caught:
        Deliver("jpg", marks)(portrait(), tmp_path / "a")
    assert caught.value.code == "cannot_write"
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("format", ["jpg", "png", "webp"])
@pytest.mark.parametrize("delivered", ["jpg", "png", "webp"])
def test_another_form_carries_all_that_the_file_did(tmp_path: Path, marks: Marks, delivered: str, format: str) -> None:
    path = Deliver(delivered, marks)(portrait(), tmp_path / "a")
    other = tmp_path / "other"
    other.write_bytes(sign_converted(convert(path, format, 100) or b"", path, marks))
    assert read_recipe(other) == RECIPE
    with PIL.Image.open(path) as before, PIL.Image.open(other) as after:
        assert xmp.read(before) == xmp.read(after) != b""
        assert {"jpg": "JPEG", "png": "PNG", "webp": "WEBP"}[format] == after.format
        assert max(after.size) == 100 < max(before.size)
    found = credentials.read(other.read_bytes(), MIMES[format], marks.keys.anchors)
    assert found is not None
    assert (found.trusted, found.faults, found.source_type) == (True, (), "compositeSynthetic")
    transcoded = ("c2pa.transcoded",) if format != delivered else ()
    assert found.actions == (*transcoded, "c2pa.resized", "c2pa.opened", "c2pa.created")
    stranger = credentials.read(other.read_bytes(), MIMES[format])
    assert stranger is not None
    assert (stranger.trusted, stranger.faults) == (False, ())


def test_no_picture_is_made_larger_and_resolution_in_print_stays(tmp_path: Path, marks: Marks) -> None:
    rule = {"drawn": {"file": {"dpi": 600, "kilobytes": [None, None]}}}
    path = Deliver("jpg", marks)(portrait("idphoto", **rule), tmp_path / "a")
    other = PIL.Image.open(io.BytesIO(sign_converted(convert(path, "png", 4000) or b"", path, marks)))
    assert other.size == (picture(1, 1).shape[1], picture(1, 1).shape[0])
    assert other.info["dpi"] == pytest.approx((600, 600), abs=0.1)


def test_what_cannot_be_converted_is_told(tmp_path: Path, marks: Marks) -> None:
    path = Deliver("png", marks)(portrait(), tmp_path / "a")
    (tmp_path / "text.jpg").write_text("no picture")
    for file, format, code in (
        (tmp_path / "text.jpg", "png", "unreadable"),
        (path, "gif", "bad_format"),
    ):
        with pytest.raises(UserError) as caught:
            convert(file, format)
        assert caught.value.code == code
    assert convert(path, "webp", max_bytes=100) is None, "it takes more memory than that"


def test_the_label_of_china(marks: Marks) -> None:
    labelled = replace(marks, settings=replace(marks.settings, aigc=True, producer="00119111"))
    with PIL.Image.open(io.BytesIO(encode(portrait(), "jpg", labelled, "portrait_7"))) as written:
        described = written.getxmp()["xmpmeta"]["RDF"]["Description"]
    label = json.loads(described["AIGC"])
    assert list(label) == [
        "Label", "ContentProducer", "ProduceID", "ReservedCode1", "ContentPropagator", "PropagateID", "ReservedCode2",
    ]  # fmt: skip
    assert (label["Label"], label["ContentProducer"]) == ("1", "00119111")
    assert label["ProduceID"] == f"{marks.keys.tag:04x}{invisible.short_id('portrait_7'):08x}"


def test_a_large_jpeg_is_written_without_holding_all_of_its_codes(
    plain: Marks, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn = portrait()
    fitted = encode(drawn, "jpg", plain)
    monkeypatch.setattr("pipelines.deliver.OPTIMIZED_PIXELS", drawn.image.shape[0] * drawn.image.shape[1] - 1)
    standard = encode(drawn, "jpg", plain)
    # The tables of the standard are 418 bytes; those that fit a picture hold what occurs in it alone.
    assert len(standard) > len(fitted)
    one, other = (np.asarray(PIL.Image.open(io.BytesIO(each))) for each in (fitted, standard))
    assert np.array_equal(one, other)
