"""`portrait faces`: shows the faces of a picture with their numbers, and where somebody may have been missed."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from app.terminal.errors import Json, cli_output

if TYPE_CHECKING:
    from portrait.types import Box, StylePicture

File = Annotated[
    Path, typer.Argument(metavar="FILE", help="A picture that people are to be put into.", show_default=False)
]
Out = Annotated[
    Path | None, typer.Option("--out", "-o", help="Where to write the numbered picture; default: FILE-faces.jpg here.")
]


def faces(file: File, out: Out = None, as_json: Json = False) -> None:
    """Show the faces of a picture with the numbers that `make --face` takes."""
    with cli_output(as_json) as output:
        from pipelines import build, template_faces
        from pipelines.folders import atomic
        from portrait.errors import UserError
        from tasks.settings import load

        if not file.is_file():
            raise UserError("not_found", f"There is no picture at {file}.")
        with build.open_engines(load()) as engines:
            picture = template_faces.read_picture(file, engines.finder())
        target = (out or Path(f"{file.stem}-faces.jpg")).with_suffix(".jpg")
        target.parent.mkdir(parents=True, exist_ok=True)
        atomic.write_file(target, template_faces.numbered_jpeg(picture))
        output({**faces_to_dict(picture), "picture": str(target)}, lambda: print_faces(picture, target))


def faces_to_dict(picture: "StylePicture") -> dict[str, Any]:
    """Faces by number and places where somebody may have been missed, as JSON; boxes in pixels of the file."""
    boxes, missed = _boxes(picture)
    return {
        "faces": [{"number": number, "box": _rounded(box)} for number, box in enumerate(boxes, 1)],
        "missed": [{"box": _rounded(box), "at": [round(each) for each in box.centre]} for box in missed],
    }


def print_faces(picture: "StylePicture", target: Path) -> None:
    """Print the faces, where one may be missing and how to point at it, and where the numbered picture is."""
    from rich.console import Console
    from rich.text import Text

    console = Console(highlight=False)
    boxes, missed = _boxes(picture)
    for number, box in enumerate(boxes, 1):
        x, y = box.centre
        console.print(Text(f"Face {number}  {box.width:.0f} pixels wide, at {x:.0f},{y:.0f}"))
    for box in missed:
        x, y = box.centre
        sentence = f"Somebody may have been missed at {x:.0f},{y:.0f}: try `--face {x:.0f},{y:.0f}=PHOTOS`."
        console.print(Text(sentence, style="yellow"))
    console.print(Text(f"\nPicture  {target}"))


def _boxes(picture: "StylePicture") -> "tuple[list[Box], list[Box]]":
    """The faces, and where somebody may have been missed, in pixels of the file."""
    from portrait.types import Box

    def in_file(box: Box) -> Box:
        return Box(*(edge * picture.scale for edge in (box.left, box.top, box.right, box.bottom)))

    return [in_file(face.box) for face in picture.faces], [in_file(box) for box in picture.missed]


def _rounded(box: Any) -> list[int]:
    return [round(edge) for edge in (box.left, box.top, box.right, box.bottom)]
