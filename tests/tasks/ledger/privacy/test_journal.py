"""The journal of erasures: written by whoever erases and by the keeper, only ever added to, and whole after a fault."""

import threading
from pathlib import Path

import pytest

from portrait.errors import OperatorError
from tasks.erasing import finish_erasure
from tasks.files import Files
from tasks.ledger.ledger import Ledger
from tasks.ledger.privacy.erasures import Request
from tasks.ledger.privacy.journal import ErasureJournal, JournalEntry
from tests.tasks.stand import Stand


def entry(number: int) -> JournalEntry:
    return JournalEntry(f"erasure_{number}", "person", 100.0 + number, {"people": [f"person_{number}"]})


def ids(path: Path) -> list[str]:
    return [each.id for each in ErasureJournal(path).entries()]


def test_what_one_process_noted_another_does_not_note_again(tmp_path: Path) -> None:
    one, other = (ErasureJournal(tmp_path / "home" / "erasures.jsonl") for _ in range(2))
    assert list(one.entries()) == []
    assert one.add([entry(1), entry(2)]) == 2
    assert other.add([entry(2), entry(3)]) == 1
    assert one.add([entry(3)]) == 0
    assert list(other.entries()) == [entry(1), entry(2), entry(3)]
    assert (tmp_path / "home" / "erasures.jsonl").stat().st_mode & 0o007 == 0


def test_many_threads_write_whole_lines(tmp_path: Path) -> None:
    journals = [ErasureJournal(tmp_path / "erasures.jsonl") for _ in range(4)]
    threads = [
        threading.Thread(target=lambda journal=journal, at=at: [journal.add([entry(at * 50 + n)]) for n in range(50)])
        for at, journal in enumerate(journals)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(ids(tmp_path / "erasures.jsonl")) == sorted(entry(number).id for number in range(200))


def test_a_line_that_was_cut_off_is_passed_over_and_added_again(tmp_path: Path) -> None:
    place = tmp_path / "erasures.jsonl"
    ErasureJournal(place).add([entry(1), entry(2)])
    place.write_bytes(place.read_bytes()[:-30])
    assert ids(place) == ["erasure_1"]
    assert ErasureJournal(place).add([entry(2), entry(3)]) == 2
    assert ids(place) == ["erasure_1", "erasure_2", "erasure_3"]


@pytest.mark.parametrize("content", [b"\xff\xd8\xff a photo\n", b'{"some": "json"}\n', b'{"id":"x","kind":1}\n'])
def test_what_is_no_journal_is_refused(tmp_path: Path, content: bytes) -> None:
    place = tmp_path / "erasures.jsonl"
    ErasureJournal(place).add([entry(1)])
    place.write_bytes(place.read_bytes() + content)
    with pytest.raises(OperatorError) as caught:
        ids(place)
    assert caught.value.code == "bad_journal"
    assert "Line 2" in caught.value.message


def test_a_keeper_notes_what_other_machines_erased(stand: Stand, tmp_path: Path) -> None:
    people = [stand.ledger.people.add("ann", name, "1", name, 100.0).id for name in ("Ann", "Bea", "Cid")]
    elsewhere = ErasureJournal(tmp_path / "elsewhere.jsonl")
    for number, person in enumerate(people[:2]):
        stand.ledger.erasures.erase_person(Request("ann", 100.0 + number * 90_000), person)
    assert elsewhere.update(stand.ledger.database) == 2
    assert elsewhere.update(stand.ledger.database) == 0
    stand.ledger.erasures.erase_person(Request("ann", 90_200.0), people[2])
    assert elsewhere.update(stand.ledger.database, since=90_250.0) == 1, "one that was committed late"
    assert len(ids(tmp_path / "elsewhere.jsonl")) == 3


def test_an_erasure_is_done_only_when_it_is_noted(sqlite: Ledger, tmp_path: Path) -> None:
    files, place = Files(tmp_path / "data"), tmp_path / "erasures.jsonl"
    person = sqlite.people.add("ann", "Ann", "1", "Ann", 100.0).id
    ledger = Ledger(sqlite.database, ErasureJournal(place))
    erasure = ledger.erasures.erase_person(Request("ann", 200.0), person)
    place.mkdir()
    assert finish_erasure(ledger, files, erasure, 300.0).done is None
    place.rmdir()
    assert finish_erasure(ledger, files, erasure, 301.0).done == 301.0
    assert ids(place) == [erasure.id]
