import random
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial

import pytest
import sqlalchemy as sa
from sqlalchemy import event

from portrait.errors import Cancelled, OperatorError, UserError
from tasks import jobs as states
from tasks.consent_texts import ConsentText, load_texts
from tasks.jobs import FINISHED, Fault, Job, Limits
from tasks.ledger.database import new_id
from tasks.ledger.ledger import Ledger
from tasks.ledger.privacy.consents import Statement
from tasks.ledger.privacy.erasures import Request
from tasks.ledger.queue import Outcome
from tasks.ledger.rows import PersonRow, PortraitRow
from tasks.ledger.tables import consents, jobs
from tests.tasks.stand import new_job, portraits_of

DRAWS = {"draw:studio"}
WORDS = {"en": {"paragraphs": ["Everything is new."], "adult": "Yes.", "agree": "Yes."}}


def text(version: str, asks_again: bool = False) -> ConsentText:
    return ConsentText.model_validate({"version": version, "asks_again": asks_again, "words": WORDS})


def add_person(ledger: Ledger, version: str = "2026-12", now: float = 1.0) -> PersonRow:
    statement = Statement(version, "Ann Smith", "en", "f" * 64, 30.0, "proxy", adult=True, key="key_1")
    return ledger.people.add_with_consent(PersonRow(new_id("person", now), "ann", "Bea", now, now), statement)


def order(ledger: Ledger, person: str, created: float = 10.0) -> Job:
    return ledger.jobs.add(new_job(created=created, params={"people": {"1": person}}), [person])


def claim(ledger: Ledger, now: float = 100.0) -> Job | None:
    return ledger.queue.claim("w", "cpu", DRAWS, now, 60.0)


def portrait(job: Job) -> PortraitRow:
    return PortraitRow(f"{job.id}-1", job.owner, job.id, 1, "01.jpg", "jpg", 9, 1, 1, "s", 1, {}, {}, {}, 200.0)


def code_of(act: Callable[[], object]) -> str:
    with pytest.raises(UserError) as caught:
        act()
    return caught.value.code


def test_a_job_of_somebody_who_withdrew_is_not_added(sqlite: Ledger) -> None:
    person = add_person(sqlite).id
    sqlite.people.withdraw("ann", person, 5.0)
    assert code_of(lambda: order(sqlite, person)) == "consent_withdrawn"
    assert sqlite.jobs.list("ann").items == []
    sqlite.people.give_consent("ann", person, Statement("2026-12", "Ann"), 6.0)
    assert order(sqlite, person).state == "queued"


def test_a_withdrawal_waits_for_a_job_that_is_being_added_and_then_stops_it(ledger: Ledger) -> None:
    person = add_person(ledger).id
    asked, withdrawing = threading.Event(), threading.Event()

    def stop_here(*_: object) -> None:
        asked.set()
        withdrawing.wait(5)
        time.sleep(0.2)  # the withdrawal has got as far as it can

    def withdraw() -> None:
        asked.wait(5)
        withdrawing.set()
        ledger.people.withdraw("ann", person, 5.0)

    thread = threading.Thread(target=withdraw)
    thread.start()
    engine = ledger.database.engine
    event.listen(engine, "before_cursor_execute", once := _once("INSERT INTO jobs", stop_here))
    try:
        job = order(ledger, person)
    finally:
        event.remove(engine, "before_cursor_execute", once)
    thread.join()
    assert ledger.jobs.get("ann", job.id).state == "cancelled"


def _once(statement: str, act: Callable[[], None]) -> Callable[..., None]:
    """A listener that acts before the first such statement."""
    done = threading.Event()

    def listener(_connection: object, _cursor: object, sql: str, *_: object) -> None:
        if sql.startswith(statement) and not done.is_set():
            done.set()
            act()

    return listener


def test_operators_cannot_try_again_what_somebody_withdrew(sqlite: Ledger) -> None:
    person = add_person(sqlite).id
    job = order(sqlite, person)
    sqlite.people.withdraw("ann", person, 20.0)
    assert sqlite.jobs.get("ann", job.id).state == "cancelled"
    assert code_of(lambda: sqlite.jobs.retry_any(job.id, 30.0)) == "consent_withdrawn"
    assert code_of(lambda: sqlite.jobs.retry("ann", job.id, 30.0)) == "consent_withdrawn"
    assert claim(sqlite) is None
    sqlite.people.add_consent("ann", person, "2026-12", "Ann", 40.0)
    assert sqlite.jobs.retry_any(job.id, 50.0).state == "queued"


def test_a_job_of_somebody_erased_is_not_tried_again(sqlite: Ledger) -> None:
    person = add_person(sqlite)
    other = add_person(sqlite)
    job = sqlite.jobs.add(new_job(created=1.0, params={"people": {"1": person.id}}), [other.id])
    sqlite.jobs.cancel_any(job.id, 2.0)
    sqlite.erasures.erase_person(Request("ann", 3.0), person.id)
    assert code_of(lambda: sqlite.jobs.retry_any(job.id, 4.0)) == "erased"


