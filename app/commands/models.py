"""`portrait models`: lists, downloads, checks, imports and converts model files, and shows their licences."""

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any, Literal

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Column, Table

from app.commands.bases.merge import merge
from app.terminal.errors import Json, cli_output
from app.terminal.model_downloads import pull_models
from app.terminal.progress_bar import ProgressBar
from pipelines.model_store.additions import Addition
from pipelines.model_store.manifest import FAMILY_WORDS, KIND_WORDS, BasePair, Model
from pipelines.model_store.pull import PullResult
from pipelines.model_store.store import FileState, ImportResult, ModelState, ModelStore, format_size
from portrait.errors import OperatorError
from portrait.generation.sampling_facts import SamplingFacts, read_facts
from portrait.numbers import read_decimal
from tasks.settings import load

app = typer.Typer(help="Model files: list, pull, check, add, remove, import, licences.", no_args_is_help=True)
app.command()(merge)

Names = Annotated[list[str] | None, typer.Argument(metavar="NAME", help="As `portrait models list` shows it.")]

USE = {"yes": "yes", "no": "[red]no[/red]", "ask": "[yellow]ask[/yellow]"}
STATES = {"ok": "[green]ok[/green]", "changed": "[red]changed[/red]", "missing": "[red]missing[/red]"}


@app.command("list")
def list_models(as_json: Json = False) -> None:
    """Every model there is, and whether it is here."""
    with cli_output(as_json) as output:
        store = _model_store()
        states, additions = store.list(), store.additions()
        models = [_state_to_dict(state) for state in states]
        document = {"models": models, "adding": [asdict(each) for each in additions]}
        output(document, lambda: _print_states(states, additions))


@app.command()
def pull(names: Names = None, as_json: Json = False) -> None:
    """Fetch models by name; without a name those that the default engines use."""
    with cli_output(as_json) as output:
        pulled = pull_models(_model_store(), names or ())
        output({"pulled": [_pulled_to_dict(one) for one in pulled]}, lambda: _print_pulled(pulled))


Kind = Literal["base", "lora", "vae", "controlnet", "ip-adapter", "embedding", "upscaler"]
Facts = Annotated[
    list[str] | None,
    typer.Option(
        "--fact",
        metavar="NAME=VALUE",
        help="And more: max_guidance=2, prediction_type=v_prediction, rescale_betas_zero_snr=1, learn_on=NAME; repeatable.",
    ),
]
SOURCE_HELP = "A file or folder, hub:ORG/REPO[@REVISION][:PATH], or an address that begins with https."


@app.command()
def add(
    name: Annotated[
        str, typer.Argument(metavar="NAME", help="What it will be called: small letters, digits, - and _.")
    ],
    source: Annotated[str, typer.Argument(metavar="SOURCE", help=SOURCE_HELP)],
    kind: Annotated[Kind, typer.Option("--kind", help="What it is; refused where the file is something else.")],
    licence: Annotated[str, typer.Option("--licence", help="Its SPDX name, or LicenseRef-… where there is none.")],
    commercial: Annotated[
        Literal["yes", "no", "ask"], typer.Option("--commercial", help="Whether its terms allow commercial use.")
    ],
    family: Annotated[
        str,
        typer.Option("--family", metavar="NAME", help="sd15, sdxl, flux2 …, where the file itself does not tell it."),
    ] = "",
    page: Annotated[str, typer.Option("--page", help="Where its terms can be read.")] = "",
    note: Annotated[str, typer.Option("--note", help="What whoever uses it should know.")] = "",
    purpose: Annotated[str, typer.Option("--purpose", help="What it is for, in some words.")] = "",
    steps: Annotated[
        int | None, typer.Option("--steps", min=1, max=150, help="Of a distilled model: its steps.")
    ] = None,
    guidance: Annotated[float | None, typer.Option("--guidance", min=0, max=30, help="And its guidance.")] = None,
    scheduler: Annotated[
        str | None, typer.Option("--scheduler", help="And its scheduler, as `--scheduler` names it.")
    ] = None,
    spacing: Annotated[
        Literal["leading", "trailing", "linspace"] | None,
        typer.Option("--spacing", help="And the spacing of its steps."),
    ] = None,
    fact: Facts = None,
    pickled: Annotated[
        bool, typer.Option("--pickled", help="Take a pickled file too; its tensors alone are kept.")
    ] = False,
    replace: Annotated[bool, typer.Option("--replace", help="Take the place of your own model of that name.")] = False,
    as_json: Json = False,
) -> None:
    """Bring in a model of your own; from then on it is like one that ships with this program."""
    with cli_output(as_json) as output:
        from pipelines import model_requirements
        from pipelines.model_store.add import NewModel

        model_requirements.check_model_family(family)
        facts = {"steps": steps, "guidance": guidance, "scheduler": scheduler, "timestep_spacing": spacing}
        facts |= parse_facts(fact or ())
        new = NewModel(
            name, kind, source, licence, commercial, family, purpose, page, note,
            {fact: value for fact, value in facts.items() if value is not None}, pickled, replace,
        )  # fmt: skip
        with ProgressBar(in_bytes=True) as bar:
            state = _model_store().add(new, bar)
        output({"added": _state_to_dict(state)}, lambda: _print_added(state))


