"""What owners used within a day: counted when it is used, and not given back when something is deleted.

A row says how much of one kind an owner used at a time, and nothing about what it was. Of jobs that failed or were cancelled
only the portraits count that they had finished, and the seconds that workers spent on them.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, NoReturn, TypeAlias, get_args

import sqlalchemy as sa

from portrait.errors import UserError
from tasks.jobs import DAY, FINISHED, LEASED, Job
from tasks.ledger.rows import Repository
from tasks.ledger.tables import jobs, metadata, portraits, templates

Kind: TypeAlias = Literal[
    "photos",
    "upload_bytes",
    "upload_pixels",
    "portraits",
    "portrait_pixels",
    "trainings",
    "training_steps",
    "worker_seconds",
    "webhook_calls",
]
ORDERED: Collection[Kind] = ("portraits", "portrait_pixels", "trainings", "training_steps")
"""Kinds that a job is charged when it is ordered."""
USUAL_PIXELS = 2_000_000
"""Pixels of a portrait whose order names neither a size nor a picture of the owner's."""
MEGA = 1_000_000
UNLIMITED = 2**62

usage = sa.Table(
    "usage",
    metadata,
    sa.Column("id", sa.BigInteger().with_variant(sa.Integer, "sqlite"), primary_key=True, autoincrement=True),
    sa.Column("owner", sa.String(64), nullable=False),
    sa.Column("kind", sa.String(20), nullable=False),
    sa.Column("amount", sa.BigInteger, nullable=False),
    sa.Column("at", sa.Double, nullable=False, index=True),
    # The order that it was charged for; empty for what was uploaded. No foreign key: it counts when the job is erased.
    sa.Column("job", sa.String(64), nullable=False, index=True),
    sa.Index(None, "owner", "kind", "at"),
)

# What is there of each owner: written by triggers of those tables (migration 0018), and read by everybody else.
holdings = sa.Table(
    "holdings",
    metadata,
    sa.Column("owner", sa.String(64), primary_key=True),
    sa.Column("kind", sa.String(20), primary_key=True),
    sa.Column("there", sa.Integer, nullable=False),
    sa.Column("bytes", sa.BigInteger, nullable=False),
)


@dataclass(frozen=True, slots=True)
class Allowance:
    """How much an owner may order."""

    jobs: int
    """Jobs that are queued or running at once."""
    portraits_a_day: int
    portrait_pixels_a_day: int = UNLIMITED
    order_pixels: int = UNLIMITED
    """Pixels of all portraits of one order."""
    trainings_a_day: int = UNLIMITED
    training_steps_a_day: int = UNLIMITED
    worker_seconds_a_day: float = UNLIMITED


@dataclass(frozen=True, slots=True)
class Use:
    """What was used of one kind within the last 24 hours."""

    amount: int = 0
    oldest: float | None = None
    """When the first of it was used, which counts no more a day later."""

    def wait(self, now: float) -> int:
        """Seconds until some of it counts no more."""
        return int(DAY) if self.oldest is None else max(1, round(self.oldest + DAY - now))


class UsageRepository(Repository):
    """What each owner used within a day, and how much is kept of them."""

    def today(self, owner: str, now: float) -> Mapping[Kind, Use]:
        """What an owner used within 24 hours; every kind is there."""
        with self.database.read() as connection:
            return used_of_each(connection, owner, get_args(Kind), now)

    def begin_upload(self, owner: str, size: int, most: int, now: float) -> int:
        """Charge the bytes of an upload before they are read, and return the charge's id for `end_upload`.

        Raises `quota_bytes` when they are more than what is left of `most` today.
        """
        with self.database.write() as connection:
            self.database.lock_owner(connection, owner)
            before = used(connection, owner, "upload_bytes", now)
            if before.amount + size > most or before.amount >= most:
                left = max(0, most - before.amount) // MEGA
                sentence = f"{most // MEGA} MB of pictures a day are allowed, {left} are left. Send fewer, or later."
                raise UserError("quota_bytes", sentence, {"retry_after": before.wait(now)})
            row = {"owner": owner, "kind": "upload_bytes", "amount": size, "at": now, "job": ""}
            return int(connection.execute(sa.insert(usage).values(row).returning(usage.c.id)).scalar_one())

    def end_upload(self, charge: int, size: int) -> None:
        """Write how many bytes were read in the end."""
        self._write(sa.update(usage).where(usage.c.id == charge).values(amount=size))

    def call_webhook(self, owner: str, most: int, now: float) -> None:
        """Count a call that an owner asks for; raises `quota_webhooks` beyond `most` a day."""
        with self.database.write() as connection:
            self.database.lock_owner(connection, owner)
            before = used(connection, owner, "webhook_calls", now)
            if before.amount >= most:
                sentence = f"{most} calls a day may be asked for. Try again later."
                raise UserError("quota_webhooks", sentence, {"retry_after": before.wait(now)})
            charge(connection, owner, {"webhook_calls": 1}, now)

    def stored_bytes(self, owner: str) -> int:
        """Bytes of the photos, pictures and portraits that are kept of an owner."""
        with self.database.read() as connection:
            return int(connection.scalar(_STORED, {"of_owner": owner}) or 0)

    def prune(self, older_than: float) -> int:
        """Delete what was used before `older_than`, which must be a day ago; returns how many rows."""
        return self._write(sa.delete(usage).where(usage.c.at < older_than))


