"""Who was erased after a backup stays erased when it is restored; who came back by other means goes by a replay."""

import json
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from portrait.errors import OperatorError, UserError
from tasks import accounts, auth, erasing
from tasks.backup.replaying import replay
from tasks.backup.restoring import Target, restore
from tasks.backup.saving import save
from tasks.ledger.ledger import Ledger
from tasks.ledger.privacy.erasures import Request
from tests.tasks.backup.conftest import Place


@pytest.fixture
def backup(full: Place) -> Path:
    """A backup in which there are two people of `ann`, and `bea` with a key."""
    ledger = full.ledger()
    auth.create_key(ledger, "ann", "Ann's", "person", 110.0)
    auth.create_key(ledger, "cid", "Cid's", "person", 110.0)
    other = ledger.people.add("cid", "Cid", "1", "Cid", 110.0)
    full.files.save([b"face of cid"], full.files.selfie("cid", other.id, "s"), 99)
    full.files.save([b"face of bea"], full.files.selfie("ann", "person_2", "s2"), 99)
    save(ledger.database, full.files, full.home / "portrait.tar")
    return full.home / "portrait.tar"


def erase(place: Place, ledger: Ledger, begin: Callable[[Request], Any], owner: str = "ann") -> None:
    erasure = begin(Request(owner, 5000.0))
    erasing.finish_erasure(ledger, place.files, erasure, 5000.0)


def code_of(act: Callable[[], object]) -> str:
    with pytest.raises((UserError, OperatorError)) as caught:
        act()
    return caught.value.code


@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
def test_erased_people_stay_erased(full: Place, backup: Path, place_of: Callable[[str], Place], kind: str) -> None:
    ledger = full.ledger()
    erase(full, ledger, lambda request: ledger.erasures.erase_person(request, "person_1"))
    assert "person_1" in full.journal.read_text()
    target = place_of(kind)
    _, replayed = restore(backup, Target(target.database, target.files), [full.journal])
    assert (replayed.entries, replayed.erased, replayed.pending) == (2, 1, 0)
    again = target.ledger()
    people, portraits = again.people, again.portraits
    assert code_of(partial(people.get, "ann", "person_1")) == "erased"
    assert code_of(partial(portraits.get, "ann", "portrait_1")) == "erased"
    assert again.people.get("ann", "person_2").id == "person_2"
    assert not any("person_1" in name or "job_1" in name for name in target.pictures())
    assert b"face of bea" in target.pictures().values()
    assert "person_1" in {each.person for each in again.consents.proofs().items}, (
        "the proof of consent is kept as in any erasure"
    )
    assert replay(again, target.files, [full.journal]).erased == 0, "done twice it is done once"


def test_a_removed_account_stays_removed_but_not_a_new_one_of_its_name(
    full: Place, backup: Path, place_of: Callable[[str], Place]
) -> None:
    ledger, target = full.ledger(), place_of("sqlite")
    erasing.finish_erasure(ledger, full.files, accounts.remove(ledger, "cid", None, 5000.0), 5000.0)
    accounts.forget_removed(ledger, full.files)
    journal = full.journal.read_text()
    assert "cid" not in journal
    assert '"removed":true' in journal
    restore(backup, Target(target.database, target.files), [full.journal])
    again = target.ledger()
    assert code_of(lambda: again.owners.get("cid")) == "not_found"
    assert b"face of cid" not in target.pictures().values()
    assert {key.owner for key in again.api_keys.list()} == {"ann"}
    auth.create_key(again, "cid", "of a new one", "person", 6000.0)
    new = again.people.add("cid", "New", "1", "New", 6000.0)
    replay(again, target.files, [full.journal])
    assert again.people.get("cid", new.id) == new


def test_a_photo_a_portrait_and_a_picture_stay_erased(
    full: Place, backup: Path, place_of: Callable[[str], Place]
) -> None:
    ledger, target = full.ledger(), place_of("sqlite")
    erase(full, ledger, lambda request: ledger.erasures.erase_portrait(request, "portrait_1"))
    erase(full, ledger, lambda request: ledger.erasures.erase_template(request, "template_2"))
    erase(full, ledger, lambda request: ledger.erasures.erase_selfie(request, "selfie_1", learned=True))
    _, replayed = restore(backup, Target(target.database, target.files), [full.journal])
    assert replayed.erased == 4, "the training set too, in which nobody was left"
    again = target.ledger()
    for id, get in (
        ("portrait_1", again.portraits.get),
        ("template_2", again.templates.get),
        ("selfie_1", again.people.selfie),
    ):
        assert code_of(partial(get, "ann", id)) == "erased"
    assert again.people.get("ann", "person_1")
    assert again.templates.get("ann", "template_1")
    left = {Path(name).name for name in target.pictures()}
    assert not left & {"01.jpg", "template_2", "selfie_1"}


def test_withdrawn_consents_and_revoked_keys_do_not_come_back(
    full: Place, backup: Path, place_of: Callable[[str], Place]
) -> None:
    ledger, target = full.ledger(), place_of("sqlite")
    ledger.people.withdraw("ann", "person_2", 5000.0)
    ledger.api_keys.revoke("key_1", 5000.0, "ann")
    assert ledger.journal is not None
    assert ledger.journal.update(ledger.database) >= 2
    _, replayed = restore(backup, Target(target.database, target.files), [full.journal])
    assert (replayed.consents, replayed.keys, replayed.erased) == (1, 1, 0)
    again = target.ledger()
    assert again.people.consents("ann", "person_2")[0].withdrawn == 5000.0
    assert next(key for key in again.api_keys.list("ann") if key.id == "key_1").revoked == 5000.0


def test_an_older_journal_or_one_of_another_installation_is_refused(
    full: Place, place_of: Callable[[str], Place]
) -> None:
    ledger, target = full.ledger(), place_of("sqlite")
    erase(full, ledger, lambda request: ledger.erasures.erase_portrait(request, "portrait_1"))
    file, other = full.home / "portrait.tar", full.home / "other.jsonl"
    save(full.database, full.files, file)
    other.write_text(full.journal.read_text().replace('"id":"erasure_', '"id":"erasure_9'))
    assert code_of(lambda: restore(file, Target(target.database, target.files), [other])) == "bad_journal"
    assert code_of(lambda: restore(file, Target(target.database, target.files), [full.home / "gone"])) == "no_journal"
    assert target.pictures() == {}
    _, replayed = restore(file, Target(target.database, target.files), [other, full.journal])
    assert replayed.erased == 0, "it was erased before the backup"


def test_a_journal_holds_ids_and_no_names(full: Place, backup: Path) -> None:
    ledger = full.ledger()
    erase(full, ledger, lambda request: ledger.erasures.erase_owner(request))
    entry = json.loads(full.journal.read_text().splitlines()[-1])
    assert set(entry) == {"id", "kind", "at", "ids", "owner", "removed"}
    assert (entry["kind"], entry["removed"], len(entry["owner"])) == ("owner", False, 64)
    assert "ann" not in [entry["owner"], *entry["ids"]]
    assert set(entry["ids"]["people"]) == {"person_1", "person_2"}
