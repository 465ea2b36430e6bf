"""Reads the one face of a photo in a process of its own: `python -m tasks.queue.face_reader`, with an order on its input.

The order is JSON, `{"settings", "path"}`; the answer is one line of JSON, `{"embeddings"}` or `{"branch", "code", "message"}`.
Whoever asks loads no engines, and nothing of the photo stays.
"""

import json
import sys
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter

from pipelines import build
from pipelines.judging import PhotoJudge
from pipelines.settings import Settings
from portrait.errors import PortraitError, UserError
from portrait.ports import FaceFinder

SEVERAL = "several_faces"


def read_face(finder: FaceFinder, path: Path) -> dict[str, list[float]]:
    """The embedding of the one face in a photo, by its space; raises `UserError` (`no_single_face`)."""
    [photo] = PhotoJudge(finder).judge_files([path], _ignore)
    several = any(reason.code == SEVERAL for reason in photo.reasons)
    if photo.face is None or several or finder.space not in photo.face.embeddings:
        raise UserError("no_single_face", "The photo must show one face, near and clear. Cut it out, or take another.")
    return {finder.space: photo.face.embeddings[finder.space].tolist()}


def _ignore(done: int, total: int, doing: str, preview: Any = None) -> None:
    """Nobody watches."""


def main() -> None:
    """Answer the order on the standard input."""
    order = json.loads(sys.stdin.read())
    try:
        settings = TypeAdapter(Settings).validate_python(order["settings"])
        with build.open_engines(settings) as engines:
            answer: dict[str, Any] = {"embeddings": read_face(engines.finder(), Path(order["path"]))}
    except PortraitError as error:
        answer = {"branch": type(error).__name__, "code": error.code, "message": error.message}
    sys.stdout.write(f"\n{json.dumps(answer)}\n")


if __name__ == "__main__":
    main()
