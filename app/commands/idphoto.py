"""`portrait idphoto`: makes ID photos of a selfie or a training set, with a report rule by rule and sheets to print."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.text import Text

from app.terminal.errors import Json, cli_output
from app.terminal.tables import print_line, print_table

if TYPE_CHECKING:
    from pipelines.idphotos.idphoto import IdPhoto
    from pipelines.idphotos.presets import Preset, Presets
    from portrait.arrays import Image

MAX_REFERENCES = 4
"""References of a training set that are tried: the best of them come first."""

Photo = Annotated[Path | None, typer.Argument(metavar="SELFIE|SET", help="A photo, or a training set.")]
Names = Annotated[list[str], typer.Option("--preset", metavar="NAME", help="Country and purpose; repeatable.")]
Out = Annotated[Path, typer.Option("--out", "-o", help="Folder for the pictures.")]
Sheets = Annotated[
    list[str] | None, typer.Option("--sheet", metavar="10x15|a4|5in|6in", help="Paper to print on; repeatable.")
]
Background = Annotated[str, typer.Option("--background", metavar="NAME|#rrggbb", help="Instead of the preset's own.")]
Keep = Annotated[bool, typer.Option("--keep-background", help="Crop and level only.")]
Listing = Annotated[bool, typer.Option("--list", help="List the presets with their sources.")]


def idphoto(
    photo: Photo = None,
    preset: Names = ["icao"],  # noqa: B006 -- Typer copies it
    out: Out = Path("idphotos"),
    sheet: Sheets = None,
    background: Background = "",
    keep_background: Keep = False,
    list_presets: Listing = False,
    as_json: Json = False,
) -> None:
    """Make ID photos: exact size, plain background, every rule measured. Nothing changes the face."""
    with cli_output(as_json) as output:
        from pipelines.folders import atomic
        from pipelines.idphotos import idphoto as idphotos
        from pipelines.idphotos import sheets
        from pipelines.idphotos.presets import load_presets as load_presets
        from portrait.errors import UserError

        presets = load_presets()
        if list_presets:
            output({"presets": [_preset_to_dict(each) for each in presets.preset]}, lambda: _print_presets(presets))
            return
        if photo is None:
            raise UserError("no_photos", "Name a photo, or a training set; --list shows the presets.")
        options = [idphotos.IdPhotoOptions(presets.find(name), background, keep_background) for name in preset]
        papers = {name: presets.paper(name) for name in sheet or ()}
        for option in options:
            presets.background_color(option.preset, background)
            for paper in papers.values():
                sheets.arrange_photos(paper, option.preset.millimetres)
        from pipelines import build
        from tasks.settings import load

        with build.open_engines(load()) as engines:
            finder, matter = engines.finder(), engines.matter()
            source = idphotos.choose_photo(
                [idphotos.SourcePhoto(image, finder, matter) for image in _read_images(photo)]
            )
            made = [idphotos.make_id_photo(source, option, presets) for option in options]
        answer = [
            idphotos.make_report(each, presets, option) | {"files": _write_files(each, out, papers)}
            for each, option in zip(made, options, strict=True)
        ]
        atomic.write_file(out / "idphotos.json", json.dumps({"idphotos": answer}, ensure_ascii=False, indent=1))
        output({"idphotos": answer}, lambda: _print_report(answer))


def _read_images(path: Path) -> "list[Image]":
    """The photo, or the best references of a training set."""
    from pipelines import image_io
    from pipelines.folders import training_sets
    from portrait.errors import UserError

    if training_sets.is_set(path):
        return [each.image for each in training_sets.read(path).references[:MAX_REFERENCES]]
    if not path.is_file():
        raise UserError("not_found", f"There is no photo or training set at {path}.")
    return [image_io.read(path).image]


def _write_files(photo: "IdPhoto", out: Path, papers: "dict[str, tuple[float, float]]") -> list[str]:
    """OUT/PRESET.jpg and, for each paper, OUT/PRESET-PAPER.jpg and .pdf."""
    from pipelines.folders import atomic
    from pipelines.idphotos import sheets

    name = photo.preset.id
    files = [atomic.write_file(out / f"{name}.jpg", photo.content)]
    for paper, size in papers.items():
        layout = sheets.arrange_photos(size, photo.preset.millimetres)
        files.append(atomic.write_file(out / f"{name}-{paper}.jpg", sheets.encode_jpeg(layout, photo.content)))
        files.append(atomic.write_file(out / f"{name}-{paper}.pdf", sheets.encode_pdf(layout, photo.content)))
    return [str(file) for file in files]


def _preset_to_dict(preset: "Preset") -> dict[str, Any]:
    size = preset.pixels
    return preset.model_dump(exclude_none=True) | {"pixels": [size.width, size.height]}


def _print_presets(presets: "Presets") -> None:
    rows = []
    for each in presets.preset:
        wide, tall = each.millimetres
        size = f"{wide:g}×{tall:g} mm" if each.unit == "mm" else f"{each.pixels.width}×{each.pixels.height} px"
        rows.append((each.id, each.title, size, each.source))
    print_table(("preset", "for", "size", "source"), rows)


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
