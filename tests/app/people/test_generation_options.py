"""The form for styles with a prompt, and training a person, against a real API in this process."""

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
from tests.app.pages import as_client, go_to_page, open_page, open_test_api, press, visible_text
from tests.app.people.galleries import choose, offered
from tests.tasks.api.harness import CPU_ABILITIES, ApiHarness, picture

pytestmark = pytest.mark.services  # each starts an API of its own, which is too slow for the inner loop
MODELS = ("VAE", "Drawing in few steps")
NO_MODEL = "The model sdxl is not on this machine."
XL = ("draw:text", "base:sdxl", "base:sdxl:lora", "train:sdxl")


@pytest.fixture
def api(tmp_path: Path) -> Iterator[ApiHarness]:
    with open_test_api(tmp_path / "home") as api:
        yield api


def add_worker(api: ApiHarness, *able: str, **missing: list[str]) -> None:
    """Register a live worker that can draw studios and what `able` names."""
    now, queues = time.time(), ["cpu", "gpu.train", "gpu.generate"]
    lacks = {name.replace("__", ":"): lines for name, lines in missing.items()}
    api.context.ledger.workers.register(WorkerRow("w", queues, sorted({*CPU_ABILITIES, *able}), lacks, "gpu", now, now))


def add_identity(api: ApiHarness, person: str, base: str) -> None:
    """Record that a person was trained on a base."""
    store, now = api.context.ledger, time.time()
    row = IdentityRow(
        new_id("identity", now), "ann", person, store.people.training_sets("ann", person)[0].id, now, base
    )
    with store.people.database.write() as connection:
        connection.execute(sa.insert(identities).values(asdict(row)))


def labels(app: Any) -> list[str]:
    return [each.label for each in app.selectbox]


def test_traits_and_quality_have_fields_only_where_a_style_has_a_prompt(api: ApiHarness) -> None:
    person = api.prepared_person()
    add_identity(api, person, "sdxl")
    add_worker(api, *XL)
    app = choose(open_page(as_client(api), "create"), "studio-warm")
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
    app = press(app, "Make 2 portraits")
    assert [each.value for each in app.exception] == []
    jobs = {str(each.wants["style"]): each.wants for each in as_client(api).jobs(kind="generate")}
    assert jobs["text-garden"]["traits"] == {"glasses": "with glasses"}
    assert jobs["text-garden"]["technique"] == {"preset": "best", "base": "sdxl", "identities": ["lora"]}
    assert "technique" not in jobs["studio-warm"]


def test_base_adapters_and_models_can_be_chosen(api: ApiHarness) -> None:
    person = api.prepared_person()
    add_identity(api, person, "sdxl")
    add_worker(api, *XL, "base:sdxl:instantid", "base:sdxl:fast", "base:sdxl:vae:clear", "base:sdxl:few_steps:zippy")
    app = choose(open_page(as_client(api), "create"), "text-garden")
    adapter = next(each for each in app.selectbox if each.label == "How the model is told who it draws")
    lora_label = "What was learned"
    assert adapter.options == [
        "Automatic",
        lora_label,
        "One photo (InstantID)",
        f"{lora_label} + One photo (InstantID)",
    ]
    adapter.select_index(3).run()
    vae, few_steps = (next(each for each in app.selectbox if each.label == label) for label in MODELS)
    assert (vae.options, few_steps.options) == (["Automatic", "clear"], ["Automatic", "zippy"])
    vae.set_value("clear").run()
    next(each for each in app.selectbox if each.label == MODELS[1]).set_value("zippy").run()
    next(each for each in app.segmented_control if each.label == "Quality").set_value("fast").run()
    press(app, "Make 1 portrait")
    [job] = as_client(api).jobs(kind="generate")
    chosen = {"preset": "fast", "base": "sdxl", "identities": ["lora", "instantid"]}
    assert job.wants["technique"] == {**chosen, "vae": "clear", "few_steps": "zippy"}


def test_the_look_of_an_uploaded_picture_can_be_chosen(api: ApiHarness) -> None:
    person = api.prepared_person()
    add_identity(api, person, "sdxl")
    add_worker(api, *XL, "base:sdxl:look:ip_adapter", "base:sdxl:look:film-look")
    uploaded = as_client(api).add_template("film.png", picture(7))
    app = choose(open_page(as_client(api), "create"), "text-garden")
    field = next(each for each in app.selectbox if each.label == "Look of a picture")
    assert field.options == ["Of no picture", "film.png"]
    field.set_value(uploaded.id).run()
    adapter = next(each for each in app.selectbox if each.label == "What is taken from it")
    assert adapter.options == ["film-look", "Colours and light (IP-Adapter)"]
    adapter.set_value("ip_adapter").run()
    next(each for each in app.slider if each.label == "How much of it").set_value(0.7).run()
    press(app, "Make 1 portrait")
    [job] = as_client(api).jobs(kind="generate")
    look = {"template": uploaded.id, "adapter": "ip_adapter", "scale": 0.7}
    assert job.wants["technique"]["look"] == {name: each for name, each in look.items() if each != "ip_adapter"}


