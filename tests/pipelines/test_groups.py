"""Photos of several people of whom somebody said which one the person is: everything is made of that face alone."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pytest

from pipelines.folders import training_sets
from pipelines.folders.training_sets import photos_to_dicts
from pipelines.judging import Point
from pipelines.prepare import Overrides, Prepare
from pipelines.settings import PrepareSettings
from portrait.arrays import Image
from portrait.photos.reasons import Thresholds
from portrait.types import Face, TrainingSet
from tests.fakes import FakeRestorer, RecordingProgress, save
from tests.group_photos import ANN, BEN, LEFT, RIGHT, Squares, alone, group


def prepare(paths: list[Path], faces: Mapping[int, Point], include: Sequence[int] = ()) -> TrainingSet:
    flow = Prepare(Squares(), FakeRestorer(), None, PrepareSettings(), Thresholds(full_size=100))
    return flow(paths, Overrides(include=include, faces=faces), RecordingProgress())


def people_in(image: Image) -> set[int]:
    """Who is to be seen in a picture, also at its border."""
    numbers, counts = np.unique(np.rint(image[..., 0] / 40).astype(int), return_counts=True)
    # What is less than that lies on the edges of squares.
    return {
        int(number) for number, count in zip(numbers, counts, strict=True) if number and count > 0.02 * counts.sum()
    }


def test_photos_of_several_people_say_where_their_faces_are(tmp_path: Path) -> None:
    paths = [save(tmp_path / "0.png", alone(ANN, 1)), save(tmp_path / "1.png", group(ANN, BEN))]
    training = prepare(paths, {})
    assert [len(photo.faces) for photo in training.photos] == [1, 2]
    assert [reason.code for reason in training.photos[1].reasons] == ["several_faces"]
    [left, right] = training.photos[1].faces
    assert left.right < 0.5 < right.left
    assert left.centre == pytest.approx((0.25, 0.5), abs=0.01)
    written = training_sets.photos_to_dicts(training.photos)[1]["faces"]
    assert [each["left"] for each in written] == pytest.approx([left.left, right.left], abs=1e-4)


@pytest.mark.parametrize(("point", "own"), [(LEFT, ANN), (RIGHT, BEN)])
@pytest.mark.parametrize("gap", [10, 120, 320])
def test_everything_is_made_of_the_face_that_was_chosen(tmp_path: Path, point: Point, own: int, gap: int) -> None:
    training = prepare([save(tmp_path / "0.png", group(ANN, BEN, gap=gap))], {0: point})
    assert training.photos[0].verdict == "use"
    assert training.mean_embeddings["dlib"].argmax() == own
    [crop], [reference] = training.crops, training.references
    assert reference.face.embeddings["dlib"].argmax() == own
    assert people_in(crop.image) == people_in(reference.image) == {own}
    assert len(training.photos[0].faces) == 2, "another can still be chosen"


def test_another_choice_is_another_picture(tmp_path: Path) -> None:
    paths = [save(tmp_path / "0.png", group(ANN, BEN))]
    ids = {prepare(paths, {0: point}).references[0].selfie for point in (LEFT, RIGHT)}
    assert len(ids) == 2, "detail that was given to one face is not taken for the other's"


def test_a_chosen_face_of_somebody_else_is_told(tmp_path: Path) -> None:
    paths = [save(tmp_path / f"{number}.png", alone(ANN, number)) for number in range(2)]
    paths.append(save(tmp_path / "2.png", group(ANN, BEN)))
    right = prepare(paths, {2: LEFT})
    assert [photo.verdict for photo in right.photos] == ["use"] * 3
    wrong = prepare(paths, {2: RIGHT})
    assert [reason.code for reason in wrong.photos[2].reasons] == ["another_person"]
    assert wrong.mean_embeddings["dlib"].argmax() == ANN


def test_of_two_people_with_a_photo_each_that_of_the_choice_counts(tmp_path: Path) -> None:
    paths = [save(tmp_path / "0.png", alone(ANN, 1)), save(tmp_path / "1.png", group(ANN, BEN))]
    assert prepare(paths, {1: RIGHT}).mean_embeddings["dlib"].argmax() == BEN


def test_a_photo_on_its_side_is_judged_at_the_point_of_the_stored_one(tmp_path: Path) -> None:
    class Turning(Squares):
        """Finds faces surely in wide pictures alone."""

        def faces(self, image: Image, embedded: int = 1) -> list[Face]:
            return super().faces(image, embedded) if image.shape[1] > image.shape[0] else []

    stored = np.ascontiguousarray(np.rot90(group(ANN, BEN), 3))
    flow = Prepare(Turning(), FakeRestorer(), None, PrepareSettings(), Thresholds(full_size=100))
    path = save(tmp_path / "0.png", stored)
    for point, own in (((0.5, 0.25), ANN), ((0.6, 0.75), BEN)):
        training = flow([path], Overrides(faces={0: point}), RecordingProgress())
        assert training.mean_embeddings["dlib"].argmax() == own
        [box] = [face for face in training.photos[0].faces if np.allclose(face.centre, point, atol=0.01)]
        eyes = np.reshape(photos_to_dicts(training.photos)[0]["eyes"], (2, 2))
        assert np.ptp(eyes[:, 1]) > 3 * np.ptp(eyes[:, 0]), "one above the other, as they lie in the stored photo"
        assert (eyes > (box.left, box.top)).all()
        assert (eyes < (box.right, box.bottom)).all()
