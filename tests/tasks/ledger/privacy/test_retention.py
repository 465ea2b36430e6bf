from dataclasses import replace

from tasks.jobs import DAY, Job
from tasks.ledger.ledger import Ledger
from tasks.ledger.privacy.retention import person_due, templates_in
from tasks.ledger.queue import Outcome
from tasks.ledger.rows import PersonRow, PortraitRow, TemplateRow
from tasks.settings import RetentionSettings, TaskSettings
from tests.tasks.stand import new_job

KEPT = TaskSettings(retention_days=30).retention_by_kind


def draw(ledger: Ledger, person: str, at: float, **params: object) -> PortraitRow:
    """A portrait of somebody, ordered and delivered at a time."""
    ledger.jobs.add(new_job(created=at, params=params), [person])
    job = ledger.queue.claim("w", "cpu", {"draw:studio"}, at, 60.0)
    assert job is not None
    row = PortraitRow(f"{job.id}-1", "ann", job.id, 1, "01.jpg", "jpg", 9, 1, 1, "s", 1, {}, {}, {}, at)
    ledger.queue.finish(job, at, Outcome(portraits=[row]), lambda: None)
    return row


def upload(ledger: Ledger, id: str, at: float) -> TemplateRow:
    row = TemplateRow(id, "ann", "beach.png", 9, 4, 3, "PNG", "job-x", at)
    return ledger.templates.add(row, 9)


def due(ledger: Ledger, day: float, kept: RetentionSettings = KEPT) -> set[str]:
    """Ids of what is erased on a day."""
    store, now = ledger.retention, day * DAY
    found = (*store.due_people(kept, now), *store.due_portraits(kept, now), *store.due_templates(kept, now))
    return {row.id for row in found}


def test_people_go_so_long_after_their_last_use(ledger: Ledger) -> None:
    old, busy, new = (ledger.people.add("ann", name, "1", "Ann", 0.0).id for name in ("Ann", "Bo", "Cy"))
    portrait = draw(ledger, new, DAY)
    ledger.jobs.add(new_job(created=DAY), [busy])
    assert due(ledger, 29) == set()
    assert due(ledger, 32) == {old, new}, "nobody who is in a job"
    ledger.retention.use_portraits("bob", [portrait], 20 * DAY)
    assert due(ledger, 32) == {old, new}, "only the owner uses it"
    ledger.retention.use_portraits("ann", [portrait], 20 * DAY)
    assert due(ledger, 32) == {old}, "it was looked at"
    ledger.retention.use_person("ann", old, 20 * DAY)
    assert due(ledger, 32) == set()
    assert due(ledger, 51) == {old, new}


def test_one_use_an_hour_is_written(sqlite: Ledger) -> None:
    person = sqlite.people.add("ann", "Ann", "1", "Ann", 0.0).id
    for at in (10.0, 4000.0, 5000.0):
        sqlite.retention.use_person("ann", person, at)
    assert sqlite.people.get("ann", person).used == 4000.0


def test_favourites_do_not_go_before_their_owner_was_told(sqlite: Ledger) -> None:
    person = sqlite.people.add("ann", "Ann", "1", "Ann", 0.0).id
    portrait = draw(sqlite, person, 0.0)
    sqlite.portraits.change("ann", portrait.id, favourite=True)
    assert due(sqlite, 200) == set()
    sqlite.retention.mark_people_warned("bob", [portrait.job], 24 * DAY)
    sqlite.retention.mark_people_warned("ann", [portrait.job], 40 * DAY)
    sqlite.retention.mark_people_warned("ann", [portrait.job], 45 * DAY)
    assert due(sqlite, 46) == set()
    assert due(sqlite, 48) == {person}, "seven days after the first time"
    sqlite.retention.use_person("ann", person, 46 * DAY)
    assert due(sqlite, 200) == set(), "told before the last use is not told"
    assert due(sqlite, 46 + 366) == {person}, "nobody comes to be told"


