"""Pictures in requests and responses: uploads are saved and probed; files are sent complete, in ranges or as thumbnails."""

import asyncio
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, TypeAlias

from anyio.to_thread import run_sync
from fastapi import Query, Request, Response, UploadFile
from fastapi.responses import FileResponse
from starlette.datastructures import Headers
from starlette.types import Message, Receive, Scope, Send

from pipelines import image_io
from pipelines.guards.pictures import watch_of
from portrait.errors import PortraitError, UserError
from tasks.api import problems
from tasks.api.context import AppContext
from tasks.api.picture_pool import Scene, busy_error
from tasks.api.thumbnails import SIDES, ThumbnailCache, file_not_found
from tasks.files import Files, SavedFile
from tasks.private_files import check_readable

FORMATS = ("JPEG", "PNG", "WEBP", "HEIF", "AVIF", "TIFF", "GIF", "BMP", "JXL", "DNG")
SUFFIX_MEDIA_TYPES = {"jpg": "image/jpeg", "png": "image/png", "webp": "image/webp"}
Side: TypeAlias = Annotated[
    int | None,
    Query(
        ge=64,
        le=2048,
        description="Long side in pixels of a small JPEG; the whole file without it. It is made with the largest of "
        f"{', '.join(map(str, SIDES))} that is not longer.",
    ),
]
WAIT_SECONDS = 30
"""Seconds that a request waits for a picture that others are before."""
_PROBING = threading.BoundedSemaphore(2)
"""Headers read at once in this process: to read one of HEIC or AVIF takes as much memory as the file is large."""
_NO_STORE = {"Cache-Control": "no-store"}
"""Pictures are of people: no browser or proxy shows one after its erasure, or to the next who sits there."""
CATALOGUE = "private, max-age=86400"
"""For pictures that are nobody's own and never change at their address: those of published styles."""


def picture_route(*statuses: int, linked: bool = False) -> dict[str, Any]:
    """Options of a route that answers with a picture, or with a problem of these statuses; or `linked`, with its address."""
    content = {"image/*": {}}
    whole, part = {"description": "The picture."}, {"description": "The part that `Range` names."}
    problem = problems.problem_responses(416, *statuses)
    link = {307: {"description": "Where the file is for some minutes, by the setting `tasks.storage.links`."}}
    responses = {200: {**whole, "content": content}, 206: {**part, "content": content}, **problem}
    responses |= link if linked else {}
    return {"response_class": Response, "responses": responses}


class RangeFileResponse(FileResponse):
    """A file response that answers a range that the file does not have with a problem."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the file, the range, or the problem."""
        refused: Message | None = None

        async def send_unless_refused(message: Message) -> None:
            nonlocal refused
            if message["type"] == "http.response.start" and message["status"] in {400, 416}:
                refused = message
            if refused is None:
                await send(message)

        await super().__call__(scope, receive, send_unless_refused)
        if refused is not None:
            sent = Headers(raw=refused["headers"])
            headers = {"content-range": sent["content-range"]} if "content-range" in sent else {}
            sentence = "The file has no such part. Ask for it whole, or for bytes that it has."
            problem = problems.problem_response(Request(scope), 416, "bad_range", sentence, headers=headers)
            await problem(scope, receive, send)


@dataclass(frozen=True, slots=True)
class Preview:
    """A style with a person: their cut-out, and the scene that it is painted into."""

    cut_out: Path
    scene: Scene

    def find(self, thumbnails: ThumbnailCache, side: int) -> bytes | None:
        """The preview that was painted before."""
        return thumbnails.find(self.cut_out, side, self.scene)

    def request(self, thumbnails: ThumbnailCache, side: int, owner: str) -> "Future[bytes]":
        """The preview as a JPEG; the future raises `UserError` (`not_found`) where the cut-out does not fit the scene."""
        return thumbnails.request(self.cut_out, side, owner, self.scene)


