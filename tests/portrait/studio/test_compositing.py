"""A portrait is put together in strips: the pixels are those of the whole at once, and memory does not grow with them."""

import tracemalloc
from collections.abc import Callable
from dataclasses import replace

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from portrait.arrays import Image, Size, random_generator
from portrait.faces.geometry import scaling_matrix, transform_face
from portrait.images import resize
from portrait.studio import backdrops
from portrait.studio.compositing import LIGHT_WRAP_REACH, LIGHT_WRAP_SHARE, compose_portrait
from portrait.studio.composition import USUAL, compose
from portrait.studio.lens import GRAIN
from portrait.studio.subject import Subject, fade_border, frame_subject, spread_foreground
from tests.cut_out_person import cut_out

SIZE = Size(240, 300)
NAME, SEED = "studio-warm", 3


def subject_of(size: Size) -> Subject:
    person = cut_out()
    framing = compose(person.alpha, person.face, size, USUAL)
    assert framing is not None
    return frame_subject(person, framing, size, 0.4)


def blurred(values: NDArray[np.float32], sigma: float) -> NDArray[np.float32]:
    factor = min(1.0, 4 / sigma)
    small = cv2.resize(values, None, fx=factor, fy=factor, interpolation=cv2.INTER_AREA)
    soft = cv2.GaussianBlur(small, (0, 0), max(sigma * factor, 0.3))
    return np.asarray(cv2.resize(soft, values.shape[1::-1]), np.float32)


def composed_at_once(subject: Subject) -> Image:
    """The portrait without retouch, as version 0.1.0 computed it: each step for all pixels."""
    back, light, alpha = backdrops.paint(NAME, SIZE, SEED), backdrops.light_of(NAME), subject.alpha
    back = back[:, ::-1] if light.side * subject.light_side < 0 else back
    noise = random_generator(SEED).standard_normal((SIZE.height, SIZE.width), np.float32)
    fall = 1 - 0.09 * np.clip((np.linspace(0, 1, SIZE.height) - 0.68) / 0.32, 0, 1) ** 1.5
    person = subject.plain * (fall[:, None] * np.array(light.colour) ** 0.35)[:, None]
    wrap = alpha * blurred(1 - alpha, LIGHT_WRAP_REACH * SIZE.height) * LIGHT_WRAP_SHARE
    person += (blurred(back.astype(np.float32), 0.03 * SIZE.height) - person) * wrap[..., None]
    person += (noise * max(GRAIN**2 - subject.noise**2, 0) ** 0.5)[..., None]
    behind = back + (noise * max(min(subject.noise, 4) ** 2 - GRAIN**2, 0) ** 0.5)[..., None]
    mixed = behind + (person - behind) * alpha[..., None]
    return np.clip(mixed + 0.5, 0, 255).astype(np.uint8)


@pytest.mark.parametrize("noise", [0.2, 2.5])
def test_strips_give_the_pixels_of_the_whole(noise: float) -> None:
    subject = replace(subject_of(SIZE), noise=noise)
    _, before = compose_portrait(subject, NAME, SEED)
    assert np.abs(before.astype(int) - composed_at_once(subject)).max() <= 1


def test_retouch_and_light_change_skin_alone() -> None:
    subject = subject_of(SIZE)
    after, before = compose_portrait(subject, NAME, SEED)
    skin = np.zeros(before.shape[:2], bool)
    skin[subject.window] = subject.skin > 0
    changed = (after != before).any(axis=2)
    assert changed.sum() > 0.2 * skin.sum() > 0
    assert not (changed & ~skin).any()


def peak_of(work: Callable[[], object]) -> float:
    """Bytes of arrays at the peak, beside what was there."""
    tracemalloc.start()
    work()
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return peak


def test_a_large_portrait_takes_few_bytes_a_pixel(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resize, "WHOLE_VALUES", 0)  # this one is large
    size = Size(960, 1200)
    subject = subject_of(size)
    assert subject.nbytes < 12 * size.width * size.height
    # The two pictures are 6 bytes a pixel; of the whole at once all steps took 75.
    assert peak_of(lambda: compose_portrait(subject, NAME, SEED)) < 16 * size.width * size.height


def test_a_large_cut_out_takes_few_bytes_a_pixel() -> None:
    person, scale = cut_out(), 2
    alpha = np.asarray(cv2.resize(person.alpha, None, fx=scale, fy=scale), np.float32)
    front = np.asarray(cv2.resize(person.front, None, fx=scale, fy=scale), np.uint8)
    face, given = transform_face(person.face, scaling_matrix(scale)), alpha.copy()
    # Of the whole at once it took nine mattes to fade one, and 72 bytes a pixel to spread its colours.
    assert peak_of(lambda: fade_border(alpha, face)) < 4 * alpha.nbytes
    assert np.array_equal(alpha, given)
    assert peak_of(lambda: spread_foreground(front, alpha, face)) < 30 * alpha.size