def parse_facts(given: Sequence[str]) -> dict[str, Any]:
    """`max_guidance=2` as {"max_guidance": 2.0}; raises `OperatorError` (`bad_model`)."""
    found: dict[str, Any] = {}
    for each in given:
        name, _, text = each.partition("=")
        number = read_decimal(text)
        found[name] = text if number is None else number
    known = [*SamplingFacts.__dataclass_fields__, *BasePair.__dataclass_fields__]
    unknown = [name for name in found if name not in known]
    try:
        read_facts(found)
    except ValueError as error:
        raise OperatorError("bad_model", f"These facts do not hold: {error}.") from error
    if unknown:
        raise OperatorError("bad_model", f"There is no fact {unknown[0]!r}. Give one of: {', '.join(known)}.")
    return found


@app.command()
def remove(
    name: Annotated[str, typer.Argument(metavar="NAME", help="A model of your own, or one that is being added.")],
    as_json: Json = False,
) -> None:
    """Delete a model of your own with its files."""
    with cli_output(as_json) as output:
        _model_store().remove(name)
        output({"removed": name}, lambda: _print(f"{escape(name)} is deleted."))


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
    return ModelStore(load().models, convert=_convert_pickled)


def _convert_pickled(pickled: Path, file: Path) -> None:
    from pipelines import build

    build.convert_pickled(pickled, file)


def _terms_to_dict(model: Model) -> dict[str, Any]:
    parts = ("name", "purpose", "licence", "commercial", "alternative", "page", "note", "kind", "family", "own")
    return {part: getattr(model, part) for part in parts}


def _state_to_dict(state: ModelState) -> dict[str, Any]:
    more = {"state": state.state, "size": state.size, "allowed": state.allowed, "embedded": state.model.embedded}
    files = [file.name for file in state.model.files]
    more |= {"optional": state.model.optional, "files": files, "facts": dict(state.model.facts)}
    return _terms_to_dict(state.model) | more


def _pulled_to_dict(one: PullResult) -> dict[str, Any]:
    pulled = {"fetched": list(one.fetched), "kept": list(one.unchanged), "size": one.size, "failure": one.failure}
    return _terms_to_dict(one.model) | pulled


def _print(thing: object) -> None:
    Console(highlight=False, soft_wrap=True).print(thing)


def _print_states(states: tuple[ModelState, ...], additions: tuple[Addition, ...]) -> None:
    table = Table("model", "here", "size", "kind", "commercial use", "what for", box=None)
    for state in states:
        here = {"here": "[green]here[/green]", "partly": "[yellow]partly[/yellow]", "missing": "–"}[state.state]
        name = f"[bold]{state.model.name}[/bold]" if state.model.embedded else state.model.name
        size = format_size(state.size) if state.size else "?"
        kind = " ".join(filter(None, (state.model.kind, state.model.family))) if state.model.kind != "network" else ""
        kind += " [bold](own)[/bold]" if state.model.own else ""
        table.add_row(name, here, size, kind, USE[state.model.commercial], escape(state.model.purpose))
    Console().print(table)
    _print("The models in bold are what the default engines use: `portrait models pull` brings them.")
    for each in additions:
        _print(f"[bold]{escape(each.name)}[/bold] {escape(_addition_words(each))}")
    _print_left_out([each.model.name for each in states if each.model.optional and each.state != "here"])


def _addition_words(addition: Addition) -> str:
    match addition.state:
        case "failed":
            return f"could not be added. {addition.message}"
        case "broken_off":
            return "was not added to the end: the same command goes on where it stopped."
        case _:
            of = f" of {format_size(addition.total)}" if addition.total else ""
            return f"is being added: {format_size(addition.done) if addition.done else 'begun'}{of}."


def _print_added(state: ModelState) -> None:
    model = state.model
    made = f" for {FAMILY_WORDS.get(model.family, model.family)}" if model.family else ""
    kind = f"{KIND_WORDS[model.kind]}{made}, {format_size(state.size)}, {escape(model.licence)}"
    _print(f"[bold]{model.name}[/bold] is here: {kind}.")


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
