"""`portrait db`: upgrade, check, back up, restore and copy an installation's database with its files."""

import typer

from app.commands.db import backups, copies, schema

app = typer.Typer(help="The database and the files: upgrade, check, backup, restore, copy.", no_args_is_help=True)
# In the order in which an operator meets them.
for command in (
    schema.upgrade,
    schema.check,
    backups.backup,
    backups.restore,
    backups.replay,
    copies.copy,
):
    app.command()(command)


__all__ = ["app"]
