"""Which revisions the program knows, and the steps between them.

A process that finds the schema as it should be, as nearly all do, loads no Alembic: that would take a fifth of its start.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import sqlalchemy as sa

if TYPE_CHECKING:
    from alembic.config import Config
    from alembic.script import ScriptDirectory

FOLDER = Path(__file__).parent
_VERSION = sa.table("alembic_version", sa.column("version_num", sa.String))


def newest() -> str:
    """Return the revision that this program migrates a database to."""
    return max(_known())


def knows(revision: str) -> bool:
    """Whether this program can migrate a database from a revision."""
    return revision in _known()


def current(connection: sa.Connection) -> str | None:
    """Return the revision of a database; None without one."""
    if not sa.inspect(connection).has_table(_VERSION.name):
        return None
    return connection.scalar(sa.select(_VERSION.c.version_num))


def steps(before: str | None) -> Sequence[tuple[str, str]]:
    """Return revision and purpose of each step from a revision that is known, or from an empty database, to the newest."""
    _, script = _alembic()
    later = list(script.walk_revisions(before or "base", "head"))[::-1]
    return [(each.revision, each.doc) for each in later[before is not None :]]


def upgrade(connection: sa.Connection, metadata: sa.MetaData, to: str) -> None:
    """Do the steps to a revision, in the transaction of a connection."""
    from alembic import command

    config, _ = _alembic()
    config.attributes["connection"] = connection
    config.attributes["metadata"] = metadata
    command.upgrade(config, to)


def _known() -> frozenset[str]:
    """The revisions by which the files of the steps are named."""
    return frozenset(path.stem.partition("_")[0] for path in (FOLDER / "versions").glob("[0-9]*_*.py"))


def _alembic() -> "tuple[Config, ScriptDirectory]":
    from alembic.config import Config
    from alembic.script import ScriptDirectory

    config = Config()
    config.set_main_option("script_location", str(FOLDER))
    return config, ScriptDirectory.from_config(config)
