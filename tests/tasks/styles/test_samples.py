"""Sample renders with engines that need no model; `tests/tasks/api/test_style_lifecycle.py` has the real ones."""

from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import pytest

from pipelines.engines import Engines
from pipelines.settings import MarkSettings, Settings
from portrait.arrays import Image
from portrait.errors import OperatorError
from portrait.generation.options import PromptSpec
from portrait.types import Identity, Style
from tasks.styles import sample_people, samples
from tasks.styles.samples import StyleTester
from templates import package_pictures, schema
from templates.catalog import Entry
from templates.package_pictures import find_picture
from tests import fakes
from tests.tasks.queue.test_flows import FakeEngines

STUDIO = Style("mine", 1, "studio", "Mine", "studio-grey")


def quiet(done: int, total: int, doing: str, preview: Image | None = None) -> None:
    """Nobody listens."""


@pytest.fixture
def tester(tmp_path: Path) -> StyleTester:
    return StyleTester(Settings(marks=MarkSettings(tmp_path / "marks")), cast("Engines", FakeEngines()))


def sample_photos(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Photos of the fakes in the place of those in packages."""
    for number, person in enumerate(sample_people.SAMPLE_PEOPLE):
        fakes.save(tmp_path / f"{person.name}.png", fakes.picture(1, number))
    people = tuple(replace(each, path=f"{each.name}.png", box=None) for each in sample_people.SAMPLE_PEOPLE)
    monkeypatch.setattr(sample_people, "SAMPLE_PEOPLE", people)
    monkeypatch.setattr(sample_people, "find_picture", lambda package, path: tmp_path / path)


def test_three_people_are_drawn(tester: StyleTester, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sample_photos(monkeypatch, tmp_path)
    samples = tester.render_samples(STUDIO, tmp_path / "out", quiet)
    assert [(each.number, each.fault) for each in samples] == [(1, ""), (2, ""), (3, "")]
    assert all(each.distance is not None for each in samples)
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["1.jpg", "2.jpg", "3.jpg"]


def test_people_of_ones_own_take_the_place_of_the_sample_people(
    tester: StyleTester, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sample_photos(monkeypatch, tmp_path)
    known, _ = tester.sample_people(quiet)
    own = {"person_1": known["third player"], "person_2": known["fourth player"]}
    samples = tester.render_samples(STUDIO, tmp_path / "out", quiet, (own, {}))
    assert [(each.number, each.person, each.fault) for each in samples] == [(1, "person_1", ""), (2, "person_2", "")]
    assert [(each.to_dict()["sitter"], each.to_dict()["person"]) for each in samples] == [
        ("", "person_1"),
        ("", "person_2"),
    ]
    assert "person" not in samples[0].__class__(1, "astronaut").to_dict()


def test_a_sample_gives_the_reason_why_it_was_not_rendered(
    tester: StyleTester, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sample_photos(monkeypatch, tmp_path)
    fakes.save(tmp_path / "third player.png", fakes.picture(0, 1))

    def find(package: str, path: str) -> Path:
        return find_picture(package, path) if package == "skimage" else tmp_path / path

    monkeypatch.setattr(sample_people, "find_picture", find)
    monkeypatch.setitem(package_pictures.SHA256, ("skimage", "astronaut.png"), "0" * 64)
    samples = tester.render_samples(STUDIO, tmp_path / "out", quiet)
    assert "skimage holds no picture astronaut.png" in samples[0].fault
    assert samples[1].fault
    assert not samples[2].fault
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["3.jpg"]


def test_a_style_of_words_says_what_is_missing(tester: StyleTester, tmp_path: Path) -> None:
    words = Style("mine", 1, "text", "Mine", prompt_spec=PromptSpec("{who}", families=("sd15",)))
    with pytest.raises(OperatorError, match="portrait models pull") as caught:
        tester.render_samples(words, tmp_path / "out", quiet)
    assert caught.value.code == "missing_model"


def test_everybody_else_of_a_group_follows_the_first() -> None:
    people = {name: cast("Identity", name) for name in "abc"}
    style = cast("Any", type("Group", (), {"picture": type("Picture", (), {"faces": (1, 2)})}))
    assert samples._assign_faces(style, people, "c") == {1: "c", 2: "a"}


def test_findings_include_those_of_the_picture(tester: StyleTester, tmp_path: Path) -> None:
    fakes.save(tmp_path / "a.png", fakes.picture(0, 1, 600))
    style = schema.parse_style(
        {
            "schema": 1,
            "id": "mine",
            "kind": "template",
            "title": "Mine",
            "picture": {"file": "a.png"},
            "licence": "CC0-1.0",
            "credit": "me",
            "engines": ["oil"],
        }
    )
    assert [each.code for each in tester.findings(Entry(style, tmp_path))] == ["engine_missing", "no_face"]
    (tmp_path / "a.png").write_bytes(b"nothing")
    assert "picture_unreadable" in {each.code for each in tester.findings(Entry(style, tmp_path))}
    assert "picture_missing" in {each.code for each in tester.findings(Entry(style, tmp_path / "elsewhere"))}
