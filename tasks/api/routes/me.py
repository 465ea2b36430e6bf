"""Routes of the caller: quotas and their use, export of everything, erasure of everything."""

import json
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path
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
    today = store.jobs.count_portraits_today(caller.owner, context.now())
    return schemas.Me(
        owner=caller.owner,
        role=caller.role,
        jobs=schemas.QuotaUse(used=store.jobs.count_active(caller.owner), most=quotas.jobs),
        people=schemas.QuotaUse(used=store.people.count(caller.owner), most=quotas.people),
        photos_a_day=quotas.photos_a_day,
        photos_of_a_person=quotas.photos,
        portraits_today=schemas.QuotaUse(used=today, most=quotas.portraits_a_day),
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
    templates, portraits = context.ledger.templates, context.ledger.portraits
    pictures = [templates.delete(owner, row.id, now).id for row in _all_pages(templates.list, owner)]
    alone = [portraits.delete(owner, row.id, now).id for row in _all_pages(portraits.list, owner)]
    more = {"templates": pictures, "portraits": [*erased.portraits, *alone], "files": context.files.erase_owner(owner)}
    return schemas.Erased.model_validate({**asdict(erased), **more})


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

    def add(path: Path, name: str) -> None:
        if path.exists():
            archive.add_path(str(path), name)

    for person in records["people"]:
        id = person["id"]
        for each in person["selfies"]:
            add(files.selfie(owner, id, each["id"]), f"photos/{id}/{each['id']}.{each['format'].lower()}")
        for each in person["identities"]:
            add(files.identity(owner, id, each["id"]), f"learned/{id}/{each['id']}")
    for each in templates:
        add(files.template(owner, each.id), f"pictures/{each.id}.{each.format.lower()}")
    for row in portraits:
        add(files.portrait(owner, row.job, row.file), f"portraits/{schemas.Portrait.model_validate(row).file_name}")
    yield from archive


def _all_pages(listing: Callable[..., Page[T]], owner: str) -> list[T]:
    """The items of every page of a list."""
    page = listing(owner, limit=200)
    items = list(page.items)
    while page.next:
        page = listing(owner, cursor=page.next, limit=200)
        items += page.items
    return items
