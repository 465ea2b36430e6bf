"""`portrait models`: lists, downloads, checks, imports and converts model files, and shows their licences."""

from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any, Literal

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Column, Table

from app.terminal.errors import Json, cli_output
from app.terminal.model_downloads import compiling, pull_models
from app.terminal.progress_bar import ProgressBar
from pipelines.model_store.manifest import Model
from pipelines.model_store.pull import PullResult
from pipelines.model_store.store import FileState, ImportResult, ModelState, ModelStore, format_size
from portrait.errors import OperatorError
from tasks.settings import load

app = typer.Typer(help="Model files: list, pull, check, import, licences.", no_args_is_help=True)

Names = Annotated[list[str] | None, typer.Argument(metavar="NAME", help="As `portrait models list` shows it.")]

USE = {"yes": "yes", "no": "[red]no[/red]", "ask": "[yellow]ask[/yellow]"}
STATES = {"ok": "[green]ok[/green]", "changed": "[red]changed[/red]", "missing": "[red]missing[/red]"}


@app.command("list")
def list_models(as_json: Json = False) -> None:
    """Every model there is, and whether it is here."""
    with cli_output(as_json) as output:
        states = _model_store().list()
        output({"models": [_state_to_dict(state) for state in states]}, lambda: _print_states(states))


@app.command()
def pull(names: Names = None, as_json: Json = False) -> None:
    """Fetch models by name; without a name those that the default engines use."""
    with cli_output(as_json) as output:
        pulled = pull_models(_model_store(), names or ())
        output({"pulled": [_pulled_to_dict(one) for one in pulled]}, lambda: _print_pulled(pulled))


@app.command()
def check(names: Names = None, as_json: Json = False) -> None:
    """Compare the files that are here with their hashes; fails when one is changed or missing."""
    with cli_output(as_json) as output:
        with ProgressBar() as bar:
            files = _model_store().check(names or (), bar)
        document = {"files": [asdict(file) for file in files]}
        wrong = sorted({file.model for file in files if file.state in {"changed", "missing"}})
        if not (wrong and as_json):
            output(document, lambda: _print_files(files))
        if wrong:
            again = f"run `portrait models pull {' '.join(wrong)}` to mend them"
            raise OperatorError("model_files_wrong", f"Some model files are changed or missing: {again}.", document)


@app.command("import")
def import_models(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="A folder with model files, named as published.")],
    as_json: Json = False,
) -> None:
    """Take model files from a folder that was carried in; fails when one was refused or none was recognised."""
    with cli_output(as_json) as output:
        with compiling():
            found = _model_store().import_folder(folder)
        document = {
            "taken": [asdict(file) for file in found.taken],
            "kept": [asdict(file) for file in found.unchanged],
            "refused": [{"path": path, "reason": reason} for path, reason in found.refused],
            "unknown": list(found.unknown),
        }
        failed = found.refused or not (found.taken or found.unchanged)
        if not (failed and as_json):
            output(document, lambda: _print_imported(found))
        if found.refused:
            raise OperatorError("import_refused", "Some files were not taken: their reasons are listed.", document)
        if failed:
            raise OperatorError("nothing_to_import", "No file was recognised.", document)


@app.command()
def licences(as_json: Json = False) -> None:
    """On what terms each model may be used, and where to read them."""
    with cli_output(as_json) as output:
        models = [state.model for state in _model_store().list()]
        output({"licences": [_terms_to_dict(model) for model in models]}, lambda: _print_licences(models))


@app.command()
def convert(
    base: Annotated[str, typer.Argument(metavar="BASE", help="A base's name, its folder, or a single file of it.")],
    out: Annotated[
        Path, typer.Option("--out", "-o", metavar="PLACE", help="NAME.safetensors for one file, else a folder.")
    ],
    dtype: Annotated[
        Literal["float16", "bfloat16", "float32"], typer.Option("--dtype", help="What it will be served in.")
    ] = "float16",
    as_json: Json = False,
) -> None:
    """A base model from a folder to one file, or back."""
    with cli_output(as_json) as output:
        from pipelines import build

        build.convert(load(), base, out, dtype)
        output({"base": base, "written": str(out), "dtype": dtype}, lambda: _print(f"Written to {escape(str(out))}"))


