"""Restoring and retouching training photos: distance to the photo as it was, by what was wrong with it; for docs/judging.md."""

from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest

from pipelines.engines.restorers.classic import ClassicRestorer
from pipelines.enhance import Enhance
from portrait.arrays import Image
from portrait.faces.skin import retouch_skin
from portrait.photos import quality
from portrait.photos.reasons import Thresholds
from portrait.ports import FaceFinder, Upscaler
from portrait.types import Face, Reference
from tests import fakes, selfies
from tests.benchmarks.plugin import Record
from tests.small_faces import FINE, SmallFaces

WAYS = ("as it is", "classic", "skin 0.4", "skin 1", "chosen")


def states(image: Image, width: float) -> Iterator[tuple[str, Image]]:
    """A photo with one fault after the other."""
    yield "none", image
    yield "noise of 8 levels", selfies.noisy(image, 8)
    yield "noise of 16 levels", selfies.noisy(image, 16)
    yield "out of focus, 1.2 %", selfies.blurred(image, 0.012, width)
    yield "out of focus, 2.5 %", selfies.blurred(image, 0.025, width)
    yield "two stops too dark", selfies.lit(image, -2)
    yield "dark and noisy", selfies.noisy(selfies.lit(image, -2.5), 6)
    yield "JPEG 20", compressed(image, 20)
    yield "out of focus, noisy, JPEG 60", compressed(selfies.noisy(selfies.blurred(image, 0.012, width), 6), 60)
    yield "warm light", np.clip(image * np.array([1.0, 0.85, 0.6]), 0, 255).astype(np.uint8)


def compressed(image: Image, kept: int) -> Image:
    data = np.frombuffer(selfies.jpeg(image, kept), np.uint8)
    return np.ascontiguousarray(np.asarray(cv2.imdecode(data, cv2.IMREAD_COLOR), np.uint8)[..., ::-1])


def chosen(finder: FaceFinder, image: Image, face: Face, others: list[Reference]) -> Image:
    """What a training set takes of a photo, beside three good ones of the person."""
    judged = quality.judge(image, face, 1.0, Thresholds())
    crops = [Reference("poor", image, face, judged), *others]
    restored = Enhance(finder, ClassicRestorer()).restore_crops(crops, fakes.RecordingProgress())
    return restored.get(0, image)


@pytest.mark.bench
def test_restored_training_photos(finder: FaceFinder, figure: Record) -> None:
    class Nothing:
        def upscale(self, image: Image, factor: int) -> Image:
            return image

    nothing: Upscaler = Nothing()
    measure, found = SmallFaces(finder, nothing), dict[tuple[str, str], list[float]]()
    for photo in selfies.people().values():
        face = finder.faces(photo)[0]
        known = measure.embedding(photo, face)
        again = [selfies.varied(photo, face, seed)[0] for seed in range(3)]
        others = [Reference("good", each, finder.faces(each)[0], FINE) for each in again]
        for state, poor in states(photo, face.box.width):
            seen = finder.faces(poor)[0]
            pictures = {
                "as it is": poor,
                "classic": ClassicRestorer().restore(poor, seen),
                "skin 0.4": retouch_skin(poor, seen, 0.4),
                "skin 1": retouch_skin(poor, seen, 1.0),
                "chosen": chosen(finder, poor, seen, others),
            }
            for way, picture in pictures.items():
                far = float(np.linalg.norm(measure.embedding(picture, seen) - known))
                found.setdefault((state, way), []).append(far)
    lines = [f"| fault | {' | '.join(WAYS)} |", "|---" * (len(WAYS) + 1) + "|"]
    lines += [
        f"| {state} | " + " | ".join(f"{np.mean(found[state, way]):.3f}" for way in WAYS) + " |"
        for state in dict.fromkeys(state for state, _ in found)
    ]
    Path("out").mkdir(exist_ok=True)
    Path("out/restoring.md").write_text("\n".join(lines) + "\n")
    print("\n".join(lines))  # noqa: T201 -- a table to read
    poor = {
        way: np.mean([far for (state, by), each in found.items() if by == way and state != "none" for far in each])
        for way in WAYS
    }
    figure(
        "Poor training photos: distance as a set takes them over that as they are",
        poor["chosen"] / poor["as it is"],
        "×",
        at_most=0.95,
    )
    figure(
        "Good training photos: distance that restoring adds", float(np.mean(found["none", "chosen"])), "", at_most=0.03
    )
