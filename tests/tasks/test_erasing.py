"""Erasures: whoever dies in one, nothing is left of the erased and everything of the others."""

import shutil
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from pipelines.folders import identities, training_sets
from tasks import erasing
from tasks.files import Files
from tasks.jobs import LeaseLost
from tasks.ledger.database import Database
from tasks.ledger.ledger import Ledger
from tasks.ledger.privacy.erasures import ErasureRow, Request
from tasks.ledger.rows import SelfieRow
from tests.tasks import privacy_story as story
from tests.tasks.api.harness import new_home
from tests.tasks.privacy_story import LATER, START, Known, Steps
from tests.tasks.stand import new_job


@dataclass(frozen=True)
class Told:
    """An installation after the story."""

    home: Path
    erased: Known
    other: Known

    def copy(self, home: Path) -> Path:
        """The same installation at another place."""
        shutil.rmtree(home, ignore_errors=True)
        return shutil.copytree(self.home, home)


def open_home(home: Path) -> tuple[Ledger, Files]:
    return Ledger(Database(f"sqlite:///{home / 'ledger.db'}")), Files(home / "data")


def tell(home: Path, owners: tuple[str, str]) -> Told:
    ledger, files = open_home(new_home(home))
    erased, other = story.tell(ledger, files, owners)
    if owners[0] != owners[1]:
        for known in (erased, other):
            story.add_account(ledger, files, known)
    ledger.close()
    return Told(home, erased, other)


@pytest.fixture(scope="module")
def of_one_owner(tmp_path_factory: pytest.TempPathFactory) -> Told:
    """Two people of one owner."""
    return tell(tmp_path_factory.mktemp("one") / "home", ("ann", "ann"))


@pytest.fixture(scope="module")
def of_two_owners(tmp_path_factory: pytest.TempPathFactory) -> Told:
    """Two people, each with an owner."""
    return tell(tmp_path_factory.mktemp("two") / "home", ("ann", "bob"))


@pytest.fixture(params=["of_one_owner", "of_two_owners"])
def told(request: pytest.FixtureRequest) -> Told:
    """Both."""
    return request.getfixturevalue(request.param)


def erase(ledger: Ledger, files: Files, told: Told) -> ErasureRow:
    """What a request does that erases the person, or where there are two owners the owner."""
    request, erasures = Request("ann", START + 10, "ann:key_1"), ledger.erasures
    one = told.erased.owner == told.other.owner
    erasure = erasures.erase_person(request, told.erased.id) if one else erasures.erase_owner(request)
    return erasing.finish_erasure(ledger, files, erasure, request.now)


def keep(home: Path) -> None:
    """What the keeper does later."""
    ledger, files = open_home(home)
    erasing.finish_erasures(ledger, files, LATER)
    assert ledger.erasures.pending() == []
    ledger.close()


def test_the_story_leaves_what_is_searched_for(told: Told) -> None:
    for known in (told.erased, told.other):
        missing = known.marks.keys() - story.found(story.contents(told.home), known)
        assert all("embedding" in what or "perceptual" in what or "UTF-16" in what for what in missing), missing
        assert {
            "mean embedding as text",
            "LoRA",
            "name",
            "photo 0 in the page",
            "words",
        } <= known.marks.keys() - missing


def test_nothing_is_left_whoever_dies_at_which_step(told: Told, tmp_path: Path) -> None:
    before, count = story.found(story.contents(told.home), told.other), count_steps(told, tmp_path)
    assert count > 30
    for stop in range(1, count + 1, 9):
        check_kill(told, tmp_path / "home", stop, before)