def used(connection: sa.Connection, owner: str, kind: Kind, now: float) -> Use:
    """What an owner used of one kind within 24 hours."""
    return used_of_each(connection, owner, [kind], now)[kind]


def used_of_each(connection: sa.Connection, owner: str, kinds: Collection[Kind], now: float) -> Mapping[Kind, Use]:
    """What an owner used of some kinds within 24 hours; each of them is there."""
    rows = connection.execute(_USED, {"of_owner": owner, "kinds": sorted(kinds), "since": now - DAY})
    found = {row.kind: Use(int(row.amount), row.oldest) for row in rows}
    return {kind: found.get(kind, Use()) for kind in kinds}


def charge(connection: sa.Connection, owner: str, amounts: Mapping[Kind, int], now: float, job: str = "") -> None:
    """Write what an owner used; `job` is whose order it is."""
    rows = [
        {"owner": owner, "kind": kind, "amount": amount, "at": now, "job": job}
        for kind, amount in amounts.items()
        if amount
    ]
    if rows:
        connection.execute(_ADD, rows)


def charge_photo(connection: sa.Connection, owner: str, photos_a_day: int, now: float) -> None:
    """Charge a photo of a person; raises `quota_photos`."""
    before = used(connection, owner, "photos", now)
    if before.amount >= photos_a_day:
        sentence = f"{photos_a_day} photos a day are allowed. Try again later."
        raise UserError("quota_photos", sentence, {"retry_after": before.wait(now)})
    charge(connection, owner, {"photos": 1}, now)


def charge_pixels(connection: sa.Connection, owner: str, pixels: int, pixels_a_day: int, now: float) -> None:
    """Charge the pixels of a picture that is kept; raises `quota_pixels`."""
    before = used(connection, owner, "upload_pixels", now)
    if before.amount + pixels > pixels_a_day:
        sentence = f"{pixels_a_day // MEGA} megapixels of pictures a day are allowed. Send smaller ones, or later."
        raise UserError("quota_pixels", sentence, {"retry_after": before.wait(now)})
    charge(connection, owner, {"upload_pixels": pixels}, now)


def charge_order(connection: sa.Connection, job: Job, now: float) -> None:
    """Charge what a job is to make."""
    charge(connection, job.owner, _amounts(connection, job), now, job.id)


def settle(connection: sa.Connection, before: Job, after: Job, now: float) -> None:
    """Charge the seconds of a worker that let a job go, and give the order back of one that ended without success."""
    if before.state in LEASED and after.state not in LEASED and before.started is not None:
        charge(connection, after.owner, {"worker_seconds": max(0, round(now - before.started))}, now, after.id)
    if before.state not in FINISHED and after.state in FINISHED - {"succeeded"}:
        _give_back(connection, after)


def drop_order(connection: sa.Connection, job: Job) -> None:
    """Give back all that a job was charged when it was ordered, because it is to be charged anew."""
    connection.execute(sa.delete(usage).where(usage.c.job == job.id, usage.c.kind.in_(ORDERED)))


def check_order(connection: sa.Connection, placed: Sequence[Job], allowance: Allowance, now: float) -> None:
    """Check the jobs of one order, all of one owner, together; raises `quota_…` with `retry_after`, `order_too_large`."""
    owner = placed[0].owner
    before = used_of_each(connection, owner, ("worker_seconds", *ORDERED), now)
    running = connection.execute(_RUNNING, {"of_owner": owner, "now": now}).one()
    _check_active(running.active, len(placed), allowance.jobs)
    _check_worker_seconds(before["worker_seconds"], running.seconds or 0.0, allowance.worker_seconds_a_day, now)
    wanted: dict[Kind, int] = {}
    for at, job in enumerate(placed):
        amounts = _amounts(connection, job)
        pixels = amounts.get("portrait_pixels", 0)
        if pixels > allowance.order_pixels:
            most_pixels = f"One order has {allowance.order_pixels // MEGA} megapixels at most"
            sentence = f"{most_pixels}, and this one {pixels // MEGA}. Ask for fewer or smaller portraits."
            where = {"where": f"generations.{at}", "code": "order_too_large", "message": sentence}
            raise UserError("order_too_large", sentence, {"fields": [where]} if len(placed) > 1 else {})
        for kind, amount in amounts.items():
            wanted[kind] = wanted.get(kind, 0) + amount
    most: Mapping[Kind, int] = {
        "portraits": allowance.portraits_a_day,
        "portrait_pixels": allowance.portrait_pixels_a_day,
        "trainings": allowance.trainings_a_day,
        "training_steps": allowance.training_steps_a_day,
    }
    for kind, amount in wanted.items():
        if before[kind].amount + amount > most[kind]:
            _refuse(kind, most[kind], before[kind], now)


