"""`portrait demo`: the main job on sample photos, for a first look at a fresh installation."""

from pathlib import Path
from typing import Annotated

import typer

from app.commands.prepare import tell
from app.door import answering

Out = Annotated[Path, typer.Option("--out", help="Folder for the results.")]
Json = Annotated[bool, typer.Option("--json", help="Answer with one JSON document.")]


def demo(out: Out = Path("out/demo"), as_json: Json = False) -> None:
    """Run the main job on sample photos."""
    with answering(as_json) as say:
        from app import samples
        from app.bar import Bar
        from pipelines import build, report, sets
        from pipelines.prepare import Wishes
        from portrait.errors import OperatorError
        from tasks.settings import load

        settings = load()
        try:
            photos = samples.write(out / "photos")
        except OSError as error:
            raise OperatorError(
                "cannot_write", f"The sample photos cannot be written to {out}: {error.strerror}."
            ) from error
        with Bar() as bar, build.open_engines(settings) as engines:
            training = build.prepare(settings, engines)(photos, Wishes(), bar)
        sets.write(training, out / "set")
        page = report.write(training, out / "set")
        document = {"photos": sets.verdicts(training.photos), "set": str(out / "set"), "report": str(page)}
        say(document, lambda: tell(training, out / "set", page))
