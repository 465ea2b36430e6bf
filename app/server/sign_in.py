"""The app's routes for signing in (by a one-time link, a key, or a provider) and out, and for the language.

Nothing happens on a GET, which mail filters and previews of chats do too: it shows a page whose button sends the code. Only the
way back from a provider is one, and counts in the browser that set out.
"""

import asyncio
import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qs, urlsplit

from starlette.concurrency import run_in_threadpool
from starlette.requests import ClientDisconnect, Request
from starlette.responses import HTMLResponse, RedirectResponse, Response
from starlette.routing import Route

from app.server.access import SIGN_IN, Access, client_address
from app.server.plain.pages import render_page
from app.server.visitors import Visitor
from app.session import KEY_COOKIE, LANGUAGE_COOKIE
from app.words import translation
from portrait.errors import PortraitError, UserError
from tasks import schemas
from tasks.client.client import Client

HOME = "/"
PROVIDER, CALLBACK = f"{SIGN_IN}/provider", f"{SIGN_IN}/oidc"
BINDING_COOKIE = "portrait_binding"
"""Ties a sign-in with a provider to the browser that began it."""
_BINDING_SECONDS = 600
_MOST_FORM_BYTES, _FORM_SECONDS = 8000, 20.0
_MOST_CODE_LENGTH = 200
_PROVIDER_SECONDS, _RETRY_SECONDS = 60.0, 5.0
"""Seconds between two questions whether there is a provider, and after one without an answer."""
_API_KEY = "pk_"
ClientFor = Callable[[str], Client]
"""The task API as whoever has a secret; as nobody for an empty one."""


@dataclass(frozen=True, slots=True)
class _Notice:
    """A page of the sign-in: what it says, and what it offers."""

    message: str = ""
    """The key of a message."""
    status: int = 200
    code: str = ""
    """A one-time code that a button sends."""
    visitor: Visitor | None = None
    """Who is signed in already."""


