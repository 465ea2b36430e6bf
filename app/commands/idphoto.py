"""`portrait idphoto`: makes ID photos of a selfie or a training set, with a report rule by rule and sheets to print."""

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.text import Text

from app.commands.prepare import Adult, Guardian
from app.terminal.errors import Json, cli_output
from app.terminal.tables import print_line, print_table

if TYPE_CHECKING:
    from pipelines.engines import Engines
    from pipelines.guards.ages import Answer
    from pipelines.idphotos.idphoto import IdPhoto
    from pipelines.idphotos.presets import Preset, Presets
    from pipelines.idphotos.sheets import Layout
    from pipelines.idphotos.source_photo import SourcePhoto
    from pipelines.marks.marks import Marks
    from pipelines.settings import Settings
    from portrait.idphoto_spec import IdPhotoSpec

MAX_REFERENCES = 4
"""References of a training set that are tried: the best of them come first."""
MAX_PIXELS = 12_000_000
"""Of the photo: larger ones are reduced to it, with many more pixels than any preset asks for."""

Photo = Annotated[Path | None, typer.Argument(metavar="SELFIE|SET", help="A photo, or a training set.")]
Names = Annotated[list[str], typer.Option("--preset", metavar="NAME", help="Country and purpose; repeatable.")]
Out = Annotated[Path, typer.Option("--out", "-o", help="Folder for the pictures.")]
Sheets = Annotated[
    list[str] | None, typer.Option("--sheet", metavar="10x15|a4|5in|6in", help="Paper to print on; repeatable.")
]
Background = Annotated[str, typer.Option("--background", metavar="NAME|#rrggbb", help="Instead of the preset's own.")]
OwnSize = Annotated[str, typer.Option("--size", metavar="35x45mm|413x531px", help="Instead of the preset's.")]
Dpi = Annotated[
    int | None, typer.Option("--dpi", min=72, max=1200, help="Pixels an inch in print.", show_default=False)
]
Kilobytes = Annotated[str, typer.Option("--kilobytes", metavar="20-50", help="Thousands of bytes of the file.")]
Gap = Annotated[str, typer.Option("--gap", metavar="2mm", help="Between the pictures of a sheet.")]
Keep = Annotated[bool, typer.Option("--keep-background", help="Crop and level only.")]
Listing = Annotated[bool, typer.Option("--list", help="List the presets with their sources.")]


def idphoto(
    photo: Photo = None,
    preset: Names = ["icao"],  # noqa: B006 -- Typer copies it
    out: Out = Path("idphotos"),
    sheet: Sheets = None,
    background: Background = "",
    keep_background: Keep = False,
    size: OwnSize = "",
    dpi: Dpi = None,
    kilobytes: Kilobytes = "",
    gap: Gap = "2mm",
    guardian: Guardian = "",
    adult: Adult = False,
    list_presets: Listing = False,
    as_json: Json = False,
) -> None:
    """Make ID photos: exact size, plain background, every rule measured. Nothing changes the face."""
    with cli_output(as_json) as output:
        from pipelines.folders import atomic
        from pipelines.guards import ages
        from pipelines.idphotos.idphoto import IdPhotoOptions, make_best, make_report
        from pipelines.idphotos.presets import apply_spec, load_presets
        from portrait.errors import UserError

        presets = load_presets()
        if list_presets:
            output({"presets": [_preset_to_dict(each) for each in presets.preset]}, lambda: _print_presets(presets))
            return
        if photo is None:
            raise UserError("no_photos", "Name a photo, or a training set; --list shows the presets.")
        spec = _read_spec(size, dpi, kilobytes)
        options = [IdPhotoOptions(apply_spec(presets.find(name), spec), background, keep_background) for name in preset]
        layouts = [_arrange(presets, each.preset, sheet or (), gap) for each in options]
        for option in options:
            presets.background_color(option.preset, background)
        from pipelines import build
        from pipelines.marks.marks import open_marks
        from tasks.settings import load

        settings = load()
        marks = open_marks(settings.marks)
        with build.open_engines(settings) as engines:
            photos = _read_photos(photo, settings, engines, ages.parse_answer(guardian, adult))
            made = [make_best(photos, replace(each, marks=marks), presets)[0][0] for each in options]
        answer = [
            make_report(each, presets, option) | {"files": _write_files(each, out, layout, marks)}
            for each, option, layout in zip(made, options, layouts, strict=True)
        ]
        atomic.write_file(out / "idphotos.json", json.dumps({"idphotos": answer}, ensure_ascii=False, indent=1))
        output({"idphotos": answer}, lambda: _print_report(answer))


def _arrange(presets: "Presets", preset: "Preset", papers: Sequence[str], gap: str) -> "dict[str, Layout]":
    """The layout of each paper; raises `UserError` (`unknown_paper`, `paper_too_small`, `bad_size`)."""
    from pipelines.idphotos.presets import parse_gap
    from pipelines.idphotos.sheets import arrange_photos

    return {name: arrange_photos(presets.paper(name), preset.millimetres, parse_gap(gap)) for name in papers}


