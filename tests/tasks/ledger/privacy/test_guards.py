"""Faces that are never drawn and people who may be children, on both databases."""

from collections.abc import Callable, Sequence
from dataclasses import asdict

import pytest
import sqlalchemy as sa

from portrait.errors import UserError
from tasks.consent_texts import ConsentText, load_texts
from tasks.ledger.ledger import Ledger
from tasks.ledger.privacy.ages import note_answer
from tasks.ledger.privacy.blocked_people import BlockedPersonRow
from tasks.ledger.privacy.consents import Statement
from tasks.ledger.privacy.erasures import Request
from tasks.ledger.rows import IdentityRow, TrainingSetRow
from tasks.ledger.tables import identities, training_sets


def code_of(act: Callable[[], object]) -> str:
    try:
        act()
    except UserError as error:
        return error.code
    return ""


def add(ledger: Ledger, name: str = "Ann", asks: bool | None = None, drawable: bool = True) -> str:
    person = ledger.people.add("ann", name, "2026-12", name, 1.0).id
    with ledger.database.write() as connection:
        note_answer(connection, person, asks)
    if drawable:
        made = TrainingSetRow(f"set-{person}", "ann", person, "job", [], 2.0)
        identity = IdentityRow(f"identity-{person}", "ann", person, made.id, 2.0)
        insert(ledger, made, identity)
    return person


def insert(ledger: Ledger, made: TrainingSetRow, identity: IdentityRow) -> None:
    with ledger.database.write() as connection:
        connection.execute(sa.insert(training_sets).values(asdict(made)))
        connection.execute(sa.insert(identities).values(asdict(identity)))


def test_who_is_waited_for(ledger: Ledger) -> None:
    child, adult, unknown = add(ledger, asks=True), add(ledger, asks=False), add(ledger)
    unjudged = add(ledger, drawable=False)
    everybody = [child, adult, unknown, unjudged]
    assert ledger.ages.waiting(everybody) == {child}
    assert ledger.ages.waiting(everybody, closed=True) == {child, unknown}
    assert ledger.ages.waiting([]) == set()
    assert [row.id for row in ledger.ages.list().items] == [child]
    assert {row.id for row in ledger.ages.list(closed=True).items} == {child, unknown}
    assert code_of(lambda: ledger.ages.require(everybody)) == "guardian_needed"
    ledger.ages.require([adult, unknown])
    ledger.people.give_consent("ann", child, Statement("2026-12", "Bea", given_for="guardian"), 3.0)
    ledger.ages.require(everybody)
    assert ledger.ages.may_be_children(everybody)
    assert not ledger.ages.may_be_children([adult, unknown])
    ledger.ages.settle(child, 4.0)
    assert not ledger.ages.may_be_children(everybody)
    assert ledger.ages.list().items == []
    assert code_of(lambda: ledger.ages.settle("person_0", 4.0)) == "not_found"


def test_a_guardians_consent_ends_with_its_text(ledger: Ledger) -> None:
    texts = load_texts()
    ledger.consents.publish(texts, 1.0)
    child = add(ledger, asks=True)
    ledger.people.give_consent("ann", child, Statement("2027-01", "Bea", given_for="guardian"), 3.0)
    ledger.ages.require([child])
    again = ConsentText.model_validate({**texts[-1].model_dump(by_alias=True), "version": "our-1", "asks_again": True})
    ledger.consents.publish([*texts, again], 4.0)
    ledger.people.give_consent("ann", child, Statement("our-1", "Ann", given_for="self"), 5.0)
    assert code_of(lambda: ledger.ages.require([child])) == "guardian_needed"


@pytest.mark.parametrize(
    ("space", "one", "other", "same"),
    [
        ("dlib", [0.0, 0.0], [0.0, 0.599], True),
        ("dlib", [0.0, 0.0], [0.0, 0.61], False),
        ("buffalo_l", [1.0, 0.0], [3.0, 8.0], True),  # 0.649 as 1 − cosine: the length says nothing
        ("buffalo_l", [1.0, 0.0], [3.0, 8.2], False),
    ],
)
def test_faces_are_compared_as_their_space_does(
    ledger: Ledger, space: str, one: Sequence[float], other: Sequence[float], same: bool
) -> None:
    assert not ledger.blocked_people.any()
    ledger.blocked_people.add(BlockedPersonRow("blocked_1", "a letter", "op:key", 1.0, {space: one}))
    assert ledger.blocked_people.any()
    assert ledger.blocked_people.has([{space: other}]) is same
    assert not ledger.blocked_people.has([{"antelopev2": other}])
    assert not ledger.blocked_people.has([])


def test_a_block_outlives_the_person_and_the_owner(ledger: Ledger) -> None:
    add(ledger)
    ledger.blocked_people.add(BlockedPersonRow("blocked_1", "a letter", "ann:key", 1.0, {"dlib": [0.0]}))
    ledger.erasures.erase_owner(Request("ann", 5.0, "ann:key"))
    assert [row.id for row in ledger.blocked_people.list().items] == ["blocked_1"]
    ledger.blocked_people.remove("blocked_1")
    assert code_of(lambda: ledger.blocked_people.remove("blocked_1")) == "not_found"
