"""Photos for the training set of the fixtures, and portraits of every kind."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import PIL.Image
import PIL.ImageEnhance
import skimage.data

from tests.compat.places import FIXTURES

BASE = FIXTURES / "tiny-base"
Run = Callable[..., dict[str, Any]]
SET, IDENTITY, TOKEN = FIXTURES / "set", FIXTURES / "identity", FIXTURES / "identity-token"


def photos(folder: Path) -> Path:
    """Three photos of the astronaut, framed and lit a little differently."""
    folder.mkdir()
    whole = PIL.Image.fromarray(skimage.data.astronaut())
    turned = [whole.rotate(degrees, PIL.Image.Resampling.BICUBIC, center=(224, 123)) for degrees in (9, -7)]
    whole.crop((0, 0, 448, 448)).save(folder / "one.jpg", quality=92)
    turned[0].crop((60, 0, 400, 340)).save(folder / "two.jpg", quality=92)
    darker = PIL.ImageEnhance.Brightness(turned[1]).enhance(0.8)
    darker.crop((90, 10, 370, 290)).save(folder / "three.jpg", quality=92)
    return folder


def pair(file: Path) -> Path:
    """A picture with two faces, both the astronaut's."""
    one = PIL.Image.fromarray(skimage.data.astronaut()).crop((110, 0, 340, 240))
    both = PIL.Image.new("RGB", (460, 240))
    both.paste(one, (0, 0))
    both.paste(one.transpose(PIL.Image.Transpose.FLIP_LEFT_RIGHT), (230, 0))
    both.save(file, quality=92)
    return file


def portraits(folder: Path, run: Run) -> None:
    """One of every kind, each with its recipe."""

    def make(style: object, seed: int, *more: object, out: Path = folder) -> None:
        run("make", SET, "-o", out, "--style", style, "--seed", seed, *more)

    png, small, square = ("--format", "png"), ("--size", "96x120"), ("--size", "192x192")
    learned = ("--identity", IDENTITY, "--base", "tiny")
    steps = ("--refine", "skin=0.5", "--refine", "tone=0.5", "--upscale", "2")
    make("studio-office", 11, "--size", "128x160", *png, *steps)
    make("astronaut", 12, *square)
    make("idphoto-passport", 13)
    make(pair(folder / "pair.jpg"), 14, "--face", f"2={SET}", "--format", "webp")
    make("text-film", 15, *small, *png, *learned, "--strength", "lora=0.7")
    make("astronaut", 16, *square, *png, *learned, "--engine", "diffusion", "--strength", "canny=0")
    mask = PIL.Image.new("L", (96, 120))
    mask.paste(255, (20, 30, 70, 80))
    mask.save(folder / "mask.png")
    drawn = folder / "text-film-1.png"
    run("edit", drawn, "--words", "in a red suit", "--mask", folder / "mask.png")
    run("edit", drawn, "--shape", "1:1", "--strength", "0.6")
    other = folder.with_name("portraits-token")
    make("text-noir", 17, *small, *png, "--identity", TOKEN, "--base", BASE, out=other)
    for page in (folder / "index.html", other / "index.html"):
        page.unlink()
