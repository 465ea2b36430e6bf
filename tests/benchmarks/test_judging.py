"""How often each code fires as its fault grows, on made selfies; the tables of docs/judging.md.

`make bench` prints them and writes them to `out/judging.md`.
"""

import itertools
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import cv2
import numpy as np
import pytest
import skimage.data

from pipelines import build
from pipelines import image_io as door
from pipelines.engines import Engines
from pipelines.settings import Settings
from portrait.arrays import Image
from portrait.photos import selection
from portrait.photos.people import separate_people
from portrait.ports import FaceFinder
from portrait.types import Face, ScoredPhoto
from tests import dressed, selfies
from tests.benchmarks import faults
from tests.benchmarks.made import FACING, SEEDS, Fault, Judge, Subject, Tables, percent
from tests.benchmarks.plugin import Record

pytestmark = pytest.mark.bench


@pytest.fixture(scope="module")
def tables() -> Iterator[Tables]:
    tables = Tables()
    yield tables
    out = Path("out/judging.md")
    out.parent.mkdir(exist_ok=True)
    out.write_text(tables.text(), "utf-8")
    sys.stdout.write(f"\n{tables.text()}\nwritten to {out}\n")


@pytest.fixture(scope="module")
def judge(settings: Settings, engines: Engines, tmp_path_factory: pytest.TempPathFactory) -> Judge:
    return Judge(build.prepare(settings, engines), tmp_path_factory.mktemp("judging"))


@pytest.fixture(scope="module")
def subjects(finder: FaceFinder) -> dict[str, Subject]:
    return {name: Subject(image, finder.faces(image)[0]) for name, image in selfies.people().items()}


# --- Faults of one photo -----------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Sweep:
    """A fault, how grave, and the code that shall fire at `grave` and not up to `light`."""

    code: str
    title: str
    unit: str
    steps: Sequence[float]
    fault: Fault
    light: float
    grave: float | None
    people: Sequence[str] = FACING


SWEEPS = [
    Sweep("blurred", "blurred: out of focus", "Gaussian, % of the face's width",
          (0, 0.5, 1, 1.5, 2, 2.5, 3, 4), faults.out_of_focus, 0.5, 2.5),
    Sweep("blurred", "blurred: shaken", "path, % of the face's width",
          (0, 1, 2, 4, 6, 8, 10, 14), faults.shaken, 1, 14),
    Sweep("dark", "dark", "stops", (0, -1, -2, -2.5, -3, -3.5, -4, -5), faults.exposed, -1, -5),
    Sweep("bright", "bright", "stops", (0, 0.5, 1, 1.5, 2, 2.5, 3), faults.exposed, 0, 2.5),
    Sweep("turned_away", "turned_away", "degrees", (0, 10, 20, 30, 40), faults.turned, 0, None),
    Sweep("eyes_closed", "eyes_closed", "% of the lid's way", (0, 20, 40, 50, 60, 70, 80, 100), faults.lids_down, 0, 100),
    Sweep("face_small", "face_small", "px", (120, 96, 80, 72, 66, 62, 56, 48, 32), faults.small, 72, 56),
    Sweep("face_small", "face_small in a photo of 12 megapixels", "px",
          (400, 200, 140, 96), faults.lost_in_a_room, 200, None),
    Sweep("face_cut", "face_cut", "% of the face outside", (0, 2, 4, 6, 8, 10, 15, 20, 30), faults.cut, 0, 20),
    Sweep("no_face", "no_face: covered from below", "% of the face", (0, 20, 40, 50, 60, 70, 80, 100), faults.masked, 20, 80),
    Sweep("no_face", "no_face: covered from above", "% of the face", (0, 20, 40, 50, 60, 70, 80, 100), faults.hatted, 20, 80),
]  # fmt: skip


