"""The app's HTTP routes beside its pages: signing in and out, pictures, and downloads.

Both are fetched from the task API with the visitor's key. Zips are streamed in pieces; a picture or a portrait is held
whole in this process while it is sent.
"""

from collections.abc import Callable, Iterator
from functools import cache
from itertools import chain
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import httpx
import jinja2
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import HTMLResponse, PlainTextResponse, RedirectResponse, Response, StreamingResponse
from starlette.routing import Route

from app.session import KEY_COOKIE, LANGUAGE_COOKIE, api_url
from app.words import translation
from portrait.errors import PortraitError, UserError
from tasks.client.client import Client

HOME = "/"
SIGN_IN = "/sign-in"
_CACHE_CONTROL = "private, max-age=86400"
"""A picture never changes under its id."""
_MAX_KEY_LENGTH = 200
"""Characters; what is longer is cut before it is checked."""
_COOKIE_LIFETIME = 30 * 86_400
"""Seconds: as long as a key from a sign-in link is valid."""


def build_routes() -> list[Route]:
    """The routes, for Streamlit's server."""
    return [
        Route(SIGN_IN, show_sign_in, methods=["GET"]),
        Route(SIGN_IN, sign_in, methods=["POST"]),
        Route("/sign-out", sign_out, methods=["POST"]),
        Route("/language/{to}", choose_language, methods=["GET"]),
        Route("/picture/{kind}/{id}", picture, methods=["GET"]),
        Route("/take/portrait/{id}", download_portrait, methods=["GET"]),
        Route("/take/portraits.zip", download_portraits, methods=["GET"]),
        Route("/take/export.zip", download_export, methods=["GET"]),
        Route("/take/styles.zip", download_styles, methods=["GET"]),
    ]


async def show_sign_in(request: Request) -> Response:
    """Show the form for a key, or sign in with the one-time code of `?code=`."""
    code = request.query_params.get("code", "")[:_MAX_KEY_LENGTH]
    if not code:
        return _sign_in_page(request)
    return await run_in_threadpool(_open_session, request, lambda: _client("").sign_in(code).secret)


async def sign_in(request: Request) -> Response:
    """Sign in with the key of the form."""
    if not _is_same_origin(request):
        return _sign_in_page(request, "sign_in.wrong_key", 400)
    form = parse_qs((await request.body())[:4000].decode("utf-8", "replace"))
    key = form.get("key", [""])[0].strip()[:_MAX_KEY_LENGTH]
    if not key.isascii() or not key:
        return _sign_in_page(request, "sign_in.wrong_key", 401)

    def checked_key() -> str:
        _client(key).me()
        return key

    return await run_in_threadpool(_open_session, request, checked_key)


async def sign_out(request: Request) -> Response:
    """Delete the key from this browser."""
    response = RedirectResponse(SIGN_IN, 303)
    if _is_same_origin(request):
        response.delete_cookie(KEY_COOKIE, httponly=True, samesite="strict")
    return response


async def choose_language(request: Request) -> Response:
    """Store the chosen language in a cookie and go back to the page of `?back=`."""
    back = request.query_params.get("back", HOME)
    response = RedirectResponse(back if _is_local_path(back) else HOME, 303)
    if request.path_params["to"] in translation.LANGUAGES:
        _set_cookie(response, request, LANGUAGE_COOKIE, request.path_params["to"])
    return response


def picture(request: Request) -> Response:
    """A picture of the visitor's, in full size or, with `?side=`, at most that many pixels long."""
    kind, id = request.path_params["kind"], request.path_params["id"]
    if kind not in _PICTURE_SOURCES or not _is_id(id):
        return PlainTextResponse("", 404)
    try:
        content = _PICTURE_SOURCES[kind](_client(_key(request)), id, _requested_side(request))
    except PortraitError as error:
        if kind == "style" and error.code in {"not_found", "unknown_style"}:
            return Response(_placeholder(), media_type="image/svg+xml", headers={"Cache-Control": "no-store"})
        return _error_response(error)
    if content is None:
        return PlainTextResponse("", 404)
    cache_control = "no-store" if kind in _UNCACHED else _CACHE_CONTROL
    return Response(content, media_type=_media_type(content), headers={"Cache-Control": cache_control})


def download_portrait(request: Request) -> Response:
    """One portrait as it was delivered, as an attachment."""
    id = request.path_params["id"]
    if not _is_id(id):
        return PlainTextResponse("", 404)
    try:
        client = _client(_key(request))
        portrait = client.portrait(id)
        content = client.portrait_file(id)
    except PortraitError as error:
        return _error_response(error)
    return Response(content, media_type=_media_type(content), headers=_attachment_headers(portrait.file_name))


def download_portraits(request: Request) -> Response:
    """Portraits as a zip: those of `?id=`, of one job, or all favourites."""
    ids = [id for id in request.query_params.getlist("id") if _is_id(id)]
    job, favourite = request.query_params.get("job", ""), bool(request.query_params.get("favourite"))
    return _stream_zip(lambda: _client(_key(request)).zip(ids, job, favourite), "portraits.zip")


