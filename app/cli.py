"""The command `portrait`: the composition root of the command line.

Nothing heavy is imported here: `portrait --help` answers before numpy or OpenCV would have loaded.
"""

import os

import typer

from app.commands import (
    demo,
    doctor,
    edit,
    evaluate,
    identities,
    idphoto,
    keys,
    make,
    models,
    parts,
    prepare,
    remake,
    serve,
    styles,
    train,
)
from tasks.settings import home

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    help="Turn selfies into portraits.",
)
app.command("prepare")(prepare.prepare)
app.command("make")(make.make)
app.command("remake")(remake.remake)
app.command("edit")(edit.edit)
app.command("evaluate")(evaluate.evaluate)
app.command("train")(train.train)
app.add_typer(identities.app, name="identities")
app.command("idphoto")(idphoto.idphoto)
app.add_typer(styles.app, name="styles")
app.add_typer(models.app, name="models")
app.command("serve")(serve.serve)
app.command("api")(parts.api)
app.command("worker")(parts.worker)
app.command("keeper")(parts.keeper)
app.add_typer(keys.app, name="keys")
app.command("doctor")(doctor.doctor)
app.command("demo")(demo.demo)


def main() -> None:
    """Entry point of the console script."""
    # Matting compiles itself on its first use: that is kept where everything is kept, not in the installed packages.
    os.environ.setdefault("NUMBA_CACHE_DIR", str(home() / "cache" / "numba"))
    app()
