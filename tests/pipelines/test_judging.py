"""Each code at a grave fault and not at a light one; docs/judging.md measures what lies between."""

import itertools
import struct
import zlib
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest

from pipelines import build
from pipelines.engines import Engines
from pipelines.image_io import decode
from pipelines.judging import JUDGED_FACE, JUDGED_SIDE, PhotoJudge
from pipelines.settings import Settings
from portrait.arrays import Image
from portrait.photos import selection
from portrait.photos.people import separate_people
from portrait.ports import FaceFinder
from portrait.types import Box, Face, ScoredPhoto
from tests import dressed, eyewear, selfies
from tests.benchmarks.made import FACING, Judge, Subject
from tests.fakes import RecordingProgress

PEOPLE = ("astronaut", "player 3")


@pytest.fixture(scope="module")
def judge(settings: Settings, engines: Engines, tmp_path_factory: pytest.TempPathFactory) -> Judge:
    return Judge(build.prepare(settings, engines), tmp_path_factory.mktemp("judging"))


@pytest.fixture(scope="module")
def people(finder: FaceFinder) -> dict[str, Subject]:
    return {name: Subject(image, finder.faces(image, 0)[0]) for name, image in selfies.people().items()}


def out_of_focus(image: Image, face: Face, share: float, _: int) -> Image:
    return selfies.blurred(image, share, face.box.width)


def exposed(image: Image, face: Face, stops: float, _: int) -> Image:
    return selfies.lit(image, stops)


def lids_down(image: Image, face: Face, share: float, _: int) -> Image:
    return selfies.eyes_shut(image, face, share)


def small(image: Image, face: Face, width: float, _: int) -> Image:
    return selfies.resized(image, width / face.box.width)


def cut(image: Image, face: Face, share: float, seed: int) -> Image:
    return selfies.framed(image, face, ("left", "right", "top")[seed % 3], share)


def masked(image: Image, face: Face, share: float, _: int) -> Image:
    return selfies.covered(image, face, share)


@pytest.mark.parametrize(
    ("code", "fault", "light", "grave"),
    [
        ("blurred", out_of_focus, 0.005, 0.025),
        ("dark", exposed, -1.5, -5.5),
        ("bright", exposed, 0.0, 2.5),
        ("eyes_closed", lids_down, 0.2, 1.0),
        ("face_small", small, 76, 54),
        ("face_cut", cut, 0.0, 0.2),
        ("no_face", masked, 0.2, 0.9),
    ],
)
@pytest.mark.parametrize("person", PEOPLE)
def test_a_code_fires_at_a_grave_fault_and_not_at_a_light_one(
    judge: Judge, people: dict[str, Subject], person: str, code: str, fault, light: float, grave: float
) -> None:
    someone = people[person]
    codes = judge.codes(someone.selfie(1, fault, severity) for severity in (light, grave))
    assert code not in codes[0]
    assert code in codes[1]


def test_photos_without_a_fault_are_used(judge: Judge, people: dict[str, Subject]) -> None:
    assert judge.codes(people[name].selfie(seed) for name in FACING for seed in (100, 101)) == [set()] * (
        2 * len(FACING)
    )


def test_turned_heads_and_lowered_eyes_are_spare(judge: Judge, people: dict[str, Subject]) -> None:
    names = {"player 1": "eyes_closed", "player 2": "turned_away", "player 5": "turned_away", "player 6": "eyes_closed"}
    photos = judge.photos(selfies.jpeg(people[name].image) for name in names)
    assert [{reason.code for reason in photo.reasons} for photo in photos] == [{code} for code in names.values()]
    assert {photo.verdict for photo in photos} == {"spare"}


def test_two_people_side_by_side(judge: Judge, people: dict[str, Subject]) -> None:
    one, other = people["astronaut"], people["player 3"]
    files = [selfies.jpeg(selfies.beside(one.image, one.face, other.image, other.face, ratio)) for ratio in (2, 8)]
    codes = judge.codes(files)
    assert "several_faces" in codes[0]
    assert codes[1] == set()


@pytest.mark.parametrize("stops", [0, -0.5])
@pytest.mark.parametrize("skin", [1.1, 0.8, 0.6, 0.5])
def test_light_is_judged_and_not_skin(judge: Judge, people: dict[str, Subject], skin: float, stops: float) -> None:
    files = [
        selfies.jpeg(selfies.lit(selfies.skinned(each.image, each.face, skin), stops))
        for each in (people[name] for name in PEOPLE)
    ]
    assert judge.codes(files) == [set(), set()]


def test_quarter_turns_without_exif_are_undone(judge: Judge, people: dict[str, Subject]) -> None:
    files = [selfies.jpeg(np.rot90(people[name].image, turns)) for name in PEOPLE for turns in range(4)]
    assert [photo.quarter_turns for photo in judge.photos(files)] == [0, 3, 2, 1] * 2