def count_holdings(connection: sa.Connection, owner: str, kind: Literal["selfies", "portraits", "templates"]) -> int:
    """Count what is there of an owner, without what was deleted and can be restored."""
    return int(connection.scalar(_COUNTED, {"of_owner": owner, "kind": kind}) or 0)


def count_active(connection: sa.Connection, owner: str) -> int:
    """Count the owner's jobs that have not ended."""
    return connection.execute(_RUNNING, {"of_owner": owner, "now": 0.0}).one().active


def _check_active(active: int, more: int, most: int) -> None:
    """Raise `quota_jobs` where an owner with so many jobs that have not ended would have more than `most` of them."""
    if active + more <= most:
        return
    sentence = f"{most} jobs at once are allowed. Wait until one has ended."
    if more > 1:
        free = max(0, most - active)
        sentence = f"{most} jobs at once are allowed, and {free} are free. Choose fewer, or wait until some have ended."
    raise UserError("quota_jobs", sentence, {"retry_after": 10})


def _give_back(connection: sa.Connection, job: Job) -> None:
    """Give back what a job was charged and has not made: the portraits that it finished count."""
    made = connection.scalar(sa.select(sa.func.count()).where(portraits.c.job == job.id)) or 0
    if not made:
        drop_order(connection, job)
    elif made < job.units:  # of each kind so much is charged a portrait
        mine = (usage.c.job == job.id) & usage.c.kind.in_(ORDERED)
        connection.execute(sa.update(usage).where(mine).values(amount=usage.c.amount * made // job.units))


def _refuse(kind: Kind, most: int, before: Use, now: float) -> NoReturn:
    left = max(0, most - before.amount)
    code, sentence = {
        "portraits": (
            "quota_portraits",
            f"{most} portraits a day are allowed, {left} are left. Ask for fewer, or later.",
        ),
        "portrait_pixels": (
            "quota_pixels",
            f"{most // MEGA} megapixels of portraits a day are allowed, {left // MEGA} are left. "
            "Ask for fewer or smaller ones, or later.",
        ),
        "trainings": ("quota_trainings", f"{most} trainings a day are allowed. Try again later."),
        "training_steps": (
            "quota_trainings",
            f"{most} steps of training a day are allowed, {left} are left. Ask for fewer, or later.",
        ),
    }[kind]
    raise UserError(code, sentence, {"retry_after": before.wait(now)})


def _check_worker_seconds(before: Use, running: float, most: float, now: float) -> None:
    """Raise `quota_compute` when workers spent as long on an owner's jobs as they may within a day, with those that run."""
    if before.amount + running >= most:
        sentence = (
            f"Workers spend {most / 3600:g} hours a day on one owner's jobs, and these are used. Try again later."
        )
        raise UserError("quota_compute", sentence, {"retry_after": before.wait(now)})


def _amounts(connection: sa.Connection, job: Job) -> Mapping[Kind, int]:
    """What a job is to make, by kind."""
    if job.kind == "train":
        return {"trainings": 1, "training_steps": job.units}
    if job.kind == "generate":
        return {"portraits": job.units, "portrait_pixels": job.units * _pixels(connection, job)}
    return {}


def _pixels(connection: sa.Connection, job: Job) -> int:
    """Pixels of one portrait of a job: of the size that was ordered, else of the owner's picture."""
    size, template = job.params.get("size"), job.params.get("template")
    if size:
        return int(size[0]) * int(size[1])
    if not template:
        return USUAL_PIXELS
    mine = (templates.c.id == template) & (templates.c.owner == job.owner)
    chosen = sa.select(templates.c.width * templates.c.height).where(mine)
    return int(connection.scalar(chosen) or USUAL_PIXELS)


# Made once: to put a statement together takes longer than to have it answered.
_ADD = sa.insert(usage)
_USED = sa.select(usage.c.kind, sa.func.sum(usage.c.amount).label("amount"), sa.func.min(usage.c.at).label("oldest"))
_USED = _USED.where(usage.c.owner == sa.bindparam("of_owner"), usage.c.kind.in_(sa.bindparam("kinds", expanding=True)))
_USED = _USED.where(usage.c.at > sa.bindparam("since")).group_by(usage.c.kind)
_LASTED = sa.bindparam("now", type_=sa.Double) - jobs.c.started
_BUSY = jobs.c.state.in_(LEASED) & (_LASTED > 0)
# In the words of the index `ix_jobs_active`: SQLite reads it where the condition stands in the statement as it stands there.
_ACTIVE = jobs.c.state.in_([sa.literal_column(f"'{state}'") for state in ("queued", "running", "cancelling")])
_RUNNING = sa.select(sa.func.count().label("active"), sa.func.sum(sa.case((_BUSY, _LASTED))).label("seconds"))
_RUNNING = _RUNNING.where(jobs.c.owner == sa.bindparam("of_owner"), _ACTIVE)
_STORED = sa.select(sa.func.sum(holdings.c.bytes)).where(holdings.c.owner == sa.bindparam("of_owner"))
_COUNTED = sa.select(holdings.c.there)
_COUNTED = _COUNTED.where(holdings.c.owner == sa.bindparam("of_owner"), holdings.c.kind == sa.bindparam("kind"))
