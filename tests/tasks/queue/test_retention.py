from dataclasses import replace
from typing import Any

import pytest

from portrait.errors import UserError
from tasks.jobs import DAY
from tasks.ledger.ledger import Ledger
from tasks.ledger.privacy.erasures import ErasureRepository, ErasureRow, Request
from tasks.ledger.rows import TemplateRow
from tasks.queue.retention import erase_expired
from tests.tasks.stand import Stand


def test_what_nobody_used_goes_with_its_files(stand: Stand) -> None:
    ledger, files = stand.ledger, stand.files
    kept = replace(stand.installation.tasks.retention_by_kind, templates_days=5.0)
    person = ledger.people.add("ann", "Ann", "1", "Ann", 0.0)
    ledger.templates.add(TemplateRow("t", "ann", "beach.png", 9, 4, 3, "PNG", "job-x", 0.0), 9)
    photo, picture = files.selfie("ann", person.id, "s"), files.template("ann", "t")
    for path in (photo, picture):
        files.save([b"x"], path, 9)
    assert erase_expired(ledger, files, kept, 6 * DAY).templates == 1
    assert (photo.exists(), picture.exists()) == (True, False)
    assert erase_expired(ledger, files, kept, 31 * DAY).people == 1
    assert not photo.exists()
    assert [row.erased for row in ledger.consents.proofs().items] == [31 * DAY]
    erase_expired(ledger, files, kept, (31 + 1096) * DAY)
    assert ledger.consents.proofs().items == []


def test_it_goes_on_where_somebody_else_erases_first(stand: Stand, monkeypatch: pytest.MonkeyPatch) -> None:
    ledger = stand.ledger
    people = [ledger.people.add("ann", name, "1", "Ann", 0.0).id for name in ("Ann", "Bo", "Cy")]
    erase = ErasureRepository.erase_person

    def late(store: ErasureRepository, request: Request, id: str, connection: Any = None) -> ErasureRow:
        if id == people[0]:
            raise UserError("erased", "It was erased.")
        return erase(store, request, id, connection)

    monkeypatch.setattr(ErasureRepository, "erase_person", late)
    assert erase_expired(ledger, stand.files, stand.installation.tasks.retention_by_kind, 31 * DAY).people == 2
    assert _there(ledger) == people[:1]


def _there(ledger: Ledger) -> list[str]:
    return [row.id for row in ledger.people.list("ann").items]
