"""`portrait demo`: the main job on sample photos, for a fresh installation."""

from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import typer

from app.commands.make import print_portraits
from app.terminal.errors import Json, cli_output

Out = Annotated[Path, typer.Option("--out", "-o", help="Folder for the results.")]

STUDIOS = ("studio-black", "studio-outdoors", "studio-warm")
"""Drawn of all photos; `portrait styles list` has the others."""
CLOSE_STUDIO = "studio-cool"
"""Drawn of the close-up alone: where a photo ends, the portrait ends."""


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
        with ProgressBar() as bar, build.open_engines(settings) as engines:
            maker = PortraitMaker(settings, engines, out, bar)
            host = maker.prepare_person(photos)
            close = maker.prepare_person([sample_photos.close_up(photos)], "close-up")
            wanted = [
                *((host, name, PortraitOptions()) for name in STUDIOS),
                (close, CLOSE_STUDIO, PortraitOptions(name=f"{CLOSE_STUDIO}-close")),
                (host, "idphoto-passport", PortraitOptions()),
            ]
            delivered = [
                each
                for person, style, options in wanted
                for each in maker.draw({1: person.person}, maker.load_style(style), options)
            ]
            group = replace(maker.load_style(str(sample_photos.find_group())), title="The first face of a group")
            delivered += maker.draw({1: host.person}, group, PortraitOptions(name="group"))
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
