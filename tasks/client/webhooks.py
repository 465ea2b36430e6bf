"""The client's methods of webhooks: addresses that are called when jobs end, and each call of them."""

from tasks import schemas
from tasks.client.calls import call
from tasks.client.steps import Steps, act, get, listed, post, send


class WebhooksClient:
    """Methods of `tasks.client.client.Client`."""

    @call
    def add_webhook(self, order: schemas.WebhookRequest) -> Steps[schemas.WebhookWithSecret]:
        """Add a webhook that is called when jobs end."""
        return post(schemas.WebhookWithSecret, "/webhooks", order)

    @call
    def webhooks(self) -> Steps[list[schemas.Webhook]]:
        """Webhooks, without their secrets."""
        return listed(schemas.Webhook, "/webhooks")

    @call
    def webhook(self, id: str) -> Steps[schemas.Webhook]:
        """One webhook, without its secret."""
        return get(schemas.Webhook, f"/webhooks/{id}")

    @call
    def delete_webhook(self, id: str) -> Steps[None]:
        """Delete a webhook; calls that wait are dropped."""
        return act("DELETE", f"/webhooks/{id}")

    @call
    def test_webhook(self, id: str) -> Steps[schemas.Delivery]:
        """Queue a test call, which is tried once."""
        return send(schemas.Delivery, "POST", f"/webhooks/{id}/test")

    @call
    def deliveries(self, webhook: str, limit: int | None = None) -> Steps[list[schemas.Delivery]]:
        """The calls of a webhook, the newest first, all or the first `limit`."""
        return listed(schemas.Delivery, f"/webhooks/{webhook}/deliveries", {"limit": 200}, limit)

    @call
    def redeliver(self, webhook: str, delivery: str) -> Steps[schemas.Delivery]:
        """Queue a call again, as a new one with the same content."""
        return send(schemas.Delivery, "POST", f"/webhooks/{webhook}/deliveries/{delivery}/redeliver")
