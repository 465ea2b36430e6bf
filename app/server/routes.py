"""The app's HTTP routes beside its pages: pictures and downloads, and those of `app.server.sign_in`.

They are fetched from the task API with the secret of the visitor's session. Downloads are streamed; a picture of a page is held
whole in this process while it is sent.
"""

import re
from collections.abc import Callable, Iterator
from functools import cache
from itertools import chain
from pathlib import Path

from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route

from app.server.access import Access
from app.server.attempts import Attempts
from app.server.plain.verify import Verifying
from app.server.sending import Sending
from app.server.sign_in import SignIn
from app.server.site import Site
from app.server.start_page import page_language
from app.server.uploads import UploadLimits, Uploads, held_bytes
from app.server.visitors import Visitors
from app.session import PATIENCE, api_url, connections, session_secret
from portrait.errors import PortraitError
from portrait.numbers import read_integer
from tasks import schemas
from tasks.client.client import Client
from tasks.client.portraits import PortraitFilters, Rendering
from tasks.client.transport import Download

_CACHE_CONTROL = "private, max-age=86400"
_SIGN_IN_SECONDS, _CHECK_SECONDS = 10.0, 5.0
"""Seconds in which the task API has to sign somebody in, and to say whose a session is."""


def make_access(url: str = "", limits: UploadLimits | None = None) -> Access:
    """What guards the app: `url` is the address under which people open it, empty where only their requests tell."""
    attempts, uploads = Attempts(), Uploads(limits or UploadLimits(), held_bytes)
    return Access(Site(url), Visitors(_fetch_user, attempts), attempts, uploads)


def build_routes(access: Access | None = None) -> list[Route]:
    """The routes, for Streamlit's server."""
    access = access or make_access()
    return [
        *SignIn(access, _sign_in_client).routes(),
        *Sending(access).routes(),
        *Verifying(access).routes(),
        Route("/picture/{kind}/{id}", picture, methods=["GET"]),
        Route("/take/portrait/{id}", download_portrait, methods=["GET"]),
        Route("/take/sheet/{id}", download_sheet, methods=["GET"]),
        Route("/take/portraits.zip", download_portraits, methods=["GET"]),
        Route("/take/export.zip", download_export, methods=["GET"]),
        Route("/take/styles.zip", download_styles, methods=["GET"]),
    ]


def picture(request: Request) -> Response:
    """A picture of the visitor's, in full size or, with `?side=`, at most that many pixels long."""
    kind, id = request.path_params["kind"], request.path_params["id"]
    if kind not in _PICTURE_SOURCES or not _is_id(id):
        return PlainTextResponse("", 404)
    try:
        content = _PICTURE_SOURCES[kind](_visitors_client(request), id, _requested_side(request))
    except PortraitError as error:
        if kind in {"style", "own_style", "sample_look"} and error.code in {"not_found", "unknown_style"}:
            return Response(_placeholder(), media_type="image/svg+xml", headers={"Cache-Control": "no-store"})
        return _error_response(error)
    if content is None:
        return PlainTextResponse("", 404)
    cache_control = _CACHE_CONTROL if kind in _CACHED else "no-store"
    return Response(content, media_type=_media_type(content), headers={"Cache-Control": cache_control})


def download_portrait(request: Request) -> Response:
    """One portrait as an attachment: as it was delivered, or in `?format=` and with at most `?side=` pixels."""
    return _pass_on(request, lambda api, id: api.download_portrait(id, **_rendering(request)))


def download_sheet(request: Request) -> Response:
    """A sheet of prints of a portrait: on `?paper=`, each `?width=` mm wide, `?gap=` mm apart, as `?format=` pdf or jpg."""
    query = request.query_params
    paper, format = query.get("paper", "10x15"), query.get("format", "pdf")
    if format not in ("pdf", "jpg"):
        return PlainTextResponse("", 404)
    gap, width = _number(query.get("gap", "")), _number(query.get("width", ""))
    return _pass_on(request, lambda api, id: api.download_sheet(id, paper, gap, format, width))


def download_portraits(request: Request) -> Response:
    """Portraits as a zip: those of `?id=`, or of `?person=`, `?job=`, `?order=`, `?favourite=`; rendered as one is."""
    query = request.query_params
    ids = [id for id in query.getlist("id") if _is_id(id)]
    person, job, order = (query.get(name, "") for name in ("person", "job", "order"))
    filters: PortraitFilters = {
        "person": person if _is_id(person) else "",
        "job": job if _is_id(job) else "",
        "order": order if _is_id(order) else "",
        "favourite": bool(query.get("favourite")),
    }
    return _pass_on(request, lambda api, _: api.download_zip(ids, filters, **_rendering(request)))


def download_export(request: Request) -> Response:
    """Everything that is stored about the visitor, as a zip."""
    return _stream_zip(lambda: _visitors_client(request).export(), "export.zip")


