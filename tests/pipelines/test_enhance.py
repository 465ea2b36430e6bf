"""Enhancing crops and small faces: only what is better is taken, colour and shape stay the photo's own."""

from dataclasses import replace
from typing import Any

import cv2
import numpy as np
import pytest

from pipelines.engines import Engines
from pipelines.enhance import ENLARGED_FACE, FACTOR, Enhance, detail_strength, enhancement_need
from portrait.arrays import Image
from portrait.ports import Restorer
from portrait.types import Face, Quality, Reference
from tests import fakes
from tests.fakes import FakeFinder, FakeRestorer, RecordingProgress
from tests.small_faces import SmallFaces

GOOD = Quality(1, 1, 1, 1, 1, 1, 1)
POOR = replace(GOOD, sharpness=0.3)


class Sharpener:
    """Enlarges and draws a pattern of single pixels; with `shift` the colours change too, with `person` who it is."""

    def __init__(self, shift: int = 0, person: int = 0) -> None:
        self.shift, self.person = shift, person
        self.sizes: list[tuple[int, ...]] = []

    def upscale(self, image: Image, factor: int) -> Image:
        self.sizes.append(image.shape[:2])
        size = (image.shape[1] * factor, image.shape[0] * factor)
        large = np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_LANCZOS4)).astype(int)
        large[::2, ::2, 1:] += 40
        large[..., 1:] += self.shift
        if self.person:
            large[..., 0] = self.person * 40
        return np.clip(large, 0, 255).astype(np.uint8)


class Eraser:
    """Restores so that no face is left."""

    def restore(self, image: Image, face: Face) -> Image:
        return np.zeros_like(image)


def gaussian(image: Image, sigma: float) -> Image:
    return np.asarray(cv2.GaussianBlur(image, (0, 0), sigma), np.uint8) if sigma else image


def reference(seed: int, width: float = 90, quality: Quality = GOOD) -> Reference:
    """A picture of person 1 whose face is `width` pixels wide."""
    image = fakes.picture(1, seed, 400)
    return Reference(f"{seed}.jpg", image, fakes.face(image, 1, share=width / 400), quality, f"id{seed}")


def enhance(restorer: Restorer | None = None, upscaler: Sharpener | None = None, **options: Any) -> Enhance:
    return Enhance(FakeFinder(), restorer or FakeRestorer(), upscaler, **options)


def test_one_photo_alone_is_enhanced_too() -> None:
    assert list(enhance().restore_crops([reference(0, quality=POOR)], RecordingProgress())) == [0]
    assert enhance().restore_crops([reference(0)], RecordingProgress()) == {}


def test_at_most_half_of_several_are_the_poorest() -> None:
    worst = replace(GOOD, sharpness=0.1)
    crops = [reference(0, quality=POOR), reference(1), reference(2, quality=worst), reference(3, quality=POOR)]
    assert sorted(enhance().restore_crops(crops, RecordingProgress())) == [0, 2]
    assert enhancement_need(worst) > enhancement_need(POOR) > enhancement_need(GOOD) == 0


def test_a_noisy_crop_is_restored_though_it_looks_sharp() -> None:
    grain = np.random.default_rng(0).normal(scale=12, size=(400, 400, 1))
    noisy = replace(reference(0), image=np.clip(reference(0).image + grain, 0, 255).astype(np.uint8))
    slight = replace(reference(0), image=np.clip(reference(0).image + grain / 6, 0, 255).astype(np.uint8))
    assert list(enhance().restore_crops([noisy], RecordingProgress())) == [0]
    assert enhance().restore_crops([slight], RecordingProgress()) == {}
    assert sorted(enhance().restore_crops([reference(1), reference(2), noisy], RecordingProgress())) == [2]


def test_a_crop_in_which_no_face_is_left_is_not_taken() -> None:
    assert enhance(Eraser()).restore_crops([reference(0, quality=POOR)], RecordingProgress()) == {}


def test_nor_is_one_before_which_none_was_seen_either() -> None:
    empty = replace(reference(0, quality=POOR), image=fakes.picture(0, 0))
    assert enhance(Eraser()).restore_crops([empty], RecordingProgress()) == {}


def test_a_crop_that_is_less_like_the_person_is_not_taken() -> None:
    crops = [reference(0, quality=POOR)]
    assert enhance(FakeRestorer(harm=True)).restore_crops(crops, RecordingProgress()) == {}


