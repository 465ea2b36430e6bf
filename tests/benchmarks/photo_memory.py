"""What photos as phones make them take of memory: each command in a process of its own, with its peak.

`python -m tests.benchmarks.photo_memory [NAME …]` makes the pictures in a temporary folder, runs `portrait prepare`, `make`
and `idphoto` on them and prints a table; `tests/benchmarks/test_photo_memory.py` requires its lines.
"""

import io
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import pillow_heif

from tests import selfies

LINE = 1000
"""Megabytes at the peak, with models and libraries: what a small server has beside its system."""
OPTIONS: dict[str, dict[str, Any]] = {
    "JPEG": {"quality": 90},
    "progressive JPEG": {"quality": 90, "progressive": True},
    "PNG": {"compress_level": 1},
    "HEIC": {"quality": 50, "enc_params": {"preset": "ultrafast"}},
    "AVIF": {"quality": 60, "speed": 10},
    "WEBP": {"quality": 80, "method": 0},
    "TIFF": {"compression": "tiff_lzw"},
}
LARGEST = {"AVIF": 25, "TIFF": 20}
"""Megapixels of formats whose largest pictures are smaller than 48: by what decoding takes, and by the size of the file."""
FORMATS = {"progressive JPEG": "JPEG", "HEIC": "HEIF"}
SUFFIXES = {"progressive JPEG": "jpg", "JPEG": "jpg", "TIFF": "tif"}
pillow_heif.register_heif_opener()


@dataclass(frozen=True)
class Case:
    """One command on one kind of pictures."""

    name: str
    make: Callable[[Path], Sequence[str]]
    """Writes the pictures into a folder; what `portrait` is called with."""
    line: int = LINE
    """Megabytes that it may take at the peak."""


def main() -> None:
    """Print a line for each case; fails where one took more than it may."""
    wanted, above = sys.argv[1:], []
    sys.stdout.write("| what | MB at the peak | line | seconds | exit |\n|---|---|---|---|---|\n")
    for case in cases():
        if not wanted or any(each in case.name for each in wanted):
            megabytes, seconds, code = measured(case)
            sys.stdout.write(f"| {case.name} | {megabytes:.0f} | {case.line} | {seconds:.0f} | {code} |\n")
            sys.stdout.flush()
            above += [case.name] if megabytes > case.line else []
    if above:
        raise SystemExit(f"above its line: {'; '.join(above)}")


def measured(case: Case) -> tuple[float, float, int]:
    """Megabytes of the process at the peak, seconds, and its exit code."""
    with tempfile.TemporaryDirectory() as folder:
        arguments = case.make(Path(folder))
        started = time.monotonic()
        command = [sys.executable, "-m", "app", *arguments]
        with (Path(folder) / "errors").open("wb") as errors:
            process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=errors, env=dict(os.environ))
            _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        return usage.ru_maxrss * 1024 / 1e6, time.monotonic() - started, process.returncode


def cases() -> Iterator[Case]:
    """All that is measured."""
    for format in OPTIONS:
        megapixels = LARGEST.get(format, 48)
        yield Case(f"prepare, 6 {format} of {megapixels} MP", _prepare(format, megapixels, 6))
    for megapixels in (24, 108):
        yield Case(f"prepare, 6 JPEG of {megapixels} MP", _prepare("JPEG", megapixels, 6))
    yield Case("prepare, 200 JPEG of 12 MP, groups", _groups)
    for format, megapixels in (("JPEG", 108), ("PNG", 24), ("HEIC", 48), ("AVIF", 25)):
        yield Case(f"make, template of {megapixels} MP, {format}", _template(format, megapixels))
    # The photo at 25 megapixels, its matte, the portrait and the same before retouch are half of it.
    yield Case("make, studio of 4096 × 5120", _studio, 1000)
    yield Case("idphoto with a print sheet, photo of 48 MP", _sheet)


def photo(megapixels: float, number: int = 0) -> PIL.Image.Image:
    """The astronaut at so many megapixels, 4:3, with the grain of a sensor."""
    width = round((megapixels * 1e6 * 4 / 3) ** 0.5)
    height = width * 3 // 4
    left, top = 10 * (number % 4), 8 * (number % 3)  # each frames the person in another way
    part = PIL.Image.fromarray(selfies.astronaut()).crop((left, top, 512 - 24 * (number % 5), 384 - 18 * (number % 5)))
    person = (part.transpose(PIL.Image.Transpose.FLIP_LEFT_RIGHT) if number % 2 else part).resize((width, height))
    grain = np.random.default_rng(number).integers(-6, 7, (256, 256, 3), np.int16)
    tile = np.tile(grain, (-(-height // 256), 1, 1))[:height]
    pixels = np.asarray(person).copy()
    for left in range(0, width, 256):
        part = pixels[:, left : left + 256]
        part[:] = np.clip(part + tile[:, : part.shape[1]] + number % 5, 0, 255)
    return PIL.Image.fromarray(pixels)


def write(folder: Path, format: str, megapixels: float, number: int = 0) -> Path:
    """One photo of a format."""
    folder.mkdir(exist_ok=True, parents=True)
    file = folder / f"{number:03}.{SUFFIXES.get(format, format.lower())}"
    photo(megapixels, number).save(file, FORMATS.get(format, format), **OPTIONS[format])
    return file


def _prepare(format: str, megapixels: float, count: int) -> Callable[[Path], Sequence[str]]:
    def make(folder: Path) -> Sequence[str]:
        _apart(lambda: [write(folder / "photos", format, megapixels, number) for number in range(count)])
        return ["prepare", str(folder / "photos"), "--out", str(folder / "set")]

    return make


def _groups(folder: Path) -> Sequence[str]:
    def written() -> None:
        six = PIL.Image.fromarray(selfies.group())
        (folder / "photos").mkdir()
        for number in range(20):
            large = six.resize((4000, 3000)).rotate(number / 10, expand=False)
            content = io.BytesIO()
            large.save(content, "JPEG", quality=85)
            for copy in range(10):  # with other bytes behind the end each is another photo
                file = folder / "photos" / f"{number:02}{copy}.jpg"
                file.write_bytes(content.getvalue() + bytes([copy]))

    _apart(written)
    return ["prepare", str(folder / "photos"), "--out", str(folder / "set")]


def _template(format: str, megapixels: float) -> Callable[[Path], Sequence[str]]:
    def make(folder: Path) -> Sequence[str]:
        template: list[str] = []
        _apart(lambda: [write(folder / "template", format, megapixels), write(folder / "photos", "JPEG", 12)])
        template += [str(each) for each in (folder / "template").iterdir()]
        return ["make", str(folder / "photos"), "--style", *template, "--out", str(folder / "out"), "--adult"]

    return make


def _studio(folder: Path) -> Sequence[str]:
    _apart(lambda: write(folder / "photos", "JPEG", 48))
    out = ["--out", str(folder / "out"), "--adult"]
    return ["make", str(folder / "photos"), "--style", "studio-grey", "--size", "4096x5120", *out]


def _sheet(folder: Path) -> Sequence[str]:
    _apart(lambda: write(folder / "photos", "JPEG", 48))
    sheet = ["--preset", "de-passport", "--sheet", "10x15", "--out", str(folder / "out"), "--adult"]
    return ["idphoto", str(folder / "photos" / "000.jpg"), *sheet]


def _apart(work: Callable[[], object]) -> None:
    """Do it in a child that ends: a process that starts others begins with their memory as its own peak."""
    child = os.fork()
    if child == 0:
        try:
            work()
        finally:
            os._exit(0)
    os.waitpid(child, 0)


if __name__ == "__main__":
    main()