def check_kill(told: Told, home: Path, stop: int, before: set[str]) -> None:
    """Kill who erases at one step; have the keeper go on; search every byte."""
    told.copy(home)
    assert not story.forked(lambda: _erase_until(told, home, stop)), "it was killed"
    keep(home)
    ledger, _ = open_home(home)
    begun = ledger.erasures.list(None).items
    ledger.close()
    left = story.contents(home)
    if begun:
        assert story.found(left, told.erased) == set(), f"killed at step {stop}"
    else:
        assert story.found(left, told.erased), "before the commit nothing has happened"
    assert story.found(left, told.other) == before, f"killed at step {stop}"


def count_steps(told: Told, folder: Path) -> int:
    """How many steps an erasure has."""
    home = told.copy(folder / "whole")
    ledger, files = open_home(home)
    with Steps(home).watching(ledger) as steps:
        assert erase(ledger, files, told).done is None, "a worker may write until its lease is over"
    ledger.close()
    return steps.count


def _erase_until(told: Told, home: Path, stop: int) -> None:
    ledger, files = open_home(home)
    with Steps(home, stop).watching(ledger):
        erase(ledger, files, told)


@pytest.fixture
def alone(of_one_owner: Told, tmp_path: Path) -> Iterator[tuple[Ledger, Files, Known, Path]]:
    """An installation after the story, of which the first person is asked about."""
    home = of_one_owner.copy(tmp_path / "home")
    ledger, files = open_home(home)
    yield ledger, files, of_one_owner.erased, home
    ledger.close()


def test_a_photo_goes_with_all_that_was_cut_from_it(alone: tuple[Ledger, Files, Known, Path]) -> None:
    ledger, files, known, home = alone
    before = story.found(story.contents(home), known)
    erasure = ledger.erasures.erase_selfie(Request("ann", START + 10), known.selfies[0])
    assert erasing.finish_erasure(ledger, files, erasure, LATER).done == LATER
    gone = before - story.found(story.contents(home), known)
    of_photo = {
        "photo sharp",
        "hash of photo sharp",
        "file name sharp",
        "crops 0",
        "references 0",
        "embedding 0 as text",
    }
    of_both = {"mean embedding as text", "checkpoint", "photo 0 in the page"}
    assert gone == of_photo | of_both, "the crops of the other photo stay, and what was learned"
    rows = {row.id: row for row in ledger.people.identities("ann", known.id)}
    assert (rows[known.learned].stale, rows[known.identity].stale) == (START + 10, None)
    folder = files.training_set("ann", known.id, known.training_set)
    left = training_sets.read(folder)
    assert [each.name for each in left.references] == [each.source for each in left.crops] == [known.selfies[1]]
    assert np.allclose(left.mean_embeddings["dlib"], left.references[0].face.embeddings["dlib"])
    learned = identities.read(files.identity("ann", known.id, known.learned)).identity
    assert np.allclose(learned.mean_embeddings["dlib"], left.mean_embeddings["dlib"])
    assert known.running is not None
    assert ledger.jobs.get("ann", known.running.id).state == "cancelling", "a training does not go on with it"


def test_what_was_learned_from_a_photo_goes_on_demand(alone: tuple[Ledger, Files, Known, Path]) -> None:
    ledger, files, known, home = alone
    erasure = ledger.erasures.erase_selfie(Request("ann", START + 10), known.selfies[0], learned=True)
    erasing.finish_erasure(ledger, files, erasure, LATER)
    assert [row.id for row in ledger.people.identities("ann", known.id)] == [known.identity]
    assert not story.found(story.contents(home), known) & {"LoRA", "photo 1 in the page"}


def test_without_its_last_photo_a_set_goes_with_what_was_learned(alone: tuple[Ledger, Files, Known, Path]) -> None:
    ledger, files, known, home = alone
    for id in known.selfies:
        erasing.finish_erasure(ledger, files, ledger.erasures.erase_selfie(Request("ann", START + 10), id), LATER)
    assert ledger.people.identities("ann", known.id) == []
    left = story.found(story.contents(home), known)
    assert not {
        each for each in left if each.split()[0] in {"photo", "crops", "references", "LoRA", "embedding", "mean"}
    }


