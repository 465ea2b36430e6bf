"""Serializers: values of the ledger as response schemas, where a schema needs more than the attributes of one row.

Rows whose attributes are those of their schema are validated where they are used: `schemas.Selfie.model_validate(row)`.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict
from math import isfinite
from typing import Any, TypeVar

from pydantic import BaseModel

from pipelines import model_requirements
from pipelines.model_store.add import NewModel
from pipelines.model_store.additions import Addition
from pipelines.model_store.manifest import BasePair
from pipelines.model_store.store import ModelState, ModelStore
from portrait.errors import OperatorError
from portrait.faces.likeness import likeness_step
from portrait.generation.sampling_facts import SamplingFacts
from portrait.traits import offer_traits
from portrait.types import PhotoUses
from portrait.uses import set_uses
from tasks import schemas
from tasks.api import problems
from tasks.consent_texts import ConsentWords
from tasks.jobs import DAY, Job
from tasks.ledger.jobs import QueueStatus
from tasks.ledger.people import PersonSummary
from tasks.ledger.privacy.consents import ConsentTextRow
from tasks.ledger.privacy.erasures import ErasureRow
from tasks.ledger.privacy.retention import Due, person_due
from tasks.ledger.rows import DraftRow, EventRow, PersonRow, PortraitRow, SelfieRow, StyleRow
from tasks.ledger.statistics import StyleStatistics
from tasks.settings import RetentionSettings
from tasks.styles.available import AvailableStyles
from tasks.styles.service import StyleImport, StyleService
from templates.catalog import Catalog, Entry
from templates.schema import StyleFile, parse_stored

B = TypeVar("B", bound=BaseModel)


def list_models(models: ModelStore) -> list[schemas.ModelStatus]:
    """Every model of a store as it is, and behind them those that are only being added."""
    additions = {each.name: each for each in models.additions()}
    shown = [_serialize_model(each, models, additions.pop(each.model.name, None)) for each in models.list()]
    return shown + [
        schemas.ModelStatus.model_validate(
            {name: getattr(each, name) for name in ("name", "licence", "commercial", "kind")}
            | {"purpose": "", "ready": False, "own": True, "addition": schemas.ModelAddition.model_validate(each)}
            | {"missing": [each.message] if each.message else []}
        )
        for each in additions.values()
    ]


def _serialize_model(state: ModelState, models: ModelStore, addition: Addition | None) -> schemas.ModelStatus:
    model = state.model
    shared = (
        "name",
        "purpose",
        "licence",
        "commercial",
        "embedded",
        "page",
        "note",
        "kind",
        "family",
        "own",
        "alternative",
    )
    added = schemas.ModelAddition.model_validate(addition) if addition else None
    here = {"ready": state.state == "here", "state": state.state, "bytes": state.size, "allowed": state.allowed}
    return schemas.ModelStatus.model_validate(
        {name: getattr(model, name) for name in shared}
        | here
        | {"facts": dict(model.facts), "missing": models.missing(model.name), "addition": added}
    )


def read_model_request(body: schemas.ModelRequest) -> NewModel:
    """What a request asks the store to add."""
    names = (*SamplingFacts.__dataclass_fields__, *BasePair.__dataclass_fields__)
    given = {name: getattr(body, name) for name in names}
    facts = {name: value for name, value in given.items() if value not in (None, "") and value is not False}
    return NewModel(**body.model_dump(exclude=set(given)), facts=facts)


def serialize_person(row: PersonRow, summary: PersonSummary, kept: RetentionSettings, now: float) -> schemas.Person:
    """A person with what is known of them, and when they are erased."""
    fields = {name: getattr(row, name) for name in ("id", "name", "created", "used")}
    told = ("photos", "portraits", "consent", "consent_state", "latest_consent", "identity", "face")
    known = {name: getattr(summary, name) for name in told}
    served = {**_serialize_uses(summary.judged), "questions": list(_questions(summary.judged))}
    read = [photo.uses.get("traits", {}) for photo in summary.judged if photo.verdict == "use"]
    served |= {"traits": row.traits, "offered_traits": offer_traits(read)}
    due, end = person_due(row, summary.favourites, kept, now), row.used + (kept.people_days or 0.0) * DAY
    more = {"erased_after": end, "erased_on": due.on, "erased_soon": due.soon, "learned": summary.bases}
    return schemas.Person.model_validate({**fields, **known, **more, **served})


def _serialize_uses(photos: Sequence[SelfieRow]) -> dict[str, Any]:
    """What a person's used photos serve, and what more would open; nothing where it is not known."""
    used = [photo for photo in photos if photo.verdict == "use"]
    serves = [photo.serves for photo in used if photo.serves is not None]
    if not serves:
        return {}
    uses = set_uses([PhotoUses(tuple(each["studio"]), each["idphoto"], each["template"]) for each in serves], len(used))
    return {
        "serves": {
            "studio": uses.compositions,
            "idphoto": uses.idphoto,
            "template": uses.templates,
            "training": uses.training,
        },
        "opens": uses.openings,
    }