class SignIn:
    """The routes; `client_for` gives the task API as whoever has a secret."""

    def __init__(self, access: Access, client_for: ClientFor) -> None:
        self._access, self._client_for = access, client_for
        self._provider, self._ask_provider_at = "", -math.inf

    def routes(self) -> list[Route]:
        """The routes, for Streamlit's server."""
        return [
            Route(SIGN_IN, self.show, methods=["GET"]),
            Route(SIGN_IN, self.sign_in, methods=["POST"]),
            Route(PROVIDER, self.go_to_provider, methods=["GET"]),
            Route(CALLBACK, self.come_from_provider, methods=["GET"]),
            Route("/language/{to}", self.choose_language, methods=["GET"]),
            Route("/sign-out", self.sign_out, methods=["POST"]),
            Route("/sign-out/everywhere", self.sign_out_everywhere, methods=["POST"]),
        ]

    async def show(self, request: Request) -> Response:
        """Show the form, or with `?code=` a page whose button sends the code; whoever is signed in may go on as they are."""
        code = request.query_params.get("code", "")[:_MOST_CODE_LENGTH]
        has_ended = "ended" in request.query_params
        if has_ended:
            self._access.visitors.doubt(self._access.site.secret(request))
        try:
            visitor = await self._visitor(request)
        except PortraitError:
            return await self._page(request, _Notice("sign_in.api_down", 503, code))
        if visitor is not None and not code:
            return RedirectResponse(HOME, 303)
        message = "sign_in.ended" if has_ended else ""
        return await self._page(request, _Notice(message, code=code, visitor=visitor))

    async def sign_in(self, request: Request) -> Response:
        """Sign in with the key or code of the form."""
        if not self._access.site.is_same_origin(request):
            return await self._page(request, _Notice("sign_in.foreign", 400))
        form = await _read_form(request)
        given = _code_of(form.get("code") or form.get("key") or "")
        if "kept" in form:
            given = request.cookies.get(KEY_COOKIE, "")[:_MOST_CODE_LENGTH]
        if not given or not given.isascii():
            return await self._page(request, _Notice("sign_in.wrong_key", 401))
        if not self._access.attempts.are_allowed(client_address(request.scope)):
            return await self._page(request, _Notice("sign_in.too_often", 429))
        options = {"key": given} if given.startswith(_API_KEY) else {"code": given}
        return await self._open(request, options)

    async def go_to_provider(self, request: Request) -> Response:
        """Send the browser to the provider that the task API names."""
        if request.headers.get("sec-fetch-site", "") == "cross-site":
            return RedirectResponse(SIGN_IN, 303)
        site, address = self._access.site, client_address(request.scope)
        if not self._access.attempts.are_allowed(address):
            return await self._page(request, _Notice("sign_in.too_often", 429))
        self._access.attempts.count(address)
        try:
            begun = await run_in_threadpool(self._client_for("").start_oidc, site.address(request) + CALLBACK)
        except PortraitError as error:
            return await self._refused(request, error)
        response = RedirectResponse(begun.url, 303)
        site.set_cookie(response, request, BINDING_COOKIE, begun.binding, _BINDING_SECONDS)
        return response

    async def come_from_provider(self, request: Request) -> Response:
        """Sign in with what the provider sent back to the browser that began."""
        query, binding = request.query_params, self._access.site.cookie(request, BINDING_COOKIE)
        if not (binding and query.get("code") and query.get("state")):
            return await self._page(request, _Notice("sign_in.provider_failed", 401))
        state, code = query["state"][:200], query["code"][:4000]
        returned = schemas.OidcSignIn(state=state, code=code, binding=binding[:4000])
        response = await self._open(request, {"oidc": returned})
        self._access.site.delete_cookie(response, request, BINDING_COOKIE)
        return response

    async def choose_language(self, request: Request) -> Response:
        """Store the chosen language in a cookie and go back to the page of `?back=`."""
        back, language = request.query_params.get("back", HOME), request.path_params["to"]
        response = RedirectResponse(back if _is_local_path(back) else HOME, 303)
        if language in translation.LANGUAGES:
            self._access.site.set_language(response, request, language)
        return response

    async def sign_out(self, request: Request) -> Response:
        """End the session of this browser."""
        return await self._end(request, lambda client: client.end_current_session())

    async def sign_out_everywhere(self, request: Request) -> Response:
        """End every session of the visitor's."""
        return await self._end(request, lambda client: client.end_all_sessions())

    async def _end(self, request: Request, end: Callable[[Client], None]) -> Response:
        """End sessions by the task API, and forget the secret in this browser whatever it answers."""
        site = self._access.site
        if not site.is_same_origin(request):
            return RedirectResponse(HOME, 303)
        response: Response = RedirectResponse(SIGN_IN, 303)
        try:
            visitor = await self._visitor(request)
            if visitor is not None:
                await run_in_threadpool(end, self._client_for(site.secret(request)))
                self._access.visitors.forget(visitor.owner)
        except UserError:
            pass  # it has ended already
        except PortraitError:
            response = await self._page(request, _Notice("sign_in.not_ended", 503))
        site.delete_cookie(response, request, KEY_COOKIE)
        return response

    async def _open(self, request: Request, options: dict[str, Any]) -> Response:
        """Open a session and store its secret in the browser; a session that the browser had is ended."""
        address = client_address(request.scope)
        self._access.attempts.begin(address)
        try:
            session = await run_in_threadpool(lambda: self._client_for("").open_session(**options))
        except PortraitError as error:
            return await self._refused(request, error)
        finally:
            self._access.attempts.end(address)
        await self._end_former(request)
        response = RedirectResponse(HOME, 303)
        lifetime = max(0, int(session.expires.timestamp() - time.time()))
        self._access.site.set_cookie(response, request, KEY_COOKIE, session.secret, lifetime)
        return response

    async def _end_former(self, request: Request) -> None:
        secret = self._access.site.secret(request)
        try:
            visitor = await self._visitor(request)
            if visitor is not None:
                await run_in_threadpool(self._client_for(secret).end_current_session)
                self._access.visitors.forget(visitor.owner)
        except PortraitError:
            return  # it ends by itself

    async def _refused(self, request: Request, error: PortraitError) -> Response:
        """Say why nobody was signed in; whoever is signed in already is led in by a link that was used before."""
        if not isinstance(error, UserError):
            message = "sign_in.provider_failed" if error.code == "oidc_failed" else "sign_in.api_down"
            return await self._page(request, _Notice(message, 503))
        try:
            if error.code == "bad_code" and await self._visitor(request) is not None:
                return RedirectResponse(HOME, 303)
        except PortraitError:
            return await self._page(request, _Notice("sign_in.api_down", 503))
        self._access.attempts.count(client_address(request.scope))
        if error.details.get("status") == 429:
            return await self._page(request, _Notice("sign_in.too_often", 429))
        return await self._page(request, _Notice(_MESSAGES.get(error.code, "sign_in.wrong_key"), 401))

    async def _visitor(self, request: Request) -> Visitor | None:
        return await self._access.visitors.find(self._access.site.secret(request), client_address(request.scope))

    async def _page(self, request: Request, notice: _Notice) -> Response:
        language = chosen_language(request)
        code = f"?code={notice.code}" if notice.code else ""
        html = render_page(
            "sign_in",
            language,
            notice=notice,
            kept=request.cookies.get(KEY_COOKIE, "").startswith(_API_KEY),
            provider=await self._provider_name(),
            back=SIGN_IN + code,
        )
        return HTMLResponse(html, notice.status, headers={"Cache-Control": "no-store"})

    async def _provider_name(self) -> str:
        """What people call the provider that they can sign in with; empty for none, or while the API does not answer."""
        now = time.monotonic()
        if now >= self._ask_provider_at:
            self._ask_provider_at = now + _PROVIDER_SECONDS  # meanwhile others get the last answer
            try:
                status = await run_in_threadpool(self._client_for("").oidc, tries=1)
            except PortraitError:
                self._ask_provider_at = now + _RETRY_SECONDS
            else:
                self._provider = status.name if status.enabled else ""
        return self._provider


