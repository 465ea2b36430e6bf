"""Lists of portraits: in two orders, page by page while others come and go, with who is on them and without recipes."""

from dataclasses import replace

import pytest

from portrait.errors import UserError
from tasks.ledger.ledger import Ledger
from tasks.ledger.pictures import Place, PortraitFilter, PortraitSort
from tasks.ledger.privacy.erasures import Request
from tasks.ledger.queue import Outcome
from tasks.ledger.rows import PortraitRow
from tests.tasks.ledger.test_ledger import claim, portrait
from tests.tasks.stand import new_job

ALIKE = [f"portrait_{number}" for number in (5, 3, 1, 4, 2, 6)]
"""The most alike first, of equals the newer; then what was not measured; ID photos that break rules come last."""


NEWEST = [f"portrait_{number}" for number in range(1, 7)]
"""The newest first, and of one job the best."""


def rows_of(ledger: Ledger, order: str = "") -> tuple[str, list[PortraitRow]]:
    """Six portraits of a job: the person's id, and the rows."""
    person = ledger.people.add("ann", "Ann", "1", "Ann", 1.0).id
    ledger.jobs.add(new_job(params={"people": {"1": person}}, order_id=order), [person])
    job = claim(ledger)
    far = {1: [0.4], 2: [], 3: [0.4], 4: [0.2, 0.5], 5: [0.3], 6: [0.1]}
    rules = [{"rule": "head", "ok": False}]
    rows = [
        replace(
            portrait(job, number),
            id=f"portrait_{number}",
            likeness={str(at): {"space": "dlib", "distance": each} for at, each in enumerate(some, 1)},
            scores={"rules_broken": 2.0} if number == 6 else {},
            recipe={"seed": 7, "drawn": {"rules": rules} if number == 6 else {"matte": "u2net"}},
        )
        for number, some in far.items()
    ]
    ledger.queue.finish(job, 100.0, Outcome(portraits=rows), lambda: None)
    return person, rows


def walk(ledger: Ledger, sort: PortraitSort, limit: int) -> list[str]:
    found, cursor = [], None
    while True:
        page = ledger.portraits.list("ann", PortraitFilter(), cursor, limit, sort)
        found += [row.id for row in page.items]
        cursor = page.next
        if cursor is None:
            return found


def test_pages_put_together_are_the_whole_list(ledger: Ledger) -> None:
    rows_of(ledger)
    for limit in (1, 2, 4, 6, 9):
        assert walk(ledger, "likeness", limit) == ALIKE
        assert walk(ledger, "newest", limit) == NEWEST


def test_a_page_goes_on_where_the_last_ended_while_others_come_and_go(ledger: Ledger) -> None:
    _, rows = rows_of(ledger)
    page = ledger.portraits.list("ann", PortraitFilter(), None, 3, "likeness")
    assert [row.id for row in page.items] == ALIKE[:3]
    ledger.jobs.add(new_job())
    job = claim(ledger)
    newer = [replace(rows[4], id=f"portrait_9{number}", job=job.id, number=number) for number in (1, 2)]
    ledger.queue.finish(job, 101.0, Outcome(portraits=newer), lambda: None)
    ledger.undo.remove(Request("ann", 1.0), "portrait", ALIKE[2])
    assert [row.id for row in ledger.portraits.list("ann", PortraitFilter(), page.next, 3, "likeness").items] == ALIKE[
        3:
    ]


def test_the_place_of_a_portrait_and_its_neighbours(ledger: Ledger) -> None:
    person, _ = rows_of(ledger)
    lists: dict[PortraitSort, list[str]] = {"likeness": ALIKE, "newest": NEWEST}
    for sort, ids in lists.items():
        for at, id in enumerate(ids):
            beside = ["", *ids, ""]
            expected = Place(beside[at], beside[at + 2], at + 1, 6)
            assert ledger.portraits.place("ann", id, PortraitFilter(person=person), sort) == expected
    ledger.portraits.change("ann", "portrait_1", favourite=True)
    of_other_list = ledger.portraits.place("ann", "portrait_3", PortraitFilter(favourite=True), "likeness")
    assert of_other_list == Place("", "portrait_1", 1, 1), "it is not in the list, but has its place"
    with pytest.raises(UserError, match="nothing of yours"):
        ledger.portraits.place("bob", "portrait_1", PortraitFilter(), "newest")


def test_a_cursor_of_another_order_is_refused(ledger: Ledger) -> None:
    rows_of(ledger)
    for cursor in ("portrait_4", "x_0.4_portrait_4", "0_0.4"):
        with pytest.raises(UserError) as caught:
            ledger.portraits.list("ann", PortraitFilter(), cursor, 3, "likeness")
        assert caught.value.code == "bad_cursor"


def test_without_recipes_the_rules_of_id_photos_are_there(ledger: Ledger) -> None:
    _, rows = rows_of(ledger)
    full = ledger.portraits.list("ann").items
    light = ledger.portraits.list("ann", recipes=False).items
    assert light[-1].recipe == {"drawn": {"rules": rows[5].recipe["drawn"]["rules"]}}
    assert [row.recipe for row in light[:-1]] == [{}] * 5
    assert [replace(row, recipe={}) for row in full] == [replace(row, recipe={}) for row in light]


def test_who_is_on_a_portrait_and_what_it_is_sorted_by(ledger: Ledger) -> None:
    person, rows = rows_of(ledger, "order_1")
    assert ledger.portraits.people(rows[:1]) == {"portrait_1": {"1": person}}
    assert ledger.portraits.people([]) == {}
    row = ledger.portraits.get("ann", "portrait_4")
    assert (row.distance, row.rules_broken) == (0.5, 0), "the face that is least alike"
    assert ledger.portraits.get("ann", "portrait_6").rules_broken == 2
    assert len(ledger.portraits.list("ann", PortraitFilter(order="order_1")).items) == 6
    assert ledger.portraits.count("ann", PortraitFilter(order="order_2")) == 0
    assert ledger.people.names("ann", [person, "person_gone"]) == {person: "Ann"}