def _questions(photos: Sequence[SelfieRow]) -> Iterable[schemas.PersonQuestion]:
    """The questions about photos that nobody has answered yet."""
    person = [photo.id for photo in photos if photo.verdict == "use"]
    for number in sorted({photo.doubt for photo in photos if photo.doubt}):
        unsure = [photo.id for photo in photos if photo.doubt == number]
        yield schemas.PersonQuestion(number=number, person=person, unsure=unsure)


def serialize_text(row: ConsentTextRow, days: float) -> schemas.ConsentText:
    """A text of consent, with the days after which everything is erased."""
    words = ConsentWords.model_validate(row.content)
    given_for = {"self": words.myself, "proxy": words.proxy, "guardian": words.guardian}
    return schemas.ConsentText.model_validate(
        {
            **{name: getattr(row, name) for name in ("version", "language", "sha256")},
            **{name: getattr(words, name) for name in ("agree", "adult", "pictures")},
            "days": days,
            "paragraphs": [each.replace("{days}", f"{days:g}") for each in words.paragraphs],
            "given_for": {name: sentence for name, sentence in given_for.items() if sentence},
        }
    )


def picture_terms(recipe: Mapping[str, Any], models: ModelStore) -> list[schemas.PictureTerms]:
    """What is to be handed on with a portrait, by its recipe: once for each licence of what drew it."""
    by_licence: dict[str, list[str]] = {}
    for model in models.known(model_requirements.models_of_recipe(recipe)):
        by_licence.setdefault(model.licence, []).append(model.name)
    return [
        schemas.PictureTerms(licence=licence, models=names, sentence=terms.use_limits, page=terms.page)
        for licence, names in by_licence.items()
        if (terms := models.terms(licence)) is not None
    ]


def serialize_portrait(
    row: PortraitRow, due: Due, people: Mapping[str, str], models: ModelStore, recipe: bool = True
) -> schemas.Portrait:
    """A portrait with who is on it, its terms and when it is erased; on demand without its recipe."""
    names = set(schemas.Portrait.model_fields) - {"name", "people", "likeness", "recipe", "rules", "terms"}
    likeness = {
        face: {**found, "step": likeness_step(found["space"], found["distance"])}
        for face, found in row.likeness.items()
    }
    more = {
        "name": row.title,
        "people": people,
        "likeness": likeness,
        "recipe": row.recipe if recipe else {},
        "terms": picture_terms(row.recipe, models),
        "rules": dict(row.recipe.get("drawn", {})).get("rules", ()),
        "erased_on": due.on if isfinite(due.on) else None,
        "erased_soon": due.soon,
    }
    return schemas.Portrait.model_validate(
        {**{name: getattr(row, name) for name in names if hasattr(row, name)}, **more}
    )


def serialize_erasure(row: ErasureRow) -> schemas.Erased:
    """What an erasure erased."""
    return schemas.Erased.model_validate({**row.ids, "erasure": row.id, "done": row.done})


def serialize_job(job: Job, status: QueueStatus, missing: list[str]) -> schemas.Job:
    """A job with its place in the queue; `missing` says what it takes where no live worker can do it."""
    fields = {name: getattr(job, name) for name in schemas.Job.model_fields if hasattr(job, name)}
    finished = {"portraits": len(status.portraits), "portrait_ids": status.portraits}
    fields |= {"order": job.order_id, "seen": job.seen is not None, **finished}
    seconds = None if status.seconds is None else round(status.seconds, 1)
    waiting = {"place": status.place, "seconds_left": seconds, "missing": missing}
    return schemas.Job.model_validate({**fields, **waiting, "wants": job.params, "fault": serialize_fault(job)})


def serialize_fault(job: Job) -> schemas.JobFault | None:
    """Why a job failed, or why its last run did; None without a fault."""
    fault = job.fault
    if fault is None:
        return None
    errors = problems.error_details(fault.details)
    # A UserError lies in the photos or the order, which a job does not change; consent may have been given since.
    again = fault.branch != "UserError" or fault.code.startswith(("consent_", "guardian_"))
    return schemas.JobFault(code=fault.code, message=fault.message, again=again, errors=errors)


def serialize_event(row: EventRow) -> schemas.JobEvent:
    """An event of a job."""
    return schemas.JobEvent.model_validate({"state": row.state, **row.data})


