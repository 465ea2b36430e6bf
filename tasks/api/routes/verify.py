"""The route that verifies pictures: anybody may ask where one comes from, within the limits of strangers; none is stored."""

import asyncio
import secrets
from pathlib import Path
from typing import Annotated, TypeAlias

from anyio.to_thread import run_sync
from fastapi import APIRouter, Depends, File, Request, UploadFile

from pipelines import image_io
from pipelines.marks import invisible, trust
from tasks import auth, schemas
from tasks.api import context as api_context
from tasks.api import images
from tasks.api.context import AppContext, ContextDep
from tasks.api.picture_pool import busy_error
from tasks.api.problems import problem_responses

router = APIRouter(tags=["portraits"])
VERIFY_SECONDS = 60
"""Seconds that a request waits for its turn and its answer."""


async def get_visitor(request: Request, context: ContextDep) -> auth.Caller | None:
    """The caller, or None for somebody who sends no key; raises `unauthenticated` for a key that opens nothing."""
    known = "authorization" in request.headers
    return await api_context.get_caller(request, context, None) if known else None


VisitorDep: TypeAlias = Annotated[auth.Caller | None, Depends(get_visitor)]


@router.post("/verify", responses=problem_responses(401, 422))
async def verify_picture(
    context: ContextDep,
    visitor: VisitorDep,
    file: Annotated[UploadFile, File(description="JPEG, PNG, WebP, HEIC, AVIF or PDF, as it came.")],
) -> schemas.Provenance:
    """Whether a picture was made here, by which kind of process, and whether it was changed since.

    Needs no key. The picture is looked at and not kept. With a key, the owner of the portrait and operators are told its id.
    """
    place = context.files.incoming / f"verify-{secrets.token_hex(8)}"
    owner = "" if visitor is None else visitor.owner
    try:
        await run_sync(_save, context, file, place)
        ours = await run_sync(trust.of_installation, context.installation.flows.marks)
        found = asyncio.wrap_future(context.thumbnails.pool.verify(place, owner, ours))
        # Shielded: the process that looks at it does not know that nobody waits any more.
        content = await asyncio.wait_for(asyncio.shield(found), VERIFY_SECONDS)
    except TimeoutError as error:
        raise busy_error() from error
    finally:
        place.unlink(missing_ok=True)
    known = schemas.Provenance.model_validate_json(content)
    portrait = await run_sync(_portrait_of, context, visitor, known.short_id)
    return known.model_copy(update={"portrait": portrait})


def _save(context: AppContext, file: UploadFile, place: Path) -> None:
    """Write an upload where the decoders find it; what is neither picture nor PDF is refused before one of them is asked."""
    is_pdf = file.file.read(4) == b"%PDF"
    file.file.seek(0)
    if is_pdf:
        images.save_upload(context.files, file, place, image_io.MAX_BYTES)
    else:
        images.save_picture(context.files, file, place)


def _portrait_of(context: AppContext, visitor: auth.Caller | None, short_id: str) -> str:
    """The id of the portrait with that short id, where the visitor may know it; else empty."""
    if visitor is None or not short_id:
        return ""
    ids = context.ledger.portraits.ids("" if visitor.has_role("operator") else visitor.owner)
    return next((id for id in ids if f"{invisible.short_id(id):08x}" == short_id), "")
