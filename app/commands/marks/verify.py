"""`portrait verify`: says of files whether they were made here, how, and whether they were changed since."""

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from app.terminal.errors import Json, cli_output
from app.terminal.tables import print_line, print_table

if TYPE_CHECKING:
    from pipelines.marks.trust import Trust

NOT_ALL = 1
"""Exit code where not every file was made here and is as it was signed."""
_STYLES = {"yes": "bold green", "no": "bold", "unknown": "bold yellow"}

Paths = Annotated[list[Path], typer.Argument(metavar="FILE…", help="Pictures, from wherever.", show_default=False)]


def verify(files: Paths, as_json: Json = False) -> None:
    """Say whether pictures were made here, how, and whether they were changed since.

    Ends with 0 where all of them are signed here and unchanged, else with 1.
    """
    with cli_output(as_json) as output:
        from pipelines.marks import trust
        from tasks.settings import load

        ours = trust.of_installation(load().marks)
        found = [_verify_file(path, ours) for path in files]
        output({"files": found}, lambda: _print_all(found))
    if not all(each.get("made_here") == "yes" and each["altered"] == "no" for each in found):
        raise SystemExit(NOT_ALL)


def _verify_file(path: Path, ours: "Trust") -> dict[str, Any]:
    """What is known of one file, or why that cannot be said, which is no reason to stop before the others."""
    from pipelines.marks import verify
    from portrait.errors import UserError

    if not path.is_file():
        return {"file": str(path), "error": {"code": "not_found", "message": "There is no such file."}}
    try:
        return {"file": str(path)} | asdict(verify.verify(path, ours))
    except UserError as error:
        return {"file": str(path), "error": {"code": error.code, "message": error.message}}


def _print_all(found: list[dict[str, Any]]) -> None:
    """Print each file with its answer, why it is given, and what else is known."""
    from app.words import provenance, translation

    for each in found:
        print_line(each["file"], "bold")
        if "error" in each:
            print_line(each["error"]["message"], "red")
            continue
        told = provenance.describe(translation.FALLBACK, each)
        print_line(told.answer, _STYLES[each["made_here"]])
        print_line(told.reason)
        print_table((), ((question, answer) for question, answer in told.details), overflow="fold")
