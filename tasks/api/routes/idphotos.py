"""Routes of ID photos: the presets that there are, and sheets to print; what a generation asks of an ID photo is checked."""

from typing import Annotated, Literal

from fastapi import APIRouter, Query, Response

from pipelines import deliver
from pipelines.idphotos import sheets
from pipelines.idphotos.presets import Preset, apply_spec, load_presets
from portrait.errors import UserError
from portrait.idphoto_spec import spec_from_dict
from tasks import schemas
from tasks.api.context import AuthenticatedRoute, CallerDep, ContextDep, PathId
from tasks.api.problems import problem_responses
from templates.schema import StyleFile

router = APIRouter(tags=["portraits"], route_class=AuthenticatedRoute)
SHEET_RESPONSES = {200: {"description": "The sheet.", "content": {"application/pdf": {}, "image/jpeg": {}}}}
KEPT = "kept"
"""The background that is the photo's own."""


@router.get("/idphotos/presets", responses=problem_responses(401))
def list_presets(caller: CallerDep) -> schemas.IdPhotoPresets:
    """The rules that ID photos can be made by, with their sources; backgrounds and papers by name."""
    presets = load_presets()
    return schemas.IdPhotoPresets(
        presets=[_serialize_preset(each) for each in presets.preset],
        backgrounds=dict(presets.colours),
        papers={name: list(size) for name, size in presets.papers.items()},
    )


@router.get(
    "/portraits/{id}/sheet",
    response_class=Response,
    responses={**SHEET_RESPONSES, **problem_responses(401, 404, 410, 422)},
)
def get_sheet(
    id: PathId,
    context: ContextDep,
    caller: CallerDep,
    paper: Annotated[str, Query(pattern=r"^[a-z0-9]{1,20}$")] = "10x15",
    gap: Annotated[float, Query(ge=0, le=50, description="Millimetres between the pictures.")] = sheets.GAP,
    format: Literal["pdf", "jpg"] = "pdf",
) -> Response:
    """As many copies of an ID photo as fit on a paper, with crop marks, to be printed at 100 %."""
    row = context.ledger.portraits.get(caller.owner, id)
    drawn = dict(row.recipe.get("drawn", {}))
    path = context.files.portrait(caller.owner, row.job, row.file)
    if "rules" not in drawn or row.format != "jpg" or not path.is_file():
        raise UserError("not_found", "Sheets are printed of ID photos that are JPEG files. There is none with this id.")
    dpi = int(drawn["file"]["dpi"])
    wide, tall = drawn.get("millimetres") or (row.width / dpi * 25.4, row.height / dpi * 25.4)
    layout = sheets.arrange_photos(load_presets().paper(paper), (wide, tall), gap)
    mark, content = deliver.source_type(row.recipe), path.read_bytes()
    if format == "pdf":
        return Response(sheets.encode_pdf(layout, content, mark), media_type="application/pdf")
    return Response(sheets.encode_jpeg(layout, content, dpi, mark), media_type="image/jpeg")


def spec_params(options: schemas.IdPhotoOptions) -> dict[str, object]:
    """What a generation asks of an ID photo, as jobs and recipes hold it."""
    given = options.model_dump(exclude_defaults=True)
    size = options.size
    return given | ({} if size is None else {"size": [size.width, size.height], "unit": size.unit})


def check_spec(options: schemas.IdPhotoOptions, style: StyleFile) -> None:
    """Raise `UserError` (`bad_id_photo`, `bad_size`, `bad_file_size`, `bad_background`) for what no worker could make."""
    if style.kind != "idphoto":
        raise UserError("bad_id_photo", "This style makes no ID photos. Leave `idphoto` out, or choose another style.")
    presets = load_presets()
    preset = apply_spec(presets.find(style.preset), spec_from_dict(spec_params(options)))
    if options.background != KEPT:
        presets.background_color(preset, options.background)


def _serialize_preset(preset: Preset) -> schemas.IdPhotoPreset:
    names = ("id", "title", "source", "checked", "dpi", "backgrounds", "unaltered", "notes")
    return schemas.IdPhotoPreset(
        **{name: getattr(preset, name) for name in names},
        millimetres=[round(each, 2) for each in preset.millimetres],
        pixels=[preset.pixels.width, preset.pixels.height],
        kilobytes=None if preset.kilobytes is None else list(preset.kilobytes),
    )
