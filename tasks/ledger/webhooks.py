"""Webhooks of owners and the deliveries to them."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from functools import partial
from typing import Any

import sqlalchemy as sa

from portrait.errors import UserError
from tasks.ledger.database import new_id
from tasks.ledger.idempotency import made_before
from tasks.ledger.rows import DeliveryRow, Page, Repository, WebhookRow, get_owned, row_as
from tasks.ledger.tables import jobs, webhooks
from tasks.ledger.tables import webhook_deliveries as deliveries


class WebhookRepository(Repository):
    """Webhooks and deliveries. Those about jobs are inserted by `transitions` when the job ends."""

    def add(
        self, owner: str, url: str, secret: str, events: Sequence[str], now: float, most: int = 1_000_000
    ) -> WebhookRow:
        """Insert a webhook; `events` empty means all. Raises `too_many_webhooks` beyond `most` of the owner's."""
        return self.insert(WebhookRow(new_id("webhook", now), owner, url, secret, list(events), now), most)

    def insert(self, hook: WebhookRow, most: int = 1_000_000) -> WebhookRow:
        """Insert a webhook, or return the owner's of that id, which the same request made; raises as `add`."""
        with self.database.write() as connection:
            self.database.lock_owner(connection, hook.owner)
            if (before := made_before(connection, webhooks, hook.owner, hook.id)) is not None:
                return row_as(WebhookRow, before)
            mine = sa.select(sa.func.count()).where(webhooks.c.owner == hook.owner)
            if (connection.scalar(mine) or 0) >= most:
                raise UserError("too_many_webhooks", f"There can be {most} webhooks at most. Delete one first.")
            connection.execute(sa.insert(webhooks).values(asdict(hook)))
        return hook

    def get(self, owner: str, id: str) -> WebhookRow:
        """One webhook; raises `not_found`."""
        return self._owned(WebhookRow, webhooks, owner, id)

    def list(self, owner: str) -> Sequence[WebhookRow]:
        """The owner's webhooks."""
        return self._all(WebhookRow, sa.select(webhooks).where(webhooks.c.owner == owner).order_by(webhooks.c.id))

    def delete(self, owner: str, id: str) -> None:
        """Delete a webhook and its deliveries."""
        with self.database.write() as connection:
            get_owned(connection, webhooks, owner, id)
            connection.execute(sa.delete(webhooks).where(webhooks.c.id == id))

    def disable(self, id: str, why: str, now: float) -> None:
        """Disable a webhook; its waiting deliveries are given up."""
        with self.database.write() as connection:
            connection.execute(sa.update(webhooks).where(webhooks.c.id == id).values(disabled=now, why_disabled=why))
            waiting = (deliveries.c.webhook == id) & (deliveries.c.state == "waiting")
            connection.execute(sa.update(deliveries).where(waiting).values(state="given_up", ended=now))

    def enqueue(self, owner: str, id: str, event: str, payload: Mapping[str, Any], now: float) -> DeliveryRow:
        """Insert a delivery: a test, or an earlier one again."""
        with self.database.write() as connection:
            get_owned(connection, webhooks, owner, id)
            delivery = DeliveryRow(new_id("delivery", now), owner, id, event, dict(payload), "waiting", 0, now, now)
            connection.execute(sa.insert(deliveries).values(asdict(delivery)))
        return delivery

    def delivery(self, owner: str, id: str) -> DeliveryRow:
        """One delivery; raises `not_found`."""
        return self._owned(DeliveryRow, deliveries, owner, id)

    def deliveries(self, owner: str, id: str, cursor: str | None = None, limit: int = 50) -> Page[DeliveryRow]:
        """The deliveries of a webhook, the newest first."""
        with self.database.read() as connection:
            get_owned(connection, webhooks, owner, id)
        chosen = sa.select(deliveries).where(deliveries.c.webhook == id)
        return self._page(partial(row_as, DeliveryRow), chosen, cursor, limit)

    def has_due(self, now: float) -> bool:
        """Whether a delivery is due."""
        return self._find(DeliveryRow, sa.select(deliveries).where(_is_due(now)).limit(1)) is not None

    def due_webhooks(self, now: float) -> Mapping[str, str]:
        """Return the URLs of the webhooks with due deliveries by id, that of the most overdue first."""
        chosen = (
            sa.select(webhooks.c.id, webhooks.c.url)
            .join(deliveries, deliveries.c.webhook == webhooks.c.id)
            .where(_is_due(now))
            .group_by(webhooks.c.id, webhooks.c.url)
            .order_by(sa.func.min(deliveries.c.due), webhooks.c.id)
        )
        with self.database.read() as connection:
            return {row.id: row.url for row in connection.execute(chosen)}

    def claim_due(self, now: float, until: float, of: str | None = None) -> tuple[DeliveryRow, WebhookRow] | None:
        """Claim the most overdue delivery, of one webhook or of any, until `until`; returns it with its webhook.

        One conditional update, as for jobs: a caller that dies leaves the delivery to the next one.
        """
        due = _is_due(now) if of is None else _is_due(now) & (deliveries.c.webhook == of)
        first = sa.select(deliveries.c.id).where(due).order_by(deliveries.c.due, deliveries.c.id).limit(1)
        with self.database.write() as connection:
            row = connection.execute(
                sa.update(deliveries)
                .where(deliveries.c.id == first.with_for_update(skip_locked=True).scalar_subquery(), due)
                .values(due=until, attempts=deliveries.c.attempts + 1)
                .returning(deliveries)
            ).first()
            if row is None:
                return None
            hook = connection.execute(sa.select(webhooks).where(webhooks.c.id == row.webhook)).one()
            return row_as(DeliveryRow, row), row_as(WebhookRow, hook)

    def record_attempt(
        self, delivery: DeliveryRow, now: float, status: int | None, response: str, again: float | None
    ) -> None:
        """Store the result of an attempt: delivered with a 2xx, else due `again`, or given up when that is None.

        Nothing is written when another process claimed the delivery in the meantime.
        """
        delivered = status is not None and 200 <= status < 300
        state = "delivered" if delivered else "given_up" if again is None else "waiting"
        values: dict[str, Any] = {"state": state, "status": status, "answer": response[:400]}
        values |= {"due": again} if state == "waiting" else {"ended": now}
        mine = (deliveries.c.id == delivery.id) & (deliveries.c.attempts == delivery.attempts)
        self._write(sa.update(deliveries).where(mine, deliveries.c.state == "waiting").values(values))

    def origin(self, delivery: DeliveryRow) -> tuple[str, str]:
        """Return the id of the request and the `traceparent` of the job that a delivery tells of; empty where it is of none."""
        of_job = sa.select(jobs.c.request, jobs.c.traceparent).where(
            jobs.c.id == str(delivery.payload.get("data", {}).get("id", "")), jobs.c.owner == delivery.owner
        )
        with self.database.read() as connection:
            row = connection.execute(of_job).first()
        return ("", "") if row is None else (row.request, row.traceparent)

    def prune(self, older_than: float) -> int:
        """Delete the deliveries that ended before `older_than`; returns how many."""
        return self._write(sa.delete(deliveries).where(deliveries.c.ended < older_than))


def _is_due(now: float) -> sa.ColumnElement[bool]:
    return (deliveries.c.state == "waiting") & (deliveries.c.due <= now)
