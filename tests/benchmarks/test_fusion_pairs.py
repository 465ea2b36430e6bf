"""Fusion over pairs of people and templates, and faces of made groups; the figures of docs/templates.md.

People and templates are the astronaut and those of the group photo, as they are and with other skin, a fringe, glasses,
sunglasses and a beard. `skin = "template"` is the arithmetic of version 0.1.0, so both are measured in one run. A sheet of
all drawings is written beside the table: they are to be looked at.
"""

import itertools
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import pytest

from pipelines import template_faces
from pipelines.engines import Engines
from pipelines.engines.painters.fusion import Fusion
from portrait.arrays import Image, Mask
from portrait.errors import UserError
from portrait.fusion.skin_tone import SAME_TONE, measure_skin, own_tone, plan_change
from portrait.images.color import from_linear, to_lab
from portrait.ports import FaceFinder
from portrait.types import Face, Identity, PortraitRequest, Quality, Reference, Skin, Style, StylePicture
from tests import dressed, selfies
from tests.benchmarks.plugin import Record

FRONT = ("player 1", "player 3", "player 4", "player 6")
KINDS = ("dark", "brown", "light", "fringe", "glasses", "beard", "sunglasses")
OUT = Path("out")
SKINS: tuple[Skin, Skin] = ("template", "person")


def dress(image: Image, face: Face, kind: str, body: Mask | None = None) -> Image:
    """A photo with other skin (that of the `body` too, where it is known) or with something in front of the face."""
    if kind in ("dark", "brown", "light"):
        return dressed.toned(image, face, {"dark": 0.8, "brown": 0.4, "light": -0.2}[kind], body)
    if kind == "glasses":
        return selfies.glasses(image, face)[0]
    if kind == "sunglasses":
        return dressed.sunglasses(image, face)[0]
    return dressed.fringe(image, face) if kind == "fringe" else dressed.bearded(image, face)


def looks(finder: FaceFinder) -> dict[str, tuple[Image, Face]]:
    """Every person as they are and in every kind, twice enlarged, by name and kind."""
    found = {}
    for name, photo in selfies.people().items():
        image = selfies.resized(photo, 2)
        face = finder.faces(image)[0]
        found[name] = image, face
        for kind in KINDS if name in ("astronaut", *FRONT) else ():
            made = dress(image, face, kind, dressed.body_of(name, 2))
            if seen := finder.faces(made):
                found[f"{name}, {kind}"] = made, seen[0]
    return found


def pairs() -> list[tuple[str, str]]:
    """Names of a person and a template: everybody plain on everybody, and each kind in turn on both sides."""
    people = ("astronaut", *FRONT)
    plain = [(one, other) for other in people for one in (*people, "player 2") if one != other]
    kinds = itertools.cycle(KINDS[:6]), itertools.cycle((*KINDS[:3], *KINDS[4:]))
    worn = [(f"{one}, {next(kinds[0])}", other) for _ in range(2) for one, other in plain if one != "player 2"]
    seen = [(one, f"{other}, {next(kinds[1])}") for _ in range(2) for one, other in plain if one != "player 2"]
    return list(dict.fromkeys([*plain, *worn, *seen]))


def fuse(person: tuple[Image, Face], template: tuple[Image, Face], skin: Skin, painter: Fusion) -> Image:
    """The first drawing of a person in a template."""
    reference = Reference("photo.jpg", *person, Quality(1, 1, 1, 1, 1, 1, 1))
    style = Style("made", 1, "template", "Made", picture=StylePicture(template[0], (template[1],)))
    request = PortraitRequest({1: Identity("someone", (reference,), {})}, style, 0, 1, skin=skin)
    return painter.paint_first(request, silent, 1)[0].image


@dataclass(frozen=True)
class Pair:
    """A person in a template: both names, the likeness on the template's skin and on their own, and the tone's distance."""

    person: str
    template: str
    before: float
    now: float
    tone: float | None

    def has(self, kind: str) -> bool:
        """Whether either wears it, or has such skin; `plain`: neither has anything."""
        return "," not in self.person + self.template if kind == "plain" else kind in self.person + self.template


def tone_distance(person: tuple[Image, Face], template: tuple[Image, Face], drawn: Image) -> float | None:
    """ΔE (CIE 1976) between the drawn face's skin and the person's in the template's light; None where one is not seen."""
    wanted, skin = own_tone([person]), measure_skin(drawn, template[1])
    change = None if wanted is None else plan_change(*template, wanted)
    if change is None or skin is None:
        return None
    return float(np.linalg.norm(to_lab(from_linear(skin[None, None]))[0, 0] - change.person))


def silent(done: int, total: int, doing: str, preview: Image | None = None) -> None:
    """Reports nothing."""


