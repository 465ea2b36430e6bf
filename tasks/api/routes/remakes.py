"""Asking for a portrait once more, as its recipe says."""

from fastapi import APIRouter, Response

from portrait.errors import UserError
from tasks import schemas
from tasks.api.context import ActOnce, AnId, Guarded, TheCaller, TheOffice
from tasks.api.routes.jobs import ASKING, accepted
from tasks.jobs import Job
from tasks.ledger.database import new_id

router = APIRouter(tags=["portraits"], route_class=Guarded)
DRAWS = ("seed", "count", "candidate")
"""What a recipe must say; who, style and version are those of the job that drew it."""


@router.post("/portraits/{id}/remake", status_code=202, response_model=schemas.Job, responses=ASKING)
def remake_portrait(id: AnId, office: TheOffice, caller: TheCaller, once: ActOnce) -> Response:
    """Draw a portrait once more, in the version of the style that it was drawn in: the same pixels, retired or not."""

    def act() -> Response:
        row = office.store.portraits.get(caller.owner, id)
        before = office.store.jobs.get(caller.owner, row.job)
        if not set(DRAWS) <= set(row.recipe):
            raise UserError("no_recipe", "This portrait carries no recipe that it could be made from again.")
        people = {str(place): str(person) for place, person in dict(before.wants.get("people", {})).items()}
        for person in people.values():
            office.store.people.consented(caller.owner, person)
        asked = {"seed": row.recipe["seed"], "count": row.recipe["count"], "format": row.format}
        wants = {**before.wants, **asked, "remake": row.id}
        now = office.now()
        job = Job(new_id("job", now), caller.owner, "generate", before.queue, wants, now, needs=before.needs)
        return accepted(office, office.ask(job, people))

    return once(act)