@pytest.mark.parametrize("sweep", SWEEPS, ids=lambda each: each.title)
def test_a_code_fires_as_its_fault_grows(
    sweep: Sweep, judge: Judge, subjects: dict[str, Subject], tables: Tables, figure: Record
):
    rows, rates = [], {}
    for severity in sweep.steps:
        codes = [judge.codes(made(subjects[name], sweep.fault, severity)) for name in sweep.people]
        hits = [[sweep.code in each for each in person] for person in codes]
        anyhow = [bool(each) for person in codes for each in person]
        every = [each for person in hits for each in person]
        rates[severity] = float(np.mean(every))
        rows.append([f"{severity:g}", *map(percent, hits), f"**{percent(every)}**", percent(anyhow)])
    tables.add(sweep.title, [sweep.unit, *sweep.people, "all", "any code"], rows)
    light = sweep.steps[: sweep.steps.index(sweep.light) + 1]
    told = f"{sweep.title}, told"
    figure(f"{told} up to {sweep.light:g} {sweep.unit}", max(rates[each] for each in light), "share", at_most=0.05)
    if sweep.grave is not None:
        figure(f"{told} at {sweep.grave:g} {sweep.unit}", rates[sweep.grave], "share", at_least=0.9)


def made(subject: Subject, fault: Fault, severity: float) -> Iterator[bytes]:
    return (subject.selfie(seed, fault, severity) for seed in range(SEEDS))


def test_photos_without_an_added_fault(judge: Judge, subjects: dict[str, Subject], tables: Tables, figure: Record):
    rows = []
    for name, subject in subjects.items():
        codes = judge.codes(subject.selfie(seed) for seed in range(100, 124))
        found = sorted(set().union(*codes))
        rows.append(
            [name, ", ".join(f"{code} {percent([code in each for each in codes])}" for code in found) or "none"]
        )
        if name in FACING:
            figure(f"Photos of {name} without a fault that are told one", sum(map(bool, codes)), "of 24", at_most=1)
    tables.add("Without an added fault, 24 photos of each", ["person", "codes"], rows)


def test_several_faces(judge: Judge, subjects: dict[str, Subject], tables: Tables, figure: Record):
    steps = (1, 1.5, 2, 3, 3.5, 4.5, 5, 6, 8, 12)
    pairs = [(one, other) for one, other in itertools.permutations(FACING, 2)]
    rows = []
    for ratio in steps:
        files = [
            selfies.stored(selfies.beside(*taken(subjects[one], 7), *taken(subjects[other], 8), ratio), 9)
            for one, other in pairs
        ]
        hits = ["several_faces" in codes for codes in judge.codes(files)]
        rows.append([f"{ratio:g}", percent(hits)])
        if ratio <= 3:
            figure(
                f"several_faces, told of a second face {ratio:g} times smaller", np.mean(hits), "share", at_least=0.9
            )
        if ratio >= 6:
            figure(f"several_faces, told of a second face {ratio:g} times smaller", np.mean(hits), "share", at_most=0.1)
    tables.add("several_faces", ["area of the face, times the second one's", "rate"], rows)


def taken(subject: Subject, seed: int) -> tuple[Image, Face]:
    return selfies.varied(subject.image, subject.face, seed)


def test_pictures_of_things_have_no_face(judge: Judge, tables: Tables, figure: Record):
    names = ("coffee", "chelsea", "rocket", "hubble_deep_field", "retina", "brick", "grass", "gravel", "moon",
             "page", "text", "clock", "coins", "horse", "immunohistochemistry", "colorwheel")  # fmt: skip
    things = {name: getattr(skimage.data, name)() for name in names}
    things = {name: np.uint8(255) * each if each.dtype == bool else each for name, each in things.items()}
    things |= {"face painted over": painted_over(judge)}
    files = [selfies.jpeg(each if each.ndim == 3 else np.repeat(each[..., None], 3, 2)) for each in things.values()]
    codes = judge.codes(files)
    missed = [name for name, each in zip(things, codes, strict=True) if each != {"no_face"}]
    tables.add("no_face: pictures without a person", ["pictures", "no_face", "others"],
               [[str(len(things)), percent([each == {"no_face"} for each in codes]), ", ".join(missed) or "none"]])  # fmt: skip
    figure("Pictures of things that are told anything but no_face", len(missed), f"of {len(things)}", at_most=0)