def test_a_style_is_ready_only_on_bases_of_its_families_with_an_adapter_for_the_person(
    api: ApiHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = Catalog.entries

    def entries(self: Catalog) -> list[Entry]:
        only = {"text-garden": ("sdxl",), "text-noir": ("sd15",)}
        return [
            replace(each, style=each.style.model_copy(update={"families": only.get(each.style.id, ())}))
            for each in found(self)
        ]

    monkeypatch.setattr(Catalog, "entries", entries)
    person = api.prepared_person()
    add_identity(api, person, "sd15")
    add_worker(api, "draw:text", "base:sd15:lora", "train:sdxl")
    app = open_page(as_client(api), "create")
    assert {"text-noir", "text-oil"} <= set(offered(app))
    assert "text-garden" not in offered(app)
    add_worker(api, *XL, "base:sd15:lora", "base:sdxl:instantid", "base:sdxl:photomaker")
    app = choose(open_page(as_client(api), "create"), "text-garden")
    adapter = next(each for each in app.selectbox if each.label == "How the model is told who it draws")
    assert adapter.options == ["Automatic", "One photo (InstantID)", "Several photos (PhotoMaker)"]
    app = choose(app, "text-oil")
    assert next(each for each in app.selectbox if each.label == adapter.label).options == adapter.options
    app = choose(app, "text-noir")
    assert [each for each in app.selectbox if each.label == adapter.label] == [], "no base suits all three"


def test_the_form_follows_what_the_chosen_base_can_and_says_that_nothing_has_to_be_learned(api: ApiHarness) -> None:
    api.prepared_person()
    klein = ("base:flux2_klein", "base:flux2_klein:reference", "base:flux2_klein:lora", "base:flux2_klein:instruct")
    add_worker(api, *XL, *klein, "base:sdxl:instantid", "base:sdxl:fast", "base:sdxl:look:film", "base:sdxl:vae:clear")
    as_client(api).add_template("film.png", picture(7))
    app = choose(open_page(as_client(api), "create"), "text-garden")
    assert "Ann is drawn from the photos at once here, with nothing to learn." in visible_text(app)
    way = next(each for each in app.selectbox if each.label == "How the model is told who it draws")
    assert way.options == ["Automatic", "From the photos, at once · flux2_klein", "One photo (InstantID) · sdxl"]
    shown = []
    for choice in (1, 2):
        next(each for each in app.selectbox if each.label == way.label).select_index(choice).run()
        [quality] = [each for each in app.segmented_control if each.label == "Quality"]
        shown.append((len(quality.options), {"VAE", "Look of a picture"} & set(labels(app))))
    assert shown == [(2, set()), (3, {"VAE", "Look of a picture"})]


def test_settings_of_a_portrait_fill_the_form(api: ApiHarness) -> None:
    person = api.prepared_person()
    add_identity(api, person, "sdxl")
    add_worker(api, *XL)
    settings = {"style": "text-garden", "seed": 7, "count": 2, "size": "usual", "version": 1}
    settings |= {"preset": "best", "traits": {"age": "elderly"}}
    app = open_page(as_client(api), "create", chosen=["text-garden"], settings=settings)
    press(app, "Make 2 portraits")
    [job] = as_client(api).jobs(kind="generate")
    assert (job.wants["seed"], job.wants["traits"]) == (7, {"age": "elderly"})
    assert job.wants["technique"]["preset"] == "best"


def test_a_person_without_an_adapter_is_trained_first_and_progress_is_visible(api: ApiHarness) -> None:
    person = api.prepared_person()
    add_worker(api, *XL)
    app = open_page(as_client(api), "create")
    assert "a model that does not know Ann yet" in visible_text(app)
    assert "text-garden" not in offered(app)
    app = press(app, "Learn Ann")
    assert app.title[0].value == "In progress"
    [job] = as_client(api).jobs(kind="train")
    assert (job.wants["person"], job.wants["base"], job.queue) == (person, "sdxl", "gpu.train")
    page = go_to_page(app, "create")
    assert "Ann is being learned at the moment." in visible_text(page)
    assert "Learn Ann" not in {each.label for each in page.button}
    queue = api.context.ledger.queue
    job_ = queue.claim("w", "gpu.train", {"train:sdxl"}, time.time() - 60, 600)
    assert job_ is not None
    queue.report(job_, time.time(), "learning", 0.5, "Learning at loss 0.1, step 120 of 800, 3 min left", 1)
    text = visible_text(go_to_page(app, "progress"))
    assert "Learning · 50% · step 120 of 800 · about" in text
    assert f"/picture/preview/{job.id}" in text


def test_without_a_base_the_page_says_what_it_takes(api: ApiHarness) -> None:
    api.prepared_person()
    add_worker(api, draw__text=[NO_MODEL], base__sdxl=[NO_MODEL], train__sdxl=[NO_MODEL])
    app = open_page(as_client(api), "create")
    text = visible_text(app)
    assert "drawn by a model that paints what words say" in text
    assert "It is not ready here; an operator can set it up." in text
    assert "No model that can learn a person is ready here" in text
    assert NO_MODEL not in text, "that is for operators"
    assert "Learn Ann" not in text


def test_with_several_bases_there_is_a_button_to_train_on_each(api: ApiHarness) -> None:
    person = api.prepared_person()
    add_identity(api, person, "mine")
    add_worker(api, *XL, "train:mine", train__sd15=[NO_MODEL])
    app = open_page(as_client(api), "create")
    assert "Ann was learned (mine)" in visible_text(app)
    assert NO_MODEL not in visible_text(app), "what is not needed is not told"
    press(app, "Learn Ann (mine)")
    assert [job.wants["base"] for job in as_client(api).jobs(kind="train")] == ["mine"]