def _model_store() -> ModelStore:
    return ModelStore(load().models)


def _terms_to_dict(model: Model) -> dict[str, Any]:
    parts = ("name", "purpose", "licence", "commercial", "page", "note")
    return {part: getattr(model, part) for part in parts}


def _state_to_dict(state: ModelState) -> dict[str, Any]:
    more = {"state": state.state, "size": state.size, "allowed": state.allowed, "embedded": state.model.embedded}
    files = [file.name for file in state.model.files]
    return _terms_to_dict(state.model) | more | {"optional": state.model.optional, "files": files}


def _pulled_to_dict(one: PullResult) -> dict[str, Any]:
    pulled = {"fetched": list(one.fetched), "kept": list(one.unchanged), "size": one.size, "failure": one.failure}
    return _terms_to_dict(one.model) | pulled


def _print(thing: object) -> None:
    Console(highlight=False, soft_wrap=True).print(thing)


def _print_states(states: tuple[ModelState, ...]) -> None:
    table = Table("model", "here", "size", "commercial use", "what for", box=None)
    for state in states:
        here = {"here": "[green]here[/green]", "partly": "[yellow]partly[/yellow]", "missing": "–"}[state.state]
        name = f"[bold]{state.model.name}[/bold]" if state.model.embedded else state.model.name
        size = format_size(state.size) if state.size else "?"
        table.add_row(name, here, size, USE[state.model.commercial], escape(state.model.purpose))
    Console().print(table)
    _print("The models in bold are what the default engines use: `portrait models pull` brings them.")
    _print_left_out([each.model.name for each in states if each.model.optional and each.state != "here"])


def _print_left_out(names: list[str]) -> None:
    if names:
        _print(f"The default engines do without {', '.join(names)}, which are not here; results are better with them.")


def _print_pulled(pulled: tuple[PullResult, ...]) -> None:
    for one in pulled:
        if one.failure:
            _print(f"[bold]{one.model.name}[/bold]: [yellow]left out[/yellow]. {escape(one.failure)}")
            _print("  The default engines do without it: `portrait doctor` says what is missing.")
            continue
        done = f"{len(one.fetched)} fetched, {len(one.unchanged)} here already"
        _print(f"[bold]{one.model.name}[/bold]: {done}; {format_size(one.size)}; {escape(one.model.licence)}")
        if one.model.commercial == "no":
            _print(f"  [red]Not for commercial use.[/red] {escape(one.model.note)} {one.model.page}")


def _print_files(files: tuple[FileState, ...]) -> None:
    for file in files:
        _print(f"{STATES.get(file.state, f'[yellow]{file.state}[/yellow]')}  {escape(f'{file.model}/{file.file}')}")
    if not files:
        _print("No model is here yet: `portrait models pull` brings those that the default engines need.")


def _print_imported(found: ImportResult) -> None:
    for title, files in (("taken", found.taken), ("here already", found.unchanged)):
        for file in files:
            _print(f"[green]{title}[/green]  {escape(f'{file.model}/{file.file}')}")
    for path, reason in found.refused:
        _print(f"[red]refused[/red]  {escape(path)}: {escape(reason)}")
    for path in found.unknown:
        _print(f"[yellow]not recognised[/yellow]  {escape(path)}")


def _print_licences(models: list[Model]) -> None:
    table = Table("model", "licence", "commercial use", Column("terms", overflow="fold"), box=None)
    for model in models:
        table.add_row(
            model.name, escape(model.licence), USE[model.commercial], escape(f"{model.note} {model.page}".strip())
        )
    Console().print(table)