def painted_over(judge: Judge) -> Image:
    """The astronaut as if seen from behind: hair where the face was."""
    image = selfies.astronaut()
    face = judge.flow.finder.faces(image)[0]
    random = np.random.default_rng(0)
    hair = random.normal((60, 42, 30), 12, (64, 512, 3)).clip(0, 255)
    hair = cv2.resize(hair, (512, 512), interpolation=cv2.INTER_CUBIC)
    mask = np.zeros(image.shape[:2], np.float32)
    centre = (round(face.box.centre[0]), round(face.box.centre[1]))
    cv2.ellipse(mask, centre, (round(face.box.width * 0.62), round(face.box.height * 0.62)), 0, 0, 360, 1.0, -1)
    mask = cv2.GaussianBlur(mask, (0, 0), 3)[..., None]
    return np.asarray(image * (1 - mask) + hair * mask, np.uint8)


SKIN = (0.0, 0.2, 0.4, 0.6, 0.8, 1.0)
"""Depths of `dressed.toned`: 0 is the person's own skin, 1 deep brown."""
LIGHT = (1, 0, -1, -2, -3, -4, -5)


def test_light_is_judged_and_not_skin(judge: Judge, subjects: dict[str, Subject], tables: Tables, figure: Record):
    rows, told = [], []
    for depth in SKIN:
        tone = np.mean([lightness(subjects[name], depth) for name in FACING])
        rates = []
        for stops in LIGHT:
            files = [subjects[name].selfie(seed, under(depth), stops) for name in FACING for seed in range(3)]
            codes = judge.codes(files)
            rates.append(tuple(percent([code in each for each in codes]) for code in ("dark", "bright", "no_face")))
            told += [each & {"dark", "bright"} for each in codes if stops in (0, -1, -2)]
        rows.append([f"{tone:.0f}", *(" / ".join(each) for each in rates)])
    head = ["L* of the face", *(f"{stops:+d} stops" if stops else "as taken" for stops in LIGHT)]
    tables.add("dark / bright / no_face by skin and light", head, rows)
    what = "Photos of any skin, up to two stops less than good light, that are told dark or bright"
    figure(what, sum(map(bool, told)), f"of {len(told)}", at_most=0)


def under(depth: float) -> Fault:
    return lambda image, face, stops, seed: selfies.lit(dressed.toned(image, face, depth), stops)


def lightness(subject: Subject, depth: float) -> float:
    """Median L* inside the outline of the face, 0..100."""
    image = dressed.toned(subject.image, subject.face, depth).astype(np.float32) / 255
    if subject.face.mesh is None:
        raise ValueError("this needs a mesh")
    inside = np.zeros(image.shape[:2], np.uint8)
    cv2.fillConvexPoly(inside, cv2.convexHull(subject.face.mesh[:, :2].round().astype(np.int32)), 1)
    return float(np.median(cv2.cvtColor(image, cv2.COLOR_RGB2LAB)[..., 0][inside > 0]))


def _turned(turns: int, image: Image, *_: object) -> Image:
    return np.rot90(image, turns)


def test_quarter_turns_without_exif_are_undone(
    judge: Judge, subjects: dict[str, Subject], tables: Tables, figure: Record
):
    rows = []
    for name, subject in subjects.items():
        cells = []
        for turns in range(4):
            files = [subject.selfie(seed, partial(_turned, turns)) for seed in range(SEEDS)]
            cells.append([photo.quarter_turns == -turns % 4 for photo in judge.photos(files)])
        rows.append([name, *map(percent, cells)])
        if name in FACING:
            figure(f"Turned photos of {name} that are stood upright", np.mean(cells), "share", at_least=0.951)
    tables.add("Stood upright", ["person", "upright", "to the left", "upside down", "to the right"], rows)


