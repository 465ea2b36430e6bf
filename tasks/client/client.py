"""Typed clients of the task API, with one method a route; what is safe to repeat is sent again while the API is away.

`Client` blocks, `AsyncClient` is awaited, and both have the same methods. Errors are those of `portrait.errors`, with the API's
code and message; `details` holds `status`, `errors` (photo by photo) and `retry_after` where the API said so. An API that does
not answer is `OperatorError` (`api_unreachable`).
"""

import httpx

from tasks.client.access import AccessClient
from tasks.client.calls import Awaiting, Blocking
from tasks.client.guards import GuardsClient
from tasks.client.jobs import JobsClient
from tasks.client.operators import OperatorsClient
from tasks.client.people import PeopleClient
from tasks.client.portraits import PortraitsClient
from tasks.client.privacy import PrivacyClient
from tasks.client.styles import StylesClient
from tasks.client.transport import PATIENCE, AsyncHttpTransport, HttpTransport
from tasks.client.webhooks import WebhooksClient


class Calls(
    AccessClient,
    GuardsClient,
    JobsClient,
    OperatorsClient,
    PeopleClient,
    PortraitsClient,
    PrivacyClient,
    StylesClient,
    WebhooksClient,
):
    """Every call of the API."""


class Client(Calls, Blocking):
    """A client with one key; use it as a context manager."""

    def __init__(
        self,
        url: str,
        key: str = "",
        timeout: float = 30.0,
        transport: httpx.BaseTransport | None = None,
        patience: float = PATIENCE,
    ) -> None:
        self._http = HttpTransport(url, key, timeout, transport, patience)

    def __enter__(self) -> "Client":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections."""
        self._http.close()


class AsyncClient(Calls, Awaiting):
    """The same in an event loop; use it as an asynchronous context manager."""

    def __init__(
        self,
        url: str,
        key: str = "",
        timeout: float = 30.0,
        transport: httpx.AsyncBaseTransport | None = None,
        patience: float = PATIENCE,
    ) -> None:
        self._http = AsyncHttpTransport(url, key, timeout, transport, patience)

    async def __aenter__(self) -> "AsyncClient":
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        """Close the connections."""
        await self._http.close()