def test_the_date_of_a_favourite_moves_until_somebody_was_told(sqlite: Ledger) -> None:
    row = PersonRow("p", "ann", "Ann", 0.0, 0.0)
    plain = [person_due(row, False, KEPT, day * DAY) for day in (1, 24, 40)]
    assert [(each.on / DAY, each.soon) for each in plain] == [(30, False), (30, True), (30, True)]
    untold = [person_due(row, True, KEPT, day * DAY) for day in (1, 24, 40, 364)]
    assert [(each.on / DAY, each.soon) for each in untold] == [(30, False), (31, True), (47, True), (365, True)]
    warned = person_due(replace(row, warned=24 * DAY), True, KEPT, 28 * DAY)
    assert (warned.on / DAY, warned.soon) == (31, True)


def test_pictures_go_by_their_use_and_not_under_a_job(sqlite: Ledger) -> None:
    person = sqlite.people.add("ann", "Ann", "1", "Ann", 0.0).id
    for id in ("t-idle", "t-used", "t-hint", "t-seen"):
        upload(sqlite, id, 0.0)
    sqlite.jobs.add(new_job(created=1.0, kind="look", params={"template": "t-idle"}))
    job = sqlite.queue.claim("w", "cpu", {"draw:studio"}, 2.0, 60.0)
    assert job is not None
    sqlite.queue.finish(job, 3.0, Outcome(), lambda: None)
    draw(sqlite, person, 20 * DAY, template="t-used")
    draw(sqlite, person, 20 * DAY, technique={"hints": [{"kind": "pose", "template": "t-hint"}]})
    sqlite.retention.use_template("ann", "t-seen", 20 * DAY)
    assert due(sqlite, 31) == {"t-idle"}, "looking for its faces is no use of it"
    sqlite.retention.mark_templates_warned("ann", ["t-used", "t-hint", "t-seen"], 45 * DAY)
    assert due(sqlite, 60) == {"t-idle", "t-used", "t-hint", "t-seen", person}
    sqlite.jobs.add(new_job(created=59 * DAY, params={"template": "t-idle"}), [person])
    busy: Job = sqlite.jobs.list("ann").items[0]
    early = replace(KEPT, templates_days=0.5, warning_days=0, unseen_days=0)
    assert "t-idle" not in due(sqlite, 60, early), "a job that has not ended needs it"
    sqlite.jobs.cancel("ann", busy.id, 60 * DAY)
    assert "t-idle" in due(sqlite, 60, early)


def test_portraits_may_have_days_of_their_own(sqlite: Ledger) -> None:
    person = sqlite.people.add("ann", "Ann", "1", "Ann", 0.0).id
    plain, marked, seen = (draw(sqlite, person, 0.0) for _ in range(3))
    marked = sqlite.portraits.change("ann", marked.id, favourite=True)
    sqlite.retention.use_portraits("ann", [seen], 5 * DAY)
    kept = replace(KEPT, portraits_days=7.0)
    assert due(sqlite, 8) == set()
    assert due(sqlite, 8, kept) == {plain.id}
    assert due(sqlite, 13, kept) == {plain.id, seen.id}
    dates = sqlite.retention.portraits_due("ann", [plain, marked], kept, 6 * DAY)
    assert dates[plain.id].on == 7 * DAY
    assert dates[marked.id].on > 30 * DAY


def test_what_was_used_meanwhile_is_not_erased(ledger: Ledger) -> None:
    person, other = (ledger.people.add("ann", name, "1", "Ann", 0.0) for name in ("Ann", "Bo"))
    found = ledger.retention.due_people(KEPT, 31 * DAY)
    ledger.retention.use_person("ann", person.id, 31 * DAY)
    erased = [ledger.retention.erase_due(row, KEPT, 31 * DAY, lambda _: "gone") for row in found]
    assert dict(zip([row.id for row in found], erased, strict=True)) == {person.id: None, other.id: "gone"}


def test_each_kind_has_its_days() -> None:
    assert (KEPT.people_days, KEPT.templates_days, KEPT.jobs_days, KEPT.portraits_days) == (30, 30, 30, None)
    kept = TaskSettings(retention_days=30, retention=RetentionSettings(people_days=90, jobs_days=0)).retention_by_kind
    assert (kept.people_days, kept.templates_days, kept.jobs_days) == (90, 30, 0)


def test_pictures_that_a_job_names() -> None:
    hints = [{"kind": "pose", "template": "b"}, {"kind": "canny", "template": "c"}]
    technique = {"hints": hints, "look": {"template": "d"}}
    assert templates_in({"template": "a", "technique": technique}) == {"a", "b", "c", "d"}
    assert templates_in({"template": None, "technique": None}) == set()