def test_claims_ask_again(sqlite: Ledger) -> None:
    first, second = add_person(sqlite).id, add_person(sqlite).id
    stopped, done = order(sqlite, first, 10.0), order(sqlite, second, 11.0)
    _forget_consent(sqlite, first)
    claimed = claim(sqlite)
    assert claimed is not None
    assert claimed.id == done.id
    after = sqlite.jobs.get("ann", stopped.id)
    assert (after.state, after.started, after.token) == ("cancelled", None, None)
    assert after.fault is not None
    assert after.fault.code == "consent_withdrawn"
    assert [each.state for each in sqlite.jobs.events("ann", stopped.id)] == ["queued", "cancelled"]


def test_nothing_is_delivered_without_consent(sqlite: Ledger) -> None:
    person = add_person(sqlite).id
    order(sqlite, person)
    job = claim(sqlite)
    assert job is not None
    _forget_consent(sqlite, person)

    def publish() -> None:
        pytest.fail("published without consent")

    outcome = Outcome(portraits=[portrait(job)])
    assert code_of(lambda: sqlite.queue.finish(job, 110.0, outcome, publish)) == "consent_withdrawn"
    assert portraits_of(sqlite, job) == []


def _forget_consent(ledger: Ledger, person: str) -> None:
    """As after a withdrawal of which the job heard nothing."""
    with ledger.database.write() as connection:
        connection.execute(sa.update(consents).where(consents.c.person == person).values(withdrawn=50.0))


def test_a_text_that_asks_again_ends_the_consents_before(ledger: Ledger) -> None:
    texts = [*load_texts()]
    ledger.consents.publish(texts, 1.0)
    old, person = ledger.people.add("ann", "Ann", "1", "Ann", 1.0).id, add_person(ledger, "2026-11").id
    waiting = order(ledger, person)
    ledger.consents.publish([*texts, text("2028-01")], 2.0)
    assert _states(ledger, old, person) == ["given", "given"], "it says no more than those before"
    ledger.consents.publish([*texts, text("2028-01"), text("2028-02", asks_again=True)], 3.0)
    assert _states(ledger, old, person) == ["outdated", "outdated"]
    assert code_of(lambda: order(ledger, person)) == "consent_outdated"
    assert code_of(lambda: ledger.consents.known("2026-12", "en")) == "consent_outdated"
    assert code_of(lambda: ledger.consents.known("1", "en")) == "unknown_text"
    assert claim(ledger) is None
    fault = ledger.jobs.get("ann", waiting.id).fault
    assert fault is not None
    assert fault.code == "consent_outdated"
    ledger.people.add_consent("ann", person, "2028-02", "Ann", 4.0)
    assert _states(ledger, old, person) == ["outdated", "given"]


def _states(ledger: Ledger, *persons: str) -> list[str]:
    found = ledger.people.summarize([ledger.people.get("ann", each) for each in persons])
    return [found[each].consent_state for each in persons]


def test_a_published_text_never_changes(sqlite: Ledger) -> None:
    sqlite.consents.publish([text("1"), text("2")], 1.0)
    changed = text("2").model_copy(update={"words": {"en": text("2").words["en"].model_copy(update={"agree": "No."})}})
    with pytest.raises(OperatorError) as caught:
        sqlite.consents.publish([text("1"), changed], 2.0)
    assert caught.value.code == "bad_settings"
    sqlite.consents.publish([text("1")], 3.0)
    assert sqlite.consents.current("zh").version == "1"
    assert code_of(lambda: sqlite.consents.known("2", "en")) == "unknown_text"


def test_the_record_says_who_agreed_for_whom_to_which_words(sqlite: Ledger) -> None:
    person = add_person(sqlite)
    [row] = sqlite.people.consents("ann", person.id)
    assert (row.given_by, row.given_for, row.adult, row.key) == ("Ann Smith", "proxy", True, "key_1")
    assert (row.text_version, row.language, row.text_hash, row.days) == ("2026-12", "en", "f" * 64, 30.0)


def test_the_proof_outlives_the_person_without_a_name(ledger: Ledger) -> None:
    person = add_person(ledger)
    ledger.people.withdraw("ann", person.id, 5.0)
    ledger.erasures.erase_person(Request("ann", 7.0), person.id)
    other = add_person(ledger, now=8.0)
    living, proof = ledger.consents.proofs("ann").items
    assert (living.person, living.erased) == (other.id, None)
    assert (proof.person, proof.given, proof.withdrawn, proof.erased) == (person.id, 1.0, 5.0, 7.0)
    assert (proof.text_version, proof.text_hash, proof.given_for, proof.key) == ("2026-12", "f" * 64, "proxy", "key_1")
    assert "Smith" not in repr(proof)
    assert "Bea" not in repr(proof)
    assert [row.person for row in ledger.consents.proofs(person=person.id).items] == [person.id]
    with ledger.database.write() as connection:
        ledger.consents.forget_owner("ann", connection)
    assert ledger.consents.proofs(person=person.id).items[0].owner == "removed"
    assert ledger.consents.prune(7.0) == 0
    assert ledger.consents.prune(7.5) == 1


