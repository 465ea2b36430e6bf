"""Routes of the caller: quotas and their use, export of everything, erasure of everything."""

import json
from collections.abc import Callable, Iterator
from dataclasses import asdict
from typing import Any, TypeVar

from fastapi import APIRouter, Response
from fastapi.responses import StreamingResponse
from zipstream import ZipStream

from tasks import schemas
from tasks.api.context import AppContext, CallerDep, ContextDep
from tasks.api.problems import problem_responses
from tasks.api.routes.portraits import ZIP_RESPONSES
from tasks.ledger.rows import Page

T = TypeVar("T")

router = APIRouter(prefix="/me", tags=["me"])


@router.get("", responses=problem_responses(401))
def get_me(context: ContextDep, caller: CallerDep) -> schemas.Me:
    """The caller, with quotas and their use."""
    quotas, store = context.tasks.quotas, context.ledger
    return schemas.Me(
        owner=caller.owner,
        role=caller.role,
        jobs=schemas.QuotaUse(used=store.jobs.count_active(caller.owner), most=quotas.jobs),
        people=schemas.QuotaUse(used=store.people.count(caller.owner), most=quotas.people),
        photos_a_day=quotas.photos_a_day,
        photos_of_a_person=quotas.photos,
        portraits_today=schemas.QuotaUse(
            used=store.jobs.count_portraits_today(caller.owner, context.now()), most=quotas.portraits_a_day
        ),
        retention_days=context.tasks.retention_days,
    )


@router.get("/export", response_class=StreamingResponse, responses={**ZIP_RESPONSES, **problem_responses(401)})
def export_me(context: ContextDep, caller: CallerDep) -> Response:
    """Everything that is kept of the caller as one zip: photos, identities, portraits, own pictures, records as JSON."""
    headers = {"Content-Disposition": 'attachment; filename="export.zip"'}
    return StreamingResponse(_zip(context, caller.owner), media_type="application/zip", headers=headers)


@router.delete("", responses=problem_responses(401))
def erase_me(context: ContextDep, caller: CallerDep) -> schemas.Erased:
    """Erase every person, photo, portrait and picture of the caller; returns the ids. Keys and webhooks stay."""
    now, owner = context.now(), caller.owner
    erased = context.ledger.people.erase_owner(owner, now)
    templates = [
        context.ledger.templates.delete(owner, row.id, now) for row in _all_pages(context.ledger.templates.list, owner)
    ]
    alone = [
        context.ledger.portraits.delete(owner, row.id, now) for row in _all_pages(context.ledger.portraits.list, owner)
    ]
    files = context.files.erase_owner(owner)
    return schemas.Erased(
        people=list(erased.people),
        selfies=list(erased.selfies),
        portraits=[*erased.portraits, *(row.id for row in alone)],
        templates=[row.id for row in templates],
        jobs=list(erased.jobs),
        files=files,
    )


def _zip(context: AppContext, owner: str) -> Iterator[bytes]:
    store, files, archive = context.ledger, context.files, ZipStream()
    people = _all_pages(store.people.list, owner)
    templates = _all_pages(store.templates.list, owner)
    portraits = _all_pages(store.portraits.list, owner)
    records: dict[str, Any] = {
        "people": [
            {
                **asdict(person),
                "consents": [asdict(each) for each in store.people.consents(owner, person.id)],
                "selfies": [asdict(each) for each in store.people.selfies(owner, person.id)],
                "identities": [asdict(each) for each in store.people.identities(owner, person.id)],
            }
            for person in people
        ],
        "portraits": [asdict(each) for each in portraits],
        "templates": [asdict(each) for each in templates],
    }
    archive.add(json.dumps(records, ensure_ascii=False, indent=1), "records.json")
    for person in records["people"]:
        for selfie in person["selfies"]:
            path = files.selfie(owner, person["id"], selfie["id"])
            if path.is_file():
                archive.add_path(str(path), f"photos/{person['id']}/{selfie['id']}.{selfie['format'].lower()}")
        for identity in person["identities"]:
            folder = files.identity(owner, person["id"], identity["id"])
            if folder.is_dir():
                archive.add_path(str(folder), f"learned/{person['id']}/{identity['id']}")
    for template in templates:
        path = files.template(owner, template.id)
        if path.is_file():
            archive.add_path(str(path), f"pictures/{template.id}.{template.format.lower()}")
    for row in portraits:
        path = files.portrait(owner, row.job, row.file)
        if path.is_file():
            archive.add_path(str(path), f"portraits/{schemas.Portrait.model_validate(row).file_name}")
    yield from archive


def _all_pages(listing: Callable[..., Page[T]], owner: str) -> list[T]:
    """The items of every page of a list."""
    page = listing(owner, limit=200)
    items = list(page.items)
    while page.next:
        page = listing(owner, cursor=page.next, limit=200)
        items += page.items
    return items
