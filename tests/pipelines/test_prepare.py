import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipelines.folders import training_sets
from pipelines.judging import PhotoJudge
from pipelines.pages import report
from pipelines.prepare import Overrides, Prepare, caption
from pipelines.settings import PrepareSettings as Knobs
from portrait.arrays import Image, Size
from portrait.errors import Cancelled, UserError
from portrait.photos.reasons import Thresholds
from portrait.ports import Attributes
from portrait.types import Box, Face, PersonQuestion, Pose, ScoredPhoto, Selfie, TrainingSet
from tests import fakes
from tests.fakes import FakeFinder, FakeMatter, FakeRestorer, RecordingProgress, picture, save

# The made pictures have no eyes to measure and hard edges everywhere: their faults are tested elsewhere.
LIMITS = Thresholds(full_size=100)


def prepare(paths: Sequence[Path], overrides: Overrides = Overrides(), **parts: Any) -> TrainingSet:
    flow = Prepare(
        finder=FakeFinder(),
        restorer=parts.pop("restorer", FakeRestorer()),
        matter=parts.pop("matter", None),
        settings=parts.pop("knobs", Knobs()),
        thresholds=parts.pop("limits", LIMITS),
    )
    return flow(paths, overrides, parts.pop("progress", RecordingProgress()))


def photos(folder: Path, *people: int) -> list[Path]:
    return [save(folder / f"{number:02}.png", picture(person, number)) for number, person in enumerate(people)]


def codes(training: TrainingSet) -> list[list[str]]:
    return [[reason.code for reason in photo.reasons] for photo in training.photos]


def test_every_photo_gets_a_verdict_in_the_order_given(tmp_path: Path) -> None:
    paths = photos(tmp_path, 1, 0, 1, 2, 1)
    (tmp_path / "05.png").write_text("not a picture")
    training = prepare([*paths, tmp_path / "05.png"])
    assert [photo.verdict for photo in training.photos] == ["use", "refuse", "use", "refuse", "use", "refuse"]
    assert codes(training) == [[], ["no_face"], [], ["another_person"], [], ["unreadable"]]
    assert [photo.name for photo in training.photos] == [path.name for path in paths] + ["05.png"]
    assert len(training.crops) == 3
    assert training.mean_embeddings["dlib"].argmax() == 1


def test_photos_of_one_name_keep_their_verdicts_and_crops_apart(tmp_path: Path) -> None:
    for number, folder in enumerate(("a", "b")):
        (tmp_path / folder).mkdir()
        save(tmp_path / folder / "IMG_1.png", picture(1, number))
    training = prepare([tmp_path / "a" / "IMG_1.png", tmp_path / "b" / "IMG_1.png"])
    assert [photo.name for photo in training.photos] == ["a/IMG_1.png", "b/IMG_1.png"]
    training_sets.write(training, tmp_path / "set")
    page = report.render(training)
    assert page.count("crops/0001.png") == page.count("crops/0002.png") > 0
    assert training_sets.find_crop(tmp_path / "set", "b/IMG_1.png") != training_sets.find_crop(
        tmp_path / "set", "a/IMG_1.png"
    )
    assert training_sets.remove_photo(tmp_path / "set", "a/IMG_1.png")
    assert [crop.source for crop in training_sets.read(tmp_path / "set").crops] == ["b/IMG_1.png"]


def test_at_most_so_many_are_chosen_and_the_others_are_spare(tmp_path: Path) -> None:
    training = prepare(photos(tmp_path, *[1] * 6), knobs=Knobs(most=4, references=2))
    assert len(training.crops) == 4
    assert len(training.references) == 2
    assert sorted(photo.verdict for photo in training.photos) == ["spare"] * 2 + ["use"] * 4


def test_include_and_exclude_overrule(tmp_path: Path) -> None:
    paths = photos(tmp_path, 1, 1, 1, 2)
    training = prepare(paths, Overrides(include=[3], exclude=[0]))
    assert training.photos[0].verdict == "spare"
    assert codes(training)[0] == ["excluded"]
    assert training.photos[3].verdict == "use"


def test_what_has_no_face_cannot_be_included(tmp_path: Path) -> None:
    with pytest.raises(UserError) as caught:
        prepare(photos(tmp_path, 1, 0), Overrides(include=[1]))
    assert caught.value.code == "cannot_include"
    assert "01.png" in caught.value.message


