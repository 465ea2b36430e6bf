"""Deletes the rows of people, photos, jobs and owners within a transaction, and says which files are to follow them."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from functools import partial
from typing import Any, TypeAlias

import sqlalchemy as sa

from tasks import jobs as states
from tasks.jobs import Job
from tasks.ledger import transitions
from tasks.ledger.privacy.consents import keep_proofs
from tasks.ledger.rows import add_tombstones, get_owned
from tasks.ledger.tables import (
    api_keys,
    idempotency_keys,
    identities,
    job_events,
    job_people,
    jobs,
    people,
    portraits,
    selfies,
    sessions,
    sign_in_codes,
    templates,
    training_sets,
    webhooks,
)

Target: TypeAlias = Sequence[str]
"""What is to be erased in the data folder: its kind, then the ids that name its place; see `tasks.erasing`."""
DELETED = "a deleted photo"
"""What stands in messages for the name of a file that was deleted."""


@dataclass(frozen=True, slots=True)
class ErasedIds:
    """Ids of what was erased."""

    people: Sequence[str] = ()
    selfies: Sequence[str] = ()
    training_sets: Sequence[str] = ()
    identities: Sequence[str] = ()
    portraits: Sequence[str] = ()
    templates: Sequence[str] = ()
    jobs: Sequence[str] = ()
    webhooks: Sequence[str] = ()
    keys: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class Removal:
    """What was deleted in a transaction, and what is to be erased after it."""

    ids: ErasedIds = field(default_factory=ErasedIds)
    targets: Sequence[Target] = ()
    until: float = 0.0
    """Until then a worker may still write for a job that was deleted, seconds since 1970: its lease ends."""

    def __add__(self, other: "Removal") -> "Removal":
        names = [each.name for each in fields(ErasedIds)]
        ids = {name: [*getattr(self.ids, name), *getattr(other.ids, name)] for name in names}
        return Removal(ErasedIds(**ids), [*self.targets, *other.targets], max(self.until, other.until))


def remove_people(connection: sa.Connection, owner: str, persons: Sequence[str], now: float) -> Removal:
    """Delete people with everything made from their photos, and every job they are in; proofs of consents stay."""
    keep_proofs(connection, persons, now)
    in_jobs = sa.select(job_people.c.job).where(job_people.c.person.in_(persons)).distinct()
    removal = remove_jobs(connection, owner, _scalars(connection, in_jobs), now)
    ids = ErasedIds(
        people=list(persons),
        selfies=_ids_of(connection, selfies, persons),
        training_sets=_ids_of(connection, training_sets, persons),
        identities=_ids_of(connection, identities, persons),
    )
    for kind, gone in (("person", ids.people), ("selfie", ids.selfies), ("identity", ids.identities)):
        add_tombstones(connection, owner, kind, gone, now)
    _forget_responses(connection, owner, ids.people)
    connection.execute(sa.delete(job_people).where(job_people.c.person.in_(persons)))
    connection.execute(sa.delete(people).where(people.c.id.in_(persons)))  # cascades to all that names the person
    return removal + Removal(ids, [("person", each) for each in persons])


def remove_jobs(connection: sa.Connection, owner: str, ids: Collection[str], now: float) -> Removal:
    """Delete jobs with their portraits and events, also running ones: without the row their lease is over.

    Webhooks are told that a job was cancelled that had not ended.
    """
    chosen = sa.select(jobs).where(jobs.c.id.in_(ids)).order_by(jobs.c.id).with_for_update()
    found = [transitions.job_from_row(row) for row in connection.execute(chosen)]
    for job in found:
        if not job.done:
            _cancel(connection, job, now)
    drawn = _scalars(connection, sa.select(portraits.c.id).where(portraits.c.job.in_(ids)))
    names = [job.id for job in found]
    for kind, gone in (("portrait", drawn), ("job", names)):
        add_tombstones(connection, owner, kind, gone, now)
    _forget_responses(connection, owner, names)
    connection.execute(sa.delete(portraits).where(portraits.c.id.in_(drawn)))
    connection.execute(sa.delete(jobs).where(jobs.c.id.in_(names)))
    until = max((job.lease_until or 0.0 for job in found), default=0.0)
    return Removal(ErasedIds(portraits=drawn, jobs=names), [("job", each) for each in names], until)


def remove_owner(connection: sa.Connection, owner: str, keep: str, now: float) -> Removal:
    """Delete everything of an owner's but the key or session `keep`, with which it is asked for, and what limits use."""
    removal = remove_people(connection, owner, _owned(connection, people, owner), now)
    removal += remove_jobs(connection, owner, _owned(connection, jobs, owner), now)
    pictures, hooks = _owned(connection, templates, owner), _owned(connection, webhooks, owner)
    add_tombstones(connection, owner, "template", pictures, now)
    kept = {keep, *_scalars(connection, sa.select(sessions.c.key).where(sessions.c.id == keep))}
    keys = [each for each in _owned(connection, api_keys, owner) if each not in kept]
    connection.execute(sa.delete(templates).where(templates.c.id.in_(pictures)))
    connection.execute(sa.delete(webhooks).where(webhooks.c.id.in_(hooks)))
    connection.execute(sa.delete(api_keys).where(api_keys.c.id.in_(keys)))
    connection.execute(sa.delete(sessions).where(sessions.c.owner == owner, sessions.c.id != keep))
    for table in (sign_in_codes, idempotency_keys):
        connection.execute(sa.delete(table).where(table.c.owner == owner))
    ids = ErasedIds(templates=pictures, webhooks=hooks, keys=keys)
    return removal + Removal(ids, [("template", each) for each in pictures])