def download_export(request: Request) -> Response:
    """Everything that is stored about the visitor, as a zip."""
    return _stream_zip(lambda: _client(_key(request)).export(), "export.zip")


def download_styles(request: Request) -> Response:
    """The styles of `?id=` as a pack, for operators."""
    ids = [id for id in request.query_params.getlist("id") if _is_id(id)]
    name = f"{ids[0]}.zip" if len(ids) == 1 else "styles.zip"
    return _stream_zip(lambda: _client(_key(request)).style_pack(ids), name)


def _numbered(fetch: Callable[[str, int, int | None], bytes], id: str, side: int | None) -> bytes | None:
    """The picture of a style's version or of a sample of its test, such as `launch.2`; None for an id without a number."""
    style, _, number = id.rpartition(".")
    valid = style and number.isdecimal() and len(number) < 9 and int(number)
    return fetch(style, int(number), side) if valid else None


_UNCACHED = {"preview", "draft", "sample"}
"""Kinds of picture that may change under the same id."""
_PICTURE_SOURCES: dict[str, Callable[[Client, str, int | None], bytes | None]] = {
    "selfie": lambda client, id, side: client.selfie_file(id, side),
    "crop": lambda client, id, side: client.selfie_crop(id, side),
    "portrait": lambda client, id, side: client.portrait_file(id, side),
    "template": lambda client, id, side: client.template_file(id, side),
    "style": lambda client, id, side: client.style_preview(id, side),
    "preview": lambda client, id, side: client.preview(id),
    "draft": lambda client, id, side: client.draft_picture(id, side),
    "version": lambda client, id, side: _numbered(client.version_picture, id, side),
    "sample": lambda client, id, side: _numbered(client.style_sample, id, side),
}


def _open_session(request: Request, get_key: Callable[[], str]) -> Response:
    """Set the cookie of the key that the API confirmed, or show the form again with the reason why it did not."""
    try:
        key = get_key()
    except UserError as error:
        message_key = "sign_in.old_link" if error.code == "bad_code" else "sign_in.wrong_key"
        return _sign_in_page(request, message_key, 401)
    except PortraitError:
        return _sign_in_page(request, "sign_in.api_down", 503)
    response = RedirectResponse(HOME, 303)
    _set_cookie(response, request, KEY_COOKIE, key)
    return response


def _set_cookie(response: Response, request: Request, name: str, value: str) -> None:
    secure = request.url.scheme == "https"
    response.set_cookie(name, value, max_age=_COOKIE_LIFETIME, httponly=True, samesite="strict", secure=secure)


def _sign_in_page(request: Request, message_key: str = "", status: int = 200) -> Response:
    language = request.cookies.get(LANGUAGE_COOKIE, "")
    if language not in translation.LANGUAGES:
        language = translation.language_from_locale(request.headers.get("accept-language", "").split(",", 1)[0])
    html = _template().render(
        words=translation.messages(language),
        message_key=message_key,
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
    """The connection pool that all visitors share; the key is sent with each request."""
    return httpx.HTTPTransport()


def _client(key: str) -> Client:
    """The API as the owner of a key; never closed, because its connections are shared."""
    return Client(api_url(), key, transport=_transport())


@cache
def _placeholder() -> bytes:
    """The SVG for a style without a picture."""
    return (Path(__file__).parent / "empty.svg").read_bytes()


def _key(request: Request) -> str:
    return request.cookies.get(KEY_COOKIE, "")[:_MAX_KEY_LENGTH]


def _stream_zip(download: Callable[[], Iterator[bytes]], name: str) -> Response:
    """A zip, streamed; its first chunk is fetched before the headers are sent, because that is where errors appear."""
    try:
        chunks = download()
        first = next(chunks, b"")
    except PortraitError as error:
        return _error_response(error)
    content = chain([first], chunks)
    return StreamingResponse(content, media_type="application/zip", headers=_attachment_headers(name))


def _error_response(error: PortraitError) -> Response:
    status = error.details.get("status", 503)
    return PlainTextResponse(error.message, status if isinstance(status, int) else 503)


def _attachment_headers(name: str) -> dict[str, str]:
    return {"Content-Disposition": f'attachment; filename="{name}"', "Cache-Control": "no-store"}


def _media_type(content: bytes) -> str:
    """The media type of a picture, from its first bytes."""
    if content.startswith(b"\x89PNG"):
        return "image/png"
    return "image/webp" if content[8:12] == b"WEBP" else "image/jpeg"


def _requested_side(request: Request) -> int | None:
    side = request.query_params.get("side", "")
    return min(2048, max(64, int(side))) if side.isdecimal() and len(side) < 5 else None


def _is_id(id: str) -> bool:
    return 0 < len(id) <= 64 and all(each.isascii() and (each.isalnum() or each in "_.-") for each in id)


def _is_local_path(address: str) -> bool:
    """Whether an address is a path of this site."""
    return address.startswith("/") and not address.startswith(("//", "/\\")) and address.isprintable()


def _is_same_origin(request: Request) -> bool:
    """Whether a form was sent by a page of this site, by the browser's `Origin`; True without that header."""
    origin = request.headers.get("origin", "")
    return not origin or urlsplit(origin).netloc == request.headers.get("host", "")
