"""`portrait identities`: trained people as folders: list, show, export, merge, delete."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer
from rich.text import Text

from app.terminal.errors import Json, cli_output
from app.terminal.tables import print_line, print_table

if TYPE_CHECKING:
    from pipelines.folders.identities import StoredIdentity

app = typer.Typer(help="Trained people: list, show, export, merge, delete.", no_args_is_help=True)

Folder = Annotated[Path, typer.Argument(metavar="IDENTITY", help="The folder of a trained person.")]


@app.command("list")
def list_identities(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="Where identities lie.")] = Path(),
    as_json: Json = False,
) -> None:
    """List the identities in a folder."""
    with cli_output(as_json) as output:
        from app.commands.train import summary
        from pipelines.folders import identities

        found = identities.list_identities(folder)
        document = {"identities": [{"folder": str(each.folder), **summary(each)} for each in found]}
        output(document, lambda: _print_identities(found, folder))


@app.command()
def show(folder: Folder, as_json: Json = False) -> None:
    """Show an identity: base, trigger, training, scores."""
    with cli_output(as_json) as output:
        from app.commands.train import print_identity, summary
        from pipelines.folders import identities

        stored = identities.read(folder)
        output({"folder": str(folder), **summary(stored)}, lambda: print_identity(stored))


@app.command()
def export(
    folder: Folder,
    out: Annotated[Path, typer.Option("--out", "-o", metavar="FILE", help="The new file.")],
    names: Annotated[
        Literal["webui", "diffusers"], typer.Option("--names", help="For web interfaces, or for diffusers.")
    ] = "webui",
    as_json: Json = False,
) -> None:
    """Copy its LoRA to one file, for other programs."""
    with cli_output(as_json) as output:
        from pipelines.folders import identities

        file = identities.export_lora(folder, out, names)
        output({"file": str(file), "names": names}, lambda: _print(f"Written to {file}"))


@app.command()
def merge(
    folders: Annotated[list[Path], typer.Argument(metavar="IDENTITY", help="Two or more, of one person and base.")],
    out: Annotated[Path, typer.Option("--out", "-o", metavar="IDENTITY", help="Folder for the merged one.")],
    shares: Annotated[
        list[float] | None, typer.Option("--share", help="Weight of each, in the same order; default: alike.")
    ] = None,
    as_json: Json = False,
) -> None:
    """One identity from several of one person and base: their updates are averaged."""
    with cli_output(as_json) as output:
        from tempfile import TemporaryDirectory

        from app.commands.train import print_identity, summary
        from pipelines import build
        from pipelines.folders import identities
        from tasks.settings import load

        parts = [identities.read(folder) for folder in folders]
        with build.open_engines(load()) as engines, TemporaryDirectory(prefix="portrait-") as work_dir:
            made = build.train(engines).merge(parts, shares or [1.0] * len(parts), out.absolute(), Path(work_dir))
        output({"identity": str(out), **summary(made)}, lambda: print_identity(made))


@app.command()
def delete(folder: Folder, as_json: Json = False) -> None:
    """Delete an identity with all its files."""
    with cli_output(as_json) as output:
        from pipelines.folders import identities

        files = identities.delete(folder)
        output({"deleted": str(folder), "files": files}, lambda: _print(f"Deleted {folder} ({len(files)} files)"))


def _print(text: str) -> None:
    print_line(text, soft_wrap=True)


def _print_identities(found: "list[StoredIdentity]", folder: Path) -> None:
    if not found:
        _print(f"There are no identities in {folder.absolute()}: `portrait train` makes one.")
        return
    rows = []
    for each in found:
        cells = (each.folder.name, each.identity.trigger, each.identity.base, str(each.description["steps"]))
        rows.append([Text(cell) for cell in cells])
    print_table(("identity", "trigger", "base", "steps"), rows, header_style="table.header")
