import io
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import cv2
import numpy as np
import PIL.Image
import pytest

from pipelines.deliver import Deliver, read_recipe
from pipelines.engines import Engines
from pipelines.engines.painters.idphoto import IdPhotoPainter
from pipelines.idphotos import idphoto, presets
from pipelines.idphotos.idphoto import (
    IdPhoto,
    IdPhotoOptions,
    encode_jpeg,
    make_best,
    make_id_photo,
    make_report,
)
from pipelines.idphotos.source_photo import SourcePhoto
from pipelines.marks import credentials
from pipelines.marks.marks import Marks
from pipelines.render import Render
from portrait.arrays import Image, Size
from portrait.errors import UserError
from portrait.faces.mesh import CHIN
from portrait.idphoto_spec import IdPhotoSpec
from portrait.idphotos import Range, measure_head
from portrait.ports import FaceFinder, Matter, StreamingPainter
from portrait.types import Face, Identity, PortraitRequest, Quality, Reference, Refinement, Style
from tests import selfies
from tests.framed_selfies import sunglasses

PRESETS = presets.load_presets()
TWELVE = (
    "us-passport", "us-visa-online", "us-diversity-visa", "ca-passport", "uk-passport", "schengen-visa", "de-passport",
    "fr-identity", "fi-passport", "cn-passport", "cn-visa-online", "jp-passport",
)  # fmt: skip


@pytest.fixture(scope="module")
def source(astronaut: Image, finder: FaceFinder, matter: Matter) -> SourcePhoto:
    return SourcePhoto(astronaut, finder, matter)


def opened(photo: IdPhoto) -> PIL.Image.Image:
    return PIL.Image.open(io.BytesIO(photo.content))


def wider(span: Range, by: float) -> Range:
    """Room for a second measurement, which never reads quite the same."""
    return Range(None if span.low is None else span.low - by, None if span.high is None else span.high + by)


@pytest.mark.parametrize("name", TWELVE)
def test_the_sample_photo_meets_the_rules_of_the_picture(
    source: SourcePhoto, finder: FaceFinder, marks: Marks, name: str
) -> None:
    preset = PRESETS.find(name)
    photo = make_id_photo(source, IdPhotoOptions(preset, marks=marks), PRESETS)
    assert [each for each in photo.rules if not each.ok] == []
    assert preset.file_size.holds(len(photo.content) / 1000), "with its signature"
    signed = credentials.read(photo.content, "image/jpeg", marks.keys.anchors)
    assert signed is not None
    assert (signed.trusted, signed.faults, signed.source_type) == (True, (), "compositeSynthetic")
    picture = opened(photo)
    assert picture.size == (preset.pixels.width, preset.pixels.height)
    assert picture.info["dpi"] == (preset.dpi, preset.dpi)
    printed = [side / preset.dpi * 25.4 for side in picture.size]
    assert printed == pytest.approx(list(preset.millimetres), abs=0.1)
    assert preset.file_size.holds(len(photo.content) / 1000)
    # Measured anew in the finished file: the chin by the mesh, the highest hair by what is not the background.
    pixels = np.asarray(picture)
    face = finder.faces(pixels)[0]
    assert face.mesh is not None
    _, colour = PRESETS.background_color(preset, None)
    wide = (np.abs(pixels.astype(int) - colour).max(axis=2) > 40).sum(axis=1)
    hair = float(np.flatnonzero(wide > 0.06 * face.box.width)[0])
    eyes = float(face.landmarks[:2, 1].mean())
    chin, height = float(face.mesh[CHIN, 1]), preset.pixels.height
    tolerance = 0.012
    if preset.crown == "hair":
        assert wider(preset.composition.head, tolerance).holds((chin - hair) / height)
    else:
        skull = (eyes - hair) * source.head.skull / source.head.hair
        assert wider(preset.composition.head, tolerance).holds((chin - eyes + skull) / height)
    assert wider(preset.composition.eyes, tolerance).holds(1 - eyes / height)
    assert abs(float(face.landmarks[:2, 0].mean()) / preset.pixels.width - 0.5) < 0.02
    assert abs(face.pose.roll) < 2


def test_faults_of_the_photo_are_reported(source: SourcePhoto) -> None:
    broken = {each.name for each in source.rules if not each.ok}
    assert broken == {"mouth_open", "smile", "eye_distance"}
    photo = make_id_photo(source, IdPhotoOptions(PRESETS.find("icao")), PRESETS)
    assert photo.broken == 3
    report = make_report(photo, PRESETS, IdPhotoOptions(photo.preset))
    assert {line["rule"] for line in report["photo"] if not line["ok"]} == broken
    assert all(line["tip"] for line in report["photo"] if not line["ok"])


