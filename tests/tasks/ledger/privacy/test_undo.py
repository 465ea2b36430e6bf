"""Deletion that can be undone: hidden everywhere at once, restored whole or erased whole, whoever asks for what when."""

import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from portrait.errors import UserError
from tasks import erasing
from tasks.files import Files
from tasks.ledger.ledger import Ledger, open_ledger
from tasks.ledger.pictures import PortraitFilter
from tasks.ledger.privacy.erasures import Request
from tasks.ledger.privacy.undo import RemovedKind
from tasks.ledger.queue import Outcome
from tasks.ledger.rows import PortraitRow, SelfieRow, TemplateRow
from tasks.schemas import UNDO_SECONDS
from tests.tasks.ledger.test_ledger import claim
from tests.tasks.ledger.test_ledger import portrait as portrait_of
from tests.tasks.stand import new_job

NOW = 1000.0
LATER = NOW + UNDO_SECONDS


def request(now: float = NOW, owner: str = "ann") -> Request:
    return Request(owner, now, f"{owner}:key_1")


def code_of(act: Callable[[], object]) -> str:
    with pytest.raises(UserError) as caught:
        act()
    return caught.value.code


class Things:
    """A person with two photos, a picture and two portraits, and the files of all."""

    def __init__(self, ledger: Ledger, files: Files) -> None:
        self.ledger, self.files = ledger, files
        self.person = ledger.people.add("ann", "Ann", "1", "Ann", 1.0).id
        for name in ("a", "b"):
            self.add_selfie(name)
        ledger.templates.add(TemplateRow("template_1", "ann", "beach.png", 9, 4, 3, "PNG", "job_1", 2.0), 10)
        ledger.jobs.add(new_job(params={"people": {"1": self.person}}), [self.person])
        job = claim(ledger)
        rows = [replace(portrait_of(job, number), id=f"portrait_{number}") for number in (1, 2)]
        ledger.queue.finish(job, 100.0, Outcome(portraits=rows), lambda: None)
        self.job = job.id
        for path in self.paths().values():
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(b"a face")

    def add_selfie(self, name: str, most: int = 10, id: str = "") -> SelfieRow:
        row = SelfieRow(id or f"selfie_{name}", "ann", self.person, f"{name}.jpg", name * 64, 9, 4, 3, "JPEG", 3.0)
        return self.ledger.people.add_selfie(row, most)

    def paths(self) -> dict[RemovedKind, Path]:
        return {
            "selfie": self.files.selfie("ann", self.person, "selfie_a"),
            "template": self.files.template("ann", "template_1"),
            "portrait": self.files.portrait("ann", self.job, "01.jpg"),
        }

    def get(self, kind: RemovedKind) -> SelfieRow | TemplateRow | PortraitRow:
        if kind == "selfie":
            return self.ledger.people.selfie("ann", "selfie_a")
        return self.ledger.templates.get("ann", IDS[kind]) if kind == "template" else self.portrait()

    def portrait(self) -> PortraitRow:
        return self.ledger.portraits.get("ann", "portrait_1")


IDS: dict[RemovedKind, str] = {"selfie": "selfie_a", "template": "template_1", "portrait": "portrait_1"}


@pytest.fixture
def things(ledger: Ledger, tmp_path: Path) -> Things:
    return Things(ledger, Files(tmp_path / "data"))


@pytest.mark.parametrize("kind", IDS)
def test_what_is_deleted_is_hidden_and_comes_back_as_it_was(things: Things, kind: RemovedKind) -> None:
    before, undo = things.get(kind), things.ledger.undo
    undo.remove(request(), kind, IDS[kind])
    assert code_of(lambda: things.get(kind)) == "not_found"
    assert code_of(lambda: undo.remove(request(), kind, IDS[kind])) == "not_found", "it is deleted already"
    assert code_of(lambda: undo.restore(request(owner="bob"), kind, IDS[kind])) == "not_found"
    assert erasing.erase_removed(things.ledger, things.files, LATER - 0.1) == 0, "not before the time is over"
    undo.restore(request(), kind, IDS[kind])
    undo.restore(request(), kind, IDS[kind])
    assert things.get(kind) == before
    assert erasing.erase_removed(things.ledger, things.files, LATER) == 0
    assert things.paths()[kind].exists()


@pytest.mark.parametrize("kind", IDS)
def test_what_is_not_restored_is_erased_by_the_keeper(things: Things, kind: RemovedKind) -> None:
    things.ledger.undo.remove(request(), kind, IDS[kind])
    assert erasing.erase_removed(things.ledger, things.files, LATER) == 1
    assert not things.paths()[kind].exists()
    assert code_of(lambda: things.get(kind)) == "erased"
    assert code_of(lambda: things.ledger.undo.restore(request(), kind, IDS[kind])) == "erased"
    (receipt,) = things.ledger.erasures.list("ann").items
    assert (receipt.kind, receipt.subject, receipt.done) == (kind, IDS[kind], LATER)
    assert erasing.erase_removed(things.ledger, things.files, LATER) == 0


