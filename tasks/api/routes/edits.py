"""Going on from a portrait: variations, the same but other, a part of it anew, another shape."""

from fastapi import APIRouter, Response

from portrait.errors import UserError
from portrait.generation import edits
from tasks import schemas
from tasks.api.context import ActOnce, AnId, Guarded, TheCaller, TheOffice
from tasks.api.routes.jobs import ASKING, accepted
from tasks.jobs import Job
from tasks.ledger.database import new_id
from tasks.ledger.rows import PortraitRow

router = APIRouter(tags=["portraits"], route_class=Guarded)
OF_ONE_DRAWING = {"candidate", "refiners", "size"}
"""What a job wanted that an edit of its portrait does not: it begins from the portrait as it is."""


@router.post("/portraits/{id}/edits", status_code=202, response_model=schemas.Job, responses=ASKING)
def edit_portrait(id: AnId, order: schemas.EditOrder, office: TheOffice, caller: TheCaller, once: ActOnce) -> Response:
    """Go on from a portrait that was drawn of words; what comes of it are portraits of their own."""

    def act() -> Response:
        row = office.store.portraits.get(caller.owner, id)
        before = office.store.jobs.get(caller.owner, row.job)
        _check(row, order)
        people = {str(place): str(person) for place, person in dict(before.wants.get("people", {})).items()}
        for person in people.values():
            office.store.people.consented(caller.owner, person)
        kept = {name: wish for name, wish in before.wants.items() if name not in OF_ONE_DRAWING}
        said = {"kind": order.kind, "words": order.words, "strength": order.strength, "area": order.area}
        wants = {
            **kept,
            "edit": {**said, "shape": order.shape, "portrait": row.id},
            "count": order.count,
            "seed": int(row.recipe["seed"]) + int(row.recipe["count"]) if order.seed is None else order.seed,
            "format": order.format or row.format,
        }
        now = office.now()
        job = Job(
            new_id("job", now),
            caller.owner,
            "generate",
            before.queue,
            wants,
            now,
            needs=before.needs,
            units=order.count,
        )
        return accepted(office, office.ask(job, people))

    return once(act)


def _check(row: PortraitRow, order: schemas.EditOrder) -> None:
    """Raise `UserError` (`bad_edit`, `bad_size`) for what the worker would refuse."""
    if dict(row.recipe.get("style", {})).get("kind") != "text":
        raise UserError("bad_edit", "Only portraits that were drawn of words can be edited.")
    if order.shape is not None:
        edits.check_shape((order.shape[0], order.shape[1]), row.width, row.height)
