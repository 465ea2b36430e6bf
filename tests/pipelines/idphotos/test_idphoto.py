import io
from dataclasses import replace
from pathlib import Path

import numpy as np
import PIL.Image
import pytest

from pipelines.deliver import Deliver, read_recipe
from pipelines.engines.painters.idphoto import IdPhotoPainter
from pipelines.idphotos import presets
from pipelines.idphotos.idphoto import (
    IdPhoto,
    IdPhotoOptions,
    SourcePhoto,
    choose_photo,
    encode_jpeg,
    make_id_photo,
    make_report,
)
from pipelines.render import Render
from portrait.arrays import Image, Size
from portrait.errors import UserError
from portrait.faces.mesh import CHIN
from portrait.idphotos import Range, measure_head
from portrait.ports import FaceFinder, Matter
from portrait.types import Face, Identity, PortraitRequest, Quality, Reference, Refinement, Style
from tests import selfies

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
def test_the_sample_photo_meets_the_rules_of_the_picture(source: SourcePhoto, finder: FaceFinder, name: str) -> None:
    preset = PRESETS.find(name)
    photo = make_id_photo(source, IdPhotoOptions(preset), PRESETS)
    assert [each for each in photo.rules if not each.ok] == []
    picture = opened(photo)
    assert picture.size == (preset.pixels.width, preset.pixels.height)
    assert picture.info["dpi"] == (300, 300)
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
    assert not photo.ok
    report = make_report(photo, PRESETS, IdPhotoOptions(photo.preset))
    assert {line["rule"] for line in report["photo"] if not line["ok"]} == broken
    assert all(line["tip"] for line in report["photo"] if not line["ok"])


def test_a_photo_framed_too_tightly_is_reported(finder: FaceFinder, matter: Matter, astronaut: Image) -> None:
    cut = SourcePhoto(np.ascontiguousarray(astronaut[30:260, 100:350]), finder, matter)
    assert not {each.name: each for each in cut.rules}["head_whole"].ok


def test_beyond_the_photo_there_is_background_and_no_streaks(
    finder: FaceFinder, matter: Matter, astronaut: Image
) -> None:
    cut = SourcePhoto(np.ascontiguousarray(astronaut[:205]), finder, matter)
    photo = make_id_photo(cut, IdPhotoOptions(PRESETS.find("us-passport")), PRESETS)
    assert not {each.name: each for each in photo.rules}["shoulders"].ok
    assert (photo.image[-10:] == 255).all()
    # So little of the scene is left that the segmenter takes the wall for a shoulder; that is told as well.
    assert not {each.name: each for each in photo.rules}["cut_out"].ok


def test_the_face_keeps_its_pixels(source: SourcePhoto) -> None:
    replaced = make_id_photo(source, IdPhotoOptions(PRESETS.find("de-passport")), PRESETS)
    original = make_id_photo(source, IdPhotoOptions(PRESETS.find("de-passport"), keep_background=True), PRESETS)
    height, width = original.image.shape[:2]
    middle = np.s_[height * 2 // 5 : height * 7 // 10, width * 2 // 5 : width * 3 // 5]
    assert np.abs(replaced.image[middle].astype(int) - original.image[middle]).max() <= 1
    assert make_report(original, PRESETS, IdPhotoOptions(original.preset, keep_background=True))["background"] == "kept"


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


def test_the_photo_with_the_fewest_faults_is_chosen(source: SourcePhoto, finder: FaceFinder, matter: Matter) -> None:
    other = SourcePhoto(selfies.player("player 3"), finder, matter)
    assert choose_photo([other, source]) is source


@pytest.mark.parametrize("most", [30, 60, 120])
def test_the_best_quality_that_fits_is_searched(astronaut: Image, most: int) -> None:
    content = encode_jpeg(astronaut, Range(0, most), "compositeSynthetic")
    assert 0.8 * most < len(content) / 1000 <= most


def test_a_least_size_is_reached_by_better_quality(astronaut: Image) -> None:
    usual = len(encode_jpeg(astronaut, Range(), "compositeSynthetic")) / 1000
    assert len(encode_jpeg(astronaut, Range(usual * 1.1, usual * 2), "compositeSynthetic")) / 1000 >= usual * 1.1


def test_a_size_no_jpeg_has_gives_the_nearest(astronaut: Image) -> None:
    assert len(encode_jpeg(astronaut, Range(0, 2), "compositeSynthetic")) == min(
        len(encode_jpeg(astronaut, Range(0, most), "compositeSynthetic")) for most in (2, 30, 60)
    )


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
    person: Identity, finder: FaceFinder, matter: Matter, tmp_path: Path, background: str, source: str
) -> None:
    flow = Render({"idphoto": IdPhotoPainter(finder, matter, PRESETS)}, finder)
    request = drawn(person, preset="cn-visa-online", background=background)
    [portrait] = flow(request, quiet)
    assert portrait.reference_names == {1: "best"}
    assert portrait.likeness[1].distance < 0.2
    file = Deliver("jpg")(portrait, tmp_path / "id")
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


def test_nothing_else_is_done_to_an_id_photo(person: Identity, finder: FaceFinder, matter: Matter) -> None:
    painter = IdPhotoPainter(finder, matter, PRESETS)
    request = drawn(person, preset="icao")
    for wrong, code in (
        (replace(request, size=Size(640, 640)), "bad_size"),
        (replace(request, refiners=(Refinement("skin"),)), "bad_refiner"),
        (drawn(person, preset="no-such"), "unknown_preset"),
        (drawn(person, preset="icao", background="purple"), "bad_background"),
    ):
        with pytest.raises(UserError) as caught:
            painter.paint(wrong, quiet)
        assert caught.value.code == code


def test_without_any_face_no_id_photo_is_made(person: Identity, finder: FaceFinder, matter: Matter) -> None:
    nobody = replace(person, references=(replace(person.references[0], image=np.zeros((200, 200, 3), np.uint8)),))
    with pytest.raises(UserError) as caught:
        IdPhotoPainter(finder, matter, PRESETS).paint(drawn(nobody, preset="icao"), quiet)
    assert caught.value.code == "no_face"
