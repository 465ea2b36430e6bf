"""The app's routes that take photos and pictures from a page and pass them on to the task API while they arrive.

One file is one request, its bytes the body. No file is held in this process: a piece is passed on before the next is read.
Answers are JSON with a stable `code`, empty where the file was taken; the page has the sentence for each.
"""

import asyncio
import re
import secrets
from collections.abc import AsyncIterator
from dataclasses import dataclass
from urllib.parse import unquote

import httpx
from pydantic import ValidationError
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from app.server.access import VISITOR_HEADER, Access
from app.server.uploads import MOST_FILE_BYTES, SMALLEST_FILE
from app.session import api_url
from tasks import schemas

NAME_HEADER = "x-file-name"
"""Carries the name of the file, percent-encoded."""
SEND_SECONDS = 600.0
"""Seconds that one file may take."""
_ANSWER_SECONDS = 120.0
"""Seconds in which the task API answers after the last piece."""
_MOST_NAME = 255
_ID = re.compile(r"[A-Za-z0-9_-]{1,64}")
_BUSY = {"Retry-After": "3"}


@dataclass(frozen=True, slots=True)
class _Target:
    """Where a file goes in the task API, and under which name of a form."""

    path: str
    field: str
    statement: str = ""


class Sending:
    """The routes; `access` says who sends, from where, and how much of theirs is on its way already."""

    def __init__(self, access: Access) -> None:
        self._access = access

    def routes(self) -> list[Route]:
        """The routes, for Streamlit's server."""
        return [
            Route("/send/selfies/{person}", self.send_selfie, methods=["POST"]),
            Route("/send/templates", self.send_template, methods=["POST"]),
        ]

    async def send_selfie(self, request: Request) -> Response:
        """Add a photo to a person's."""
        person = request.path_params["person"]
        if not _ID.fullmatch(person):
            return _answer("not_found", 404)
        return await self._receive(request, _Target(f"/people/{person}/selfies", "files"))

    async def send_template(self, request: Request) -> Response:
        """Add a picture of the visitor's own, with the version of the `statement` that was made about it."""
        statement = request.query_params.get("statement", "")[:40]
        return await self._receive(request, _Target("/templates", "file", statement))

    async def _receive(self, request: Request, target: _Target) -> Response:
        """Refuse what may not come before its body is read; pass on all else."""
        if not self._access.site.is_same_origin(request):
            return _answer("foreign", 403)
        length = request.headers.get("content-length", "")
        if not length.isdecimal():
            return _answer("no_length", 411)
        size = int(length) if len(length) < 12 else MOST_FILE_BYTES + 1
        if size > MOST_FILE_BYTES:
            return _answer("too_large", 413)
        visitor = request.headers.get(VISITOR_HEADER, "")
        with self._access.uploads.reserve("", visitor, max(size, SMALLEST_FILE)) as fits:
            if not fits:
                return _answer("busy", 503, headers=_BUSY)
            try:
                async with asyncio.timeout(SEND_SECONDS):
                    return await self._pass_on(request, target, size)
            except TimeoutError:
                return _answer("too_slow", 408)
            except ClientDisconnect:
                return Response(status_code=499)  # nobody is there to read it

    async def _pass_on(self, request: Request, target: _Target, size: int) -> Response:
        name = unquote(request.headers.get(NAME_HEADER, ""))[:_MOST_NAME]
        form, pieces, url = _Form(target.field, name), request.stream(), f"{api_url().rstrip('/')}/v1{target.path}"
        headers = {
            "Authorization": f"Bearer {self._access.site.secret(request)}",
            "Content-Type": form.content_type,
            "Content-Length": str(size + form.extra),
        }
        params = {"statement": target.statement} if target.statement else {}
        timeout = httpx.Timeout(_ANSWER_SECONDS, connect=10.0)
        # No proxy of the environment comes between; certificates of its authorities count all the same.
        verify = httpx.create_ssl_context() if url.startswith("https:") else False
        async with httpx.AsyncClient(timeout=timeout, verify=verify, trust_env=False) as api:
            try:
                answer = await api.post(url, params=params, headers=headers, content=form.around(pieces))
            except httpx.TransportError:
                answer = None
        # A browser reads no answer before it has sent all: what the API did not want is dropped piece by piece.
        async for _ in pieces:
            pass
        return _answer("api_unreachable", 503, headers=_BUSY) if answer is None else _translated(answer)


class _Form:
    """A form with one file, built around the pieces of the file as they come."""

    def __init__(self, field: str, name: str) -> None:
        boundary = secrets.token_hex(16)
        plain = "".join(each for each in name if each.isprintable() and each not in '"\\') or "photo"
        disposition = f'Content-Disposition: form-data; name="{field}"; filename="{plain}"'
        self._head = f"--{boundary}\r\n{disposition}\r\nContent-Type: application/octet-stream\r\n\r\n".encode()
        self._tail = f"\r\n--{boundary}--\r\n".encode()
        self.content_type = f"multipart/form-data; boundary={boundary}"
        self.extra = len(self._head) + len(self._tail)
        """Bytes beside those of the file."""

    async def around(self, pieces: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
        """The whole form."""
        yield self._head
        async for each in pieces:
            yield each
        yield self._tail


def _translated(answer: httpx.Response) -> JSONResponse:
    """The task API's answer to one file: the id of what was stored, or the code of what was wrong."""
    try:
        if not answer.is_success:
            problem = schemas.Problem.model_validate_json(answer.content)
            retry = answer.headers.get("retry-after")
            return _answer(problem.code, answer.status_code, headers={"Retry-After": retry} if retry else None)
        stored = answer.json()
        added = stored.get("added", [stored])
        return _answer("", 201, id=str(added[0]["id"]))
    except (ValidationError, ValueError, LookupError):
        return _answer("bad_answer", 503, headers=_BUSY)


def _answer(code: str, status: int, id: str = "", headers: dict[str, str] | None = None) -> JSONResponse:
    return JSONResponse({"code": code, "id": id}, status, headers=headers)
