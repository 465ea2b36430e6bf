"""Routes of webhooks: create, list, delete, test; their deliveries."""

from collections.abc import Mapping
from typing import Any

from fastapi import APIRouter, Response

from portrait.addresses import Reach
from portrait.errors import UserError
from tasks import schemas, webhooks
from tasks.api.context import (
    AppContext,
    AuthenticatedRoute,
    CallerDep,
    ContextDep,
    HiddenField,
    IdempotencyDep,
    ListPagingDep,
    PagingDep,
    PathId,
    created,
    page_of,
)
from tasks.api.problems import problem_responses
from tasks.ledger import transitions
from tasks.ledger.idempotency import id_of_kind
from tasks.ledger.rows import WebhookRow
from tasks.queue import broker

router = APIRouter(prefix="/webhooks", tags=["webhooks"], route_class=AuthenticatedRoute)


@router.post("", status_code=201, response_model=schemas.WebhookWithSecret, responses=problem_responses(401, 409, 422))
def create_webhook(
    body: schemas.WebhookRequest, context: ContextDep, caller: CallerDep, idempotency: IdempotencyDep
) -> Response:
    """Create a webhook that is called when jobs end. Its signing secret is in this response and nowhere else."""

    def create(id: str) -> Response:
        settings = context.tasks.webhooks
        webhooks.check_url(body.url, Reach.of(settings.networks, settings.private))
        secret, now, most = webhooks.new_secret(), context.now(), context.tasks.quotas.webhooks
        hook = WebhookRow(id_of_kind("webhook", id), caller.owner, body.url, secret, body.events, now)
        row = context.ledger.webhooks.insert(hook, most)
        return created(schemas.WebhookWithSecret.model_validate(row), f"/v1/webhooks/{row.id}")

    # It would lie in the stored response for a day, whatever becomes of the webhook.
    secret = HiddenField("secret", lambda body: context.ledger.webhooks.get(caller.owner, str(body["id"])).secret)
    return idempotency.run(create, secret)


@router.get("", responses=problem_responses(401, 422))
def list_webhooks(context: ContextDep, caller: CallerDep, paging: ListPagingDep) -> schemas.Page[schemas.Webhook]:
    """Your webhooks, the oldest first."""
    rows, more = page_of(context.ledger.webhooks.list(caller.owner), paging, lambda row: row.id)
    return schemas.Page[schemas.Webhook].model_validate({"items": rows, "next": more})


@router.get("/{id}", responses=problem_responses(401, 404, 422))
def get_webhook(id: PathId, context: ContextDep, caller: CallerDep) -> schemas.Webhook:
    """One webhook."""
    return schemas.Webhook.model_validate(context.ledger.webhooks.get(caller.owner, id))


@router.delete("/{id}", status_code=204, responses=problem_responses(401, 404, 422))
def delete_webhook(id: PathId, context: ContextDep, caller: CallerDep) -> None:
    """Delete a webhook; deliveries that wait are dropped."""
    context.ledger.webhooks.delete(caller.owner, id)


@router.post("/{id}/test", status_code=202, responses=problem_responses(401, 404, 422, 429))
def test_webhook(id: PathId, context: ContextDep, caller: CallerDep) -> schemas.Delivery:
    """Queue a test delivery, `webhook.test`. It is tried once."""
    payload = transitions.webhook_payload(webhooks.TEST, {}, context.now())
    return _call(context, caller.owner, id, webhooks.TEST, payload)


@router.get("/{id}/deliveries", responses=problem_responses(401, 404, 422))
def list_deliveries(
    id: PathId, context: ContextDep, caller: CallerDep, paging: PagingDep
) -> schemas.Page[schemas.Delivery]:
    """Deliveries, the newest first."""
    page = context.ledger.webhooks.deliveries(caller.owner, id, paging.cursor, paging.limit)
    return schemas.Page[schemas.Delivery].model_validate(page)


@router.post("/{id}/deliveries/{delivery}/redeliver", status_code=202, responses=problem_responses(401, 404, 422, 429))
def redeliver(id: PathId, delivery: PathId, context: ContextDep, caller: CallerDep) -> schemas.Delivery:
    """Queue a delivery again, as a new one with the same payload."""
    earlier = context.ledger.webhooks.delivery(caller.owner, delivery)
    if earlier.webhook != id:
        raise UserError("not_found", "This webhook made no such call.")
    return _call(context, caller.owner, id, earlier.event, earlier.payload)


def _call(context: AppContext, owner: str, id: str, event: str, payload: Mapping[str, Any]) -> schemas.Delivery:
    """Queue a delivery that an owner asks for; raises `not_found`, `quota_webhooks`."""
    now = context.now()
    context.ledger.webhooks.get(owner, id)
    context.ledger.usage.call_webhook(owner, context.tasks.quotas.webhook_calls_a_day, now)
    row = context.ledger.webhooks.enqueue(owner, id, event, payload, now)
    broker.notify(context.celery, webhooks.QUEUE)
    return schemas.Delivery.model_validate(row)
