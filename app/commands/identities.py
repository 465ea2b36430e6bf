"""`portrait identities`: trained people as folders: list, show, import, export, merge, delete."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer
from rich.text import Text

from app.terminal.errors import Json, cli_output
from app.terminal.tables import print_line, print_table

if TYPE_CHECKING:
    from pipelines.folders.identities import StoredIdentity
    from portrait.types import TrainingSet

app = typer.Typer(help="Trained people: list, show, import, export, merge, delete.", no_args_is_help=True)

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


@app.command("import")
def import_lora(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A person's LoRA, .safetensors, of any trainer.")],
    trigger: Annotated[str, typer.Option("--trigger", metavar="WORD", help="The word that it was learned with.")],
    base: Annotated[str, typer.Option("--base", metavar="NAME", help="The base that it was learned on, or its place.")],
    out: Annotated[Path, typer.Option("--out", "-o", metavar="IDENTITY", help="Folder for the identity.")],
    class_word: Annotated[str, typer.Option("--class-word", metavar="WORD", help="man, woman, person …")] = "person",
    references: Annotated[
        list[Path] | None,
        typer.Option(
            "--references", metavar="PHOTOS|SET", help="Photos of the person, to measure likeness; repeatable."
        ),
    ] = None,
    as_json: Json = False,
) -> None:
    """Make an identity of a person's LoRA that was learned elsewhere."""
    with cli_output(as_json) as output:
        from app.commands.train import summary

        made, passed_over = _import(file, trigger.strip(), base, class_word.strip(), references or [], out.absolute())
        document = {"identity": str(out), **summary(made), "passed_over": dict(passed_over)}
        output(document, lambda: _print_imported(made, passed_over))


def _import(
    file: Path, trigger: str, base: str, class_word: str, references: list[Path], folder: Path
) -> "tuple[StoredIdentity, Mapping[str, int]]":
    """Write the identity, with a training set of the photos beside its files; and what was passed over among the photos."""
    import hashlib
    from tempfile import TemporaryDirectory

    from pipelines import build
    from pipelines.folders import identities, training_sets
    from pipelines.pages import identity
    from portrait.errors import UserError
    from tasks.settings import load

    if not trigger or not class_word:
        raise UserError("bad_trigger", "Say with which word the person was learned (--trigger), such as sks.")
    if not identities.is_available(folder):
        raise UserError("folder_taken", f"{folder} holds other things. Name a new or empty folder.")
    settings = load()
    with TemporaryDirectory(prefix="portrait-") as work_dir:
        made = build.import_person_lora(settings, file, base, trigger, Path(work_dir))
        training, passed_over = _read_photos(references, class_word) if references else (None, {})
        likeness = {} if training is None else training.mean_embeddings
        id = hashlib.sha256(made.lora.read_bytes()).hexdigest()[:16]
        description = identities.make_imported_description(made.facts, id, trigger, class_word, likeness)
        files = {identities.LORA_FILE: made.lora, identities.WEBUI_FILE: made.kohya_lora}
        stored = identities.write(folder, description, files, identity.render(description, None, training))
        if training is not None:
            training_sets.write(training, folder / identities.PHOTOS_FOLDER)
    return stored, passed_over


def _read_photos(references: list[Path], class_word: str) -> "tuple[TrainingSet, Mapping[str, int]]":
    """A training set of photos, or the one in a folder; and what was passed over, by the ending of names."""
    from dataclasses import replace

    from app.terminal.photos import collect_photos
    from app.terminal.progress_bar import ProgressBar
    from pipelines import build
    from pipelines.folders import training_sets
    from pipelines.prepare import Overrides
    from tasks.settings import load

    if len(references) == 1 and training_sets.is_set(references[0]):
        return training_sets.read(references[0]), {}
    settings = load()
    with collect_photos(references) as photos, ProgressBar() as bar, build.open_engines(settings) as engines:
        training = build.prepare(settings, engines)(photos.files, Overrides(), bar)
        return replace(training, class_word=class_word), photos.passed_over


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


def _print_imported(made: "StoredIdentity", passed_over: Mapping[str, int]) -> None:
    from app.commands.train import print_identity
    from app.terminal.photos import print_passed_over

    print_identity(made)
    print_passed_over(passed_over)


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
