"""What a visitor may wish of looks that are made of words, and how a person is learned, against a real API in this process."""

import time
from collections.abc import Iterator
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from tasks.ledger.database import new_id
from tasks.ledger.rows import IdentityRow, WorkerRow
from tasks.ledger.tables import identities
from templates.catalog import Catalog, Entry
from tests.app.pages import as_client, office, opened, press, turned, words
from tests.tasks.api.desk import ABLE, Desk

pytestmark = pytest.mark.services  # each starts an API of its own, which is too slow for the inner loop
NO_MODEL = "The model sdxl is not on this machine."
XL = ("draw:text", "base:sdxl", "base:sdxl:lora", "train:sdxl")


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    with office(tmp_path / "home") as desk:
        yield desk


def hire(desk: Desk, *able: str, **missing: list[str]) -> None:
    """A live worker that can draw studios, and what is told."""
    now, queues = time.time(), ["cpu", "gpu.train", "gpu.generate"]
    lacks = {name.replace("__", ":"): lines for name, lines in missing.items()}
    desk.office.store.staff.arrive(WorkerRow("w", queues, sorted({*ABLE, *able}), lacks, "gpu", now, now))


def learn(desk: Desk, person: str, base: str) -> None:
    """Somebody who was learned on a base."""
    store, now = desk.office.store, time.time()
    row = IdentityRow(new_id("identity", now), "ann", person, store.people.sets("ann", person)[0].id, now, base)
    with store.people.database.write() as connection:
        connection.execute(sa.insert(identities).values(asdict(row)))


def choose(app: Any, *looks: str) -> Any:
    for look in looks:
        app.button(key=f"choose-{look}").click().run()
    return app


def labels(app: Any) -> list[str]:
    return [each.label for each in app.selectbox]


def test_traits_and_quality_are_asked_where_a_model_draws_of_words_and_nothing_else(desk: Desk) -> None:
    person = desk.person()
    learn(desk, person, "sdxl")
    hire(desk, *XL)
    app = choose(opened(as_client(desk), "create"), "studio-warm")
    assert labels(app) == ["Size"]
    app = choose(app, "text-garden")
    assert labels(app) == ["Size", "Age", "Glasses"]
    [quality] = [each for each in app.segmented_control if each.label == "Quality"]
    assert (quality.options, quality.value) == (["Balanced", "Best"], "balanced")
    assert [each.label for each in app.expander if each.label == "More"] == []
    glasses = next(each for each in app.selectbox if each.label == "Glasses")
    assert glasses.options == ["As in the photos", "With glasses", "Without glasses"]
    glasses.set_value("with glasses").run()
    next(each for each in app.segmented_control if each.label == "Quality").set_value("best").run()
    app = press(app, "Make 4 portraits")
    assert [each.value for each in app.exception] == []
    jobs = {str(each.wants["style"]): each.wants for each in as_client(desk).jobs(kind="generate")}
    assert jobs["text-garden"]["traits"] == {"glasses": "with glasses"}
    assert jobs["text-garden"]["technique"] == {"preset": "best", "base": "sdxl", "identities": ["lora"]}
    assert "technique" not in jobs["studio-warm"]


def test_whoever_knows_may_say_how_the_model_is_told_who(desk: Desk) -> None:
    person = desk.person()
    learn(desk, person, "sdxl")
    hire(desk, *XL, "base:sdxl:instantid", "base:sdxl:fast")
    app = choose(opened(as_client(desk), "create"), "text-garden")
    way = next(each for each in app.selectbox if each.label == "How the model is told who it draws")
    learned = "What was learned"
    assert way.options == ["Automatic", learned, "One photo (InstantID)", f"{learned} + One photo (InstantID)"]
    way.select_index(3).run()
    next(each for each in app.segmented_control if each.label == "Quality").set_value("fast").run()
    press(app, "Make 2 portraits")
    [job] = as_client(desk).jobs(kind="generate")
    assert job.wants["technique"] == {"preset": "fast", "base": "sdxl", "identities": ["lora", "instantid"]}


