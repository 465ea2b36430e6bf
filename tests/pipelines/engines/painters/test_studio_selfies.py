"""The studio on selfies as people frame them: nothing in a portrait shows where its selfie ended."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import pytest

from pipelines.engines.painters import studio as painter
from pipelines.engines.painters.studio import Studio
from portrait.arrays import Image, Mask, Size
from portrait.errors import UserError
from portrait.faces.geometry import RotatedRect
from portrait.ports import FaceFinder, Matter
from portrait.studio import backdrops
from portrait.studio.composition import Framing, levelling_angle
from portrait.types import Face, Identity, PortraitRequest, Quality, Reference, Style
from tests import cut_edges, framed_selfies, selfies
from tests.fakes import RecordingProgress
from tests.framed_selfies import FORTY, Framed

GOOD = Quality(1, 1, 1, 1, 1, 1, 1)
SIZE = Size(256, 320)
REFUSED = {"face from border to border", "fair woman, hair cut at both sides", "laughing man, very close"}
"""Selfies that no composition holds: the photo ends in the face on all sides, or beside an eye."""


@dataclass
class SharedMatting:
    """The matte of a person's whole photo, made once, as each selfie shows it that was cut out of it."""

    matter: Matter
    sources: list[tuple[Image, Face]]
    mattes: dict[int, Mask] = field(default_factory=dict)
    taken: Framed = FORTY[0]
    version: str = "shared 1"

    def matte(self, image: Image, face: Face) -> Mask:
        person = self.taken.person
        if person not in self.mattes:
            self.mattes[person] = self.matter.matte(*self.sources[person])
        whole = np.dstack([self.mattes[person] * 255] * 3).round().astype(np.uint8)
        rect = self.taken.rect(self.sources[person][1])
        cut = framed_selfies.crop(whole, rect, Size(image.shape[1], image.shape[0]))
        return (cut[..., 0] / 255).astype(np.float32)

    def silhouette(self, image: Image, face: Face, others: Sequence[Face] | None = None) -> Mask:
        return self.matte(image, face)


@dataclass
class Booth:
    """Takes the forty selfies and has them painted before plain backdrops."""

    finder: FaceFinder
    matting: SharedMatting
    studio: Studio

    def reference(self, framed: Framed) -> Reference:
        self.matting.taken = framed
        image = framed_selfies.take(framed, *self.matting.sources[framed.person])
        faces = self.finder.faces(image, embedded=0)
        assert faces, framed.name
        return Reference(framed.name, image, faces[0], GOOD)

    def faults(self, framed: Framed) -> list[str]:
        """What shows in the portrait that the selfie ended."""
        selfie = self.reference(framed)
        dark, light = (self._paint(selfie, name) for name in ("studio-black", "studio-white"))
        alpha = cut_edges.opacity(dark, light)
        assert selfie.face.mesh is not None
        drawn = self.finder.faces(light, embedded=0)
        assert drawn, framed.name
        place = cut_edges.selfie_in_portrait(selfie.face, drawn[0])
        return cut_edges.faults(alpha, selfie.image.shape, place, selfie.face.box.height)

    def _paint(self, selfie: Reference, backdrop: str) -> Image:
        style = Style(backdrop, 1, "studio", backdrop, backdrop=backdrop)
        request = PortraitRequest({1: Identity("a", (selfie,), {})}, style, 1, 1, SIZE)
        return self.studio.paint(request, RecordingProgress())[0].image


@pytest.fixture(scope="module")
def matting(matter: Matter, astronaut: Image, astronaut_face: Face, group_faces: list[Face]) -> SharedMatting:
    return SharedMatting(matter, [(astronaut, astronaut_face), *((selfies.group(), face) for face in group_faces)])


@pytest.fixture
def booth(finder: FaceFinder, matting: SharedMatting, monkeypatch: pytest.MonkeyPatch) -> Booth:
    def plain(name: str, size: Size, seed: int) -> Image:
        level = cut_edges.DARK if name == "studio-black" else cut_edges.LIGHT
        return cut_edges.plain(level, (size.width, size.height))

    monkeypatch.setattr(backdrops, "paint", plain)
    return Booth(finder, matting, Studio(lambda _: matting))


@pytest.mark.parametrize(
    "chosen", [slice(None, None, 2), pytest.param(slice(None), marks=pytest.mark.bench)], ids=["twenty", "forty"]
)
def test_selfies_give_portraits_in_which_nothing_ends(booth: Booth, chosen: slice) -> None:
    found = {each.name: booth.faults(each) for each in FORTY[chosen] if each.name not in REFUSED}
    assert {name: faults for name, faults in found.items() if faults} == {}
    assert len(REFUSED) <= 4


@pytest.mark.parametrize("framed", [each for each in FORTY if each.name in REFUSED], ids=lambda each: each.name)
def test_what_no_composition_holds_is_refused_with_what_to_do(framed: Framed, booth: Booth) -> None:
    with pytest.raises(UserError, match="further away") as caught:
        booth.faults(framed)
    assert caught.value.code == "no_shoulders"


def test_the_measure_finds_what_ends(booth: Booth, monkeypatch: pytest.MonkeyPatch) -> None:
    """The usual framing, whatever the photo cuts: as a portrait with a floating or slanted end."""

    def regardless(person: Mask, face: Face, size: Size, suited: Sequence[str], tightness: float = 0.0) -> Framing:
        tall = face.box.height / 0.3
        x, y = face.box.centre
        return Framing(RotatedRect((x, y + 0.1 * tall), 0.8 * tall, tall, levelling_angle(face.pose.roll)), 0.42, 0.3)

    monkeypatch.setattr(painter, "compose", regardless)
    cut = [each for each in FORTY if each.share >= 0.4][::4]
    assert all(booth.faults(each) for each in cut), [each.name for each in cut if not booth.faults(each)]
