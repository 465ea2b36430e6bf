"""Mattes by the segmenter: against composites of known alpha, with other people in the photo, at every size."""

import sys
from collections.abc import Callable, Iterator

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from pipelines.engines import Engines
from pipelines.engines.mattes.selfie import SelfieMatting
from portrait.arrays import Image, Mask
from portrait.faces.geometry import scaling_matrix, transform_face
from portrait.images.masks import composite, estimate_foreground, face_size
from portrait.ports import FaceFinder, Matter
from portrait.types import Face
from tests import selfies
from tests.benchmarks.plugin import Record

pytestmark = pytest.mark.models

SCALE = 2.5
"""The astronaut's face becomes 250 px: a usual selfie."""
HAIR = {"brown": (58, 38, 26), "blond": (196, 164, 116), "grey": (150, 148, 146), "black": (22, 18, 18)}
COMPOSITES = [
    ("noise", "brown", 60, ()), ("noise", "blond", 120, ("glasses",)), ("bricks", "black", 90, ()),
    ("bricks", "grey", 0, ("beard",)), ("leaves", "brown", 150, ()), ("leaves", "blond", 60, ("beard", "glasses")),
    ("lights", "black", 120, ("glasses",)), ("lights", "grey", 90, ()), ("stripes", "brown", 90, ("beard",)),
    ("stripes", "blond", 0, ("glasses",)),
]  # fmt: skip
"""Background, colour of the drawn hair, number of loose strands, what else is drawn."""


@pytest.fixture(scope="module")
def matter(engines: Engines) -> Matter:
    return engines.matter_named("selfie")


@pytest.fixture(scope="module")
def person(finder: FaceFinder, matter: SelfieMatting) -> tuple[Image, Mask, Face]:
    """Head and shoulders: colours without background, alpha, face."""
    photo = selfies.astronaut()
    face = finder.faces(photo, 0)[0]
    alpha = matter.matte(photo, face)
    colours = estimate_foreground(photo, alpha, round(0.9 * face_size(face)))
    grown = np.asarray(cv2.resize(colours, None, fx=SCALE, fy=SCALE, interpolation=cv2.INTER_CUBIC), np.uint8)
    outline = cv2.resize(alpha, None, fx=SCALE, fy=SCALE, interpolation=cv2.INTER_CUBIC)
    # The soft edge is tightened after enlarging: an edge of a sharp photo is two or three pixels wide.
    return (
        grown,
        np.clip((outline - 0.5) * 2 + 0.5, 0, 1).astype(np.float32),
        transform_face(face, scaling_matrix(SCALE)),
    )


