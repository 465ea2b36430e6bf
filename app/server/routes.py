"""What the app serves beside its pages: signing in and out, pictures, and files to take home.

Pictures and files pass from the task API to the browser in pieces: the pages hold none of them.
"""

from collections.abc import Callable, Iterable, Iterator
from functools import cache
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import httpx
import jinja2
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import HTMLResponse, PlainTextResponse, RedirectResponse, Response, StreamingResponse
from starlette.routing import Route

from app import cookies
from app.session import api_url
from app.words import translation
from portrait.errors import PortraitError, UserError
from tasks.client.client import Client

HOME = "/"
SIGN_IN = "/sign-in"
_KEEP = "private, max-age=86400"
"""A picture never changes under its id."""
_MOST = 200
"""Characters of a key or code that are looked at."""


def make() -> list[Route]:
    """The routes."""
    return [
        Route(SIGN_IN, show_sign_in, methods=["GET"]),
        Route(SIGN_IN, sign_in, methods=["POST"]),
        Route("/sign-out", sign_out, methods=["POST"]),
        Route("/language/{to}", choose_language, methods=["GET"]),
        Route("/picture/{kind}/{id}", picture, methods=["GET"]),
        Route("/take/portrait/{id}", take_portrait, methods=["GET"]),
        Route("/take/portraits.zip", take_zip, methods=["GET"]),
        Route("/take/export.zip", take_export, methods=["GET"]),
        Route("/take/styles.zip", take_styles, methods=["GET"]),
    ]


async def show_sign_in(request: Request) -> Response:
    """The page for a key, or, with `?code=`, the end of a one-time link."""
    code = request.query_params.get("code", "")[:_MOST]
    if not code:
        return _page(request)
    return await run_in_threadpool(_enter, request, lambda: _asking("").sign_in(code).secret)


async def sign_in(request: Request) -> Response:
    """A key that somebody typed."""
    if not _from_here(request):
        return _page(request, "sign_in.wrong_key", 400)
    sent = parse_qs((await request.body())[:4000].decode("utf-8", "replace"))
    key = sent.get("key", [""])[0].strip()[:_MOST]
    if not key.isascii() or not key:
        return _page(request, "sign_in.wrong_key", 401)

    def known() -> str:
        _asking(key).me()
        return key

    return await run_in_threadpool(_enter, request, known)


async def sign_out(request: Request) -> Response:
    """Forget the key in this browser."""
    response = RedirectResponse(SIGN_IN, 303)
    if _from_here(request):
        response.delete_cookie(cookies.KEY, httponly=True, samesite="strict")
    return response


async def choose_language(request: Request) -> Response:
    """Remember a language and go back to the page."""
    back = request.query_params.get("back", HOME)
    response = RedirectResponse(back if _is_ours(back) else HOME, 303)
    if request.path_params["to"] in translation.LANGUAGES:
        cookies.keep(response, request, cookies.LANGUAGE, request.path_params["to"])
    return response


def picture(request: Request) -> Response:
    """A picture of the visitor's, whole or small."""
    kind, id = request.path_params["kind"], request.path_params["id"]
    if kind not in _PICTURES or not _is_id(id):
        return PlainTextResponse("", 404)
    try:
        content = _PICTURES[kind](_asking(_key(request)), id, _side(request))
    except PortraitError as error:
        if kind == "style" and error.code in {"not_found", "unknown_style"}:
            return Response(_empty(), media_type="image/svg+xml", headers={"Cache-Control": "no-store"})
        return _refused(error)
    if content is None:
        return PlainTextResponse("", 404)
    keep = "no-store" if kind in _CHANGING else _KEEP
    return Response(content, media_type=_media(content), headers={"Cache-Control": keep})


def take_portrait(request: Request) -> Response:
    """One portrait as it was delivered."""
    id = request.path_params["id"]
    if not _is_id(id):
        return PlainTextResponse("", 404)
    try:
        asking = _asking(_key(request))
        portrait = asking.portrait(id)
        content = asking.portrait_file(id)
    except PortraitError as error:
        return _refused(error)
    name = f"{portrait.style}-{id.removeprefix('portrait_')[-6:]}-{portrait.number}.{portrait.format}"
    return Response(content, media_type=_media(content), headers=_attached(name))


def take_zip(request: Request) -> Response:
    """Many portraits."""
    ids = [id for id in request.query_params.getlist("id") if _is_id(id)]
    job, favourite = request.query_params.get("job", ""), bool(request.query_params.get("favourite"))
    return _streamed(lambda: _asking(_key(request)).zip(ids, job, favourite), "portraits.zip")


def take_export(request: Request) -> Response:
    """Everything that is kept of the visitor."""
    return _streamed(lambda: _asking(_key(request)).export(), "export.zip")


def take_styles(request: Request) -> Response:
    """Styles as a pack, for operators."""
    ids = [id for id in request.query_params.getlist("id") if _is_id(id)]
    name = f"{ids[0]}.zip" if len(ids) == 1 else "styles.zip"
    return _streamed(lambda: _asking(_key(request)).style_pack(ids), name)