class ThumbnailResponse(Response):
    """A response whose picture is decoded while it is sent: it waits without a thread, for some seconds, else is `busy`."""

    media_type = "image/jpeg"

    def __init__(self, thumbnails: ThumbnailCache, path: Path, side: int, preview: Preview | None = None) -> None:
        super().__init__(headers=_NO_STORE)
        self.thumbnails, self.path, self.side, self.preview = thumbnails, path, side, preview

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the thumbnail, or the problem."""
        request = Request(scope)
        try:
            self.body = await self._decoded(request)
        except PortraitError as error:
            await problems.error_response(error, request)(scope, receive, send)
            return
        self.headers["content-length"] = str(len(self.body))
        await super().__call__(scope, receive, send)

    async def _decoded(self, request: Request) -> bytes:
        owner = getattr(getattr(request.state, "caller", None), "owner", "")
        if self.preview is not None:
            try:
                return await self._wait(self.preview.request(self.thumbnails, self.side, owner))
            except UserError as error:
                if error.code != "not_found":
                    raise
        return await self._wait(self.thumbnails.request(self.path, self.side, owner))

    async def _wait(self, future: "Future[bytes]") -> bytes:
        try:
            # Shielded: others may wait for the same picture.
            return await asyncio.wait_for(asyncio.shield(asyncio.wrap_future(future)), WAIT_SECONDS)
        except TimeoutError as error:
            raise busy_error() from error


class ConvertedResponse(ThumbnailResponse):
    """A response that is a delivered portrait in another format or size, as a file to keep; it waits as a thumbnail does."""

    def __init__(
        self,
        thumbnails: ThumbnailCache,
        path: Path,
        format: str,
        side: int | None,
        disposition: str,
        finish: Callable[[bytes], bytes] | None = None,
    ) -> None:
        """`finish` makes the body of the converted picture, in a thread."""
        super().__init__(thumbnails, path, side or 0)
        self.format, self.finish = format, finish
        self.headers["content-type"] = SUFFIX_MEDIA_TYPES[format]
        self.headers["content-disposition"] = disposition

    async def _decoded(self, request: Request) -> bytes:
        owner = getattr(getattr(request.state, "caller", None), "owner", "")
        content = await self._wait(self.thumbnails.pool.submit(self.path, self.side, owner, format=self.format))
        return content if self.finish is None else await run_sync(self.finish, content)


def media_type(format: str) -> str:
    """The media type of an uploaded picture by Pillow's name of its format."""
    return f"image/{format.lower()}" if format in FORMATS else "application/octet-stream"


def display_name(upload: UploadFile) -> str:
    """The file name of an upload for display: one line of at most 255 characters, without a path."""
    plain = "".join(each if each.isprintable() else " " for each in (upload.filename or "photo"))
    return plain.replace("\\", "/").rsplit("/", 1)[-1].strip()[:255] or "photo"


def save_picture(files: Files, upload: UploadFile, place: Path) -> tuple[SavedFile, image_io.Header]:
    """Save an upload at `place` if it is a picture; raises `UserError` (`unreadable`, `too_large`) and leaves nothing."""
    saved = save_upload(files, upload, place, image_io.MAX_BYTES)
    try:
        with _PROBING:
            return saved, image_io.probe(place)
    except UserError:
        place.unlink(missing_ok=True)
        raise


def save_guarded_picture(
    context: AppContext, upload: UploadFile, place: Path, owner: str
) -> tuple[SavedFile, image_io.Header]:
    """Save an upload as `save_picture`, unless the guard keeps it back: before it is shown or used.

    Raises also `UserError` (`blocked`, `busy`), `OperatorError` (`guard_missing`, `storage_unreachable`), and leaves nothing.
    """
    watch = watch_of(context.installation.flows)
    saved, header = save_picture(context.files, upload, place)
    try:
        if watch is not None:
            context.thumbnails.pool.judge(place, owner, watch).result(WAIT_SECONDS)
        context.files.keep(place)
    except TimeoutError as error:
        place.unlink(missing_ok=True)
        raise busy_error() from error
    except PortraitError:
        place.unlink(missing_ok=True)
        raise
    return saved, header


def save_upload(files: Files, upload: UploadFile, place: Path, max_bytes: int) -> SavedFile:
    """Save an upload at `place`, whatever it is; raises `UserError` (`too_large`) beyond `most` bytes."""
    return files.save(_chunks(upload), place, max_bytes)


def picture_response(
    thumbnails: ThumbnailCache,
    path: Path,
    media: str,
    side: int | None,
    preview: Preview | None = None,
) -> Response:
    """A picture as its file, or as a JPEG of at most `side` pixels, which nobody may store; in its place a `preview` that can
    be painted.

    Raises `UserError` (`not_found`) without a file, `OperatorError` (`no_permission`) where this process may not read it.
    What decoding finds, the response tells.
    """
    if not path.is_file():
        raise file_not_found()
    check_readable([path])
    if side is None:
        return RangeFileResponse(path, media_type=media, headers=_NO_STORE)
    found = thumbnails.find(path, side) if preview is None else preview.find(thumbnails, side)
    if found is None:
        return ThumbnailResponse(thumbnails, path, side, preview)
    return Response(found, media_type="image/jpeg", headers=_NO_STORE)


def file_response(path: Path, media: str, disposition: str) -> Response:
    """A file as it is, whole or in ranges, with its `Content-Disposition`; raises as `picture_response`."""
    if not path.is_file():
        raise file_not_found()
    check_readable([path])
    return RangeFileResponse(path, media_type=media, headers={**_NO_STORE, "Content-Disposition": disposition})


def _chunks(upload: UploadFile) -> Iterator[bytes]:
    while chunk := upload.file.read(1 << 20):
        yield chunk