# --- Photos compared ---------------------------------------------------------------------------------------------------


def cropped(percent_off: float) -> Callable[[Subject, int], Image]:
    def crop(subject: Subject, seed: int) -> Image:
        random, (height, width) = np.random.default_rng(seed), subject.image.shape[:2]
        off = np.array([width, height]) * percent_off / 100
        left, top = (random.uniform(0, 1, 2) * off).round().astype(int)
        right, bottom = (np.array([width, height]) - off).round().astype(int) + np.array([left, top])
        return np.ascontiguousarray(subject.image[top:bottom, left:right])

    return crop


def leaned(degrees: float) -> Callable[[Subject, int], Image]:
    def lean(subject: Subject, seed: int) -> Image:
        height, width = subject.image.shape[:2]
        matrix = cv2.getRotationMatrix2D((width / 2, height / 2), degrees * (1 - 2 * (seed % 2)), 1)
        return np.asarray(
            cv2.warpAffine(subject.image, matrix, (width, height), borderMode=cv2.BORDER_REPLICATE), np.uint8
        )

    return lean


def colourless(image: Image) -> Image:
    return np.asarray(cv2.cvtColor(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2RGB), np.uint8)


COPIES: dict[str, Callable[[Subject, int], Image]] = {
    "saved again, JPEG 30 to 95": lambda subject, seed: subject.image,
    "half as large": lambda subject, seed: selfies.resized(subject.image, 0.5),
    "a quarter as large": lambda subject, seed: selfies.resized(subject.image, 0.25),
    "half a stop darker or brighter": lambda subject, seed: selfies.lit(subject.image, 0.5 - seed % 2),
    "one stop darker or brighter": lambda subject, seed: selfies.lit(subject.image, 1 - 2 * (seed % 2)),
    "black and white": lambda subject, seed: colourless(subject.image),
    "cropped by 1 %": cropped(1),
    "cropped by 2 %": cropped(2),
    "cropped by 4 %": cropped(4),
    "cropped by 6 %": cropped(6),
    "cropped by 10 %": cropped(10),
    "leaned by 1°": leaned(1),
    "leaned by 3°": leaned(3),
    "mirrored": lambda subject, seed: np.ascontiguousarray(subject.image[:, ::-1]),
    "*next frame:* lids down": lambda subject, seed: selfies.eyes_shut(subject.image, subject.face, 1.0),
    "*next frame:* only the head turned by 5°": lambda subject, seed: faults.turned(
        subject.image, subject.face, 5, seed
    ),
    "*next frame:* only the head turned by 20°": lambda subject, seed: faults.turned(
        subject.image, subject.face, 20, seed
    ),
    "*another photo:* leaned, framed and lit a little differently": lambda subject, seed: taken(subject, seed + 50)[0],
}


def test_duplicates(subjects: dict[str, Subject], tables: Tables, figure: Record):
    rows = []
    for treatment, change in COPIES.items():
        bits = [apart(subject, change(subject, seed), seed) for subject in subjects.values() for seed in range(4)]
        hits = [each <= selection.DUPLICATE_BITS for each in bits]
        rows.append([treatment, percent(hits), f"{np.median(bits):.0f}", f"{min(bits)}–{max(bits)}"])
        if treatment.startswith(("saved", "half as")):
            figure(f"Duplicates found, {treatment}", np.mean(hits), "share", at_least=1)
    tables.add("duplicate", ["second photo", "duplicate", "bits apart, median", "from–to"], rows)


def apart(subject: Subject, image: Image, seed: int) -> int:
    """Bits in which the fingerprints of a photo and another one differ, both read from files."""
    files = (selfies.jpeg(subject.image, 92), selfies.jpeg(image, (30, 50, 75, 95)[seed % 4]))
    one, other = (selection.difference_hash(door.decode(each, "", 1000).image) for each in files)
    return int(np.sum(one != other))


