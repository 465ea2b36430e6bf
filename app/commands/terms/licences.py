"""`portrait licences`: on what terms everything here, or everything that drew one portrait, may be used."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.text import Text

from app.terminal.errors import cli_output
from app.terminal.tables import print_line, print_table

if TYPE_CHECKING:
    from app.commands.terms.materials import Material

USE = {"yes": "yes", "no": "[red]no[/red]", "ask": "[yellow]ask[/yellow]"}


def licences(
    file: Annotated[
        Path | None, typer.Argument(metavar="[FILE]", help="A portrait; without one, the installation is told.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Answer as a bill of materials in CycloneDX's JSON.")] = False,
) -> None:
    """What this installation, or one portrait, is made of, and on what terms it may be used."""
    with cli_output(as_json) as output:
        from app.commands.terms import cyclonedx, materials
        from app.terminal.styles import open_available_styles
        from pipelines.deliver import read_recipe
        from tasks.settings import load

        settings = load()
        with open_available_styles() as styles:
            if file is None:
                subject, *parts = materials.of_installation(settings, styles)
            else:
                subject = materials.Material("picture", file.name)
                parts = materials.of_portrait(read_recipe(file), settings, styles)
        limits = materials.use_limits(parts)
        about = f'Made for {settings.profile} use: profile = "{settings.profile}".'
        output(cyclonedx.document(subject, parts), lambda: _print(about, parts, limits))


def _print(about: str, parts: "list[Material]", limits: dict[tuple[str, str], list[str]]) -> None:
    print_line(about)
    rows = [
        [Text(each.kind), Text(f"{each.name} {each.version}".strip()), Text(each.licence or "not stated"),
         "" if each.kind == "package" else USE[each.commercial], Text(each.note or each.page)]
        for each in parts
    ]  # fmt: skip
    print_table(["what", "name", "licence", "commercial use", "terms"], rows)
    for (sentence, page), names in limits.items():
        print_line(f"To be handed on with pictures that {', '.join(names)} drew: {sentence} {page}")
