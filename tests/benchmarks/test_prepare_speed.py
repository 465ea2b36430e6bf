"""How much faster `Prepare` is than a plain loop over the same photos, with the same verdicts; docs/benchmarks.md."""

import hashlib
import os
import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import cv2
import dlib
import numpy as np
import PIL.Image
import PIL.ImageOps
import pytest
import skimage.data

from pipelines import build
from pipelines.engines import Engines
from pipelines.engines.runtimes.chips import face_chip
from pipelines.model_store.store import ModelStore
from pipelines.prepare import Overrides, Prepare
from pipelines.settings import Settings
from portrait.arrays import Image, Size
from portrait.faces.geometry import crop, fit_inside, head_and_shoulders_rect, image_size
from portrait.photos import selection
from portrait.photos.people import separate_people
from portrait.ports import FaceFinder, Matter
from portrait.types import Face, ScoredPhoto, Selfie
from tests import selfies
from tests.benchmarks.made import quiet
from tests.benchmarks.plugin import Record

pytestmark = pytest.mark.bench

WIDE, TALL = 4000, 3000
ROUNDS = 2
"""Both are run so often in turn, after one run of each to warm up; medians are compared."""


@pytest.fixture(scope="module")
def folder(finder: FaceFinder, tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Twenty photos of 12 megapixels as they lie in a folder: most are good, some are not."""
    people = {name: (image, finder.faces(image)[0]) for name, image in selfies.people().items()}
    astronaut = people["astronaut"]

    def again(seed: int, name: str = "astronaut") -> Image:
        return selfies.varied(*people[name], seed)[0]

    good = [again(seed) for seed in range(8)]
    good += [selfies.turned(*astronaut, degrees) for degrees in (-14, 14)]
    faulty = [
        selfies.blurred(again(20), 0.03),
        selfies.lit(again(21), -5),
        selfies.eyes_shut(*astronaut, 1.0),
        np.rot90(again(22)),
        selfies.far(selfies.astronaut(), 60),
        again(23, "player 3"),
        again(24, "player 3"),
        selfies.group(),
        skimage.data.coffee(),
    ]
    place = tmp_path_factory.mktemp("photos")
    paths = []
    for number, image in enumerate([*good, *faulty]):
        paths.append(place / f"{number:02}.jpg")
        paths[-1].write_bytes(selfies.jpeg(phone(image, number), 90))
    # The same picture once more, saved smaller.
    paths.append(place / "19.jpg")
    paths[-1].write_bytes(selfies.jpeg(selfies.resized(phone(good[0], 0), 0.9), 80))
    return paths


def phone(image: Image, seed: int) -> Image:
    """12 megapixels, the sides padded to 4 : 3."""
    height, width = image.shape[:2]
    wide, tall = max(width, round(height * WIDE / TALL)), max(height, round(width * TALL / WIDE))
    left, top = (wide - width) // 2, (tall - height) // 2
    padded = cv2.copyMakeBorder(
        image, top, tall - height - top, left, wide - width - left, cv2.BORDER_CONSTANT, value=(120, 124, 130)
    )
    return selfies.large(np.asarray(padded, np.uint8), WIDE, TALL, seed)


@dataclass(frozen=True, slots=True)
class DlibFinder:
    """Finds faces as the product does, and embeds so many of a photo by dlib itself, as programs do that take it as it is."""

    finder: FaceFinder
    model: Any
    most: int

    @property
    def space(self) -> str:
        return self.finder.space

    @property
    def same_person(self) -> float:
        return self.finder.same_person

    def faces(self, image: Image, embedded: int = 1) -> list[Face]:
        found = self.finder.faces(image, embedded=0)
        return [self.embed(image, face) for face in found[: self.most]] + found[self.most :]

    def embed(self, image: Image, face: Face) -> Face:
        numbers = self.model.compute_face_descriptor(face_chip(image, face, 150, 0.25))
        return replace(face, embeddings={self.space: np.array(numbers, np.float32)})


@dataclass(frozen=True, slots=True)
class PlainLoop:
    """Decode in full with Pillow, run every model on every photo, then judge and choose with the product's functions."""

    flow: Prepare
    matter: Matter | None

    def __call__(self, paths: list[Path]) -> list[ScoredPhoto]:
        photos, crops = [], []
        for path in paths:
            photo, _ = self.flow._judge._judge(path, decode_in_full(path))
            if photo.face is not None and photo.selfie is not None:
                crops.append(self.crop(photo.selfie.image, photo.face))
            photos.append(replace(photo, selfie=smaller(photo.selfie)))
        finder = self.flow.finder
        photos = selection.mark_duplicates(photos, ())
        photos, _ = separate_people(photos, finder.space, finder.same_person, ())
        return selection.choose_photos(photos, self.flow.settings.most, (), finder.same_person)[0]

    def crop(self, image: Image, face: Face) -> Image:
        """Restored, cut out and on white, whether the photo will be used or not."""
        if self.matter is None:
            return cut(image, face)
        restored = self.flow.restorer.restore(image, face)
        matte = self.matter.matte(restored, face)[..., None]
        return cut(np.asarray(restored * matte + 255 * (1 - matte), np.uint8), face)


def cut(image: Image, face: Face) -> Image:
    return crop(image, fit_inside(head_and_shoulders_rect(face), image_size(image)), Size(512, 512))


def decode_in_full(path: Path) -> Selfie:
    with PIL.Image.open(path) as picture:
        image = np.asarray(PIL.ImageOps.exif_transpose(picture).convert("RGB"))
    return Selfie(hashlib.sha256(path.read_bytes()).hexdigest()[:16], image, path.name, image_size(image))


def smaller(selfie: Selfie | None) -> Selfie | None:
    """For the fingerprint, which looks at 17×16 pixels: so that twenty photos do not stay in memory."""
    if selfie is None:
        return None
    image = np.asarray(cv2.resize(selfie.image, (1000, 750), interpolation=cv2.INTER_AREA), np.uint8)
    return replace(selfie, image=image)


@dataclass(frozen=True, slots=True)
class Cost:
    """Seconds of one run: by the clock, and of all cores together."""

    wall: float
    cpu: float


def timed(work: Callable[[], list[ScoredPhoto]]) -> tuple[Cost, list[ScoredPhoto]]:
    wall, cpu = time.perf_counter(), time.process_time()
    photos = work()
    return Cost(time.perf_counter() - wall, time.process_time() - cpu), photos


def verdicts(photos: list[ScoredPhoto]) -> list[tuple[str, str, list[str]]]:
    return [(photo.name, photo.verdict, sorted(reason.code for reason in photo.reasons)) for photo in photos]


def test_twice_as_fast_as_a_plain_loop_with_the_same_verdicts(
    settings: Settings, engines: Engines, folder: list[Path], figure: Record
) -> None:
    flow = build.prepare(settings, engines)
    file = ModelStore(settings.models).file("dlib", "dlib_face_recognition_resnet_model_v1.dat")
    largest = DlibFinder(flow.finder, dlib.face_recognition_model_v1(str(file)), 1)
    loops: dict[str, Callable[[], list[ScoredPhoto]]] = {
        "prepare": lambda: list(flow(folder, Overrides(), quiet).photos),
        "faces only": lambda: PlainLoop(replace(flow, finder=largest), None)(folder),
        "every model": lambda: PlainLoop(replace(flow, finder=replace(largest, most=99)), engines.matter())(folder),
    }
    costs: dict[str, list[Cost]] = {name: [] for name in loops}
    results = {}
    for round_ in range(ROUNDS + 1):
        for name, loop in loops.items():
            cost, photos = timed(loop)
            results[name] = verdicts(photos)
            # The first round warms up: files into the page cache, networks into memory.
            costs[name] += [cost] if round_ else []
    middle = {
        name: Cost(statistics.median(each.wall for each in runs), statistics.median(each.cpu for each in runs))
        for name, runs in costs.items()
    }
    report(middle, results)
    assert results["prepare"] == results["every model"] == results["faces only"]
    own, plain = middle["prepare"], middle["every model"]
    figure("Preparing photos: plain loop over ours by the clock", plain.wall / own.wall, "×", at_least=12)
    figure("Preparing photos: plain loop over ours in CPU time", plain.cpu / own.cpu, "×", at_least=8)
    figure("Preparing photos of 12 megapixels", len(folder) / own.wall, "a second", at_least=5)
    figure("Preparing a photo of 12 megapixels: CPU time", own.cpu / len(folder), "s", at_most=0.25)


def report(middle: dict[str, Cost], results: dict[str, list[tuple[str, str, list[str]]]]) -> None:
    lines = [
        f"20 photos of 12 megapixels, {os.cpu_count()} cores",
        "",
        "| | wall s | CPU s | wall × | CPU × |",
        "|---|---|---|---|---|",
    ]
    own = middle["prepare"]
    lines += [
        f"| {name} | {cost.wall:.1f} | {cost.cpu:.1f} | {cost.wall / own.wall:.1f} | {cost.cpu / own.cpu:.1f} |"
        for name, cost in middle.items()
    ]
    for rows in zip(*results.values(), strict=True):
        different = "" if all(row == rows[0] for row in rows) else f"  ← {rows[1:]}"
        lines.append(f"{' '.join([*rows[0][:2], *rows[0][2]])}{different}")
    sys.stdout.write("\n" + "\n".join(lines) + "\n")
