"""The page that says where a picture comes from, for anybody: a form without scripts, whose file is passed on as it arrives.

Neither this process nor the task API keeps the picture. Whoever is signed in is also led to the portrait, if it is theirs.
"""

import asyncio
from collections.abc import AsyncIterator

import httpx
from pydantic import ValidationError
from starlette.requests import ClientDisconnect, Request
from starlette.responses import HTMLResponse, Response
from starlette.routing import Route

from app.server.access import VERIFY, Access, client_address
from app.server.plain.pages import render_page
from app.server.start_page import page_language
from app.server.uploads import MOST_FILE_BYTES, SMALLEST_FILE
from app.session import api_url
from app.words import provenance, translation
from portrait.errors import PortraitError
from tasks import schemas

FORM_BYTES = 100_000
"""Bytes of a form beside those of its file."""
SEND_SECONDS = 300.0
"""Seconds that a picture may take to arrive and to be looked at."""
_ANSWER_SECONDS, _DRAIN_SECONDS = 120.0, 20.0
_STATUS = {"too_large": 413, "no_length": 411, "foreign": 403, "busy": 503, "api_unreachable": 503, "too_slow": 408}


class Verifying:
    """The routes; `access` says who asks, from where, and how much of theirs is on its way already."""

    def __init__(self, access: Access) -> None:
        self._access = access

    def routes(self) -> list[Route]:
        """The routes, for Streamlit's server."""
        return [Route(VERIFY, self.show, methods=["GET"]), Route(VERIFY, self.verify, methods=["POST"])]

    async def show(self, request: Request) -> Response:
        """Show the form."""
        return _page(request)

    async def verify(self, request: Request) -> Response:
        """Pass the file of the form on to the task API, and show what it says."""
        size = request.headers.get("content-length", "")
        refused = self._refusal(request, size)
        if not refused:
            reserved = self._access.uploads.reserve(
                "", f"verify {client_address(request.scope)}", int(size) + SMALLEST_FILE
            )
            with reserved as fits:
                if fits:
                    return await self._answer(request, size)
            refused = "busy"
        await _drain(request)
        return _page(request, refused)

    def _refusal(self, request: Request, size: str) -> str:
        """The code of why a form is not taken, before it is read; empty where it is."""
        if not self._access.site.is_same_origin(request):
            return "foreign"
        if not size.isdecimal() or len(size) > 11:
            return "no_length"
        return "too_large" if int(size) > MOST_FILE_BYTES + FORM_BYTES else ""

    async def _answer(self, request: Request, size: str) -> Response:
        try:
            async with asyncio.timeout(SEND_SECONDS):
                found = await self._ask(request, size)
        except TimeoutError:
            return _page(request, "too_slow")
        except ClientDisconnect:
            return Response(status_code=499)  # nobody is there to read it
        return _page(request, found) if isinstance(found, str) else _page(request, known=found)

    async def _ask(self, request: Request, size: str) -> schemas.Provenance | str:
        """What the task API says of the file, or the code of why it says nothing."""
        headers = {
            "Content-Type": request.headers.get("content-type", ""),
            "Content-Length": size,
            "X-Forwarded-For": client_address(request.scope),
        }
        secret = self._access.site.secret(request)
        try:
            if await self._access.visitors.find(secret, client_address(request.scope)) is not None:
                headers["Authorization"] = f"Bearer {secret}"
        except PortraitError:
            await _drain(request)
            return "api_unreachable"
        url, timeout = f"{api_url().rstrip('/')}/v1/verify", httpx.Timeout(_ANSWER_SECONDS, connect=10.0)
        pieces = request.stream()
        async with httpx.AsyncClient(timeout=timeout, verify=url.startswith("https:"), trust_env=False) as api:
            try:
                answer = await api.post(url, headers=headers, content=pieces)
            except httpx.TransportError:
                answer = None
        await _drain_pieces(pieces)
        return "api_unreachable" if answer is None else _read(answer)


def _read(answer: httpx.Response) -> schemas.Provenance | str:
    """The task API's answer, or the code of its problem."""
    try:
        if answer.is_success:
            return schemas.Provenance.model_validate_json(answer.content)
        return schemas.Problem.model_validate_json(answer.content).code
    except ValidationError:
        return "bad_answer"


async def _drain(request: Request) -> None:
    """Read what comes and drop it: a browser reads no answer before it has sent all."""
    await _drain_pieces(request.stream())


async def _drain_pieces(pieces: AsyncIterator[bytes]) -> None:
    try:
        async with asyncio.timeout(_DRAIN_SECONDS):
            async for _ in pieces:
                pass
    except (TimeoutError, ClientDisconnect):
        return


def _page(request: Request, code: str = "", known: schemas.Provenance | None = None) -> Response:
    """The page with an answer, with the sentence of an error's code, or with the form alone."""
    language = page_language(request)
    html = render_page(
        "verify",
        language,
        back=VERIFY,
        message=_sentence(language, code),
        told=None if known is None else provenance.describe(language, known.model_dump()),
        made_here="" if known is None else known.made_here,
        portrait="" if known is None else known.portrait,
    )
    return HTMLResponse(html, _STATUS.get(code, 422) if code else 200, headers={"Cache-Control": "no-store"})


def _sentence(language: str, code: str) -> str:
    """What an error's code means here; empty for none."""
    if not code:
        return ""
    usual = translation.translate_or(language, f"error.{code}", translation.translate(language, "verify.failed"))
    return translation.translate_or(language, f"verify.not_{code}", usual)