def test_nothing_usable_says_why_and_keeps_the_verdicts(tmp_path: Path) -> None:
    with pytest.raises(UserError) as caught:
        prepare(photos(tmp_path, 0, 0))
    assert caught.value.code == "no_usable_photos"
    assert "No face was found" in caught.value.message
    assert [each["reasons"][0]["code"] for each in caught.value.details["photos"]] == ["no_face", "no_face"]


def test_one_photo_is_enough(tmp_path: Path) -> None:
    training = prepare(photos(tmp_path, 1))
    assert len(training.crops) == len(training.references) == 1


def test_photos_are_judged_small_and_only_references_decoded_in_full(tmp_path: Path) -> None:
    finder = FakeFinder()
    paths = [save(tmp_path / f"{n}.png", picture(1, n, 3000)) for n in range(3)]
    flow = Prepare(finder, FakeRestorer(), None, Knobs(references=1), LIMITS)
    training = flow(paths, Overrides(), RecordingProgress())
    assert max(finder.image_sizes) <= (1024, 1024)
    assert training.references[0].image.shape == (3000, 3000, 3)
    assert training.references[0].face.box.width == pytest.approx(900, abs=2)


def test_crops_come_in_buckets_of_one_long_side(tmp_path: Path) -> None:
    paths = [save(tmp_path / f"{n}.png", picture(1, n, side)) for n, side in enumerate((3000, 2500, 500))]
    for crop in prepare(paths).crops:
        assert max(crop.image.shape[:2]) == 1024
        assert all(side % 64 == 0 for side in crop.image.shape[:2])