def chunk(kind: bytes, content: bytes) -> bytes:
    """Part of a PNG file."""
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def test_files_that_are_no_photos(judge: Judge) -> None:
    photo = selfies.jpeg(selfies.astronaut())
    size = struct.pack(">IIBBBBB", 60_000, 60_000, 8, 2, 0, 0, 0)
    header = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", size) + chunk(b"IDAT", b"")
    files = {b"": "unreadable", b"hello": "unreadable", b"<svg xmlns='http://www.w3.org/2000/svg'/>": "unreadable",
             photo[: len(photo) // 2]: "unreadable", header: "too_large"}  # fmt: skip
    assert judge.codes(files) == [{code} for code in files.values()]


@pytest.fixture(scope="module")
def albums(judge: Judge, people: dict[str, Subject]) -> dict[str, list[ScoredPhoto]]:
    return {name: judge.photos(person.selfie(seed) for seed in range(4)) for name, person in people.items()}


@pytest.mark.parametrize(("many", "few"), [(4, 1), (4, 3), (2, 1)])
def test_two_people_in_one_folder_are_separated(
    judge: Judge, albums: dict[str, list[ScoredPhoto]], many: int, few: int
) -> None:
    finder = judge.flow.finder
    for one, other in itertools.permutations(albums, 2):
        photos = [*albums[other][:few], *albums[one][:many]]
        judged, _ = separate_people(photos, finder.space, finder.same_person, ())
        verdicts = ["another_person" in {reason.code for reason in photo.reasons} for photo in judged]
        assert verdicts == [True] * few + [False] * many, (one, other)


def test_photos_of_one_person_are_neither_split_nor_asked_about(
    judge: Judge, albums: dict[str, list[ScoredPhoto]]
) -> None:
    finder = judge.flow.finder
    for name, photos in albums.items():
        judged, questions = separate_people(photos, finder.space, finder.same_person, (), judge.flow._estimate)
        assert questions == (), name
        assert [photo.verdict for photo in judged] == [photo.verdict for photo in photos], name


def test_a_copy_is_a_duplicate_and_another_photo_is_not(people: dict[str, Subject]) -> None:
    person = people["player 3"]
    copies = [selfies.jpeg(person.image, 40), selfies.jpeg(selfies.resized(person.image, 0.5))]
    marks = [
        selection.difference_hash(decode(each, "", 1000).image)
        for each in (selfies.jpeg(person.image), *copies, person.selfie(3))
    ]
    apart = [int(np.sum(marks[0] != other)) for other in marks[1:]]
    assert max(apart[:2]) <= selection.DUPLICATE_BITS < apart[2]


def room(width: int, height: int) -> Image:
    """A wall."""
    wall = np.linspace(190, 120, height)[:, None, None] * np.array([1.0, 0.96, 0.9])
    return np.repeat(wall, width, axis=1).astype(np.uint8)


def in_a_room(people: dict[str, Subject], size: tuple[int, int], face: float, at: tuple[int, int]) -> bytes:
    """The astronaut far away in a large photo, with a face of so many pixels."""
    someone = people["astronaut"]
    near, out = selfies.resized(someone.image, face / someone.face.box.width), room(*size)
    out[at[1] : at[1] + near.shape[0], at[0] : at[0] + near.shape[1]] = near
    return selfies.jpeg(out)


def test_small_faces_in_large_photos_are_found_by_tiles(judge: Judge, people: dict[str, Subject]) -> None:
    files = [
        in_a_room(people, (12000, 2400), 200, (7000, 500)),
        in_a_room(people, (4000, 3000), 110, (1800, 1200)),
        in_a_room(people, (4000, 3000), 50, (600, 2000)),
        selfies.jpeg(room(4000, 3000)),
    ]
    photos = judge.photos(files)
    assert [{reason.code for reason in photo.reasons} for photo in photos] == [
        set(),
        set(),
        {"face_small"},
        {"no_face"},
    ]
    for photo, width in zip(photos, (200, 110, 50), strict=False):
        assert photo.face is not None
        assert photo.selfie is not None
        assert photo.face.box.width * photo.selfie.scale == pytest.approx(width, rel=0.1)


def test_the_collar_of_a_far_person_is_not_taken_for_the_face(judge: Judge, people: dict[str, Subject]) -> None:
    files = [
        in_a_room(people, *where) for where in (((12000, 2400), 110, (8496, 752)), ((6000, 4000), 110, (2656, 336)))
    ]
    for photo in judge.photos(files):
        assert photo.face is not None
        assert photo.selfie is not None
        assert photo.face.box.width * photo.selfie.scale == pytest.approx(110, rel=0.1)


@pytest.mark.parametrize("share", [0.2, 0.25, 0.3])
def test_a_forehead_beyond_the_border_is_a_cut_face(judge: Judge, people: dict[str, Subject], share: float) -> None:
    for name in (*FACING, "player 6"):
        someone = people[name]
        image = selfies.framed(someone.image, someone.face, "top", share)
        [photo] = judge.photos([selfies.jpeg(image)])
        assert "face_cut" in {reason.code for reason in photo.reasons}, name
        assert photo.face is not None
        eyes = someone.face.landmarks[:2].mean(axis=0)[1] - round(
            someone.face.box.top + share * someone.face.box.height
        )
        found = photo.face.landmarks[:2].mean(axis=0)[1]
        assert found == pytest.approx(eyes, abs=0.06 * someone.face.box.height), "the nose is not taken for the eyes"


def test_sunglasses_are_refused_with_a_code_of_their_own(judge: Judge, people: dict[str, Subject]) -> None:
    for name in FACING:
        dark = eyewear.sunglasses(people[name].image, people[name].face, "square")
        [photo] = judge.photos([selfies.jpeg(dark)])
        assert (photo.verdict, [reason.code for reason in photo.reasons]) == ("refuse", ["sunglasses"]), name
    clear = eyewear.clear_glasses(people["player 3"].image, people["player 3"].face)
    assert judge.codes([selfies.jpeg(clear)]) == [set()]


@pytest.mark.parametrize("stops", [0, -1, -2, -3, -5.5])
def test_dark_and_light_skin_under_one_light_have_one_verdict(
    judge: Judge, people: dict[str, Subject], stops: float
) -> None:
    # Of eyes that laughter narrows (player 4) little white is seen: there dark skin is called dark a stop earlier.
    for name in FACING if stops != -3 else ("astronaut", "player 3"):
        someone = people[name]
        skins = [someone.image, *(dressed.toned(someone.image, someone.face, depth) for depth in (0.4, 0.8))]
        codes = judge.codes(selfies.jpeg(selfies.lit(skin, stops)) for skin in skins)
        assert len({"dark" in each for each in codes}) == 1, (name, codes)
        assert ("dark" in codes[0]) == (stops < -5)


@dataclass
class Noting:
    """A face finder that notes the widths of the faces that it embeds."""

    finder: FaceFinder
    embedded: list[float] = field(default_factory=list)

    @property
    def space(self) -> str:
        return self.finder.space

    @property
    def same_person(self) -> float:
        return self.finder.same_person

    def faces(self, image: Image, embedded: int = 1) -> list[Face]:
        found = self.finder.faces(image, embedded=0)
        return [self.embed(image, face) for face in found[:embedded]] + found[embedded:]

    def embed(self, image: Image, face: Face) -> Face:
        self.embedded.append(face.box.width)
        return self.finder.embed(image, face)


PHOTOS = {
    "near": lambda image: selfies.resized(image, 4),
    "far": lambda image: selfies.resized(selfies.far(image, 40), 5),
    "of few pixels": lambda image: image,
    "lying on its side": lambda image: np.ascontiguousarray(np.rot90(selfies.resized(image, 4))),
}


@pytest.mark.parametrize("kind", PHOTOS)
def test_a_face_is_embedded_once_from_the_pixels_that_it_is_judged_by(
    kind: str, finder: FaceFinder, astronaut: Image, tmp_path: Path
) -> None:
    image = PHOTOS[kind](astronaut)
    path = tmp_path / "photo.jpg"
    path.write_bytes(selfies.jpeg(image, 95))
    noting = Noting(finder)
    (photo,) = PhotoJudge(noting).judge_files([path], RecordingProgress())
    (width,) = noting.embedded
    assert photo.face is not None
    assert photo.selfie is not None
    assert max(photo.selfie.image.shape) <= JUDGED_SIDE
    assert set(photo.face.embeddings) == {"dlib"}
    native = photo.face.box.width * photo.selfie.scale
    assert width >= min(JUDGED_FACE, 0.98 * native), "from enough pixels, where the photo has them"


def test_of_a_group_the_face_that_was_pointed_at_is_embedded(finder: FaceFinder, tmp_path: Path) -> None:
    path = tmp_path / "group.jpg"
    path.write_bytes(selfies.jpeg(selfies.group(), 95))
    left, top, right, bottom = selfies.PLAYERS["player 3"]
    point = ((left + right) / 2 / 1280, (top + 0.4 * (bottom - top)) / 886)
    noting = Noting(finder)
    (photo,) = PhotoJudge(noting).judge_files([path], RecordingProgress(), {0: point})
    assert photo.face is not None
    assert photo.window != Box(0, 0, 1, 1)
    assert set(photo.face.embeddings) == {"dlib"}
    assert len(noting.embedded) == 1