def background(kind: str, size: tuple[int, int], seed: int) -> Image:
    """A room of texture, without a person, softened a little as behind a subject."""
    height, width = size
    random = np.random.default_rng(seed)
    rows, columns = np.indices(size)
    out = np.zeros((height, width, 3), np.float32)
    if kind == "noise":
        for cell in (8, 32, 128):
            small = random.normal(0, 22, (height // cell + 2, width // cell + 2, 3)).astype(np.float32)
            out += cv2.resize(small, (width, height), interpolation=cv2.INTER_CUBIC)
        out += (130, 120, 110)
    elif kind == "bricks":
        shift = (rows // 40 % 2) * 45
        mortar = (rows % 40 < 5) | ((columns + shift) % 90 < 5)
        tone = random.normal(0, 14, (height // 40 + 1, width // 90 + 3))[rows // 40, (columns + shift) // 90]
        out[:] = np.where(mortar[..., None], (186, 180, 170), np.array((152, 84, 66)) + tone[..., None])
    elif kind == "stripes":
        out[:] = np.where(((columns + rows // 3) // 28 % 2)[..., None] > 0, (70, 96, 130), (205, 200, 188))
    else:
        leaves = kind == "leaves"
        out[:] = (46, 62, 34) if leaves else (24, 26, 40)
        for _ in range(700 if leaves else 160):
            centre = (int(random.integers(width)), int(random.integers(height)))
            tone = np.array((90, 125, 60)) * random.uniform(0.4, 1.5) if leaves else random.uniform(40, 255, 3)
            colour = tuple(float(each) for each in tone)
            axes = (int(random.integers(6, 26)), int(random.integers(4, 12))) if leaves else (18, 18)
            cv2.ellipse(out, centre, axes, float(random.uniform(0, 180)), 0, 360, colour, -1, cv2.LINE_AA)
    return np.clip(cv2.GaussianBlur(out, (0, 0), 1.5), 0, 255).astype(np.uint8)


def strands(alpha: Mask, face: Face, count: int, seed: int) -> Iterator[NDArray[np.int32]]:
    """Curves that leave the hair, in 1/16 pixels."""
    random = np.random.default_rng(seed)
    (x, y), unit = face.box.centre, face_size(face)
    for _ in range(count):
        angle = random.uniform(np.pi * 0.95, np.pi * 2.05)
        direction = np.array([np.cos(angle), np.sin(angle)])
        reach = max(r for r in np.arange(0, 1.6, 0.02) if _at(alpha, np.array([x, y]) + direction * r * unit) > 0.5)
        start = np.array([x, y]) + direction * (reach - 0.08) * unit
        bend = random.normal(0, 0.5)
        length = random.uniform(0.08, 0.2) * unit
        steps = np.linspace(0, 1, 12)[:, None]
        turned = direction + bend * steps * np.array([-direction[1], direction[0]])
        yield np.round((start + turned * steps * (length + 0.08 * unit)) * 16).astype(np.int32)


def beard(face: Face, seed: int) -> Iterator[NDArray[np.int32]]:
    """Short hair along the jaw, partly beyond its outline."""
    random = np.random.default_rng(seed)
    assert face.mesh is not None
    jaw = face.mesh[[172, 136, 150, 149, 176, 148, 152, 377, 400, 378, 379, 365, 397], :2]
    unit = face_size(face)
    for _ in range(500):
        at = random.uniform(0, len(jaw) - 1.001)
        base = jaw[int(at)] * (1 - at % 1) + jaw[int(at) + 1] * (at % 1) - (0, random.uniform(-0.01, 0.12) * unit)
        end = base + np.array([random.normal(0, 0.02), random.uniform(0.03, 0.07)]) * unit
        yield np.round(np.array([base, end]) * 16).astype(np.int32)


def composite_photo(
    person: tuple[Image, Mask, Face], kind: str, tone: str, loose: int, extras: tuple[str, ...]
) -> tuple[Image, Mask]:
    """The person with drawn hair before a background, and the alpha that this composite has."""
    colours, alpha, face = person[0].copy(), person[1].copy(), person[2]
    curves = [*strands(alpha, face, loose, 1), *(beard(face, 2) if "beard" in extras else ())]
    for curve in curves:
        left, top = np.maximum(curve.min(axis=0) // 16 - 2, 0)
        right, bottom = curve.max(axis=0) // 16 + 3
        place = slice(top, bottom), slice(left, right)
        drawn = np.zeros(alpha[place].shape, np.uint8)
        cv2.polylines(drawn, [curve - np.array([left, top]) * 16], False, 255, 1, cv2.LINE_AA, 4)
        share = (drawn * np.float32(0.9 / 255)).astype(np.float32)
        colours[place] = composite(np.full_like(colours[place], HAIR[tone]), colours[place], share)
        alpha[place] = 1 - (1 - alpha[place]) * (1 - share)
    if "glasses" in extras:
        for eye in face.landmarks[:2]:
            axes = (round(0.17 * face_size(face)), round(0.13 * face_size(face)))
            cv2.ellipse(colours, tuple(int(v) for v in eye), axes, 0, 0, 360, (28, 26, 30), 4, cv2.LINE_AA)
    photo = composite(colours, background(kind, alpha.shape, 3), alpha)
    return photo, alpha


def _at(alpha: Mask, point: NDArray[np.float64]) -> float:
    row, column = np.clip(point[::-1].astype(int), 0, np.array(alpha.shape) - 1)
    return float(alpha[row, column])


def _head(alpha: Mask, face: Face) -> Mask:
    """The part around the head, where matting is hard: two faces wide, from above the hair to the shoulders."""
    (x, y), unit = face.box.centre, face_size(face)
    return alpha[max(0, round(y - 1.3 * unit)) : round(y + 1.2 * unit), round(x - 1.1 * unit) : round(x + 1.1 * unit)]


@pytest.mark.parametrize(
    "chosen", [slice(1, None, 2), pytest.param(slice(None), marks=pytest.mark.bench)], ids=["five", "ten"]
)
def test_composites_of_known_alpha(
    person: tuple[Image, Mask, Face],
    matter: SelfieMatting,
    engines: Engines,
    record_property: Callable[[str, object], None],
    chosen: slice,
    figure: Record,
) -> None:
    face = person[2]
    modnet = engines.matter_named("modnet")
    errors, traces = [], []
    for kind, tone, loose, extras in COMPOSITES[chosen]:
        photo, truth = composite_photo(person, kind, tone, loose, extras)
        found, raw = matter.matte(photo, face), matter.segment(photo)
        room = _head(found, face)[_head(truth, face) < 0.005]
        traces.append(float((room[room < 0.5] > 0.04).mean()))
        every = (found, raw, modnet.matte(photo, face))
        errors.append([float(np.abs(_head(each, face) - _head(truth, face)).mean()) for each in every])
    ours, segmenter, default = np.mean(errors, axis=0)
    record_property("matte_error", round(float(ours), 4))
    record_property("segmenter_error", round(float(segmenter), 4))
    sys.stdout.write(
        f"mean absolute error around the head: matte {ours:.4f}, segmenter {segmenter:.4f}, MODNet {default:.4f}\n"
    )
    figure("Mattes of known alpha: error around the head", ours, "", at_most=0.02)
    figure("Mattes of known alpha: error over the segmenter's", ours / segmenter, "×", at_most=0.999)
    # Their truth was cut out by the segmenter's matte, so they flatter it.
    figure("Mattes of known alpha: error of MODNet over ours", default / ours, "×", at_most=1.1)
    # Before plain paper a trace of the old room is visible from about 0.04 on.
    figure("Mattes of known alpha: traces of the old room", np.mean(traces), "share", at_most=0.01)


def test_the_suit_stays_and_the_room_goes(finder: FaceFinder, matter: SelfieMatting) -> None:
    photo = selfies.astronaut()
    alpha = matter.matte(photo, finder.faces(photo, 0)[0])
    assert alpha.shape == photo.shape[:2]
    assert alpha.dtype == np.float32
    face, collar, suit, patch = alpha[120, 225], alpha[205, 150], alpha[280, 130], alpha[300, 205]
    assert min(face, collar, suit, patch) > 0.95
    flag, shuttle, gap = alpha[100, 60], alpha[120, 420], alpha[140, 165]
    assert max(flag, shuttle, gap) < 0.05


def test_the_matte_keeps_to_the_picture_at_any_size(finder: FaceFinder, matter: SelfieMatting) -> None:
    photo = selfies.astronaut()
    face = finder.faces(photo, 0)[0]
    plain = matter.matte(photo, face)
    large = np.asarray(cv2.resize(photo, None, fx=4, fy=4, interpolation=cv2.INTER_CUBIC), np.uint8)
    fine = matter.matte(large, transform_face(face, scaling_matrix(4)))
    again = cv2.resize(fine, (512, 512), interpolation=cv2.INTER_AREA)
    assert np.abs(_head(np.asarray(again, np.float32), face) - _head(plain, face)).mean() < 0.02


def test_other_people_are_background(finder: FaceFinder, matter: SelfieMatting) -> None:
    photo = selfies.group()
    faces = finder.faces(photo, 0)
    assert len(faces) == 6
    for face in faces[:3]:
        alpha = matter.matte(photo, face)
        for each in faces:
            x, y = (round(value) for value in each.box.centre)
            opacity = float(alpha[y - 8 : y + 9, x - 8 : x + 9].mean())
            assert opacity > 0.98 if each is face else opacity < 0.02


def test_a_tiny_photo_is_no_error(finder: FaceFinder, matter: SelfieMatting) -> None:
    photo = selfies.astronaut()
    face = transform_face(finder.faces(photo, 0)[0], scaling_matrix(64 / 512))
    small = np.asarray(cv2.resize(photo, (64, 64), interpolation=cv2.INTER_AREA), np.uint8)
    alpha = matter.matte(small, face)
    assert alpha.shape == (64, 64)
    assert alpha[round(face.box.centre[1]), round(face.box.centre[0])] > 0.9