@dataclass
class Story:
    """One job from request to delivery, with a withdrawal at one point of it."""

    ledger: Ledger
    seed: int
    said: list[str] = field(default_factory=list)
    """In this order: `withdrawn` when that was answered, `delivered` when files were moved into place."""
    job: Job | None = None

    def run(self) -> None:
        """Run the steps while somebody withdraws, then look at what there is."""
        rng = random.Random(self.seed)  # noqa: S311 -- which interleaving, no secret
        person = add_person(self.ledger).id
        steps = self._steps(person)
        at, gate, wait = rng.randrange(len(steps) + 1), threading.Barrier(2), rng.random() * 0.005

        def withdraw() -> None:
            gate.wait()
            time.sleep(wait)
            self.ledger.people.withdraw("ann", person, 50.0)
            self.said.append("withdrawn")

        thread = threading.Thread(target=withdraw)
        thread.start()
        with suppress(UserError, Cancelled):
            for number, step in enumerate([*steps, lambda: None]):
                if number == at:
                    gate.wait()
                    if self.seed % 8 >= 4:
                        thread.join()  # it is between two steps; else it races with one
                step()
        thread.join()
        self._settle()
        self._check(person)

    def _steps(self, person: str) -> Sequence[Callable[[], None]]:
        ways = (self._order, self._retry, self._retry_any, self._lose_worker)
        return [partial(ways[self.seed % 4], person), self._claim, self._report, self._report, self._finish]

    def _order(self, person: str) -> None:
        self.job = order(self.ledger, person)

    def _fail(self, person: str) -> Job:
        self._order(person)
        self._claim()
        assert self.job is not None
        self.ledger.queue.fail(self.job, 20.0, UserError("made", "No."))
        return self.job

    def _retry(self, person: str) -> None:
        self.ledger.jobs.retry("ann", self._fail(person).id, 21.0)

    def _retry_any(self, person: str) -> None:
        self.ledger.jobs.retry_any(self._fail(person).id, 21.0)

    def _lose_worker(self, person: str) -> None:
        self._order(person)
        self._claim()
        self.ledger.queue.requeue_expired(1_000.0, Limits())

    def _claim(self) -> None:
        claimed = claim(self.ledger)
        if claimed is None:
            raise Cancelled
        self.job = claimed

    def _report(self) -> None:
        assert self.job is not None
        self.ledger.queue.report(self.job, 101.0, "drawing", 0.5, "")

    def _finish(self) -> None:
        assert self.job is not None
        outcome = Outcome(portraits=[portrait(self.job)])
        self.ledger.queue.finish(self.job, 102.0, outcome, lambda: self.said.append("delivered"))

    def _settle(self) -> None:
        """What a worker does at the end, when it was told to stop."""
        if self.job is not None and self.job.token is not None:
            with suppress(UserError, Cancelled):
                self.ledger.queue.release(self.job, 103.0)

    def _check(self, person: str) -> None:
        assert self.said in (["withdrawn"], ["delivered", "withdrawn"]), (self.seed, self.said)
        with self.ledger.database.read() as connection:
            rows = connection.execute(sa.select(jobs.c.id, jobs.c.state)).all()
        assert {row.state for row in rows} <= FINISHED, self.seed
        for row in rows:
            if row.state != "succeeded":
                assert code_of(partial(self.ledger.jobs.retry_any, row.id, 200.0)) == "consent_withdrawn"
        assert claim(self.ledger, 300.0) is None
        assert code_of(lambda: order(self.ledger, person)) == "consent_withdrawn"
        self.ledger.erasures.erase_owner(Request("ann", 400.0))


def interleave(ledger: Ledger, seeds: Sequence[int]) -> None:
    stories = [Story(ledger, seed) for seed in seeds]
    for story in stories:
        story.run()
    delivered = sum("delivered" in story.said for story in stories)
    assert 0 < delivered < len(stories), "both ends were met"


def test_nothing_is_delivered_after_a_withdrawal(ledger: Ledger) -> None:
    interleave(ledger, range(16))


@pytest.mark.chaos
def test_nothing_is_delivered_after_any_of_200_withdrawals(ledger: Ledger) -> None:
    interleave(ledger, range(1000, 1200))


def test_a_fault_of_consent_is_kept_with_the_job() -> None:
    fault = Fault("UserError", "consent_withdrawn", "No.")
    refused = states.refuse(new_job(created=1.0), 5.0, fault)
    assert (refused.state, refused.fault, refused.finished) == ("cancelled", fault, 5.0)
    assert code_of(lambda: states.refuse(refused, 6.0, fault)) == "bad_transition"
