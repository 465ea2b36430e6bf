"""The process that decodes pictures for the API: it reads orders line by line and answers each with a JPEG or a reason.

`python -m tasks.api.picture_child`, started by `picture_pool`. An order is JSON, `{"path", "side", "bytes"}`, and `scene` where
a person's cut-out is painted before a backdrop, `watch` where the guard is asked about a picture. The answer is one line of
JSON, and behind `{"size": N}` the N bytes of the JPEG. It ends with its input. The bounds here are the second line:
`pipelines.pictures` refuses by the header, and a file that lies about itself ends this process and nothing else.
"""

import io
import json
import sys
import time
from contextlib import suppress
from dataclasses import asdict
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import PIL.Image

from pipelines import pictures
from pipelines.marks import source_types, xmp
from pipelines.memory import return_memory
from portrait.arrays import Image
from portrait.errors import PortraitError, UserError
from portrait.photos.reasons import TIPS

if TYPE_CHECKING:
    from pipelines.guards.pictures import PictureGuard

JPEG_QUALITY = 88
DELIVERED = ("JPEG", "PNG", "WEBP")
"""Formats that portraits are written in, by Pillow's names."""
CPU_SECONDS = 20
"""Seconds of computing for one picture: the largest of the slowest format takes a third of that."""
SLACK_BYTES = 900_000_000
"""Address space beyond what pictures may take: stacks of threads, the guard's library and network, and what allocators reserve
without using it."""
JUDGED_SIDE = 512
"""Long side in pixels at which the guard looks at a picture: twice that of what its network takes."""


def main() -> None:
    """Answer every order."""
    bound_memory()
    answer_orders(sys.stdin.buffer, sys.stdout.buffer)


def answer_orders(orders: BinaryIO, answers: BinaryIO) -> None:
    """Answer every order of a stream."""
    for line in orders:
        bound_seconds()
        order = json.loads(line)
        found = answer(order)
        if isinstance(found, bytes):
            answers.write(json.dumps({"size": len(found)}).encode() + b"\n" + found)
        else:
            answers.write(json.dumps(found).encode() + b"\n")
        answers.flush()
        return_memory()


def answer(order: dict[str, Any]) -> bytes | dict[str, Any]:
    """The JPEG that an order asks for, or why there is none."""
    if "scene" in order:
        return paint(Path(order["path"]), order["side"], order["scene"], order["bytes"])
    if "watch" in order:
        return judge(Path(order["path"]), order["watch"], order["bytes"])
    if "trust" in order:
        return verify(Path(order["path"]), order["trust"], order["bytes"])
    if "format" in order:
        return convert(Path(order["path"]), order["side"], order["bytes"], order["format"])
    return render(Path(order["path"]), order["side"], order["bytes"])


def convert(path: Path, side: int, max_bytes: float, format: str) -> bytes | dict[str, Any]:
    """A delivered portrait in a format, with its XMP, or why there is none; see `render`.

    It is signed by whoever asked: the process that decodes has no keys.
    """
    from pipelines import deliver

    try:
        found = deliver.convert(path, format, side or None, max_bytes)
    except UserError as error:
        return {"code": error.code, "message": error.message}
    if found is None:
        heavy = max_bytes < pictures.MAX_REDUCED_MEMORY
        return {"heavy": True} if heavy else {"code": "too_large", "message": TIPS["too_large"]}
    return found


def judge(path: Path, watch: dict[str, Any], max_bytes: float) -> bytes | dict[str, Any]:
    """Nothing where the guard lets a picture pass, or why it does not; see `render`."""
    try:
        image = pictures.thumbnail(path, JUDGED_SIDE, max_bytes)
        if image is None:
            return {"heavy": True}
        _open_guard(**watch).check(image)
    except PortraitError as error:
        return {"code": error.code, "message": error.message}
    return b""


@cache
def _open_guard(**watch: Any) -> "PictureGuard":
    """The guard, opened once; thumbnails need neither its library nor its network."""
    from pipelines.engines import Engines
    from pipelines.guards.pictures import Watch
    from pipelines.model_store.store import ModelStore

    settings = Watch(**watch).settings
    return Engines(settings, ModelStore(settings.models)).picture_guard()


