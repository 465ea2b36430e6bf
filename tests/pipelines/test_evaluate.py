import tracemalloc
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from pipelines import build
from pipelines.evaluate import Evaluate, EvaluationRequest
from pipelines.model_store.store import ModelStore
from pipelines.pages import evaluation
from pipelines.settings import ModelStoreSettings, Settings
from portrait import metrics
from portrait.arrays import Image
from portrait.errors import UserError
from portrait.evaluation import Evaluation
from portrait.faces.likeness import distance_matrix
from portrait.metrics import Numbers
from portrait.ports import FaceFinder
from tests import fakes, selfies
from tests.fakes import FakeFinder, RecordingProgress, picture, save


class Colours:
    """Sees the mean colour; classes are its three channels."""

    def __init__(self) -> None:
        self.most = 0

    def classify(self, images: Sequence[Image]) -> tuple[Numbers, Numbers]:
        self.most = max(self.most, len(images))
        features = np.array([image.reshape(-1, 3).mean(0) for image in images])
        return features, features / features.sum(1, keepdims=True)


class Letters:
    """Pictures by their red channel, words by their first letter."""

    def encode_images(self, images: Sequence[Image]) -> Numbers:
        return np.array([[np.cos(image[0, 0, 0] / 40), np.sin(image[0, 0, 0] / 40)] for image in images])

    def encode_texts(self, texts: Sequence[str]) -> Numbers:
        return np.array([[np.cos(int(text[0])), np.sin(int(text[0]))] for text in texts])


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Persons 1, 1, 2 and nobody."""
    (tmp_path / "set").mkdir()
    for number, person in enumerate((1, 1, 2, 0)):
        save(tmp_path / "set" / f"{number}.png", picture(person, number, side=120))
    return tmp_path / "set"


def files(folder: Path) -> list[Path]:
    return sorted(folder.glob("*.png"))


def likeness(person: int) -> dict[str, np.ndarray]:
    return dict(fakes.face(picture(1, 1), person).embeddings)


def value(found: Evaluation, name: str) -> float:
    return next(each.value for each in found.measures if each.name == name)


def test_likeness_variety_and_sharpness_need_no_network(folder: Path) -> None:
    found = Evaluate(FakeFinder())(EvaluationRequest(files(folder), person=likeness(1)), RecordingProgress())
    assert [each.distance for each in found.pictures] == [0, 0, pytest.approx(2**0.5), None]
    assert value(found, "likeness") == 0
    # Two persons: of three pairs one is the same.
    assert value(found, "diversity") == pytest.approx(2 * 2**0.5 / 3)
    likeness_metric = next(each for each in found.measures if each.name == "likeness")
    assert likeness_metric.more["faces"] == 0.75
    assert likeness_metric.more["p90"] == pytest.approx(0.8 * 2**0.5)
    assert value(found, "sharpness") > 0
    assert {each.name for each in found.missing} == {
        "fid",
        "kid",
        "inception_score",
        "clip_score",
        "diversity_pictures",
    }


def test_a_set_against_itself_is_at_no_distance_and_against_another_it_is(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    for number in range(4):
        save(tmp_path / "other" / f"{number}.png", picture(5, number, side=90))
    measure = Evaluate(FakeFinder(), Colours())
    same = measure(EvaluationRequest(files(folder), against=files(folder)), RecordingProgress())
    assert value(same, "fid") == pytest.approx(0, abs=1e-6)
    other = measure(EvaluationRequest(files(folder), against=files(tmp_path / "other")), RecordingProgress())
    assert value(other, "fid") > 1000
    assert value(other, "kid") > 0
    assert 1 <= value(other, "inception_score") <= 3
    assert any("reads high" in note for note in other.notes)


def test_words_are_compared_with_their_own_picture(folder: Path) -> None:
    prompts = {"0.png": "1 who", "1.png": "3 somebody else", "2.png": "2 who"}
    found = Evaluate(FakeFinder(), image_text_encoder=Letters())(
        EvaluationRequest(files(folder), prompts=prompts), RecordingProgress()
    )
    assert [each.clip for each in found.pictures] == [pytest.approx(100), 0, pytest.approx(100), None]
    assert value(found, "clip_score") == pytest.approx(200 / 3)
    assert value(found, "diversity_pictures") > 0
    assert any("no prompt: 3.png" in note for note in found.notes)


def test_pictures_are_read_in_batches_and_broken_ones_are_noted(tmp_path: Path) -> None:
    for number in range(40):
        save(tmp_path / f"{number:02}.png", picture(1, number, side=64))
    (tmp_path / "07.png").write_bytes(b"no picture")
    colours = Colours()
    found = Evaluate(FakeFinder(), colours)(EvaluationRequest(files(tmp_path)), RecordingProgress())
    assert len(found.pictures) == 39
    assert colours.most <= 16
    assert "1 of 40 files could not be read: 07.png." in found.notes


def test_a_broken_picture_of_the_other_set_is_noted_and_the_rest_is_compared(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    for number in range(19):
        save(tmp_path / "other" / f"{number:02}.png", picture(5, number, side=90))
    for number in range(16, 19):
        (tmp_path / "other" / f"{number}.png").write_bytes(b"no picture")
    request = EvaluationRequest(files(folder), against=files(tmp_path / "other"))
    found = Evaluate(FakeFinder(), Colours())(request, RecordingProgress())
    assert next(each for each in found.measures if each.name == "fid").more["against"] == 16
    assert "3 of 19 files of the other set could not be read: 16.png, 17.png, 18.png." in found.notes


def test_another_set_of_which_nothing_can_be_read_leaves_the_rest_measured(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(b"no picture")
    request = EvaluationRequest(files(folder), against=[tmp_path / "a.png"])
    found = Evaluate(FakeFinder(), Colours())(request, RecordingProgress())
    assert value(found, "inception_score") >= 1
    why = {each.name: each.why for each in found.missing}
    assert why["fid"] == why["kid"] == "It takes at least two pictures that can be read, in either set."
    assert "1 of 1 files of the other set could not be read: a.png." in found.notes


def test_pairs_of_two_thousand_faces_take_little_memory() -> None:
    vectors = list(np.random.default_rng(1).normal(size=(2048, 128)).astype(np.float32))
    distance_matrix("dlib", vectors[:2])  # its library takes memory of its own
    tracemalloc.start()
    pairs = metrics.upper_triangle(distance_matrix("dlib", vectors))
    assert metrics.summarize(pairs).count == 2048 * 2047 / 2
    assert sum(metrics.histogram(pairs)[0]) == len(pairs)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 120e6, "a table of all differences took 8.7 GB"


def test_nothing_readable_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(b"no picture")
    with pytest.raises(UserError) as caught:
        Evaluate(FakeFinder())(EvaluationRequest(files(tmp_path)), RecordingProgress())
    assert caught.value.code == "no_photos"


def test_a_network_that_is_not_here_names_the_pull(tmp_path: Path, folder: Path) -> None:
    settings = Settings(models=ModelStoreSettings(folder=tmp_path / "none"))

    class Bare(build.Engines):
        def finder(self) -> FakeFinder:
            return FakeFinder()

    flow = build.evaluate(settings, Bare(settings, ModelStore(settings.models)))
    found = flow(EvaluationRequest(files(folder), against=files(folder), prompts={"0.png": "1"}), RecordingProgress())
    why = {each.name: each.why for each in found.missing}
    assert "portrait models pull inception" in why["fid"]
    assert why["fid"] == why["kid"] == why["inception_score"]
    assert "portrait models pull clip" in why["clip_score"]


def test_the_page_shows_every_number_and_fetches_nothing(folder: Path, tmp_path: Path) -> None:
    request = EvaluationRequest(files(folder), files(folder), {"0.png": "1 <b>", "1.png": "1"}, likeness(1))
    found = Evaluate(FakeFinder(), Colours(), Letters())(request, RecordingProgress())
    page = evaluation.write(found, tmp_path / "new" / "page.html").read_text()
    for title, _ in evaluation.MEASURES.values():
        assert title in page
    assert page.count("<svg") == 4
    assert page.count("<figure>") == 4
    assert "http" not in page
    assert "<script" not in page
    assert page.index('alt="3.png"') < page.index('alt="2.png"') < page.index('alt="0.png"'), (
        "the least alike come first"
    )


def test_the_page_of_a_single_picture_says_what_is_missing(folder: Path) -> None:
    found = Evaluate(FakeFinder())(EvaluationRequest(files(folder)[:1]), RecordingProgress())
    page = evaluation.render(found)
    assert "It takes at least two faces." in page
    assert "Name the person with --person SET." in page
    assert "<svg" not in page


def test_numbers_have_significant_digits() -> None:
    assert [evaluation.format_number(each) for each in (0.12345, 3.14159, 123.456, -0.00012)] == [
        "0.1235",
        "3.14",
        "123.5",
        "-0.0001",
    ]


def test_the_embedded_engines_measure_a_real_face(finder: FaceFinder, tmp_path: Path) -> None:
    for number, roll in enumerate((0, 8)):
        save(tmp_path / f"{number}.png", selfies.rolled(selfies.astronaut(), roll))
    person = finder.faces(selfies.astronaut())[0].embeddings
    found = Evaluate(finder)(EvaluationRequest(files(tmp_path), person=person), RecordingProgress())
    assert value(found, "likeness") < 0.3
    assert 0 < value(found, "diversity") < 0.35
    assert value(found, "sharpness") > 0.2
