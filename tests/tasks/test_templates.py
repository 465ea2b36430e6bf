"""People drawn into a template through the queue: real fusion and finder, tiny networks, several people in one picture."""

import time
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch

from pipelines.deliver import read_recipe
from pipelines.engines import Engines
from pipelines.engines.painters import inpaint
from pipelines.engines.painters.inpaint import Inpaint
from pipelines.model_store.store import ModelStore
from pipelines.settings import Settings
from portrait.arrays import Image
from portrait.faces.likeness import distance
from portrait.generation import options
from portrait.ports import FaceFinder, Parser
from portrait.types import Face, Identity, PortraitRequest, Quality, Reference, Style, StylePicture
from tasks.files import Files
from tasks.jobs import Job
from tasks.ledger.ledger import Ledger
from tasks.ledger.rows import PortraitRow, TemplateRow
from tasks.queue.flows import JobContext, PortraitFlows
from tasks.queue.runner import JobRunner
from tasks.settings import LeaseSettings
from tests import hub_store, photo_vae, selfies
from tests.tasks.stand import new_job, portraits_of

GOOD = Quality(1, 1, 1, 1, 1, 1, 1)
PLACES = (1, 3, 4, 6)
"""Faces of the group photo that are not in profile, from left to right."""
TECHNIQUE: dict[str, Any] = {"base": "xl", "identities": ["lora", "instantid"], "scheduler": "own", "steps": 5}


class Tiny(Engines):
    """Tiny networks that draw, with the embedded engines to see."""

    def __init__(self, settings: Settings, seeing: Engines) -> None:
        super().__init__(settings, ModelStore(settings.models))
        self._seeing = seeing

    def finder(self) -> FaceFinder:
        return self._seeing.finder()

    def parser(self) -> Parser:
        return self._seeing.parser()


class Flows(PortraitFlows):
    """Knows its people already."""

    people: Mapping[str, Identity]

    def _identity(self, context: JobContext, id: str) -> Identity:
        return self.people[id]


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Settings]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    filled = hub_store.fill(tmp_path_factory.mktemp("hub"))
    photo_vae.give(filled)
    yield replace(filled, draw=replace(filled.draw, redraws=0))
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def people(tiny: Settings, astronaut: Image, astronaut_face: Face, group_faces: list[Face]) -> dict[str, Identity]:
    """Anna and Ben have a LoRA; Cleo and Dora are known by a photo alone, each with a vector of their own."""
    group = selfies.group()
    faces = {"anna": (astronaut, astronaut_face)}
    faces |= {name: (group, group_faces[at]) for name, at in (("ben", 2), ("cleo", 3), ("dora", 0))}
    found = {}
    for number, (name, (image, face)) in enumerate(faces.items()):
        vector = np.random.default_rng(number).normal(size=512).astype(np.float32)
        known = replace(face, embeddings={**face.embeddings, "antelopev2": vector})
        person = Identity(name, (Reference(f"{name}.jpg", image, known, GOOD),), {"dlib": face.embeddings["dlib"]})
        if name in ("anna", "ben"):
            person = replace(person, lora=hub_store.trained_person(tiny, 50 + number).lora, trigger="sks", base="xl")
        found[name] = replace(person, class_word="person")
    return found


@pytest.fixture
def runner(
    sqlite: Ledger, tmp_path: Path, tiny: Settings, engines: Engines, people: dict[str, Identity]
) -> Iterator[JobRunner]:
    with Tiny(tiny, engines) as drawing:
        flows = Flows(tiny, drawing)
        flows.people = people
        yield JobRunner("w", sqlite, Files(tmp_path / "data"), flows, LeaseSettings(), frozenset({"draw:template"}))


def add_template(runner: JobRunner, image: Image, faces: int) -> str:
    """A picture of Ann's, as if she had uploaded it."""
    _, data = cv2.imencode(".png", cv2.cvtColor(image, cv2.COLOR_RGB2BGR))
    id = f"template_{faces}"
    runner.files.save([data.tobytes()], runner.files.template("ann", id), 100_000_000)
    height, width = image.shape[:2]
    boxes = [{"left": 0.0, "top": 0.0, "right": 1.0, "bottom": 1.0}] * faces
    runner.ledger.templates.add(TemplateRow(id, "ann", "t.png", 1, width, height, "PNG", "", 1.0, boxes), 9)
    return id


def draw(
    runner: JobRunner, template: str, who: Mapping[int, str], **technique: Any
) -> tuple[Image, dict[str, Any], PortraitRow]:
    """The picture, its recipe and its row."""
    params: dict[str, Any] = {"identities": {str(at): name for at, name in who.items()}, "template": template}
    params |= {"count": 1, "seed": 3, "format": "png", "skin": "template", "technique": {**TECHNIQUE, **technique}}
    job = new_job(created=time.time(), kind="generate", params=params, needs=frozenset({"draw:template"}))
    runner.ledger.jobs.add(job, [])
    assert runner.run_next("cpu")
    done: Job = runner.ledger.jobs.get("ann", job.id)
    assert done.state == "succeeded", done.fault
    (row,) = portraits_of(runner.ledger, job)
    file = runner.files.portraits("ann", job.id) / row.file
    image = cv2.cvtColor(np.asarray(cv2.imread(str(file))), cv2.COLOR_BGR2RGB)
    return np.asarray(image, np.uint8), read_recipe(file), row