def dim(image: Image) -> Image:
    """Too dark to be good and not dark enough to be refused."""
    return np.dstack([image[..., 0], image[..., 1] // 3, image[..., 2] // 3])


def test_at_most_half_is_enhanced_and_the_poorest_first(tmp_path: Path) -> None:
    paths = [save(tmp_path / f"{n}.png", dim(picture(1, n)) if n < 3 else picture(1, n)) for n in range(4)]
    training = prepare(paths, limits=Thresholds(dark=40, full_size=100))
    enhanced = [crop.source for crop in training.crops if crop.before is not None]
    assert len(enhanced) == 2
    assert set(enhanced) <= {"00.png", "0.png", "1.png", "2.png"}
    for crop in training.crops:
        if crop.before is not None:
            assert crop.image[..., 1].mean() > crop.before[..., 1].mean()


def test_enhancement_that_changes_the_person_is_thrown_away(tmp_path: Path) -> None:
    paths = [save(tmp_path / f"{n}.png", dim(picture(1, n))) for n in range(4)]
    training = prepare(paths, limits=Thresholds(dark=40, full_size=100), restorer=FakeRestorer(harm=True))
    assert all(crop.before is None for crop in training.crops)


def test_white_background_only_when_a_matter_is_given(tmp_path: Path) -> None:
    paths = photos(tmp_path, 1)
    plain, white = prepare(paths).crops[0].image, prepare(paths, matter=FakeMatter()).crops[0].image
    assert (white[:, :20] == 255).all()
    assert not (plain[:, :20] == 255).all()
    middle = slice(white.shape[1] // 2 - 20, white.shape[1] // 2 + 20)
    assert (white[:, middle] == plain[:, middle]).all()


def test_captions_describe_what_was_measured() -> None:
    face = fakes.face(picture(1, 0))
    assert caption(face, Knobs(trigger="sks", class_word="woman")) == "a photo of sks woman"
    right = fakes.face(picture(1, 0), pose=Pose(30, 0, 0))
    assert caption(right, Knobs()) == "a photo of sks person, head turned to the right"


def test_progress_can_stop_the_work(tmp_path: Path) -> None:
    recorder = RecordingProgress(stop_at="Looking at 02")
    with pytest.raises(Cancelled):
        prepare(photos(tmp_path, 1, 1, 1, 1), progress=recorder)
    assert recorder.messages[-1] == "Looking at 02.png"


def test_a_set_is_read_back_as_it_was(tmp_path: Path) -> None:
    training = prepare(photos(tmp_path, 1, 1, 2), limits=Thresholds(dark=40, full_size=100))
    training_sets.write(training, tmp_path / "set")
    again = training_sets.read(tmp_path / "set")
    assert [crop.caption for crop in again.crops] == [crop.caption for crop in training.crops]
    for one, other in zip(again.crops, training.crops, strict=True):
        assert (one.image == other.image).all()
    assert again.mean_embeddings["dlib"] == pytest.approx(training.mean_embeddings["dlib"])
    assert again.references[0].face.landmarks == pytest.approx(training.references[0].face.landmarks, abs=0.01)
    assert np.abs(again.references[0].image.astype(int) - training.references[0].image).mean() < 3
    written, read = (training_sets.photos_to_dicts(each.photos) for each in (training, again))
    assert all("eyes" in each for each in written if each["verdict"] == "use")
    # Eyes are measured in faces, which a set keeps of its references alone.
    assert read == [{name: part for name, part in each.items() if name != "eyes"} for each in written]
    assert (tmp_path / "set/crops/0001.txt").read_text() == training.crops[0].caption + "\n"
    assert not list(tmp_path.glob(".set.*"))


def test_an_earlier_set_is_replaced_and_other_things_are_not(tmp_path: Path) -> None:
    training = prepare(photos(tmp_path, 1, 1))
    training_sets.write(training, tmp_path / "set")
    training_sets.write(prepare(photos(tmp_path, 1)), tmp_path / "set")
    assert len(training_sets.read(tmp_path / "set").crops) == 1
    (tmp_path / "letters").mkdir()
    (tmp_path / "letters/dear.txt").write_text("keep me")
    with pytest.raises(UserError) as caught:
        training_sets.write(training, tmp_path / "letters")
    assert caught.value.code == "folder_taken"
    assert (tmp_path / "letters/dear.txt").read_text() == "keep me"


@pytest.mark.parametrize("damage", ["{}", "not json", '{"schema": 99}', '{"schema": 1, "crops": [1]}'])
def test_a_broken_set_is_one_sentence(tmp_path: Path, damage: str) -> None:
    (tmp_path / "set.json").write_text(damage)
    with pytest.raises(UserError) as caught:
        training_sets.read(tmp_path)
    assert caught.value.code == "broken_set"


def test_one_photo_can_be_taken_out_of_a_set_again(tmp_path: Path) -> None:
    folder = tmp_path / "set"
    training_sets.write(prepare(photos(tmp_path, 1, 1, 1)), folder)
    missing, *left = [crop.source for crop in training_sets.read(folder).crops]
    assert training_sets.find_crop(folder, missing) is not None
    assert training_sets.remove_photo(folder, missing)
    again = training_sets.read(folder)
    assert [crop.source for crop in again.crops] == left
    assert f'"{missing}"' not in (folder / training_sets.DESCRIPTION_FILE).read_text()
    assert training_sets.find_crop(folder, missing) is None
    assert len(list((folder / "crops").glob("*.png"))) == len(list((folder / "crops").glob("*.txt"))) == 2
    enough = [training_sets.remove_photo(folder, name) for name in left]
    assert enough == [True, False], "nothing is left to draw from"


class Crowd(FakeFinder):
    """Sees two people in photos whose red channel is that of person 5: a large stranger (3), and the person (1)."""

    def faces(self, image: Image, embedded: int = 1) -> list[Face]:
        found = super().faces(image, embedded)
        if not found or found[0].embeddings["dlib"].argmax() != 5:
            return found
        small = fakes.face(image, 1, share=0.2)
        beside = replace(small, box=replace(small.box, left=small.box.left + 120, right=small.box.right + 120))
        return [fakes.face(image, 3), beside]


def test_of_an_included_photo_of_several_people_the_person_is_taken(tmp_path: Path) -> None:
    paths = photos(tmp_path, 1, 1, 5)
    flow = Prepare(Crowd(), FakeRestorer(), None, Knobs(), LIMITS)
    assert [reason.code for reason in flow(paths, Overrides(), RecordingProgress()).photos[2].reasons] == [
        "several_faces"
    ]
    training = flow(paths, Overrides(include=[2]), RecordingProgress())
    face = training.photos[2].face
    assert face is not None
    assert face.embeddings["dlib"].argmax() == 1
    assert training.photos[2].verdict == "use"
    assert training.mean_embeddings["dlib"].argmax() == 1


def test_a_face_that_cannot_be_embedded_is_not_used(tmp_path: Path) -> None:
    class Unclear(FakeFinder):
        """Faces of person 2 have landmarks that allow no embedding."""

        def faces(self, image: Image, embedded: int = 1) -> list[Face]:
            return [self.embed(image, face) for face in super().faces(image, embedded)]

        def embed(self, image: Image, face: Face) -> Face:
            return replace(face, embeddings={}) if round(float(image[..., 0].mean()) / 40) == 2 else face

    flow = Prepare(Unclear(), FakeRestorer(), None, Knobs(), LIMITS)
    paths = photos(tmp_path, 1, 2)
    training = flow(paths, Overrides(), RecordingProgress())
    assert codes(training) == [[], ["face_unclear"]]
    with pytest.raises(UserError) as caught:
        flow(paths, Overrides(include=[1]), RecordingProgress())
    assert caught.value.code == "cannot_include"


def test_only_the_reduced_photo_is_kept_of_a_small_face(tmp_path: Path) -> None:
    paths = [save(tmp_path / f"{n}.png", picture(1, n, 3000)) for n in range(2)]

    class Far(FakeFinder):
        def faces(self, image: Image, embedded: int = 1) -> list[Face]:
            return [fakes.face(image, 1, share=0.05)] if image.shape[0] == image.shape[1] == 1000 else []

    finder = Far()
    judged = PhotoJudge(finder, LIMITS).judge_files(paths, RecordingProgress())
    for photo in judged:
        assert photo.selfie is not None
        assert photo.face is not None
        assert max(photo.selfie.image.shape[:2]) == 1000
        assert photo.face.box.width == pytest.approx(0.05 * photo.selfie.image.shape[1], rel=0.02)


def test_what_photos_serve_is_told_stored_and_read(tmp_path: Path) -> None:
    flow = Prepare(FakeFinder(), FakeRestorer(), None, Knobs(), LIMITS, silhouettes=FakeMatter())
    training = flow(photos(tmp_path, 1, 0), Overrides(), RecordingProgress())
    assert training.photos[0].uses is not None
    assert training.photos[1].uses is None, "refused"
    assert training.uses is not None
    assert "training" in {each.code for each in training.uses.openings}
    training_sets.write(training, tmp_path / "set")
    again = training_sets.read(tmp_path / "set")
    assert again.uses == training.uses
    assert [photo.uses for photo in again.photos] == [photo.uses for photo in training.photos]


def test_a_question_is_stored_and_read_and_ends_with_its_photos(tmp_path: Path) -> None:
    question = PersonQuestion(("00.png", "01.png"), ("02.png",), 0.53, ("face",))
    training = replace(prepare(photos(tmp_path, 1, 1, 1)), questions=(question,))
    training_sets.write(training, tmp_path / "set")
    assert training_sets.read(tmp_path / "set").questions == (question,)
    training_sets.remove_photo(tmp_path / "set", "01.png")
    assert training_sets.read(tmp_path / "set").questions[0].person == ("00.png",)
    training_sets.remove_photo(tmp_path / "set", "02.png")
    assert training_sets.read(tmp_path / "set").questions == ()


def test_sets_of_before_are_read_without_what_they_serve(tmp_path: Path) -> None:
    training_sets.write(prepare(photos(tmp_path, 1)), tmp_path / "set")
    path = tmp_path / "set" / training_sets.DESCRIPTION_FILE
    description = json.loads(path.read_text())
    for name in ("serves", "opens", "questions"):
        del description[name]
    for photo in description["photos"]:
        del photo["serves"]
    path.write_text(json.dumps(description))
    again = training_sets.read(tmp_path / "set")
    assert (again.uses, again.questions, again.photos[0].uses) == (None, (), None)


def test_sex_and_age_are_estimated_of_faces_that_show_enough(tmp_path: Path) -> None:
    class Sees:
        def __init__(self) -> None:
            self.seen = 0

        def estimate(self, image: Image, face: Face) -> Attributes:
            self.seen += 1
            return Attributes(30, 0.0, 0.9)

    estimator = Sees()
    flow = Prepare(FakeFinder(), FakeRestorer(), None, Knobs(), LIMITS, attributes=estimator)
    photo = ScoredPhoto("a", "use", (), Selfie("a", picture(1, 1), "a", Size(400, 400)))
    plain = fakes.face(picture(1, 1))
    meshed = replace(plain, mesh=np.zeros((478, 3), np.float32))
    for face in (plain, meshed, replace(meshed, pose=Pose(50, 0, 0)), replace(meshed, box=Box(0, 0, 40, 50))):
        flow._estimate(replace(photo, face=face))
    assert estimator.seen == 1