def download_styles(request: Request) -> Response:
    """The styles of `?id=` as a pack, for operators."""
    ids = [id for id in request.query_params.getlist("id") if _is_id(id)]
    name = f"{ids[0]}.zip" if len(ids) == 1 else "styles.zip"
    return _stream_zip(lambda: _visitors_client(request).style_pack(ids), name)


def _numbered(fetch: Callable[[str, int, int | None], bytes], id: str, side: int | None) -> bytes | None:
    """The picture of a style's version or of a sample of its test, such as `launch.2`; None for an id without a number."""
    style, _, number = id.rpartition(".")
    counted = read_integer(number)
    return fetch(style, counted, side) if style and counted else None


def _own_style(client: Client, id: str, side: int | None) -> bytes | None:
    """A style with a person of the visitor's, such as `studio-warm.person_1`."""
    style, _, person = id.partition(".")
    return client.style_preview(style, side, person) if style and person else None


def _example(name: str) -> bytes | None:
    """A picture of good or bad photos; see `app.components.examples`."""
    path = Path(__file__).parent / "examples" / f"{name}.jpg"
    return path.read_bytes() if path.is_file() else None


_CACHED = {"style", "version", "sample_look", "example"}
"""Kinds of picture that are nobody's and never change under their id; browsers keep no other."""
_PICTURE_SOURCES: dict[str, Callable[[Client, str, int | None], bytes | None]] = {
    "selfie": lambda client, id, side: client.selfie_file(id, side),
    "crop": lambda client, id, side: client.selfie_crop(id, side),
    "portrait": lambda client, id, side: client.portrait_file(id, side),
    "template": lambda client, id, side: client.template_file(id, side),
    "before": lambda client, id, side: client.before_file(id, side),
    "example": lambda client, id, side: _example(id),
    "style": lambda client, id, side: client.style_preview(id, side),
    "own_style": _own_style,
    "sample_look": lambda client, id, side: _numbered(client.card_sample, id, side),
    "preview": lambda client, id, side: client.preview(id),
    "draft": lambda client, id, side: client.draft_picture(id, side),
    "version": lambda client, id, side: _numbered(client.version_picture, id, side),
    "sample": lambda client, id, side: _numbered(client.style_sample, id, side),
}


def _client(secret: str) -> Client:
    """The API as whoever has a secret; never closed, because its connections are shared."""
    return Client(api_url(), secret, transport=connections(), patience=PATIENCE)


def _visitors_client(request: Request) -> Client:
    """The API as the visitor, whom the middleware has let in."""
    return _client(session_secret(request.cookies))


def _sign_in_client(secret: str) -> Client:
    return Client(api_url(), secret, _SIGN_IN_SECONDS, connections())


def _fetch_user(secret: str, idle: bool) -> schemas.Me:
    """Whose a session is, asked once and for a short time."""
    return Client(api_url(), secret, _CHECK_SECONDS, connections()).me(tries=1, idle=idle)


@cache
def _placeholder() -> bytes:
    """The SVG for a style without a picture."""
    return (Path(__file__).parent / "empty.svg").read_bytes()


def _stream_zip(download: Callable[[], Iterator[bytes]], name: str) -> Response:
    """A zip, streamed; its first chunk is fetched before the headers are sent, because that is where errors appear."""
    try:
        chunks = download()
        first = next(chunks, b"")
    except PortraitError as error:
        return _error_response(error)
    content = chain([first], chunks)
    return StreamingResponse(content, media_type="application/zip", headers=_attachment_headers(name))


def _pass_on(request: Request, download: Callable[[Client, str], Download]) -> Response:
    """A file of the task API, streamed, under the name that it has there."""
    id = request.path_params.get("id", "")
    if id and not _is_id(id):
        return PlainTextResponse("", 404)
    try:
        found = download(_visitors_client(request), id)
    except PortraitError as error:
        return _error_response(error)
    headers = {"Content-Disposition": found.disposition, "Cache-Control": "no-store"}
    return StreamingResponse(found.chunks, media_type=found.media_type, headers=headers)


def _rendering(request: Request) -> Rendering:
    """How portraits are downloaded; their styles are named in the visitor's language."""
    rendering: Rendering = {"language": page_language(request)}
    side = _requested_side(request)
    if side is not None:
        rendering["side"] = side
    if request.query_params.get("format") in ("jpg", "png", "webp"):
        rendering["format"] = request.query_params["format"]
    return rendering


def _number(text: str) -> float | None:
    """A number of an address; None for anything else."""
    return float(text) if re.fullmatch(r"\d{1,4}(\.\d{1,3})?", text) else None


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
    side = read_integer(request.query_params.get("side", ""))
    return None if side is None else min(2048, max(64, side))


def _is_id(id: str) -> bool:
    return 0 < len(id) <= 64 and all(each.isascii() and (each.isalnum() or each in "_.-") for each in id)