def remove_ids(connection: sa.Connection, owner: str, ids: ErasedIds, now: float) -> Removal:
    """Delete what is there of these ids, each with all that follows from it."""
    removal = remove_people(connection, owner, _there(connection, people, ids.people), now)
    removal += remove_jobs(connection, owner, _there(connection, jobs, ids.jobs), now)
    for table, each, remove in (
        (portraits, ids.portraits, remove_portrait),
        (templates, ids.templates, remove_template),
    ):
        for id in _there(connection, table, each):
            removal += remove(connection, owner, id, now)
    for id in _there(connection, selfies, ids.selfies):
        removal += remove_selfie(connection, owner, id, now, learned=False)
    removal += remove_identities(connection, owner, _there(connection, identities, ids.identities), now)
    removal += remove_training_sets(connection, owner, _there(connection, training_sets, ids.training_sets), now)
    hooks, keys = _there(connection, webhooks, ids.webhooks), _there(connection, api_keys, ids.keys)
    connection.execute(sa.delete(webhooks).where(webhooks.c.id.in_(hooks)))
    connection.execute(sa.delete(api_keys).where(api_keys.c.id.in_(keys)))
    return removal + Removal(ErasedIds(webhooks=hooks, keys=keys))


def owner_of(connection: sa.Connection, ids: ErasedIds) -> str | None:
    """The owner of what is there of these ids, which were erased together; None where nothing is."""
    tables = (people, jobs, portraits, templates, selfies, identities, training_sets, webhooks)
    for table, some in [*((table, getattr(ids, table.name)) for table in tables), (api_keys, ids.keys)]:
        if some and (owner := connection.scalar(sa.select(table.c.owner).where(table.c.id.in_(some)).limit(1))):
            return str(owner)
    return None


def remove_selfie(connection: sa.Connection, owner: str, id: str, now: float, learned: bool) -> Removal:
    """Delete a photo and what is known of it in training sets; with `learned` also the LoRAs that were trained on it.

    LoRAs that stay are marked stale. Work on the person's photos that has begun starts again, a training is cancelled.
    """
    photo = get_owned(connection, selfies, owner, id, removed=True)
    removal = _restart_work(connection, photo.person, now)
    _forget_file_name(connection, photo.person, photo.name)
    targets: list[Target] = [("selfie", photo.person, id)]
    trained: list[str] = []
    for row in connection.execute(sa.select(training_sets).where(training_sets.c.person == photo.person)).all():
        judged = [each for each in row.photos if each.get("file") == id]
        if not judged:
            continue
        left = [each for each in row.photos if each.get("file") != id]
        connection.execute(sa.update(training_sets).where(training_sets.c.id == row.id).values(photos=left))
        made = _scalars(connection, sa.select(identities.c.id).where(identities.c.training_set == row.id))
        targets += [("photo", photo.person, row.id, id), *(("page", photo.person, each, row.id, id) for each in made)]
        if any(each.get("verdict") == "use" for each in judged):
            trained += made
    connection.execute(sa.delete(selfies).where(selfies.c.id == id))
    add_tombstones(connection, owner, "selfie", [id], now)
    of_lora = sa.select(identities.c.id).where(identities.c.id.in_(trained), identities.c.base != "")
    stale = _scalars(connection, of_lora)
    removal += Removal(ErasedIds(selfies=[id]), targets)
    if learned:
        return removal + remove_identities(connection, owner, stale, now)
    connection.execute(sa.update(identities).where(identities.c.id.in_(stale)).values(stale=now))
    return removal


def remove_identities(connection: sa.Connection, owner: str, ids: Sequence[str], now: float) -> Removal:
    """Delete identities, and with one that was made of photos alone its training set and all that were learned from it."""
    rows = connection.execute(sa.select(identities).where(identities.c.id.in_(ids))).all()
    add_tombstones(connection, owner, "identity", [row.id for row in rows], now)
    connection.execute(sa.delete(identities).where(identities.c.id.in_(ids)))
    removal = Removal(
        ErasedIds(identities=[row.id for row in rows]), [("identity", row.person, row.id) for row in rows]
    )
    sets = [row.training_set for row in rows if not row.base]
    return removal + remove_training_sets(connection, owner, sets, now) if sets else removal