@pytest.mark.bench
def test_pairs_of_people_and_templates(engines: Engines, figure: Record) -> None:
    finder, painter = engines.finder(), engines.painter("fusion")
    assert isinstance(painter, Fusion)
    known, tiles, measured, refused = looks(finder), [], list[Pair](), []
    for one, other in pairs():
        if one not in known or other not in known:
            continue
        wanted = known[one.split(",")[0] if "fringe" in one else one][1].embeddings[finder.space]
        try:
            drawn = {skin: fuse(known[one], known[other], skin, painter) for skin in SKINS}
        except UserError as error:
            refused.append(f"{one} on {other}: {error.code}")
            continue
        seen = {skin: finder.faces(image) for skin, image in drawn.items()}
        before, now = (
            float(np.linalg.norm(seen[skin][0].embeddings[finder.space] - wanted)) if seen[skin] else 1.0
            for skin in SKINS
        )
        measured.append(Pair(one, other, before, now, tone_distance(known[one], known[other], drawn["person"])))
        tiles.append(sheet_row(known[one], known[other], drawn))
    OUT.mkdir(exist_ok=True)
    cv2.imwrite(str(OUT / "fusion_pairs.jpg"), cv2.cvtColor(np.vstack(tiles), cv2.COLOR_RGB2BGR))
    tones = [each for each in measured if each.tone is not None and each.tone > SAME_TONE]
    lines = [
        *(table_row(kind, [each for each in measured if each.has(kind)]) for kind in ("", "plain", *KINDS)),
        f"tone further than {SAME_TONE}: {[(each.person, each.template, each.tone) for each in tones]}",
        *(f"refused: {each}" for each in refused),
    ]
    (OUT / "fusion_pairs.md").write_text("\n".join(lines) + "\n")
    print("\n".join(lines))  # noqa: T201 -- figures to read
    figure("Pairs of people and templates that were drawn", len(measured), f"of {len(pairs())}", at_least=60)
    before, now = (
        statistics.median(values) for values in zip(*((each.before, each.now) for each in measured), strict=True)
    )
    figure("Fusion: distance on the person's skin, median", now, "", at_most=0.6)
    figure("Fusion: distance on the person's skin over that on the template's", now / before, "×", at_most=0.999)


def table_row(kind: str, pairs: Sequence[Pair]) -> str:
    """Count and medians of likeness, as a row of the table in docs/templates.md."""
    before, now = (
        statistics.median(values) for values in zip(*((each.before, each.now) for each in pairs), strict=True)
    )
    return f"| {kind or 'all'} | {len(pairs)} | {before:.3f} | {now:.3f} |"


def sheet_row(person: tuple[Image, Face], template: tuple[Image, Face], drawn: Mapping[Skin, Image]) -> Image:
    """A person, the template and both drawings, heads beside each other."""

    def head(image: Image, face: Face) -> Image:
        x, y = face.box.centre
        half = round(1.1 * max(face.box.width, face.box.height))
        padded = cv2.copyMakeBorder(image, half, half, half, half, cv2.BORDER_REPLICATE)
        cut = padded[round(y) : round(y) + 2 * half, round(x) : round(x) + 2 * half]
        return np.asarray(cv2.resize(cut, (240, 240)), np.uint8)

    return np.hstack([head(*person), head(*template), *(head(image, template[1]) for image in drawn.values())])


@pytest.mark.bench
def test_groups(engines: Engines, figure: Record) -> None:
    """Rows of 3 to 9 people, some behind glasses, under hats, or half behind their neighbours."""
    finder = engines.finder()
    lost: list[str] = []
    total = 0
    for count, seed in itertools.product(range(3, 10), range(3)):
        image, middles = made_group(finder, count, seed)
        faces, missed = template_faces.find_faces(image, finder)
        boxes = [*(face.box for face in faces), *missed]
        total += len(middles)
        lost += [
            f"{count} people, seed {seed}: at {x:.0f},{y:.0f}"
            for x, y in middles
            if not any(box.left < x < box.right and box.top < y < box.bottom for box in boxes)
        ]
        print(f"{count} people, seed {seed}: {len(faces)} found, {len(missed)} reported")  # noqa: T201 -- figures to read
    print(f"{total - len(lost)} of {total} found or reported", *lost, sep="\n")  # noqa: T201
    figure("Faces of groups that are lost", len(lost), f"of {total}", at_most=0)


def made_group(finder: FaceFinder, count: int, seed: int) -> tuple[Image, list[tuple[float, float]]]:
    """A row of people with faces of 60 to 130 pixels, some half behind the next one, and where the faces' middles are."""
    random = np.random.default_rng([count, seed])
    names = ["astronaut", *FRONT]
    canvas = np.full((900, 240 * count + 200, 3), random.integers(90, 190, 3), np.uint8)
    middles, edge = [], 60
    for _ in range(count):
        photo = selfies.people()[names[int(random.integers(len(names)))]]
        face = finder.faces(photo, embedded=0)[0]
        worn = ("", "", "glasses", "sunglasses", "hat")[int(random.integers(5))]
        image = photo if worn in ("", "hat") else dress(photo, face, worn)
        if worn == "hat":
            image = hat(photo, face)
        factor = float(random.uniform(60, 130)) / face.box.width
        small, box = selfies.resized(image, factor), face.box
        half = round(1.2 * box.width * factor)
        x, y = (round(each * factor) for each in box.centre)
        head = small[max(0, y - half) : y + round(1.3 * half), max(0, x - half) : x + half]
        top = int(random.integers(60, 300))
        left = edge
        canvas[top : top + head.shape[0], left : left + head.shape[1]] = head
        middles.append((left + min(x, half), top + min(y, half)))
        # The next one stands before a third of this face, or further away.
        edge = left + min(x, half) + round(random.uniform(0.2, 1.4) * box.width * factor)
    return canvas, middles


def hat(image: Image, face: Face) -> Image:
    """With a brimmed hat down to the brows."""
    out, box = image.copy(), face.box
    x, brow, width = box.centre[0], box.top + 0.2 * box.height, box.width
    cv2.ellipse(out, (round(x), round(brow)), (round(0.95 * width), round(0.2 * width)), 0, 0, 360, (60, 50, 40), -1)
    cv2.ellipse(
        out,
        (round(x), round(brow - 0.3 * width)),
        (round(0.6 * width), round(0.5 * width)),
        0,
        0,
        360,
        (60, 50, 40),
        -1,
    )
    return out
