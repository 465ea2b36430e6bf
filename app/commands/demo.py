"""`portrait demo`: the main job on sample photos, for a fresh installation."""

from pathlib import Path
from typing import Annotated, Any

import typer

from app.commands.make import print_portraits
from app.terminal.errors import Json, cli_output

Out = Annotated[Path, typer.Option("--out", "-o", help="Folder for the results.")]

STUDIOS = tuple(
    f"studio-{name}" for name in ("black", "cool", "gradient", "grey", "office", "outdoors", "warm", "white")
)
"""Enough to see what a studio is; `portrait styles list` has the others."""


def demo(out: Out = Path("out/demo"), as_json: Json = False) -> None:
    """Run the main job on sample photos: judge, choose, and draw portraits."""
    with cli_output(as_json) as output:
        from app.terminal import sample_photos
        from app.terminal.portraits import PortraitMaker, PortraitOptions, portraits_to_dict
        from app.terminal.progress_bar import ProgressBar
        from pipelines import build
        from pipelines.folders import atomic
        from pipelines.pages import gallery, report
        from tasks.settings import load

        settings = load()
        with atomic.reported(f"The sample photos cannot be written to {out}"):
            photos = sample_photos.write_selfies(out / "photos")
            guests = sample_photos.write_guests(out / "photos" / "guests")
        with ProgressBar() as bar, build.open_engines(settings) as engines:
            maker = PortraitMaker(settings, engines, out, bar)
            host = maker.prepare_person(photos)
            delivered = [
                each
                for name in STUDIOS
                for each in maker.draw({1: host.person}, maker.load_style(name), PortraitOptions())
            ]
            astronaut = maker.load_style("astronaut")
            for number, guest in enumerate(guests, 1):
                someone = maker.prepare_person([guest], f"guest-{number}").person
                delivered += maker.draw({1: someone}, astronaut, PortraitOptions(name=f"astronaut-guest-{number}"))
        links = [("How the photos were judged", f"set/{report.PAGE_FILE}")]
        page = gallery.write([(each.file, each.style, each.portrait) for each in delivered], out, links)
        answer: dict[str, Any] = {
            "photos": host.verdicts,
            "portraits": portraits_to_dict(delivered),
            "set": str(out / "set"),
        }
        output(
            answer | {"report": str(out / "set" / report.PAGE_FILE), "page": str(page)},
            lambda: print_portraits(delivered, [], page),
        )