def test_a_look_is_offered_to_whom_a_base_of_its_families_knows_and_on_those_bases_alone(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = Catalog.entries

    def entries(self: Catalog) -> list[Entry]:
        only = {"text-garden": ("sdxl",), "text-noir": ("sd15",)}
        return [
            replace(each, style=each.style.model_copy(update={"families": only.get(each.style.id, ())}))
            for each in found(self)
        ]

    monkeypatch.setattr(Catalog, "entries", entries)
    person = desk.person()
    learn(desk, person, "sd15")
    hire(desk, "draw:text", "base:sd15:lora", "train:sdxl")
    app = opened(as_client(desk), "create")
    offered = {str(each.key) for each in app.button}
    assert {"choose-text-noir", "choose-text-oil"} <= offered
    assert "choose-text-garden" not in offered
    hire(desk, *XL, "base:sd15:lora", "base:sdxl:instantid", "base:sdxl:photomaker")
    app = choose(opened(as_client(desk), "create"), "text-garden")
    way = next(each for each in app.selectbox if each.label == "How the model is told who it draws")
    assert way.options == ["Automatic", "One photo (InstantID)", "Several photos (PhotoMaker)"]
    app = choose(app, "text-oil")
    assert next(each for each in app.selectbox if each.label == way.label).options == way.options
    app = choose(app, "text-noir")
    assert [each for each in app.selectbox if each.label == way.label] == [], "no base suits all three"


def test_settings_of_a_portrait_bring_its_wishes_back(desk: Desk) -> None:
    person = desk.person()
    learn(desk, person, "sdxl")
    hire(desk, *XL)
    wish = {"look": "text-garden", "seed": 7, "count": 2, "size": "usual", "at": 1}
    wish |= {"preset": "best", "traits": {"age": "elderly"}}
    app = opened(as_client(desk), "create", chosen=["text-garden"], wish=wish)
    press(app, "Make 2 portraits")
    [job] = as_client(desk).jobs(kind="generate")
    assert (job.wants["seed"], job.wants["traits"]) == (7, {"age": "elderly"})
    assert job.wants["technique"]["preset"] == "best"


def test_who_is_not_known_is_learned_first_and_the_learning_is_followed(desk: Desk) -> None:
    person = desk.person()
    hire(desk, *XL)
    app = opened(as_client(desk), "create")
    assert "a model that does not know Ann yet" in words(app)
    assert "choose-text-garden" not in {each.key for each in app.button}
    app = press(app, "Learn Ann")
    assert app.title[0].value == "In progress"
    [job] = as_client(desk).jobs(kind="train")
    assert (job.wants["person"], job.wants["base"], job.queue) == (person, "sdxl", "gpu.train")
    page = turned(app, "create")
    assert "Ann is being learned at the moment." in words(page)
    assert "Learn Ann" not in {each.label for each in page.button}
    queue = desk.office.store.queue
    held = queue.claim("w", "gpu.train", {"train:sdxl"}, time.time() - 60, 600)
    assert held is not None
    queue.report(held, time.time(), "learning", 0.5, "Learning at loss 0.1, step 120 of 800, 3 min left", 1)
    seen = words(turned(app, "progress"))
    assert "Learning · 50% · step 120 of 800 · about" in seen
    assert f"/picture/preview/{job.id}" in seen


def test_without_a_base_it_is_said_in_plain_words_what_it_takes(desk: Desk) -> None:
    desk.person()
    hire(desk, draw__text=[NO_MODEL], base__sdxl=[NO_MODEL], train__sdxl=[NO_MODEL])
    app = opened(as_client(desk), "create")
    seen = words(app)
    assert "drawn by a model that paints what words say" in seen
    assert "It is not ready here; an operator can set it up." in seen
    assert "No model that can learn a person is ready here" in seen
    assert NO_MODEL not in seen, "that is for operators"
    assert "Learn Ann" not in seen


def test_where_several_bases_are_ready_a_person_chooses_one_to_be_learned_on(desk: Desk) -> None:
    person = desk.person()
    learn(desk, person, "mine")
    hire(desk, *XL, "train:mine", train__sd15=[NO_MODEL])
    app = opened(as_client(desk), "create")
    assert "Ann was learned (mine)" in words(app)
    assert NO_MODEL not in words(app), "what is not needed is not told"
    press(app, "Learn Ann (mine)")
    assert [job.wants["base"] for job in as_client(desk).jobs(kind="train")] == ["mine"]
