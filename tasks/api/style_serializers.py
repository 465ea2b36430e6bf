"""Own styles as operators are shown them: draft, findings, test drawings, versions."""

from collections.abc import Iterable, Sequence

from portrait.errors import OperatorError
from tasks import schemas
from tasks.api.serializers import moment, perhaps
from tasks.ledger.rows import DraftRow, StyleRow
from tasks.ledger.statistics import StyleFigure
from tasks.styles.available import Offered
from tasks.styles.service import Brought, Workshop
from templates.catalog import Catalog, Entry
from templates.schema import StyleFile


def every(workshop: Workshop) -> list[schemas.OwnStyle]:
    """All styles: drafts, published, retired and built-in, by id."""
    drafts = {row.id: row for row in workshop.store.drafts.list()}
    versions: dict[str, list[StyleRow]] = {}
    for row in workshop.store.styles.list(retired=True):
        versions.setdefault(row.id, []).insert(0, row)
    built_in = {entry.style.id: entry.style for entry in Catalog().entries()}
    ids = sorted({*drafts, *versions, *built_in})
    return [_told(workshop, drafts.get(id), versions.get(id, []), built_in.get(id)) for id in ids]


def one(workshop: Workshop, id: str) -> schemas.OwnStyle:
    """One style; raises `unknown_style`."""
    draft, versions = workshop.store.drafts.find(id), workshop.store.styles.versions(id)
    built_in = next((entry.style for entry in Catalog().entries() if entry.style.id == id), None)
    if draft is None and not versions and built_in is None:
        Offered(workshop.store, workshop.files).find(id)  # raises, and says which there are
    return _told(workshop, draft, versions, built_in)


def brought(workshop: Workshop, came: Brought) -> schemas.StylesBrought:
    """What an import brought."""
    left = [schemas.StyleLeft(source=each.source, field=each.field, why=each.why) for each in came.left]
    return schemas.StylesBrought(styles=[one(workshop, row.id) for row in came.drafts], left=left)


def version(workshop: Workshop, row: StyleRow) -> schemas.StyleVersion:
    """A published version."""
    return schemas.StyleVersion(
        version=row.version,
        content=row.content,
        picture=_pictured(Offered(workshop.store, workshop.files).entry(row)),
        sha256=row.sha256,
        published=moment(row.published),
        retired=perhaps(row.retired),
    )


def figures(found: StyleFigure) -> schemas.VersionFigures:
    """How a version did."""
    return schemas.VersionFigures(
        version=found.version,
        uses=found.uses,
        portraits=found.portraits,
        favourites=found.favourites,
        failures=found.failures,
        likeness_median=found.median,
        likeness_worst_tenth=found.worst_tenth,
    )


def _told(
    workshop: Workshop, draft: DraftRow | None, versions: Sequence[StyleRow], built_in: StyleFile | None
) -> schemas.OwnStyle:
    offered = next((row.version for row in versions if row.retired is None), built_in.version if built_in else None)
    # What people see names the style; without that, what operators work on, or had.
    shown = [row.content for row in versions if row.retired is None] + ([draft.content] if draft else [])
    shown += [row.content for row in versions]
    style = StyleFile.model_validate(shown[0]) if shown else built_in
    if style is None:
        raise OperatorError("bad_style", "There is a style without any content.")
    return schemas.OwnStyle(
        id=style.id,
        title=style.title,
        titles=dict(style.titles),
        kind=style.kind,
        tags=list(style.tags),
        status=list(_status(draft, versions, built_in)),
        offered=offered,
        content=style.model_dump(mode="json", by_alias=True),
        draft=None if draft is None else _draft(workshop, draft),
        versions=[version(workshop, row) for row in versions],
        built_in=built_in.version if built_in else None,
    )


def _status(
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


def _draft(workshop: Workshop, draft: DraftRow) -> schemas.StyleDraft:
    findings, checked = workshop.findings(draft), workshop.checked(draft)
    return schemas.StyleDraft(
        edition=draft.edition,
        content=draft.content,
        picture=_pictured(workshop.entry(draft)),
        findings=[
            schemas.StyleFinding(code=each.code, level=each.level, where=each.where, tip=each.tip) for each in findings
        ],
        checked=checked,
        publishable=checked and not any(each.level == "error" for each in findings),
        test=_test(draft),
        changed=moment(draft.changed),
        changed_by=draft.changed_by,
    )


def _test(draft: DraftRow) -> schemas.StyleTest | None:
    told = draft.tested
    if told is None:
        return None
    return schemas.StyleTest(
        job=told["job"],
        edition=told["edition"],
        made=moment(told["at"]),
        current=told["edition"] == draft.edition,
        samples=[schemas.StyleSample(**each) for each in told["samples"]],
    )


def _pictured(entry: Entry) -> bool:
    try:
        return entry.picture() is not None
    except OperatorError:
        return False