def test_small_faces_of_the_first_three_references_are_enlarged() -> None:
    upscaler = Sharpener()
    given = [reference(0), reference(1, width=170), reference(2), reference(3)]
    out = enhance(upscaler=upscaler).enlarge_references(given, RecordingProgress())
    assert [each.enlarged > 1 for each in out] == [True, False, True, False]
    assert out[0].enlarged == pytest.approx(ENLARGED_FACE / 90)
    assert out[0].image.shape[0] == round(400 * out[0].enlarged)
    # The network sees the face with the hair, not the picture.
    assert all(max(size) < 200 for size in upscaler.sizes)
    assert len(upscaler.sizes) == 2


def test_a_tiny_face_is_enlarged_by_no_more_than_the_network_does() -> None:
    (out,) = enhance(upscaler=Sharpener()).enlarge_references([reference(0, width=40)], RecordingProgress())
    assert out.enlarged == FACTOR
    # Of a far person no more is kept than a half figure needs.
    assert out.image.shape[1] <= FACTOR * 40 * 9 + FACTOR


def test_without_the_network_references_stay() -> None:
    given = [reference(0)]
    assert enhance().enlarge_references(given, RecordingProgress()) == tuple(given)


@pytest.mark.parametrize("person", [0, 2])
def test_a_reference_in_which_the_person_is_lost_or_less_alike_stays(person: int) -> None:
    class Misled(FakeFinder):
        """Sees `person` in the enhanced picture, the first that it is asked about, and the right one in the others."""

        def faces(self, image: Image, embedded: int = 1) -> list[Face]:
            faces = super().faces(image)
            if len(self.image_sizes) > 1:
                return faces
            return [fakes.face(image, person)] if person else []

    given = [reference(0, width=60)]
    flow = replace(enhance(upscaler=Sharpener()), finder=Misled())
    assert flow.enlarge_references(given, RecordingProgress()) == tuple(given)
    assert replace(flow, finder=FakeFinder()).enlarge_references(given, RecordingProgress()) != tuple(given)


def test_what_was_enlarged_before_is_taken_as_it_is() -> None:
    upscaler = Sharpener()
    (first,) = enhance(upscaler=upscaler).enlarge_references([reference(0)], RecordingProgress())
    again = enhance(upscaler=upscaler, known={first.selfie: first})
    (second,) = again.enlarge_references([replace(reference(0), name="renamed.jpg")], RecordingProgress())
    assert second.image is first.image
    assert second.name == "renamed.jpg"
    assert len(upscaler.sizes) == 1


def test_the_larger_and_sharper_a_face_the_less_detail_it_gets() -> None:
    def strength(width: float, blur: float) -> float:
        given = reference(0, width=width)
        return detail_strength(gaussian(given.image, blur), given.face)

    assert strength(64, 0) == strength(64, 6) == pytest.approx(0.35)
    assert strength(64, 0) > strength(100, 0) > strength(130, 0) > strength(150, 0) > 0
    assert strength(100, 6) > strength(100, 0)
    assert strength(150, 9) > 0.2
    sharp = [reference(0, width=150)]
    assert enhance(upscaler=Sharpener()).enlarge_references(sharp, RecordingProgress()) == tuple(sharp)


@pytest.mark.parametrize(("width", "blur"), [(80, 0), (100, 0), (150, 9)])
def test_detail_comes_from_the_network_and_colours_from_the_photo(width: float, blur: float) -> None:
    given = reference(0, width=width)
    given = replace(given, image=gaussian(given.image, blur))
    (out,) = enhance(upscaler=Sharpener(shift=25)).enlarge_references([given], RecordingProgress())
    size = (out.image.shape[1], out.image.shape[0])
    assert size == (round(400 * out.enlarged), round(400 * out.enlarged))
    plain = cv2.resize(given.image, size, interpolation=cv2.INTER_LANCZOS4).astype(int)
    change = out.image.astype(int) - plain
    top, left = (round(edge) for edge in (out.face.box.top, out.face.box.left))
    face = change[top : top + 200, left : left + 200]
    assert abs(face.mean()) < 1
    assert face[..., 1:].std() > 1
    assert not change[: top // 3].any()
    assert not change[:, : left // 3].any()


def test_a_small_face_is_more_like_the_photo_as_it_was(engines: Engines, astronaut: Image) -> None:
    upscaler = engines.detailer()
    assert upscaler is not None
    found = SmallFaces(engines.finder(), upscaler).distances(astronaut, 64, poor=False)
    assert found["enhanced"] < found["lanczos"]
    assert found["enhanced"] < found["classic"]
