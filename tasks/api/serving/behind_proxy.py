"""ASGI middleware around the API: the path under which a proxy shows it."""

from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send


class RootPathMiddleware:
    """Answers under a path such as `/portrait`, whether the proxy takes it away before it passes requests on or not."""

    def __init__(self, app: ASGIApp, root_path: str) -> None:
        self._app, self._root = app, root_path.rstrip("/")

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request: within, its path is that of the API; addresses that are sent have the root path again."""
        if scope["type"] != "http" or not self._root:
            await self._app(scope, receive, send)
            return
        path: str = scope["path"]
        if path.startswith(f"{self._root}/"):
            path = path.removeprefix(self._root)

        async def send_with_root(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                location = headers.get("location", "")
                if location.startswith("/"):
                    headers["location"] = self._root + location
            await send(message)

        await self._app({**scope, "path": path, "root_path": self._root}, receive, send_with_root)