def verify(path: Path, trust: dict[str, Any], max_bytes: float) -> bytes | dict[str, Any]:
    """Where a picture comes from, as JSON, or why that cannot be said; see `render`."""
    # Other pictures need none of what reads marks.
    from pipelines.marks import verify as marks
    from pipelines.marks.trust import Trust

    try:
        found = marks.verify(path, Trust(**trust), max_bytes)
    except UserError as error:
        return {"code": error.code, "message": error.message}
    return json.dumps(asdict(found)).encode()


def paint(path: Path, side: int, scene: dict[str, Any], max_bytes: float) -> bytes | dict[str, Any]:
    """A person's cut-out in a studio style as a JPEG, or why there is none; see `render`."""
    # The studio takes longer to import than most pictures take to decode.
    from pipelines.folders import cut_outs
    from portrait.studio import preview
    from portrait.studio.backdrops import BackdropPicture

    place, blur, backdrop, watch = (scene.pop(name) for name in ("picture", "blur", "backdrop", "watch"))
    if place:
        try:
            # Twice the preview's side: the middle of a wide picture is what is shown.
            behind = pictures.thumbnail(Path(place), 2 * max(preview.SIZE.width, preview.SIZE.height), max_bytes)
        except UserError as error:  # a fault of the style, and none of the cut-out, which other styles show
            return {"code": "not_found", "message": error.message}
        if behind is None:
            return {"heavy": True}
        backdrop = BackdropPicture(behind, blur)
    try:
        image = preview.paint_preview(cut_outs.read(path), preview.Scene(backdrop, **scene))
        if image is not None and watch is not None:
            _open_guard(**watch).check(image)
    except PortraitError as error:
        return {"code": error.code, "message": error.message}
    if image is None:
        return {"code": "not_found", "message": "The person's photos have no room for this style."}
    return _jpeg(image, side, source_types.BY_KIND["studio"])


def render(path: Path, side: int, max_bytes: float) -> bytes | dict[str, Any]:
    """The JPEG, or why there is none: the code of an error and its sentence, or that it takes more than `max_bytes`."""
    try:
        image = pictures.thumbnail(path, side, max_bytes)
    except UserError as error:
        return {"code": error.code, "message": error.message}
    if image is None:
        return {"heavy": True}
    return _jpeg(image, source=_source_type(path))


def _source_type(path: Path) -> str | None:
    """IPTC's digital source type of a file that was delivered, for small pictures of it; None of other files."""
    with suppress(OSError, SyntaxError, ValueError), PIL.Image.open(path, formats=DELIVERED) as picture:
        return xmp.source_of(xmp.read(picture))
    return None


def _jpeg(image: Image, side: int | None = None, source: str | None = None) -> bytes:
    """A picture as a JPEG of at most `side` pixels, which says by its digital source type how it came about."""
    picture, content = PIL.Image.fromarray(image), io.BytesIO()
    if side is not None:
        picture.thumbnail((side, side), PIL.Image.Resampling.LANCZOS)
    picture.save(content, "JPEG", quality=JPEG_QUALITY, xmp=b"" if source is None else xmp.packet(source))
    return content.getvalue()


def bound_memory() -> None:
    """Bound the address space of this process, where the system can."""
    with suppress(ImportError, OSError, ValueError):
        import resource

        pages = int(Path("/proc/self/statm").read_text().split()[0])
        most = pages * resource.getpagesize() + pictures.MAX_REDUCED_MEMORY + SLACK_BYTES
        resource.setrlimit(resource.RLIMIT_AS, (most, most))


def bound_seconds() -> None:
    """End this process when it has computed for `CPU_SECONDS` from now on."""
    with suppress(ImportError, OSError, ValueError):
        import resource

        _, hard = resource.getrlimit(resource.RLIMIT_CPU)
        resource.setrlimit(resource.RLIMIT_CPU, (int(time.process_time()) + CPU_SECONDS, hard))


if __name__ == "__main__":
    main()
