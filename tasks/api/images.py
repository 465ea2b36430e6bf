"""Pictures on their way in and out: taken from a stream, probed, sent whole or small."""

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, TypeAlias

from fastapi import Query, Request, Response, UploadFile
from fastapi.responses import FileResponse
from starlette.datastructures import Headers
from starlette.types import Message, Receive, Scope, Send

from pipelines import image_io as door
from portrait.errors import UserError
from tasks.api import problems
from tasks.api.thumbnails import Reduced, not_there
from tasks.files import Files, Saved

MEDIA = {"JPEG": "image/jpeg", "PNG": "image/png", "WEBP": "image/webp", "HEIF": "image/heif", "AVIF": "image/avif"}
SUFFIX_MEDIA = {"jpg": "image/jpeg", "png": "image/png", "webp": "image/webp"}
Side: TypeAlias = Annotated[
    int | None, Query(ge=64, le=2048, description="Long side in pixels of a small JPEG; the whole file without it.")
]
_KEEP = "private, max-age=86400"
"""A picture never changes under its id."""


class Whole(FileResponse):
    """A file, or a part of it; of a part that is not there, a problem."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send it."""
        refused: Message | None = None

        async def told(message: Message) -> None:
            nonlocal refused
            if message["type"] == "http.response.start" and message["status"] in {400, 416}:
                refused = message
            if refused is None:
                await send(message)

        await super().__call__(scope, receive, told)
        if refused is not None:
            kept = {name: value for name, value in Headers(raw=refused["headers"]).items() if name == "content-range"}
            sentence = "The file has no such part. Ask for it whole, or for bytes that it has."
            problem = problems.problem(Request(scope), 416, "bad_range", sentence, headers=kept)
            await problem(scope, receive, send)


def name_of(upload: UploadFile) -> str:
    """What the person calls the file, fit to be shown: one line, 255 characters, no path."""
    plain = "".join(each if each.isprintable() else " " for each in (upload.filename or "photo"))
    return plain.replace("\\", "/").rsplit("/", 1)[-1].strip()[:255] or "photo"


def take(files: Files, upload: UploadFile, place: Path) -> tuple[Saved, door.Header]:
    """Keep an upload at `place` if it is a picture; raises `UserError` (`unreadable`, `too_large`) and leaves nothing."""
    saved = keep(files, upload, place, door.MOST_BYTES)
    try:
        return saved, door.probe(place)
    except UserError:
        place.unlink(missing_ok=True)
        raise


def keep(files: Files, upload: UploadFile, place: Path, most: int) -> Saved:
    """Keep an upload at `place`, whatever it is; raises `UserError` (`too_large`) beyond `most` bytes."""
    return files.save(_chunks(upload), place, most)


def send(reduced: Reduced, path: Path, media: str, side: int | None, name: str | None = None) -> Response:
    """A picture, whole or small; raises `UserError` (`not_found`) when its file is gone."""
    if not path.is_file():
        raise not_there()
    if side is None:
        return Whole(path, media_type=media, filename=name, headers={"Cache-Control": _KEEP})
    return Response(reduced.jpeg(path, side), media_type="image/jpeg", headers={"Cache-Control": _KEEP})


def _chunks(upload: UploadFile) -> Iterator[bytes]:
    while chunk := upload.file.read(1 << 20):
        yield chunk
