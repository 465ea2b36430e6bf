"""Scripts, styles and fonts of the pages: compressed once, and cached by browsers for good, because their names hold a hash.

Streamlit serves these files as they are, 2.2 MB of text before the first page.
"""

import gzip
import mimetypes
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path

import anyio.to_thread
import brotli
from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import HTTPConnection
from starlette.responses import FileResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.server import icons, start_page

CACHE_CONTROL = "public, immutable, max-age=31536000"
_IMMUTABLE = {"Cache-Control": CACHE_CONTROL}
_TEXT = {".js", ".css", ".json", ".svg", ".map", ".txt"}
_LEAST_BYTES = 1000
"""A smaller file is sent as it is."""
_BROTLI_QUALITY, _GZIP_LEVEL = 6, 6
"""Within a few per cent of the best, in a tenth of the time: 0.2 s for the 2.2 MB of a first page."""
_MOST_FILES = 400
"""Compressed files in memory; a page takes about a hundred, all of Streamlit's are 7 MB."""


class AssetMiddleware:
    """Answers for the files of a folder; to the app behind it goes every other request.

    Where that answers with Streamlit's own page, `start_page` takes its place.
    """

    def __init__(self, app: ASGIApp, folder: Path = icons.FOLDER) -> None:
        self._app, self._icons = app, icons.find_font(folder)
        self._files = {f"/static/{path.relative_to(folder).as_posix()}": path for path in _files(folder)}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request or websocket."""
        if scope["type"] != "http" or scope["method"] not in {"GET", "HEAD"}:
            await self._app(scope, receive, send)
            return
        path, encoding = self._files.get(scope["path"]), accepted_encoding(Headers(scope=scope))
        if path is None:
            # Compressed by Streamlit it could not be told from other pages.
            plain = [(name, value) for name, value in scope["headers"] if name != b"accept-encoding"]
            behind = {**scope, "headers": plain} if _accepts_pages(scope) else scope
            await self._app(behind, receive, _StartPage(scope, send, encoding).send)
        elif path == self._icons:
            content = await anyio.to_thread.run_sync(_cut_icons, path)
            await Response(content, headers=_IMMUTABLE, media_type="font/woff2")(scope, receive, send)
        else:
            await (await _asset(path, encoding))(scope, receive, send)


class _StartPage:
    """Sends a response, our page in place of Streamlit's."""

    def __init__(self, scope: Scope, send: Send, encoding: str) -> None:
        self._scope, self._send, self._encoding = scope, send, encoding
        self._start: Message | None = None

    async def send(self, message: Message) -> None:
        """Pass a message on, or hold it until the page is there."""
        if message["type"] == "http.response.start" and _is_page(message):
            self._start = message
        elif self._start is None:
            await self._send(message)
        elif not message.get("more_body"):
            await self._send_page(self._start)

    async def _send_page(self, start: Message) -> None:
        language = start_page.page_language(HTTPConnection(self._scope))
        content = await anyio.to_thread.run_sync(_compressed_page, language, self._encoding)
        headers = MutableHeaders(raw=list(start["headers"]))
        for name in ("etag", "last-modified"):
            del headers[name]
        headers["content-length"], headers["vary"] = str(len(content)), "Accept-Encoding, Accept-Language, Cookie"
        if self._encoding:
            headers["content-encoding"] = self._encoding
        await self._send({**start, "headers": headers.raw})
        body = b"" if self._scope["method"] == "HEAD" else content
        await self._send({"type": "http.response.body", "body": body})


def _accepts_pages(scope: Scope) -> bool:
    return "text/html" in Headers(scope=scope).get("accept", "")


def _is_page(start: Message) -> bool:
    """Whether a response is Streamlit's own page, which it sends as a file of that size."""
    headers = Headers(raw=start["headers"])
    is_page = headers.get("content-type", "").startswith("text/html") and "etag" in headers
    return is_page and headers.get("content-length") == str(start_page.INDEX.stat().st_size)


def prepare() -> None:
    """Cut the font of icons, which takes two seconds, before anybody asks for it."""
    font = icons.find_font()
    if font is not None:
        _cut_icons(font)


def _files(folder: Path) -> Iterator[Path]:
    return (path for path in folder.rglob("*") if path.is_file())


async def _asset(path: Path, encoding: str) -> Response:
    kind = mimetypes.guess_type(path.name)[0] or "application/octet-stream"
    if path.suffix not in _TEXT or path.stat().st_size < _LEAST_BYTES:
        return FileResponse(path, headers=_IMMUTABLE, media_type=kind)
    headers = {**_IMMUTABLE, "Vary": "Accept-Encoding"}
    if not encoding:
        return FileResponse(path, headers=headers, media_type=kind)
    content = await anyio.to_thread.run_sync(_compressed, path, encoding)
    return Response(content, headers={**headers, "Content-Encoding": encoding}, media_type=kind)


def accepted_encoding(headers: Headers) -> str:
    """The best encoding that a browser takes: `br`, `gzip`, or nothing."""
    accepted = set()
    for each in headers.get("accept-encoding", "").lower().split(","):
        name, _, quality = each.partition(";")
        if quality.replace(" ", "") not in {"q=0", "q=0.0", "q=0.00", "q=0.000"}:
            accepted.add(name.strip())
    return next((name for name in ("br", "gzip") if name in accepted), "")


@lru_cache(maxsize=1)
def _cut_icons(path: Path) -> bytes:
    return icons.cut_elsewhere(path)


@lru_cache(maxsize=_MOST_FILES)
def _compressed(path: Path, encoding: str) -> bytes:
    return _compress(path.read_bytes(), encoding)


@lru_cache(maxsize=64)
def _compressed_page(language: str, encoding: str) -> bytes:
    return _compress(start_page.start_page(language), encoding)


def _compress(content: bytes, encoding: str) -> bytes:
    if encoding == "br":
        return brotli.compress(content, quality=_BROTLI_QUALITY)
    return gzip.compress(content, _GZIP_LEVEL, mtime=0) if encoding else content