def test_lists_counts_zips_and_statistics_leave_out_what_is_deleted(things: Things) -> None:
    ledger = things.ledger
    for kind, id in IDS.items():
        ledger.undo.remove(request(), kind, id)
    assert [row.id for row in ledger.people.selfies("ann", things.person)] == ["selfie_b"]
    person = ledger.people.get("ann", things.person)
    assert ledger.people.summarize([person])[person.id].photos == 1
    assert ledger.templates.list("ann").items == []
    ledger.templates.require_room("ann", 1)
    assert [row.id for row in ledger.portraits.list("ann").items] == ["portrait_2"]
    assert ledger.portraits.count("ann", PortraitFilter(person=things.person)) == 1
    assert code_of(lambda: ledger.portraits.get_many("ann", ["portrait_2", "portrait_1"])) == "not_found"
    assert code_of(lambda: ledger.portraits.change("ann", "portrait_1", favourite=True)) == "not_found"
    assert code_of(lambda: ledger.people.set_override("ann", "selfie_a", "include")) == "not_found"
    assert [each.portraits for each in ledger.statistics.styles()] == [1]
    assert ledger.usage.stored_bytes("ann") > 0, "what is stored counts as long as it is"


def test_the_same_photo_again_is_the_one_that_was_deleted(things: Things) -> None:
    things.ledger.people.set_override("ann", "selfie_a", "include")
    things.ledger.undo.remove(request(), "selfie", "selfie_a")
    assert code_of(lambda: things.add_selfie("a", most=1)) == "too_many_photos"
    again = things.add_selfie("a", id="selfie_other")
    assert (again.id, again.wish, again.removed) == ("selfie_a", "include", None)
    assert erasing.erase_removed(things.ledger, things.files, LATER) == 0


def test_what_is_deleted_leaves_room_which_restoring_takes_again(things: Things) -> None:
    things.ledger.undo.remove(request(), "selfie", "selfie_a")
    things.add_selfie("c", most=2)
    restore = things.ledger.undo.restore
    assert code_of(lambda: restore(request(), "selfie", "selfie_a", most=2)) == "too_many_photos"
    restore(request(), "selfie", "selfie_a", most=3)


def test_who_is_erased_takes_along_what_was_deleted(things: Things) -> None:
    ledger = things.ledger
    for kind, id in IDS.items():
        ledger.undo.remove(request(), kind, id)
    receipt = ledger.erasures.erase_person(request(), things.person)
    assert set(receipt.ids["selfies"]) == {"selfie_a", "selfie_b"}
    assert set(receipt.ids["portraits"]) == {"portrait_1", "portrait_2"}
    assert ledger.erasures.erase_owner(request()).ids["templates"] == ["template_1"]
    assert code_of(lambda: ledger.undo.restore(request(), "portrait", "portrait_1")) == "erased"
    assert erasing.erase_removed(ledger, things.files, LATER) == 0


def test_deleting_at_once_erases_what_was_deleted_before(things: Things) -> None:
    things.ledger.undo.remove(request(), "portrait", "portrait_1")
    assert things.ledger.erasures.erase_portrait(request(), "portrait_1").ids["portraits"] == ["portrait_1"]


def test_who_deleted_a_photo_stands_in_the_audit_log(things: Things) -> None:
    things.ledger.undo.remove(request(), "selfie", "selfie_a")
    things.ledger.undo.restore(request(), "selfie", "selfie_a")
    things.ledger.undo.remove(request(), "portrait", "portrait_1")
    entries = [(each.action, each.subject, each.actor) for each in things.ledger.audit.list(actor="ann").items]
    assert sorted(entries) == [
        ("selfie.removed", "selfie_a", "ann:key_1"),
        ("selfie.restored", "selfie_a", "ann:key_1"),
    ]


def test_restoring_and_erasing_at_once_leaves_all_or_nothing(things: Things, database: str) -> None:
    """Both take turns: the one who is second finds it restored, or erased."""
    others = [open_ledger(database) for _ in range(2)]
    for number in range(12):
        name = chr(ord("d") + number)
        id = things.add_selfie(name, most=100).id
        path = things.files.selfie("ann", things.person, id)
        path.write_bytes(b"a face")
        things.ledger.undo.remove(request(), "selfie", id)
        gate, results = threading.Barrier(2), {}

        def restore(id: str = id, gate: threading.Barrier = gate, results: dict[str, bool] = results) -> None:
            gate.wait()
            try:
                others[0].undo.restore(request(LATER), "selfie", id)
                results["restored"] = True
            except UserError as error:
                results["restored"] = error.code != "erased"

        def erase(gate: threading.Barrier = gate, results: dict[str, bool] = results) -> None:
            gate.wait()
            results["erased"] = erasing.erase_removed(others[1], things.files, LATER) == 1

        threads = [threading.Thread(target=each) for each in (restore, erase)]
        for each in threads:
            each.start()
        for each in threads:
            each.join()
        assert results["restored"] != results["erased"], "one of both"
        there = id in [row.id for row in things.ledger.people.selfies("ann", things.person)]
        assert (there, path.exists()) == (results["restored"], results["restored"])
    for other in others:
        other.close()
