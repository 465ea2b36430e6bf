"""Routes of ID photos and print sheets: the presets that there are, sheets of portraits; what a generation asks is checked."""

import threading
from dataclasses import dataclass
from functools import partial
from typing import Annotated, Literal

from fastapi import APIRouter, Query, Response

from pipelines import deliver
from pipelines.idphotos import sheets
from pipelines.idphotos.presets import Preset, apply_spec, load_presets
from pipelines.marks import source_types
from pipelines.marks.marks import open_marks
from portrait.errors import UserError
from portrait.idphoto_spec import spec_from_dict
from tasks import file_names, schemas
from tasks.api import images
from tasks.api.context import AuthenticatedRoute, CallerDep, ContextDep, PathId, from_parameters
from tasks.api.problems import problem_responses
from tasks.api.routes import portraits
from tasks.ledger.rows import PortraitRow
from templates.schema import StyleFile

router = APIRouter(tags=["portraits"], route_class=AuthenticatedRoute)
SHEET_RESPONSES = {200: {"description": "The sheet.", "content": {"application/pdf": {}, "image/jpeg": {}}}}
SHEET_MEDIA_TYPES = {"pdf": "application/pdf", "jpg": "image/jpeg"}
PRINT_DPI = 300
"""Pixels an inch of prints that no rule asks more of: what printers print photos with."""
MAX_SHEET_DPI = 600
"""Of a sheet as a JPEG: A4 takes 100 MB while it is made."""
_ENCODING = threading.BoundedSemaphore(1)
"""Sheets made as pictures at once in this process."""
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


@dataclass(frozen=True, slots=True)
class SheetOptions:
    """What a sheet shall be."""

    paper: Annotated[str, Query(pattern=r"^[a-z0-9]{1,20}$")] = "10x15"
    gap: Annotated[float, Query(ge=0, le=50, description="Millimetres between the prints.")] = sheets.GAP
    format: Annotated[Literal["pdf", "jpg"], Query()] = "pdf"
    width: Annotated[
        float | None,
        Query(
            ge=10,
            le=400,
            description="Millimetres of one print; as large as the paper takes without. An ID photo has its rule's.",
        ),
    ] = None


@router.get(
    "/portraits/{id}/sheet",
    response_class=Response,
    responses={**SHEET_RESPONSES, **problem_responses(401, 404, 410, 422)},
)
def get_sheet(
    id: PathId, context: ContextDep, caller: CallerDep, asked: Annotated[SheetOptions, from_parameters(SheetOptions)]
) -> Response:
    """As many prints of a portrait as fit on a paper, with crop marks, to be printed at 100 %."""
    row = context.ledger.portraits.get(caller.owner, id)
    path = context.files.fetch(context.files.portrait(caller.owner, row.job, row.file))
    if not path.is_file():
        raise UserError("not_found", "The file is not there.")
    size, dpi = _print_size(row, asked.width, load_presets().paper(asked.paper))
    layout = sheets.arrange_photos(load_presets().paper(asked.paper), size, asked.gap)
    ending = f"{asked.paper}.{asked.format}"
    name = f"{portraits.file_stems(context, caller.owner, [row], 'en')[0]}-{ending}"
    disposition = file_names.attachment(name, f"portrait-{row.id[-6:]}-{row.number}-{ending}")
    context.ledger.retention.use_portraits(caller.owner, [row], context.now())
    marks = open_marks(context.installation.flows.marks)
    origin = sheets.Origin(source_types.of_recipe(row.recipe), marks, deliver.parent_of(path))
    encode = partial(_encode, layout, asked.format, dpi, origin, _sheet_title(row))
    if portraits.is_id_photo(row) and row.format == "jpg":
        response = Response(encode(path.read_bytes()), headers={"Content-Disposition": disposition})
    else:
        # More pixels than that nobody sees in print.
        side = None if portraits.is_id_photo(row) else max(64, round(max(size) / 25.4 * dpi))
        response = images.ConvertedResponse(context.thumbnails, path, "jpg", side, disposition, encode)
    response.headers["Content-Type"] = SHEET_MEDIA_TYPES[asked.format]
    response.headers["Cache-Control"] = "no-store"
    return response


def _print_size(row: PortraitRow, width: float | None, paper: tuple[float, float]) -> tuple[tuple[float, float], int]:
    """Width and height of one print in millimetres, and its pixels an inch; raises `id_photo_fixed`."""
    if not portraits.is_id_photo(row):
        aspect = row.width / row.height
        return sheets.largest_print(paper, aspect) if width is None else (width, width / aspect), PRINT_DPI
    if width is not None:
        raise UserError("id_photo_fixed", "An ID photo is printed in the size of its rule. Leave the width out.")
    drawn = dict(row.recipe["drawn"])
    dpi = int(drawn["file"]["dpi"])
    wide, tall = drawn.get("millimetres") or (row.width / dpi * 25.4, row.height / dpi * 25.4)
    return (wide, tall), dpi


def _sheet_title(row: PortraitRow) -> str:
    return "ID photos" if portraits.is_id_photo(row) else "Portraits"


def _encode(layout: sheets.Layout, format: str, dpi: int, origin: sheets.Origin, title: str, content: bytes) -> bytes:
    """The sheet of a JPEG."""
    if format == "pdf":
        return sheets.encode_pdf(layout, content, origin, title)
    with _ENCODING:
        return sheets.encode_jpeg(layout, content, min(dpi, MAX_SHEET_DPI), origin)


def spec_params(options: schemas.IdPhotoOptions) -> dict[str, object]:
    """What a generation asks of an ID photo beside whose photo it is made of, as jobs and recipes hold it."""
    given = options.model_dump(exclude_defaults=True, exclude={"photo"})
    size = options.size
    return given | ({} if size is None else {"size": [size.width, size.height], "unit": size.unit})


def check_spec(options: schemas.IdPhotoOptions, style: StyleFile) -> None:
    """Raise `UserError` for what no worker could make.

    Codes: `bad_id_photo`, `unknown_preset`, `bad_size`, `bad_file_size`, `bad_background`.
    """
    if style.kind != "idphoto":
        raise UserError("bad_id_photo", "This style makes no ID photos. Leave `idphoto` out, or choose another style.")
    presets = load_presets()
    preset = apply_spec(presets.find(options.preset or style.preset), spec_from_dict(spec_params(options)))
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