OLD = IdPhotoOptions(PRESETS.find("us-passport"), method=1)
"""As version 0.1.0 framed and judged."""


@pytest.mark.parametrize(
    ("rows", "columns", "code"),
    [
        (slice(30, 260), slice(100, 350), "head_cut"),
        (slice(0, 205), slice(0, 512), "no_shoulders"),
        (slice(0, 512), slice(190, 512), "head_cut"),
        (slice(0, 300), slice(130, 310), "no_shoulders"),
    ],
    ids=["hair cut above", "photo ends at the neck", "hair cut beside", "shoulders cut beside"],
)
def test_a_person_whom_the_photo_cuts_gets_no_id_photo(
    finder: FaceFinder, matter: Matter, astronaut: Image, rows: slice, columns: slice, code: str
) -> None:
    cut = SourcePhoto(np.ascontiguousarray(astronaut[rows, columns]), finder, matter)
    with pytest.raises(UserError) as caught:
        make_id_photo(cut, replace(OLD, method=2), PRESETS)
    assert caught.value.code == code
    # It was delivered once, and such a portrait is made again.
    assert not make_id_photo(cut, OLD, PRESETS).ok


def test_with_its_own_background_a_picture_ends_where_the_photo_does(
    finder: FaceFinder, matter: Matter, astronaut: Image
) -> None:
    low = SourcePhoto(np.ascontiguousarray(astronaut[8:420]), finder, matter)
    options = IdPhotoOptions(PRESETS.find("fi-passport"))  # which asks for room above the head
    assert make_id_photo(low, options, PRESETS)
    with pytest.raises(UserError) as caught:
        make_id_photo(low, replace(options, keep_background=True), PRESETS)
    assert caught.value.code == "frame_outside"


def test_beyond_the_photo_there_is_background_and_no_streaks(
    finder: FaceFinder, engines: Engines, astronaut: Image
) -> None:
    cut = SourcePhoto(np.ascontiguousarray(astronaut[:205]), finder, engines.matter({}))
    photo = make_id_photo(cut, OLD, PRESETS)
    assert not {each.name: each for each in photo.rules}["shoulders"].ok
    assert (photo.image[-10:] == 255).all()
    # So little of the scene is left that the segmenter takes the wall for a shoulder; that is told as well.
    assert not {each.name: each for each in photo.rules}["cut_out"].ok


def test_rules_that_came_later_are_not_in_old_photos(source: SourcePhoto) -> None:
    def names(method: int) -> set[str]:
        photo = make_id_photo(source, replace(OLD, method=method), PRESETS)
        return {each.name for each in (*photo.rules, *photo.photo_rules)}

    assert names(2) - names(1) == {"tilt", "residue", "face_shadow", "sunglasses"}
    assert names(1) < names(2)


