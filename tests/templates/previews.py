"""Makes the pictures that show what the built-in styles look like: `python -m tests.templates.previews [STYLE …]`.

Each is drawn by `portrait make` from the sample photos of the astronaut, made small, and put beside its style.toml. Styles
that a diffusion model draws have cards instead: see `tests.templates.cards`.
"""

import shutil
import subprocess
import sys
import tempfile
from io import BytesIO
from pathlib import Path

import numpy as np
import PIL.Image
from numpy.typing import NDArray

from app.terminal import sample_photos
from templates.catalog import BUILTIN, Catalog

WIDTH = 640
MOST_BYTES = 60_000


def main() -> None:
    """Draw the named styles once, or all of those that need no diffusion model."""
    wanted = set(sys.argv[1:])
    with tempfile.TemporaryDirectory() as folder:
        photos = Path(folder) / "photos"
        sample_photos.write_selfies(photos)
        # The others show less than a half figure, or lean.
        original = Path(folder) / "original"
        original.mkdir()
        shutil.copy(min(photos.iterdir()), original)
        for entry in Catalog((BUILTIN,)).entries():
            if entry.style.kind == "text" or (wanted and entry.style.id not in wanted):
                continue
            out = Path(folder) / entry.style.id
            source = original if "half_figure" in entry.style.compositions else photos
            order = ["make", str(source), "--style", entry.style.id, "--count", "1", "-o", str(out)]
            subprocess.run([sys.executable, "-m", "app", *order], check=True)
            [drawn] = out.glob("*.jpg")
            (entry.folder / "preview.jpg").write_bytes(small(drawn))


def small(path: Path) -> bytes:
    """A picture made `WIDTH` wide."""
    with PIL.Image.open(path) as picture:
        height = round(picture.height * WIDTH / picture.width)
        return encoded(np.asarray(picture.convert("RGB").resize((WIDTH, height), PIL.Image.Resampling.LANCZOS)))


def encoded(image: NDArray[np.uint8]) -> bytes:
    """A picture as good as `MOST_BYTES` allow."""
    resized = PIL.Image.fromarray(image)
    return next(file for quality in range(90, 10, -4) if len(file := _jpeg(resized, quality)) <= MOST_BYTES)


def _jpeg(picture: PIL.Image.Image, quality: int) -> bytes:
    content = BytesIO()
    picture.save(content, "JPEG", quality=quality, optimize=True, progressive=True)
    return content.getvalue()


if __name__ == "__main__":
    main()