def touched(runner: JobRunner, image: Image, faces: list[Face], who: Mapping[int, Identity]) -> dict[int, np.ndarray]:
    """Where each face may change: fusion's oval and the masks of the passes."""
    flows: Any = runner.flows
    painter = flows._engines.painter("inpaint")
    assert isinstance(painter, Inpaint)
    style = Style("made", 1, "template", "Made", picture=StylePicture(image, tuple(faces)))
    order = painter.plan(PortraitRequest(who, style, 0, 1, options=options.from_dict(TECHNIQUE)))
    masks = {}
    for target in order.faces:
        mesh = faces[target.number - 1].mesh
        assert mesh is not None
        canvas = np.zeros(image.shape[:2], np.uint8)
        cv2.fillConvexPoly(canvas, cv2.convexHull(mesh[:, :2].round().astype(np.int32)), 1)
        mask = np.asarray(cv2.dilate(canvas, np.ones((5, 5), np.uint8))) > 0
        mask[target.window.slices] |= np.maximum(target.areas.face, target.areas.boundary) > 0
        masks[target.number] = mask
    return masks


@pytest.mark.parametrize(
    "names",
    [
        *(pytest.param(each, marks=pytest.mark.bench) for each in (("cleo",), ("anna", "dora"))),
        ("anna", "cleo", "ben", "dora"),
    ],
    ids=("one", "two", "four"),
)
def test_people_are_drawn_into_one_template_and_all_else_stays(
    names: tuple[str, ...], runner: JobRunner, people: dict[str, Identity], group_faces: list[Face]
) -> None:
    group = selfies.group()
    who: dict[int, str] = dict(zip(PLACES, names, strict=False))
    image, recipe, row = draw(runner, add_template(runner, group, 6), who)
    masks = touched(runner, group, group_faces, {at: people[name] for at, name in who.items()})
    changed = (image != group).any(axis=2)
    assert not changed[~np.any(list(masks.values()), axis=0)].any()
    assert all(changed[mask].mean() > 0.5 for mask in masks.values())
    for number in {1, 2, 3, 4, 5, 6} - set(who):
        box = group_faces[number - 1].box
        place = slice(int(box.top), int(box.bottom)), slice(int(box.left), int(box.right))
        assert (image[place] == group[place]).all()
    faces = recipe["drawn"]["faces"]
    assert set(faces) == {str(at) for at in who}
    for at, name in who.items():
        for recorded in faces[str(at)].values():
            assert ("lora_hash" in recorded) == (name in ("anna", "ben"))
            assert recorded["instantid"] == {"adapter": 0.8, "network": 0.8}
    assert "total" in row.scores
    assert recipe["technique"]["identities"] == ["lora", "instantid"]


def test_swapping_the_people_swaps_the_faces(
    runner: JobRunner,
    finder: FaceFinder,
    people: dict[str, Identity],
    group_faces: list[Face],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # Random networks draw nobody. At a strength without a step they give back what fusion made of a person, and the second
    # fusion is taken as it is. Such strengths are refused elsewhere.
    monkeypatch.setattr(inpaint, "_check_steps", lambda plan: None)
    template = add_template(runner, selfies.group(), 6)
    strengths = {"face": 0.1, "fusion": 1.0, "ring": 0.0}
    far: dict[tuple[int, str, str], float] = {}
    for pair in (("anna", "dora"), ("dora", "anna")):
        image, _, _ = draw(runner, template, dict(zip((3, 6), pair, strict=True)), strengths=strengths)
        found = finder.faces(image, embedded=8)
        for number, drawn in zip((3, 6), pair, strict=True):
            at = group_faces[number - 1].box.centre
            face = min(found, key=lambda each: float(np.hypot(*np.subtract(each.box.centre, at))))
            for name in pair:
                vectors = face.embeddings["dlib"], people[name].mean_embeddings["dlib"]
                far[number, drawn, name] = distance("dlib", *vectors)
    for number in (3, 6):
        for name, other in (("anna", "dora"), ("dora", "anna")):
            assert far[number, name, name] < far[number, other, name] - 0.04


def test_nobodys_lora_is_near_when_somebody_else_is_drawn(
    runner: JobRunner, tiny: Settings, people: dict[str, Identity], group_faces: list[Face]
) -> None:
    group = selfies.group()
    template = add_template(runner, group, 6)
    before, _, _ = draw(runner, template, {1: "anna", 6: "cleo"})
    flows = runner.flows
    assert isinstance(flows, Flows)
    other = replace(people["anna"], lora=hub_store.trained_person(tiny, 99).lora)
    flows.people = {**people, "anna": other}
    after, _, _ = draw(runner, template, {1: "anna", 6: "cleo"})
    masks = touched(runner, group, group_faces, {1: other, 6: people["cleo"]})
    assert (before != after).any(axis=2)[masks[1]].mean() > 0.2
    assert (before == after)[~masks[1]].all()