def _version_picture(asking: Client, id: str, side: int | None) -> bytes | None:
    """The picture of a version: `launch.2`."""
    style, number = _numbered(id)
    return asking.version_picture(style, number, side) if number else None


def _sample(asking: Client, id: str, side: int | None) -> bytes | None:
    """A drawing of a draft's test: `launch.1`."""
    style, number = _numbered(id)
    return asking.style_sample(style, number, side) if number else None


def _numbered(id: str) -> tuple[str, int]:
    """A style and a number; zero where there is none."""
    style, _, number = id.rpartition(".")
    return style, int(number) if style and number.isdecimal() and len(number) < 9 else 0


_CHANGING = {"preview", "draft", "sample"}
"""Kinds of picture that may be another one under the same id."""
_PICTURES: dict[str, Callable[[Client, str, int | None], bytes | None]] = {
    "selfie": lambda asking, id, side: asking.selfie_file(id, side),
    "crop": lambda asking, id, side: asking.selfie_crop(id, side),
    "portrait": lambda asking, id, side: asking.portrait_file(id, side),
    "template": lambda asking, id, side: asking.template_file(id, side),
    "style": lambda asking, id, side: asking.style_preview(id, side),
    "preview": lambda asking, id, side: asking.preview(id),
    "draft": lambda asking, id, side: asking.draft_picture(id, side),
    "version": _version_picture,
    "sample": _sample,
}


def _enter(request: Request, key: Callable[[], str]) -> Response:
    try:
        secret = key()
    except UserError as error:
        told = "sign_in.old_link" if error.code == "bad_code" else "sign_in.wrong_key"
        return _page(request, told, 401)
    except PortraitError:
        return _page(request, "sign_in.api_down", 503)
    response = RedirectResponse(HOME, 303)
    cookies.keep(response, request, cookies.KEY, secret)
    return response


def _page(request: Request, told: str = "", status: int = 200) -> Response:
    chosen = request.cookies.get(cookies.LANGUAGE, "")
    accepted = request.headers.get("accept-language", "")
    language = chosen if chosen in translation.LANGUAGES else translation.language_of(accepted.split(",", 1)[0])
    html = _template().render(
        words=translation.words(language),
        told=told,
        language=language,
        languages=translation.LANGUAGES,
    )
    return HTMLResponse(html, status, headers={"Cache-Control": "no-store"})


@cache
def _template() -> jinja2.Template:
    loader = jinja2.FileSystemLoader(Path(__file__).parent)
    return jinja2.Environment(loader=loader, autoescape=True).get_template("sign_in.html.j2")


@cache
def _transport() -> httpx.HTTPTransport:
    """Connections that all visitors share; the key travels with each request."""
    return httpx.HTTPTransport()


def _asking(key: str) -> Client:
    """The API as somebody; not closed, because its connections are shared."""
    return Client(api_url(), key, transport=_transport())


@cache
def _empty() -> bytes:
    """What stands for a style that nobody has drawn yet."""
    return (Path(__file__).parent / "empty.svg").read_bytes()


def _key(request: Request) -> str:
    return request.cookies.get(cookies.KEY, "")[:_MOST]


def _streamed(pieces: Callable[[], Iterator[bytes]], name: str) -> Response:
    """A large answer in pieces; the first is waited for, because it tells of an error."""
    try:
        rest = pieces()
        first = next(rest, b"")
    except PortraitError as error:
        return _refused(error)
    return StreamingResponse(_joined(first, rest), media_type="application/zip", headers=_attached(name))


def _joined(first: bytes, rest: Iterable[bytes]) -> Iterator[bytes]:
    yield first
    yield from rest


def _refused(error: PortraitError) -> Response:
    status = error.details.get("status", 503)
    return PlainTextResponse(error.message, status if isinstance(status, int) else 503)


def _attached(name: str) -> dict[str, str]:
    return {"Content-Disposition": f'attachment; filename="{name}"', "Cache-Control": "no-store"}


def _media(content: bytes) -> str:
    """The kind of picture, by its first bytes."""
    if content.startswith(b"\x89PNG"):
        return "image/png"
    return "image/webp" if content[8:12] == b"WEBP" else "image/jpeg"


def _side(request: Request) -> int | None:
    side = request.query_params.get("side", "")
    return min(2048, max(64, int(side))) if side.isdecimal() and len(side) < 5 else None


def _is_id(id: str) -> bool:
    return 0 < len(id) <= 64 and all(each.isascii() and (each.isalnum() or each in "_.-") for each in id)


def _is_ours(address: str) -> bool:
    """Whether an address lies on this site."""
    return address.startswith("/") and not address.startswith(("//", "/\\")) and address.isprintable()


def _from_here(request: Request) -> bool:
    """Whether a form was sent by a page of ours, as far as the browser says."""
    origin = request.headers.get("origin", "")
    return not origin or urlsplit(origin).netloc == request.headers.get("host", "")
