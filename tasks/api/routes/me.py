"""What the caller has here: use and quotas, everything to take home, and erasing all of it."""

import json
from collections.abc import Callable, Iterator
from dataclasses import asdict
from typing import Any, TypeVar

from fastapi import APIRouter, Response
from fastapi.responses import StreamingResponse
from zipstream import ZipStream

from tasks import schemas
from tasks.api.context import Office, TheCaller, TheOffice
from tasks.api.problems import documented
from tasks.api.routes.portraits import ZIP, name_of
from tasks.ledger.rows import Page

T = TypeVar("T")

router = APIRouter(prefix="/me", tags=["me"])


@router.get("", responses=documented(401))
def get_me(office: TheOffice, caller: TheCaller) -> schemas.Me:
    """Who you are, and what you may still ask for."""
    quotas, store = office.tasks.quotas, office.store
    return schemas.Me(
        owner=caller.owner,
        role=caller.role,
        jobs=schemas.Use(used=store.jobs.in_flight(caller.owner), most=quotas.jobs),
        people=schemas.Use(used=store.people.count(caller.owner), most=quotas.people),
        photos_a_day=quotas.photos_a_day,
        photos_of_a_person=quotas.photos,
        portraits_today=schemas.Use(
            used=store.jobs.portraits_asked(caller.owner, office.now()), most=quotas.portraits_a_day
        ),
        retention_days=office.tasks.retention_days,
    )


@router.get("/export", response_class=StreamingResponse, responses={**ZIP, **documented(401)})
def export_me(office: TheOffice, caller: TheCaller) -> Response:
    """Everything that is kept of you as one zip: photos, what was learned, portraits, own pictures, and records as JSON."""
    headers = {"Content-Disposition": 'attachment; filename="export.zip"'}
    return StreamingResponse(_zip(office, caller.owner), media_type="application/zip", headers=headers)


@router.delete("", responses=documented(401))
def erase_me(office: TheOffice, caller: TheCaller) -> schemas.Erased:
    """Erase every person, photo, portrait and picture of yours; says what went. Keys and webhooks stay."""
    now, owner = office.now(), caller.owner
    gone = office.store.people.erase_owner(owner, now)
    brought = [office.store.templates.delete(owner, row.id, now) for row in _all(office.store.templates.list, owner)]
    alone = [office.store.portraits.delete(owner, row.id, now) for row in _all(office.store.portraits.list, owner)]
    files = office.files.erase_owner(owner)
    return schemas.Erased(
        people=list(gone.people),
        selfies=list(gone.selfies),
        portraits=[*gone.portraits, *(row.id for row in alone)],
        templates=[row.id for row in brought],
        jobs=list(gone.jobs),
        files=files,
    )


def _zip(office: Office, owner: str) -> Iterator[bytes]:
    store, files, archive = office.store, office.files, ZipStream()
    people = _all(store.people.list, owner)
    brought = _all(store.templates.list, owner)
    drawn = _all(store.portraits.list, owner)
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
        "portraits": [asdict(each) for each in drawn],
        "templates": [asdict(each) for each in brought],
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
    for template in brought:
        path = files.template(owner, template.id)
        if path.is_file():
            archive.add_path(str(path), f"pictures/{template.id}.{template.format.lower()}")
    for row in drawn:
        path = files.portrait(owner, row.job, row.file)
        if path.is_file():
            archive.add_path(str(path), f"portraits/{name_of(row)}")
    yield from archive


def _all(listing: Callable[..., Page[T]], owner: str) -> list[T]:
    """Every page of a listing."""
    page = listing(owner, limit=200)
    items = list(page.items)
    while page.next:
        page = listing(owner, cursor=page.next, limit=200)
        items += page.items
    return items
