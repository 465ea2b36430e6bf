"""The command `portrait`: the composition root of the command line.

Nothing heavy is imported here: `portrait --help` answers before numpy or OpenCV would have loaded.
"""

import os
from importlib.metadata import version
from typing import Annotated

import typer

from app.commands import (
    demo,
    doctor,
    edit,
    evaluate,
    faces,
    identities,
    idphoto,
    keys,
    make,
    models,
    prepare,
    remake,
    serve,
    styles,
    train,
)
from app.commands.accounts import owners, privacy
from app.commands.db import group as db
from app.commands.ledger import blocked, jobs, people
from app.commands.marks import verify
from app.commands.monitoring import top
from app.commands.processes import web, worker
from app.commands.terms import licences
from app.terminal.errors import cli_output
from portrait.errors import OperatorError
from tasks.private_files import FileSettings, installation_paths, prepare_process
from tasks.settings import home, load_installation


def print_version(wanted: bool) -> None:
    """Print the version of the program and end."""
    if wanted:
        typer.echo(f"portrait {version('portrait')}")
        raise typer.Exit


app = typer.Typer(
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
)
for command in (
    *(prepare.prepare, make.make, faces.faces, remake.remake, edit.edit, evaluate.evaluate, train.train),
    *(
        verify.verify,
        licences.licences,
        idphoto.idphoto,
        serve.serve,
        web.api,
        web.app,
        worker.worker,
        worker.keeper,
        worker.alive,
        doctor.doctor,
        top.top,
        demo.demo,
    ),
):
    app.command()(command)
groups = {
    "identities": identities,
    "styles": styles,
    "models": models,
    "keys": keys,
    "owners": owners,
    "people": people,
    "privacy": privacy,
    "jobs": jobs,
    "blocked": blocked,
    "db": db,
}
for name, group in groups.items():
    app.add_typer(group.app, name=name)


@app.callback()
def options(
    show_version: Annotated[
        bool, typer.Option("--version", is_eager=True, callback=print_version, help="Print the version.")
    ] = False,
) -> None:
    """Turn selfies into portraits."""


def main() -> None:
    """Entry point of the console script."""
    with cli_output(False):
        _prepare_files()
    app()


def _prepare_files() -> None:
    """Keep what this command writes, and the processes that it starts, from other users of the machine."""
    try:
        place, tasks = home(), load_installation().tasks
    except OperatorError:
        prepare_process(FileSettings())  # the command says what is wrong with the settings
    else:
        # Matting compiles itself on its first use: the result is cached in $PORTRAIT_HOME, not in the installed packages.
        os.environ.setdefault("NUMBA_CACHE_DIR", str(place / "cache" / "numba"))
        prepare_process(tasks.files, installation_paths(place, tasks.data))