def test_an_identity_goes_alone_or_with_its_photos(alone: tuple[Ledger, Files, Known, Path]) -> None:
    ledger, files, known, home = alone
    erasing.finish_erasure(ledger, files, ledger.erasures.erase_identity(Request("ann", START), known.learned), LATER)
    assert "LoRA" not in story.found(story.contents(home), known)
    assert "crops 0" in story.found(story.contents(home), known)
    erasing.finish_erasure(ledger, files, ledger.erasures.erase_identity(Request("ann", START), known.identity), LATER)
    assert "crops 0" not in story.found(story.contents(home), known)
    assert "photo sharp" in story.found(story.contents(home), known)


def test_judging_starts_again_without_a_photo_that_was_deleted(sqlite: Ledger) -> None:
    person = sqlite.people.add("ann", "Ann", "1", "Ann", START).id
    photo = SelfieRow("selfie-1", "ann", person, "me.jpg", "a" * 64, 1, 1, 1, "JPEG", START)
    sqlite.people.add_selfie(photo, 9)
    job = sqlite.jobs.add(new_job(created=START, kind="prepare", needs=frozenset({"prepare"})), [person])
    claimed = sqlite.queue.claim("w", "cpu", {"prepare"}, START, 60)
    assert claimed
    erasure = sqlite.erasures.erase_selfie(Request("ann", START + 1), photo.id)
    assert (sqlite.jobs.get("ann", job.id).state, erasure.until) == ("queued", START + 60)
    with pytest.raises(LeaseLost):
        sqlite.queue.report(claimed, START + 2, "looking", 0.5, "Looking at me.jpg")


def test_a_worker_that_wakes_late_leaves_nothing(alone: tuple[Ledger, Files, Known, Path]) -> None:
    ledger, files, known, _ = alone
    erasure = erasing.finish_erasure(
        ledger, files, ledger.erasures.erase_person(Request("ann", START), known.id), START
    )
    assert known.running is not None
    late = files.work_dir("ann", known.id, known.running.id) / "state.pt"
    files.save([b"late"], late, 9)
    assert erasing.finish_erasures(ledger, files, START + 30) == 0, "its lease is not over"
    assert ledger.erasures.get("ann", erasure.id).done is None
    files.save([b"later"], late, 9)
    assert erasing.finish_erasures(ledger, files, LATER) == 1
    assert not files.person("ann", known.id).exists()


def test_what_belongs_to_nothing_goes_after_a_day(alone: tuple[Ledger, Files, Known, Path]) -> None:
    ledger, files, known, _ = alone
    now = time.time()
    before = {path for path in files.root.rglob("*") if path.is_file()}
    orphans = [
        files.selfie("ann", known.id, "selfie_x"),
        files.selfie("ann", "person_x", "selfie_y"),
        files.identity("ann", known.id, "identity_x") / "lora.safetensors",
        files.portraits("ann", "job_x") / "01.jpg",
        files.template("ann", "template_x"),
        files.incoming / "upload",
        files.training_set("ann", known.id, known.training_set) / ".set.json.0123.part",
    ]
    for path in orphans:
        files.save([b"x"], path, 9)
    assert erasing.erase_orphans(ledger, files, now) == 0
    assert erasing.erase_orphans(ledger, files, now + erasing.GRACE + 60) == 1, "a person that is not there"
    assert erasing.erase_orphans(ledger, files, now + 90_000) == len(orphans) - 1
    assert {path for path in files.root.rglob("*") if path.is_file()} == before


def test_somebody_elses_erasure_is_noticed_once(sqlite: Ledger) -> None:
    watch = erasing.ErasureWatch(sqlite)
    assert not watch.has_news()
    person = sqlite.people.add("ann", "Ann", "1", "Ann", START).id
    sqlite.erasures.erase_person(Request("ann", START), person)
    assert watch.has_news()
    assert not watch.has_news()
