"""The job that judges photos: where faces are goes into the ledger, and which one was chosen comes from there."""

from pathlib import Path
from typing import cast

import pytest

from pipelines.engines import Engines
from pipelines.folders import training_sets
from pipelines.settings import Settings
from portrait.ports import FaceFinder
from tasks.files import Files
from tasks.ledger.ledger import Ledger
from tasks.queue.flows import PortraitFlows
from tasks.queue.runner import JobRunner
from tasks.settings import LeaseSettings
from tests import fakes
from tests.group_photos import ANN, BEN, Squares, alone, group
from tests.tasks.queue.test_flows import WORDS, FakeEngines, keep, run


class SquareEngines(FakeEngines):
    def finder(self) -> FaceFinder:
        return Squares()


@pytest.fixture
def runner(sqlite: Ledger, tmp_path: Path) -> JobRunner:
    flows = PortraitFlows(Settings(), cast("Engines", SquareEngines()))
    return JobRunner("w", sqlite, Files(tmp_path / "data"), flows, LeaseSettings(), WORDS)


def test_of_a_group_the_face_that_was_chosen_is_learned(runner: JobRunner, tmp_path: Path) -> None:
    people = runner.ledger.people
    person = people.add("ann", "Ben", "1", "Ann", 1.0).id
    pictures = [fakes.save(tmp_path / "0.png", alone(ANN, 1)), fakes.save(tmp_path / "1.png", group(ANN, BEN))]
    rows = [keep(runner, person, file, file.name, 2.0 + at) for at, file in enumerate(pictures)]
    assert run(runner, "prepare", person).state == "succeeded"
    [one, several] = people.selfies("ann", person)
    assert [len(each.faces or ()) for each in (one, several)] == [1, 2]
    assert [reason["code"] for reason in several.reasons] == ["several_faces"]
    assert several.faces is not None
    _, box = several.faces
    people.choose_face("ann", rows[1].id, (box["left"] + box["right"]) / 2, (box["top"] + box["bottom"]) / 2)
    assert run(runner, "prepare", person).state == "succeeded"
    judged = people.selfies("ann", person)
    assert [each.verdict for each in judged] == ["refuse", "use"]
    identity = people.identities("ann", person)[0]
    training = training_sets.read(runner.files.training_set("ann", person, identity.training_set))
    assert training.mean_embeddings["dlib"].argmax() == BEN