def list_styles(service: StyleService) -> list[schemas.OperatorStyle]:
    """All styles with drafts and versions: drafts, published, retired and built-in, by id."""
    drafts = {row.id: row for row in service.ledger.drafts.list()}
    versions: dict[str, list[StyleRow]] = {}
    for row in service.ledger.styles.list(retired=True):
        versions.setdefault(row.id, []).insert(0, row)
    built_in = _built_in()
    ids = sorted({*drafts, *versions, *built_in})
    return [_serialize_style(service, drafts.get(id), versions.get(id, []), built_in.get(id)) for id in ids]


def get_style(service: StyleService, id: str) -> schemas.OperatorStyle:
    """One style with its draft and versions; raises `unknown_style`."""
    draft, versions = service.ledger.drafts.find(id), service.ledger.styles.versions(id)
    built_in = _built_in().get(id)
    if draft is None and not versions and built_in is None:
        AvailableStyles(service.ledger, service.files).find(id)  # raises an error that lists the ids there are
    return _serialize_style(service, draft, versions, built_in)


def serialize_import(service: StyleService, imported: StyleImport) -> schemas.StyleImportResult:
    """The imported styles, and what was skipped."""
    skipped = [schemas.SkippedContent.model_validate(each) for each in imported.skipped]
    return schemas.StyleImportResult(styles=[get_style(service, row.id) for row in imported.drafts], left=skipped)


def serialize_version(service: StyleService, row: StyleRow) -> schemas.StyleVersion:
    """A published version of a style."""
    available = AvailableStyles(service.ledger, service.files)
    picture = _has_picture(lambda: available.entry(row))
    return schemas.StyleVersion.model_validate({**asdict(row), "picture": picture})


def serialize_statistics(kind: type[B], found: StyleStatistics) -> B:
    """Statistics of a style, or of one version of it."""
    likeness = {"likeness_median": found.median, "likeness_worst_tenth": found.worst_tenth}
    return kind.model_validate({**asdict(found), **likeness})


def _serialize_style(
    service: StyleService, draft: DraftRow | None, versions: Sequence[StyleRow], built_in: StyleFile | None
) -> schemas.OperatorStyle:
    available = next((row.version for row in versions if row.retired is None), built_in.version if built_in else None)
    # What people see names the style; without that, what operators work on, or had.
    contents = [row.content for row in versions if row.retired is None] + ([draft.content] if draft else [])
    contents += [row.content for row in versions]
    id = draft.id if draft else versions[0].id if versions else ""
    style = _readable(contents, id) if contents else built_in
    fields = _broken_style(id, contents[0]) if style is None else style.model_dump()
    more = {
        "status": list(_statuses(draft, versions, built_in)),
        "offered": available,
        "content": contents[0] if style is None else style.model_dump(mode="json", by_alias=True),
        "draft": None if draft is None else _serialize_draft(service, draft),
        "versions": [serialize_version(service, row) for row in versions],
        "built_in": built_in.version if built_in else None,
    }
    return schemas.OperatorStyle.model_validate({**fields, **more})


def _readable(contents: Sequence[Mapping[str, Any]], id: str) -> StyleFile | None:
    """The first content that still holds; None where none does."""
    for content in contents:
        with suppress(OperatorError):
            return parse_stored(content, id)
    return None


def _broken_style(id: str, content: Mapping[str, Any]) -> dict[str, Any]:
    """What is shown of a style whose contents do not hold any more, so that it can be written anew or deleted."""
    title, kind = str(content.get("title", id))[:80], str(content.get("kind", ""))[:20]
    return {"id": id, "title": title, "titles": {}, "kind": kind, "tags": []}


def _statuses(
    draft: DraftRow | None, versions: Sequence[StyleRow], built_in: StyleFile | None
) -> Iterable[schemas.StyleStatus]:
    published = any(row.retired is None for row in versions)
    if draft is not None:
        yield "draft"
    if published:
        yield "published"
    elif versions:
        yield "retired"
    if built_in is not None and not published:
        yield "built-in"


def _serialize_draft(service: StyleService, draft: DraftRow) -> schemas.StyleDraft:
    findings, checked, test = service.findings(draft), service.is_checked(draft), draft.tested
    more = {
        "picture": _has_picture(lambda: service.entry(draft)),
        "findings": findings,
        "checked": checked,
        "publishable": checked and not any(each.level == "error" for each in findings),
        "test": test and {**test, "made": test["at"], "current": test["edition"] == draft.edition},
    }
    return schemas.StyleDraft.model_validate({**asdict(draft), **more})


def _built_in() -> dict[str, StyleFile]:
    return {entry.style.id: entry.style for entry in Catalog().entries()}


def _has_picture(read: Callable[[], Entry]) -> bool:
    try:
        return read().picture() is not None
    except OperatorError:
        return False
