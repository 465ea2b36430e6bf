"""Where to call when a job ends, and how the calls went."""

from fastapi import APIRouter, Response

from portrait.errors import UserError
from tasks import schemas, webhooks
from tasks.api import serializers
from tasks.api.context import ActOnce, AnId, Cursor, Guarded, Limit, TheCaller, TheOffice, made
from tasks.api.problems import documented
from tasks.ledger import transitions
from tasks.queue import broker

router = APIRouter(prefix="/webhooks", tags=["webhooks"], route_class=Guarded)


@router.post("", status_code=201, response_model=schemas.WebhookMade, responses=documented(401, 409, 422))
def add_webhook(order: schemas.WebhookOrder, office: TheOffice, caller: TheCaller, once: ActOnce) -> Response:
    """Be called when jobs end, signed by Standard Webhooks; the secret is in this answer and nowhere else."""

    def act() -> Response:
        webhooks.check_url(order.url, office.tasks.webhooks.private)
        row = office.store.hooks.add(caller.owner, order.url, webhooks.new_secret(), list(order.events), office.now())
        said = schemas.WebhookMade(**serializers.webhook(row).model_dump(), secret=row.secret)
        return made(said, f"/v1/webhooks/{row.id}")

    return once(act)


@router.get("", responses=documented(401))
def list_webhooks(office: TheOffice, caller: TheCaller) -> schemas.Page[schemas.Webhook]:
    """Your webhooks."""
    return schemas.Page(items=[serializers.webhook(row) for row in office.store.hooks.list(caller.owner)], next=None)


@router.get("/{id}", responses=documented(401, 404, 422))
def get_webhook(id: AnId, office: TheOffice, caller: TheCaller) -> schemas.Webhook:
    """One webhook."""
    return serializers.webhook(office.store.hooks.get(caller.owner, id))


@router.delete("/{id}", status_code=204, responses=documented(401, 404, 422))
def delete_webhook(id: AnId, office: TheOffice, caller: TheCaller) -> None:
    """Be called no more; what waits is dropped."""
    office.store.hooks.delete(caller.owner, id)


@router.post("/{id}/test", status_code=202, responses=documented(401, 404, 422))
def test_webhook(id: AnId, office: TheOffice, caller: TheCaller) -> schemas.Delivery:
    """Send a test call, `webhook.test`."""
    now = office.now()
    row = office.store.hooks.send(caller.owner, id, "webhook.test", transitions.payload("webhook.test", {}, now), now)
    broker.ring(office.bell, "io")
    return serializers.delivery(row)


@router.get("/{id}/deliveries", responses=documented(401, 404, 422))
def list_deliveries(
    id: AnId, office: TheOffice, caller: TheCaller, cursor: Cursor = None, limit: Limit = 50
) -> schemas.Page[schemas.Delivery]:
    """The calls, the newest first."""
    page = office.store.hooks.deliveries(caller.owner, id, cursor, limit)
    return schemas.Page(items=[serializers.delivery(row) for row in page.items], next=page.next)


@router.post("/{id}/deliveries/{delivery}/redeliver", status_code=202, responses=documented(401, 404, 422))
def redeliver(id: AnId, delivery: AnId, office: TheOffice, caller: TheCaller) -> schemas.Delivery:
    """Make a call again, as a new one with the same content."""
    earlier = office.store.hooks.delivery(caller.owner, delivery)
    if earlier.webhook != id:
        raise UserError("not_found", "This webhook made no such call.")
    row = office.store.hooks.send(caller.owner, id, earlier.event, earlier.payload, office.now())
    broker.ring(office.bell, "io")
    return serializers.delivery(row)