def test_the_face_keeps_its_pixels(finder: FaceFinder, matter: Matter, astronaut: Image) -> None:
    roomy = np.asarray(cv2.copyMakeBorder(astronaut, 60, 0, 0, 0, cv2.BORDER_REPLICATE), np.uint8)
    source = SourcePhoto(roomy, finder, matter)
    replaced = make_id_photo(source, IdPhotoOptions(PRESETS.find("de-passport")), PRESETS)
    original = make_id_photo(source, IdPhotoOptions(PRESETS.find("de-passport"), keep_background=True), PRESETS)
    height, width = original.image.shape[:2]
    middle = np.s_[height * 2 // 5 : height * 7 // 10, width * 2 // 5 : width * 3 // 5]
    assert np.abs(replaced.image[middle].astype(int) - original.image[middle]).max() <= 1
    assert make_report(original, PRESETS, IdPhotoOptions(original.preset, keep_background=True))["background"] == "kept"
    assert "background_shadow" in {each.name for each in original.rules}


def test_another_background_is_noted_where_it_is_not_allowed(source: SourcePhoto) -> None:
    options = IdPhotoOptions(PRESETS.find("fr-identity"), "white")
    photo = make_id_photo(source, options, PRESETS)
    assert tuple(photo.image[3, 3]) == (255, 255, 255)
    assert any("another background" in note for note in make_report(photo, PRESETS, options)["notes"])


def test_the_crown_is_found_where_it_was_moved_to(
    finder: FaceFinder, matter: Matter, astronaut: Image, astronaut_face: Face
) -> None:
    first = measure_head(matter.matte(astronaut, astronaut_face), astronaut_face)
    errors = []
    for seed in range(4):
        image, moved = selfies.varied(astronaut, astronaut_face, seed)
        face = finder.faces(image)[0]
        zoom = moved.box.height / astronaut_face.box.height
        found = measure_head(matter.matte(image, face), face)
        errors.append(abs((found.hair + found.chin) / (first.hair + first.chin) / zoom - 1))
    assert max(errors) < 0.03


def test_a_photo_without_a_face_is_refused(finder: FaceFinder, matter: Matter) -> None:
    with pytest.raises(UserError, match="No face"):
        SourcePhoto(np.zeros((64, 64, 3), np.uint8), finder, matter)


def test_the_photo_with_the_fewest_faults_is_chosen(
    source: SourcePhoto, astronaut: Image, finder: FaceFinder, matter: Matter
) -> None:
    other = SourcePhoto(selfies.player("player 3"), finder, matter)
    headless = SourcePhoto(np.ascontiguousarray(astronaut[:195]), finder, matter)
    options = IdPhotoOptions(PRESETS.find("icao"))
    assert [number for _, number in make_best([other, headless, source], options, PRESETS)] == [2]
    assert "person" not in other.__dict__, "the matte takes longest, and is not needed of the others"
    with pytest.raises(UserError, match="further away"):
        make_best([headless], options, PRESETS)
    with pytest.raises(UserError, match="No face"):
        make_best([], options, PRESETS)


@pytest.mark.parametrize("count", [1, 2, 4])
@pytest.mark.parametrize("method", [1, 2])
@pytest.mark.parametrize("broken", [(0, 0, 0), (2, 0, 1), (1, 0, 0, 3), (3, 2, 2), (0, 1, 0, 0)])
def test_what_breaks_no_rule_is_given_at_once_and_the_order_stays(
    broken: tuple[int, ...], method: int, count: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[int] = []

    def make(photo: SimpleNamespace, *_: object) -> SimpleNamespace:
        made.append(photo.number)
        rules = [SimpleNamespace(ok=number >= broken[photo.number]) for number in range(3)]
        return SimpleNamespace(broken=broken[photo.number], rules=rules)

    monkeypatch.setattr(idphoto, "make_id_photo", make)
    photos: Any = [SimpleNamespace(number=number, faults=0) for number in range(len(broken))]
    options = IdPhotoOptions(PRESETS.find("icao"), method=method)
    told = [(number, len(made)) for _, number in idphoto.make_each(photos, options, PRESETS, count)]
    # As all of them were sorted before: the faultless in the order of the photos, then those with the fewest faults.
    assert [number for number, _ in told] == sorted(made, key=lambda number: broken[number])
    assert all(so_far == number + 1 for number, so_far in told if broken[number] == 0)
    assert len(made) == len(broken) or sum(broken[number] == 0 for number in made) == count


def as_jpeg(image: Image, *kilobytes: float) -> bytes:
    """The file of a preset whose sizes are these."""
    preset = PRESETS.find("icao").model_copy(update={"kilobytes": kilobytes or None})
    return encode_jpeg(image, preset, "compositeSynthetic")


@pytest.mark.parametrize("most", [30, 60, 120])
def test_the_best_quality_that_fits_is_searched(astronaut: Image, most: int) -> None:
    content = as_jpeg(astronaut, 0, most)
    assert 0.8 * most < len(content) / 1000 <= most


def test_a_least_size_is_reached_by_better_quality(astronaut: Image) -> None:
    usual = (
        len(
            as_jpeg(
                astronaut,
            )
        )
        / 1000
    )
    assert len(as_jpeg(astronaut, usual * 1.1, usual * 2)) / 1000 >= usual * 1.1


def test_a_size_no_jpeg_has_gives_the_nearest(astronaut: Image) -> None:
    assert len(as_jpeg(astronaut, 0, 2)) == min(len(as_jpeg(astronaut, 0, most)) for most in (2, 30, 60))


FINE = Quality(1, 1, 1, 1, 1, 1, 1)


def drawn(who: Identity, preset: str, background: str = "") -> PortraitRequest:
    """A request for an ID photo of the preset that is told."""
    return PortraitRequest({1: who}, Style("mine", 1, "idphoto", "Mine", preset=preset, background=background), 0, 1)


@pytest.fixture(scope="module")
def person(astronaut: Image, finder: FaceFinder) -> Identity:
    face = finder.faces(astronaut, embedded=1)[0]
    spare = Reference("spare", np.ascontiguousarray(astronaut[:180, 130:330]), face, FINE)
    return Identity("ann", (spare, Reference("best", astronaut, face, FINE)), {"dlib": face.embeddings["dlib"]})


def quiet(done: int, total: int, doing: str, preview: Image | None = None) -> None:
    """Nobody listens."""


@pytest.mark.parametrize(("background", "source"), [("", "compositeSynthetic"), ("kept", "algorithmicallyEnhanced")])
def test_a_style_frames_the_photo_with_the_fewest_faults_by_its_rule(
    person: Identity, finder: FaceFinder, matter: Matter, tmp_path: Path, marks: Marks, background: str, source: str
) -> None:
    flow = Render({"idphoto": IdPhotoPainter(finder, lambda _: matter, PRESETS)}, finder)
    request = drawn(person, preset="cn-visa-online", background=background)
    [portrait] = flow(request, quiet)
    assert portrait.reference_names == {1: "best"}
    assert portrait.likeness[1].distance < 0.2
    file = Deliver("jpg", marks)(portrait, tmp_path / "id")
    preset = PRESETS.find("cn-visa-online")
    assert preset.file_size.holds(file.stat().st_size / 1000)
    with PIL.Image.open(file) as picture:
        assert picture.size == (preset.pixels.width, preset.pixels.height)
        assert picture.info["dpi"] == (300, 300)
        assert source in picture.info["xmp"].decode()
    facts = read_recipe(file)["drawn"]
    assert facts["preset"] == "cn-visa-online"
    assert {"head", "file_size", "background"} <= {each["rule"] for each in facts["rules"]}
    again = flow.reproduce(request, 0, quiet)
    assert np.array_equal(again.image, portrait.image)


def test_a_request_may_say_size_resolution_file_and_background(
    person: Identity, finder: FaceFinder, matter: Matter, tmp_path: Path, marks: Marks
) -> None:
    flow = Render({"idphoto": IdPhotoPainter(finder, lambda _: matter, PRESETS)}, finder)
    spec = IdPhotoSpec((30, 40), "mm", 600, (20, 50), "blue")
    request = replace(drawn(person, preset="icao"), idphoto=spec)
    [portrait] = flow(request, quiet)
    file = Deliver("jpg", marks)(portrait, tmp_path / "id")
    assert 20_000 <= file.stat().st_size <= 50_000
    with PIL.Image.open(file) as picture:
        assert picture.size == (709, 945)
        assert picture.info["dpi"] == (600, 600)
        assert np.abs(np.array(picture.getpixel((5, 5))) - (67, 142, 219)).max() <= 3
    recipe = read_recipe(file)
    assert recipe["idphoto"] == {
        "size": [30, 40], "unit": "mm", "dpi": 600, "kilobytes": [20, 50], "background": "blue",
    }  # fmt: skip
    assert recipe["drawn"]["millimetres"] == [30, 40]
    assert recipe["drawn"]["method"] == 2
    head = next(rule for rule in recipe["drawn"]["rules"] if rule["rule"] == "head")
    assert head["ok"]
    assert head["allowed"] == [70, 80]


def test_photos_that_break_fewer_rules_come_first(person: Identity, finder: FaceFinder, matter: Matter) -> None:
    """Sunglasses are one fault more than the smile that both have."""
    image, face = person.references[1].image, person.references[1].face
    hidden = Reference("hidden", sunglasses(image, face), face, FINE)
    who = replace(person, references=(hidden, person.references[1]))
    flow = Render({"idphoto": IdPhotoPainter(finder, lambda _: matter, PRESETS)}, finder)
    first, second = flow(replace(drawn(who, preset="icao"), count=2), quiet)
    assert first.reference_names == {1: "best"}
    assert first.scores["rules_broken"] < second.scores["rules_broken"]


def test_nothing_else_is_done_to_an_id_photo(person: Identity, finder: FaceFinder, matter: Matter) -> None:
    painter = IdPhotoPainter(finder, lambda _: matter, PRESETS)
    assert isinstance(painter, StreamingPainter)
    request = drawn(person, preset="icao")
    for wrong, code in (
        (replace(request, size=Size(640, 640)), "bad_size"),
        (replace(request, refiners=(Refinement("skin"),)), "bad_refiner"),
        (drawn(person, preset="no-such"), "unknown_preset"),
        (drawn(person, preset="icao", background="purple"), "bad_background"),
        (replace(drawn(person, preset="icao"), idphoto=IdPhotoSpec(background="purple")), "bad_background"),
        (replace(drawn(person, preset="icao"), idphoto=IdPhotoSpec(kilobytes=(9, 3))), "bad_file_size"),
        (replace(drawn(person, preset="icao"), idphoto=IdPhotoSpec((1, 1))), "bad_size"),
    ):
        with pytest.raises(UserError) as caught:
            painter.paint(wrong, quiet)
        assert caught.value.code == code


def test_without_any_face_no_id_photo_is_made(person: Identity, finder: FaceFinder, matter: Matter) -> None:
    nobody = replace(person, references=(replace(person.references[0], image=np.zeros((200, 200, 3), np.uint8)),))
    with pytest.raises(UserError) as caught:
        IdPhotoPainter(finder, lambda _: matter, PRESETS).paint(drawn(nobody, preset="icao"), quiet)
    assert caught.value.code == "no_face"
