"""`portrait make` and `remake` with a diffusion engine, on tiny networks and with faces read from colours."""

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from app.commands.make import make, technique_of
from app.commands.remake import remake
from pipelines import build, identities, sets
from pipelines.models import Models
from pipelines.photos import read
from pipelines.settings import Exam, Settings, Train
from portrait.errors import UserError
from portrait.lessons import Lesson
from portrait.types import Reference
from tasks import settings as installation
from tests import fakes, hub_store
from tests.pipelines.engines import lessons
from tests.tasks.test_drawing import TinyEngines

KNOBS = Train(steps=2, rank=4, rate=1e-2, batch=1, flips=False, exam=Exam(every=0))


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("drawing")


@pytest.fixture(scope="module")
def settings(place: Path) -> Iterator[Settings]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    filled = hub_store.fill(place)
    yield replace(filled, train=KNOBS, draw=replace(filled.draw, redraws=0))
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def person(place: Path, settings: Settings) -> Path:
    """A training set, and what was learned of it beside."""
    image = fakes.picture(1, 1, 160)
    training = replace(lessons.photos(), references=(Reference("a.png", image, fakes.face(image), hub_store.GOOD),))
    sets.write(training, place / "set")
    with TinyEngines(settings, Models(settings.models)) as engines:
        (place / "desk").mkdir()
        lesson = Lesson(sets.read(place / "set"), "xl", place / "desk")
        build.train(engines)(lesson, place / "ann", fakes.Told())
    assert identities.is_identity(place / "ann")
    return place / "set"


@pytest.fixture
def installed(monkeypatch: pytest.MonkeyPatch, settings: Settings) -> None:
    monkeypatch.setattr(installation, "load", lambda: settings)
    monkeypatch.setattr(build, "open_engines", lambda given: TinyEngines(given, Models(given.models)))


@pytest.mark.usefixtures("installed")
def test_a_portrait_is_made_and_made_again(person: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    make(
        [person],
        tmp_path,
        style=["text-film", "text-noir"],
        count=1,
        seed=3,
        size="64x80",
        engine="diffusion",
        base="xl",
        identity=person.parent / "ann",
        adapter=["instantid"],
        preset="fast",
        strength=["lora=0.7"],
        format="png",
        as_json=True,
    )
    answer: dict[str, Any] = json.loads(capsys.readouterr().out)
    assert [each["style"] for each in answer["portraits"]] == ["text-film", "text-noir"]
    recipe = answer["portraits"][0]["recipe"]
    assert recipe["technique"] == {
        "base": "xl",
        "identities": ["lora", "instantid"],
        "preset": "fast",
        "strengths": {"lora": 0.7},
    }
    assert recipe["drawn"]["lora"]["strength"] == 0.7
    assert recipe["drawn"]["scheduler"] == "lcm"
    assert "sks person" in recipe["drawn"]["prompt"]
    assert str(person.parent) not in json.dumps(recipe)
    file = Path(answer["portraits"][0]["file"])
    remake(file, out=tmp_path / "again.png", as_json=True)
    assert np.array_equal(read(file).image, read(tmp_path / "again.png").image)


@pytest.mark.parametrize(
    "wish",
    [
        {"engine": "magic"},
        {"preset": "slow"},
        {"strength": ["lora"]},
        {"strength": ["lora=7"]},
    ],
    ids=str,
)
def test_wishes_that_nobody_understands_are_told(wish: dict[str, Any]) -> None:
    given = {"engine": "", "preset": "", "strength": (), **wish}
    with pytest.raises(UserError) as caught:
        technique_of(given["engine"], "", None, (), (given["preset"], given["strength"]))
    assert caught.value.code == "bad_technique"