def _read_spec(size: str, dpi: int | None, kilobytes: str) -> "IdPhotoSpec":
    """What the options ask for instead of a preset's own; raises `UserError` (`bad_size`, `bad_file_size`)."""
    from pipelines.idphotos.presets import parse_kilobytes, parse_size
    from portrait.idphoto_spec import IdPhotoSpec

    sides, unit = parse_size(size) if size else (None, "mm")
    return IdPhotoSpec(sides, unit, dpi, parse_kilobytes(kilobytes) if kilobytes else None)


def _read_photos(path: Path, settings: "Settings", engines: "Engines", given: "Answer") -> "list[SourcePhoto]":
    """The photo, or the best references of a training set.

    Raises `UserError` (`not_found`, `no_face`, `blocked`, `guardian_needed`, `person_blocked`).
    """
    from app.terminal.portraits import check_set
    from pipelines import image_io
    from pipelines.folders import training_sets
    from pipelines.idphotos.source_photo import SourcePhoto
    from portrait.errors import UserError

    finder, matter, guard = engines.finder(), engines.matter(), engines.picture_guard()
    if training_sets.is_set(path):
        training = training_sets.read(path)
        check_set(settings, training, path, given)
        images = [each.image for each in training.references[:MAX_REFERENCES]]
    elif path.is_file():
        images = [image_io.read_bounded(path, MAX_PIXELS).image]
    else:
        raise UserError("not_found", f"There is no photo or training set at {path}.")
    for image in images:
        guard.check(image)
    photos = [SourcePhoto(image, finder, matter) for image in images]
    if path.is_file():
        _check_photo(photos[0], settings, engines, given)
    return photos


def _check_photo(photo: "SourcePhoto", settings: "Settings", engines: "Engines", given: "Answer") -> None:
    """Raise `UserError` (`guardian_needed`, `person_blocked`) for the face of a photo that no set has been made of."""
    from app.terminal.portraits import check_face
    from pipelines.guards import ages
    from portrait.traits import asks_guardian, estimate_attributes

    check_face(engines.finder().embed(photo.image, photo.face).embeddings)
    read = estimate_attributes(engines.attributes(), photo.image, photo.face)
    ages.check(settings, asks_guardian([] if read is None else [read]), None, given)


def _write_files(photo: "IdPhoto", out: Path, layouts: "dict[str, Layout]", marks: "Marks") -> list[str]:
    """OUT/PRESET.jpg and, for each paper, OUT/PRESET-PAPER.jpg and .pdf."""
    from pipelines.folders import atomic
    from pipelines.idphotos import sheets

    name, content, origin = photo.preset.id, photo.content, sheets.Origin(photo.source_type, marks)
    files = [atomic.write_file(out / f"{name}.jpg", content)]
    for paper, layout in layouts.items():
        sheet = sheets.encode_jpeg(layout, content, photo.preset.dpi, origin)
        files.append(atomic.write_file(out / f"{name}-{paper}.jpg", sheet))
        files.append(atomic.write_file(out / f"{name}-{paper}.pdf", sheets.encode_pdf(layout, content, origin)))
    return [str(file) for file in files]


def _preset_to_dict(preset: "Preset") -> dict[str, Any]:
    size = preset.pixels
    sizes = {"pixels": [size.width, size.height], "millimetres": [round(each, 1) for each in preset.millimetres]}
    checked = None if preset.checked is None else preset.checked.isoformat()
    return preset.model_dump(exclude_none=True) | sizes | {"dpi": preset.dpi, "checked": checked}


def _print_presets(presets: "Presets") -> None:
    from pipelines.idphotos.presets import UNCHECKED

    rows = []
    for each in presets.preset:
        wide, tall = each.millimetres
        size = f"{wide:.3g}×{tall:.3g} mm" if each.unit == "mm" else f"{each.pixels.width}×{each.pixels.height} px"
        rows.append((each.id, each.title, size, each.source, str(each.checked or UNCHECKED)))
    print_table(("preset", "for", "size", "source", "compared"), rows)


def _print_report(answer: list[dict[str, Any]]) -> None:
    """Print each photo's rules with what was measured."""
    for each in answer:
        print_line(f"{each['title']}  {each['files'][0]}", "bold")
        rows = []
        for line in (*each["rules"], *each["photo"]):
            low, high = ("" if end is None else f"{end:g}" for end in line["allowed"])
            result = Text("ok", style="green") if line["ok"] else Text(line["tip"], style="yellow")
            rows.append((line["rule"], f"{line['measured']:g}", f"{low}–{high}", line["unit"], result))
        print_table(("rule", "measured", "allowed", "unit", ""), rows)
        for note in each["notes"]:
            print_line(note, "dim")