SHARES = ((8, 1), (8, 4), (8, 7), (5, 3), (3, 2), (2, 1))
"""How many photos of the one person and of the other lie in a folder."""


@pytest.fixture(scope="module")
def albums(judge: Judge, subjects: dict[str, Subject]) -> dict[str, list[ScoredPhoto]]:
    """Eight judged selfies of each person in which head, light, focus and distance vary."""
    return {name: judge.photos(subject.selfie(seed, lively) for seed in range(8)) for name, subject in subjects.items()}


def lively(image: Image, face: Face, _: float, seed: int) -> Image:
    random = np.random.default_rng(seed)
    image = selfies.turned(image, face, float(random.uniform(-15, 15)))
    image = selfies.blurred(
        selfies.lit(image, random.uniform(-0.8, 0.4)), random.uniform(0.1, 0.8) / 100, face.box.width
    )
    return selfies.resized(image, max(76 / face.box.width, random.uniform(0.8, 1.2)))


def test_two_people_in_one_folder_are_separated(
    judge: Judge, albums: dict[str, list[ScoredPhoto]], tables: Tables, figure: Record
):
    rows = []
    for many, few in SHARES:
        mistakes = [
            mixed(judge.flow.finder, albums[one][:many], albums[other][:few])
            for one, other in itertools.permutations(albums, 2)
        ]
        rows.append([f"{many} : {few}", str(len(mistakes)), str(len(mistakes) * (many + few)), str(sum(mistakes))])
    tables.add("another_person: two people in one folder", ["photos", "folders", "photos in all", "mistakes"], rows)
    figure("Two people in one folder: photos taken for the other", sum(int(row[-1]) for row in rows), "", at_most=0)


def test_a_crowd_in_one_folder(judge: Judge, albums: dict[str, list[ScoredPhoto]], figure: Record):
    mistakes = 0
    for name in albums:
        others = [photo for other in albums if other != name for photo in albums[other][:3]]
        mistakes += mixed(judge.flow.finder, albums[name][:5], others)
    figure("A crowd in one folder: photos taken for another", mistakes, "", at_most=0)


def mixed(finder: FaceFinder, majority: Sequence[ScoredPhoto], minority: Sequence[ScoredPhoto]) -> int:
    """How many photos of a shuffled folder were taken for the wrong person."""
    photos = [(photo, False) for photo in majority] + [(photo, True) for photo in minority]
    order = np.random.default_rng(len(photos)).permutation(len(photos))
    judged, _ = separate_people([photos[at][0] for at in order], finder.space, finder.same_person, ())
    separated = ["another_person" in {reason.code for reason in photo.reasons} for photo in judged]
    return sum(verdict != photos[at][1] for verdict, at in zip(separated, order, strict=True))


def test_how_far_people_are_apart(judge: Judge, albums: dict[str, list[ScoredPhoto]], tables: Tables, figure: Record):
    finder = judge.flow.finder
    vectors = {
        name: [photo.face.embeddings[finder.space] for photo in album if photo.face] for name, album in albums.items()
    }
    assert all(len(each) == 8 for each in vectors.values())
    within = [np.linalg.norm(a - b) for each in vectors.values() for a, b in itertools.combinations(each, 2)]
    between = [
        np.linalg.norm(a - b)
        for one, other in itertools.combinations(vectors.values(), 2)
        for a, b in itertools.product(one, other)
    ]
    rows = [
        [words, f"{min(each):.2f}", f"{np.median(each):.2f}", f"{max(each):.2f}"]
        for words, each in (("one person", within), ("two people", between))
    ]
    tables.add("Distances between faces (`dlib`)", ["faces of", "least", "median", "largest"], rows)
    figure("Faces of one person: largest distance", max(within), "", at_most=finder.same_person)
    figure("Faces of two people: median distance", np.median(between), "", at_least=finder.same_person)
