"""`portrait demo`: the main job on sample photos, for a first look at a fresh installation."""

from pathlib import Path
from typing import Annotated, Any

import typer

from app.commands.make import tell
from app.terminal.errors import Json, answering

Out = Annotated[Path, typer.Option("--out", "-o", help="Folder for the results.")]

STUDIOS = tuple(
    f"studio-{name}" for name in ("black", "cool", "gradient", "grey", "office", "outdoors", "warm", "white")
)
"""Enough to see what a studio is; `portrait styles list` has the others."""


def demo(out: Out = Path("out/demo"), as_json: Json = False) -> None:
    """Run the main job on sample photos: judge, choose, and draw portraits."""
    with answering(as_json) as say:
        from app.terminal import sample_photos
        from app.terminal.portraits import Making, Order, document
        from app.terminal.progress_bar import Bar
        from pipelines import build
        from pipelines.pages import gallery, report
        from portrait.errors import OperatorError
        from tasks.settings import load

        settings = load()
        try:
            photos = sample_photos.write(out / "photos")
            guests = sample_photos.guests(out / "photos" / "guests")
        except OSError as error:
            sentence = f"The sample photos cannot be written to {out}: {error.strerror}."
            raise OperatorError("cannot_write", sentence) from error
        with Bar() as bar, build.open_engines(settings) as engines:
            making = Making(settings, engines, out, bar)
            host = making.sitter(photos)
            delivered = [
                each for name in STUDIOS for each in making.draw({1: host.person}, making.style(name), Order())
            ]
            astronaut = making.style("astronaut")
            for number, guest in enumerate(guests, 1):
                someone = making.sitter([guest], f"guest-{number}").person
                delivered += making.draw({1: someone}, astronaut, Order(name=f"astronaut-guest-{number}"))
        links = [("How the photos were judged", f"set/{report.PAGE}")]
        page = gallery.write([(each.file, each.style, each.portrait) for each in delivered], out, links)
        answer: dict[str, Any] = {"photos": host.verdicts, "portraits": document(delivered), "set": str(out / "set")}
        say(answer | {"report": str(out / "set" / report.PAGE), "page": str(page)}, lambda: tell(delivered, [], page))