_MESSAGES = {
    "bad_code": "sign_in.old_link",
    "owner_disabled": "sign_in.disabled",
    "bad_oidc": "sign_in.provider_failed",
    "no_oidc": "sign_in.provider_failed",
    "forbidden": "sign_in.not_let_in",
}


def chosen_language(request: Request) -> str:
    """The language that the visitor chose, or else the browser's first."""
    language = request.cookies.get(LANGUAGE_COOKIE, "")
    if language in translation.LANGUAGES:
        return language
    return translation.language_from_locale(request.headers.get("accept-language", "").split(",", 1)[0])


async def _read_form(request: Request) -> dict[str, str]:
    """The fields of a small form; empty for one that is too large or too slow, of which nothing is kept."""
    content = b""
    try:
        async with asyncio.timeout(_FORM_SECONDS):
            async for chunk in request.stream():
                content += chunk
                if len(content) > _MOST_FORM_BYTES:
                    return {}
    except (ClientDisconnect, TimeoutError):
        return {}
    return {name: values[0].strip() for name, values in parse_qs(content.decode("utf-8", "replace")).items()}


def _code_of(text: str) -> str:
    """The code or key in what somebody typed or pasted, which may be the whole address of a link."""
    if "code=" in text:
        text = parse_qs(urlsplit(text).query).get("code", [""])[0]
    return text[:_MOST_CODE_LENGTH]


def _is_local_path(address: str) -> bool:
    """Whether an address is a path of this site."""
    return address.startswith("/") and not address.startswith(("//", "/\\")) and address.isprintable()
