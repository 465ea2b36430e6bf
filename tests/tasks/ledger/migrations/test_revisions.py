"""The revisions that the files of the steps are named by are those that Alembic knows, and it is loaded for a step alone."""

import subprocess
import sys
from pathlib import Path

from alembic.config import Config
from alembic.script import ScriptDirectory

from tasks.ledger.ledger import Ledger
from tasks.ledger.migrations import revisions

OPEN = """
import sys
from tasks.ledger.ledger import open_ledger
open_ledger(sys.argv[1]).close()
print("alembic" in sys.modules)
"""


def test_the_files_are_named_by_the_revisions_in_them() -> None:
    config = Config()
    config.set_main_option("script_location", str(revisions.FOLDER))
    script = ScriptDirectory.from_config(config)
    assert revisions.newest() == script.get_current_head()
    known = [each.revision for each in script.walk_revisions()]
    assert all(revisions.knows(each) for each in known)
    assert not revisions.knows("9999")
    assert [each for each, _ in revisions.steps(None)] == known[::-1]
    assert [each for each, _ in revisions.steps(known[2])] == [known[1], known[0]]


def test_a_ledger_of_the_newest_revision_is_opened_without_alembic(sqlite: Ledger, tmp_path: Path) -> None:
    for place, loads in ((tmp_path / "ledger.db", "False"), (tmp_path / "new.db", "True")):
        command = [sys.executable, "-c", OPEN, f"sqlite:///{place}"]
        assert subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip() == loads