def remove_training_sets(connection: sa.Connection, owner: str, ids: Sequence[str], now: float) -> Removal:
    """Delete training sets and all identities made of them."""
    rows = connection.execute(sa.select(training_sets).where(training_sets.c.id.in_(ids))).all()
    made = connection.execute(sa.select(identities).where(identities.c.training_set.in_(ids))).all()
    add_tombstones(connection, owner, "identity", [row.id for row in made], now)
    connection.execute(sa.delete(training_sets).where(training_sets.c.id.in_(ids)))
    gone = ErasedIds(training_sets=[row.id for row in rows], identities=[row.id for row in made])
    targets = [("set", row.person, row.id) for row in rows]
    return Removal(gone, [*targets, *(("identity", row.person, row.id) for row in made)])


def remove_portrait(connection: sa.Connection, owner: str, id: str, now: float) -> Removal:
    """Delete one portrait."""
    row = get_owned(connection, portraits, owner, id, removed=True)
    connection.execute(sa.delete(portraits).where(portraits.c.id == id))
    add_tombstones(connection, owner, "portrait", [id], now)
    return Removal(ErasedIds(portraits=[id]), [("portrait", row.job, row.file)])


def remove_template(connection: sa.Connection, owner: str, id: str, now: float) -> Removal:
    """Delete one uploaded picture."""
    get_owned(connection, templates, owner, id, removed=True)
    connection.execute(sa.delete(templates).where(templates.c.id == id))
    add_tombstones(connection, owner, "template", [id], now)
    return Removal(ErasedIds(templates=[id]), [("template", id)])


def _restart_work(connection: sa.Connection, person: str, now: float) -> Removal:
    """Have nobody finish what was begun with a photo that is deleted: judging is queued again, a training is cancelled.

    Their checkpoints are erased.
    """
    mine = sa.select(job_people.c.job).where(job_people.c.person == person)
    begun = jobs.c.started.is_not(None) & jobs.c.state.not_in(states.FINISHED - {"failed"})
    chosen = sa.select(jobs).where(jobs.c.id.in_(mine), jobs.c.kind.in_(("prepare", "train")), begun)
    until, targets = 0.0, []
    for job in [transitions.job_from_row(row) for row in connection.execute(chosen.with_for_update())]:
        until = max(until, job.lease_until or 0.0)
        if job.kind == "train":
            targets.append(("work", person, job.id))
        if job.state == "running":
            stop = states.release if job.kind == "prepare" else states.request_cancel
            transitions.change_any(connection, job.id, partial(stop, now=now), now)
    return Removal(targets=targets, until=until)


def _forget_file_name(connection: sa.Connection, person: str, name: str) -> None:
    """Take a file's name out of what jobs of a person said of it."""
    mine = sa.select(job_people.c.job).where(job_people.c.person == person)
    for table, key, columns in ((jobs, jobs.c.id, ("message", "fault")), (job_events, job_events.c.job, ("data",))):
        for row in connection.execute(sa.select(table).where(key.in_(mine))).all():
            said = {column: row._mapping[column] for column in columns}
            changed = {column: _without_name(value, name) for column, value in said.items()}
            if changed != said:
                connection.execute(sa.update(table).where(table.c.id == row.id).values(changed))


def _without_name(value: Any, name: str) -> Any:
    """Replace a file's name wherever a value holds it."""
    if isinstance(value, str):
        return value.replace(name, DELETED)
    if isinstance(value, Mapping):
        return {key: _without_name(each, name) for key, each in value.items()}
    return [_without_name(each, name) for each in value] if isinstance(value, list) else value


def _cancel(connection: sa.Connection, job: Job, now: float) -> None:
    after = transitions.change_any(connection, job.id, partial(states.request_cancel, now=now), now)
    if not after.done:
        transitions.record_event(connection, replace(after, state="cancelled", message=""), now)


def _forget_responses(connection: sa.Connection, owner: str, ids: Collection[str]) -> None:
    """Delete the stored responses that name one of these ids: they hold names and words as well."""
    chosen = sa.select(idempotency_keys.c.key, idempotency_keys.c.body).where(idempotency_keys.c.owner == owner)
    found = connection.execute(chosen).all() if ids else []
    naming = [row.key for row in found if any(each in row.body for each in ids)]
    mine = (idempotency_keys.c.owner == owner) & idempotency_keys.c.key.in_(naming)
    connection.execute(sa.delete(idempotency_keys).where(mine))


def _there(connection: sa.Connection, table: sa.Table, ids: Sequence[str]) -> Sequence[str]:
    return _scalars(connection, sa.select(table.c.id).where(table.c.id.in_(ids))) if ids else []


def _owned(connection: sa.Connection, table: sa.Table, owner: str) -> Sequence[str]:
    return _scalars(connection, sa.select(table.c.id).where(table.c.owner == owner))


def _ids_of(connection: sa.Connection, table: sa.Table, persons: Sequence[str]) -> Sequence[str]:
    return _scalars(connection, sa.select(table.c.id).where(table.c.person.in_(persons)))


def _scalars(connection: sa.Connection, chosen: "sa.Select[str]") -> Sequence[str]:
    return list(connection.scalars(chosen).all())
