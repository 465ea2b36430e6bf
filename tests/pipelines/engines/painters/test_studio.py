"""The studio: every backdrop with a real face, measured by the finder and not by the code that draws."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from pipelines import render
from pipelines.engines.painters import studio as painter
from pipelines.engines.painters.studio import Studio
from pipelines.folders import cut_outs
from portrait.arrays import Image, Mask, Size
from portrait.errors import Cancelled, OperatorError, UserError
from portrait.faces.likeness import distance
from portrait.faces.skin import skin_mask
from portrait.images.masks import composite, estimate_foreground
from portrait.photos.quality import measure_sharpness
from portrait.ports import FaceFinder, Matter
from portrait.studio import backdrops, preview
from portrait.types import Candidate, Face, Identity, PortraitRequest, Quality, Reference, Style
from tests.seams import delta_e

GOOD = Quality(1, 1, 1, 1, 1, 1, 1)
SMALL = Size(320, 400)


class CountingMatting:
    """Mattes that count how often they are made."""

    def __init__(self, matter: Matter) -> None:
        self.matter = matter
        self.version = matter.version
        self.calls = 0

    def matte(self, image: Image, face: Face) -> Mask:
        self.calls += 1
        return self.matter.matte(image, face)

    def silhouette(self, image: Image, face: Face, others: Sequence[Face] | None = None) -> Mask:
        return self.matter.silhouette(image, face)


@pytest.fixture(scope="module")
def counting(matter: Matter) -> CountingMatting:
    return CountingMatting(matter)


@pytest.fixture(scope="module")
def studio(counting: CountingMatting) -> Studio:
    return Studio(lambda _: counting)


@pytest.fixture
def selfie(astronaut: Image, astronaut_face: Face) -> Reference:
    return Reference("astronaut.png", astronaut, astronaut_face, GOOD)


def request_of(
    *selfies: Reference, backdrop: str = "studio-grey", count: int = 1, seed: int = 1, size: Size | None = None
) -> PortraitRequest:
    style = Style(backdrop, 1, "studio", backdrop, backdrop=backdrop)
    return PortraitRequest({1: Identity("someone", selfies, {})}, style, seed, count, size)


def progress(done: int, total: int, doing: str, preview: Image | None = None) -> None:
    assert 0 <= done <= total


def before_of(candidate: Candidate) -> Image:
    assert candidate.before is not None
    return candidate.before


@pytest.mark.parametrize("backdrop", backdrops.NAMES)
def test_every_backdrop_shows_the_person_by_the_rules(
    backdrop: str, studio: Studio, selfie: Reference, finder: FaceFinder
) -> None:
    image = studio.paint(request_of(selfie, backdrop=backdrop), progress)[0].image
    assert image.shape == (1280, 1024, 3)
    faces = finder.faces(image)
    assert len(faces) == 1
    face = faces[0]
    assert distance("dlib", face.embeddings["dlib"], selfie.face.embeddings["dlib"]) <= 0.35
    assert face.landmarks[:2, 1].mean() / 1280 == pytest.approx(0.42, abs=0.03)
    assert 0.26 < face.box.height / 1280 < 0.36
    assert abs(face.pose.roll) < 7
    # Likeness alone would be met by a blur or by the selfie pasted in.
    assert measure_sharpness(image, face) > 0.2


@pytest.fixture(scope="module")
def before_a_white_wall(matter: Matter, astronaut: Image, astronaut_face: Face) -> Reference:
    """The same person with a white wall shining through soft hair: what leaves a halo before a dark backdrop."""
    alpha = matter.matte(astronaut, astronaut_face)
    person = estimate_foreground(astronaut, alpha, 90)
    soft = np.asarray(cv2.GaussianBlur(alpha, (0, 0), 1.5), np.float32)
    return Reference("wall.png", composite(person, np.full_like(astronaut, 250), soft), astronaut_face, GOOD)


def test_nothing_of_the_old_room_is_left(studio: Studio, before_a_white_wall: Reference) -> None:
    dark = studio.paint(request_of(before_a_white_wall, backdrop="studio-black"), progress)[0].image
    light = studio.paint(request_of(before_a_white_wall, backdrop="studio-white"), progress)[0].image
    # With two backdrops the matte can be read off the results: their difference is what shines through.
    through = (light.astype(int) - dark).mean(axis=2) / 200
    corners = through[:120, :250], through[:120, -250:], through[300:500, :150], through[300:500, -150:]
    assert all(float(corner.min()) > 0.9 for corner in corners)
    # A halo is a line beside the hair that is lighter than the hair and the black backdrop are.
    edge = (through > 0.2) & (through < 0.9)
    edge[560:] = False
    hair = dark[260:480, 300:720][through[260:480, 300:720] < 0.05]
    assert edge.sum() > 3000
    assert np.percentile(dark[edge].mean(axis=1), 90) < np.percentile(hair.mean(axis=1), 50)


def evenly_lit(selfie: Reference) -> Reference:
    """The selfie with the light of its two cheeks made equal, so that the backdrop's alone decides."""
    grey = cv2.cvtColor(selfie.image, cv2.COLOR_RGB2GRAY)
    skin = skin_mask(selfie.image, selfie.face, neck=True) > 0.5
    nose = round(float(selfie.face.landmarks[2, 0]))
    left, right = (float(np.median(grey[:, part][skin[:, part]])) for part in (slice(0, nose), slice(nose, None)))
    across = np.clip((np.arange(selfie.image.shape[1]) - nose) / 20, -1, 1)[None, :, None]
    even = selfie.image * (1 - across * (right - left) / (right + left))
    return Reference("even.png", np.clip(even, 0, 255).astype(np.uint8), selfie.face, GOOD)


def before_a_hall(request: PortraitRequest, window: int, folder: Path, finder: FaceFinder) -> PortraitRequest:
    """The request with an operator's picture as its backdrop: a dark hall with a bright window at a column."""
    hall = np.full((600, 800, 3), 50, np.uint8)
    hall[100:400, window : window + 80] = 250
    cv2.imwrite(str(folder / "hall.png"), hall)
    style = replace(request.style, backdrop="", blur=0.5)
    return replace(request, style=render.attach_template(style, folder / "hall.png", finder))


@pytest.mark.parametrize("backdrop", ["studio-office", "studio-outdoors", 190, 530])
def test_skin_is_lit_from_where_the_backdrop_is_bright(
    backdrop: str | int, studio: Studio, selfie: Reference, finder: FaceFinder, tmp_path: Path
) -> None:
    request = request_of(evenly_lit(selfie), backdrop=str(backdrop))
    own = backdrop if isinstance(backdrop, int) else None
    request = request if own is None else before_a_hall(request, own, tmp_path, finder)
    candidate = studio.paint(request, progress)[0]
    before = before_of(candidate)
    face = finder.faces(before)[0]
    rise = (candidate.image.astype(int) - before).mean(axis=2)
    skin = skin_mask(before, face) > 0.8
    nose = round(float(face.landmarks[2, 0]))
    left, right = rise[:, :nose][skin[:, :nose]].mean(), rise[:, nose:][skin[:, nose:]].mean()
    room = before[:500].mean(axis=(0, 2))
    brighter = room[-150:].mean() - room[:150].mean()
    assert (right - left) * np.sign(brighter) > 1
    assert own is None or np.sign(brighter) == np.sign(own - 360), "one's own picture is never mirrored"
    assert delta_e(candidate.image, before).max() <= 6


def test_retouch_and_relight_touch_skin_and_nothing_else(studio: Studio, selfie: Reference, finder: FaceFinder) -> None:
    for backdrop in ("studio-grey", "studio-outdoors"):
        candidate = studio.paint(request_of(selfie, backdrop=backdrop), progress)[0]
        before = before_of(candidate)
        change = delta_e(candidate.image, before)
        face = finder.faces(before)[0]
        assert face.mesh is not None
        skin = skin_mask(before, face, neck=True)
        assert 0.3 < np.median(change[skin > 0.8]) < 3
        assert change.max() <= 6
        beyond = cv2.dilate((skin > 0).astype(np.uint8), np.ones((25, 25), np.uint8)) == 0
        assert change[beyond].max() == 0
        for x, y in face.mesh[[468, 473, 13, 14], :2]:
            assert change[round(float(y)), round(float(x))] == 0


def test_the_same_request_gives_the_same_pixels(matter: Matter, studio: Studio, selfie: Reference) -> None:
    request = request_of(selfie, backdrop="studio-warm", count=2, size=Size(320, 400))
    one, other = studio.paint(request, progress), Studio(lambda _: matter).paint(request, progress)
    assert all(np.array_equal(a.image, b.image) for a, b in zip(one, other, strict=True))
    (second,) = studio.paint(replace(request, only=1), progress)
    assert np.array_equal(second.image, one[1].image)
    assert studio.paint(replace(request, only=2), progress) == []


def test_candidates_differ(studio: Studio, selfie: Reference) -> None:
    drawn = studio.paint(request_of(selfie, count=4, size=Size(320, 400)), progress)
    assert len(drawn) == 4
    assert len({tuple(each.variation.items()) for each in drawn}) == 4
    assert len({each.image.tobytes() for each in drawn}) == 4
    assert {each.reference_names[1] for each in drawn} == {"astronaut.png"}


def test_a_choice_of_selfies_is_used(studio: Studio, selfie: Reference) -> None:
    other = Reference("other.png", np.ascontiguousarray(selfie.image), selfie.face, GOOD)
    drawn = studio.paint(request_of(selfie, other, size=Size(320, 400)), progress)
    assert [each.reference_names[1] for each in drawn] == ["astronaut.png", "other.png"]


def test_one_matte_serves_every_backdrop(studio: Studio, counting: CountingMatting, selfie: Reference) -> None:
    studio.paint(request_of(selfie), progress)
    calls = counting.calls
    for backdrop in backdrops.NAMES:
        studio.paint(request_of(selfie, backdrop=backdrop, seed=9), progress)
    assert counting.calls == calls


def test_the_same_name_for_another_picture_is_another_selfie(studio: Studio, selfie: Reference) -> None:
    plain = studio.paint(request_of(selfie, size=Size(320, 400)), progress)[0].image
    dim = Reference(selfie.name, (selfie.image * 0.8).astype(np.uint8), selfie.face, GOOD)
    assert not np.array_equal(studio.paint(request_of(dim, size=Size(320, 400)), progress)[0].image, plain)


@pytest.mark.parametrize("size", [Size(64, 64), Size(300, 200), Size(400, 720), Size(1600, 2000)])
def test_any_size_can_be_requested(size: Size, studio: Studio, selfie: Reference) -> None:
    drawn = studio.paint(request_of(selfie, size=size), progress)[0]
    assert drawn.image.shape == before_of(drawn).shape == (size.height, size.width, 3)


def cut(selfie: Reference, finder: FaceFinder, bottom: int) -> Reference:
    image = np.ascontiguousarray(selfie.image[:bottom])
    return Reference(f"cut{bottom}.png", image, finder.faces(image)[0], GOOD)


def test_a_preview_looks_like_the_portrait(studio: Studio, selfie: Reference, tmp_path: Path) -> None:
    cut_out = studio.cut_out([selfie], preview.SIZE)
    assert cut_out is not None
    cut_outs.write(cut_out, tmp_path / "cut_out.webp")
    shown = preview.paint_preview(cut_outs.read(tmp_path / "cut_out.webp"), preview.Scene("studio-grey"))
    assert shown is not None
    drawn = studio.paint(request_of(selfie, seed=0), progress)[0].image
    reduced = cv2.resize(drawn, (preview.SIZE.width, preview.SIZE.height), interpolation=cv2.INTER_AREA)
    assert float(np.abs(shown.astype(int) - reduced).mean()) < 6
    assert studio.cut_out([ended(selfie, 150)], preview.SIZE) is None


def test_a_photo_that_ends_in_the_face_is_refused_with_a_tip(studio: Studio, selfie: Reference) -> None:
    with pytest.raises(UserError) as caught:
        studio.paint(request_of(ended(selfie, 150)), progress)
    assert caught.value.code == "no_shoulders"
    assert "further away" in caught.value.message


def ended(selfie: Reference, bottom: int) -> Reference:
    """The selfie without what lies below a row; the face is still known."""
    return Reference(f"ended{bottom}.png", np.ascontiguousarray(selfie.image[:bottom]), selfie.face, GOOD)


def test_a_close_photo_gives_a_close_portrait(studio: Studio, selfie: Reference, finder: FaceFinder) -> None:
    drawn = studio.paint(request_of(ended(selfie, 200), size=SMALL), progress)[0]
    assert drawn.facts["composition"] in ("close", "very_close")
    assert studio.paint(request_of(selfie, size=SMALL), progress)[0].facts["composition"] == "head_and_shoulders"
    face = finder.faces(drawn.image, 0)[0]
    assert 0.4 < face.box.height / 400 < 0.8
    assert 0.35 < face.landmarks[:2, 1].mean() / 400 < 0.55


def test_selfies_that_show_more_come_first(studio: Studio, selfie: Reference) -> None:
    drawn = studio.paint(request_of(ended(selfie, 200), selfie, count=2, size=SMALL), progress)
    assert [each.reference_names[1] for each in drawn] == ["astronaut.png", "ended200.png"]


def test_a_bad_cut_out_is_used_only_where_there_is_no_other(
    studio: Studio, selfie: Reference, monkeypatch: pytest.MonkeyPatch
) -> None:
    def residue(image: Image, alpha: Mask, face: Face) -> float:
        return 0.9 if image.mean() < 100 else 0.0

    monkeypatch.setattr(painter, "measure_residue", residue)
    dim = Reference("dim.png", (selfie.image * 0.7).astype(np.uint8), selfie.face, GOOD)
    fair = Reference("fair.png", np.ascontiguousarray(selfie.image), selfie.face, GOOD)
    drawn = studio.paint(request_of(dim, fair, size=SMALL), progress)
    assert {each.reference_names[1] for each in drawn} == {"fair.png"}
    alone = studio.paint(request_of(dim, size=SMALL), progress)[0]
    assert alone.scores == {"residue": 0.9}


def test_a_style_gets_the_compositions_it_suits(studio: Studio, selfie: Reference, finder: FaceFinder) -> None:
    request = request_of(selfie, size=SMALL)
    half = replace(request, style=replace(request.style, compositions=("half_figure", "close")))
    wide = studio.paint(half, progress)[0]
    assert wide.facts["composition"] == "half_figure"
    assert finder.faces(wide.image, 0)[0].box.height / 400 < 0.24
    near = replace(half, people={1: Identity("someone", (ended(selfie, 200),), {})})
    assert studio.paint(near, progress)[0].facts["composition"] == "close"
    alone = replace(near, style=replace(near.style, compositions=("half_figure",)))
    with pytest.raises(UserError, match="half figure") as caught:
        studio.paint(alone, progress)
    assert caught.value.code == "composition_missing"


def test_recipes_of_version_0_1_0_are_drawn_as_they_were(studio: Studio, selfie: Reference) -> None:
    request = replace(request_of(ended(selfie, 200), selfie, size=SMALL), drawn={})
    drawn = studio.paint(request, progress)
    assert {each.reference_names[1] for each in drawn} == {"astronaut.png"}
    assert all("composition" not in each.facts and not each.scores for each in drawn)
    with pytest.raises(UserError, match="further away"):
        studio.paint(replace(request_of(ended(selfie, 200), size=SMALL), drawn={}), progress)


@pytest.mark.parametrize("paper", [(120, 135, 155), (225, 190, 195)], ids=["grey-blue", "pink"])
def test_paper_behind_a_selfie_does_not_colour_skin(
    paper: tuple[int, int, int], studio: Studio, matter: Matter, selfie: Reference
) -> None:
    alpha = matter.matte(selfie.image, selfie.face)
    behind = composite(selfie.image, np.full_like(selfie.image, paper), alpha)
    plain, coloured = (
        before_of(studio.paint(request_of(each, size=SMALL), progress)[0])
        for each in (selfie, Reference("paper.png", behind, selfie.face, GOOD))
    )
    cheek = slice(170, 190), slice(130, 190)
    assert np.median(delta_e(plain[cheek], coloured[cheek])) < 2


def test_a_photo_that_ends_early_is_framed_closer(studio: Studio, selfie: Reference, finder: FaceFinder) -> None:
    short = cut(selfie, finder, 270)
    image = studio.paint(request_of(short, backdrop="studio-white"), progress)[0].image
    # The suit reaches the lower edge: a hole would show the white paper there.
    assert (image[-12:, 400:620].min(axis=2) < 200).mean() > 0.95
    assert (
        studio.paint(request_of(short, selfie, backdrop="studio-white"), progress)[1].reference_names[1]
        == "astronaut.png"
    )


def test_the_error_for_an_unknown_backdrop_lists_the_known_ones(studio: Studio, selfie: Reference) -> None:
    with pytest.raises(OperatorError, match="studio-outdoors"):
        studio.paint(request_of(selfie, backdrop="beach"), progress)


def test_nobody_to_draw_is_an_error_of_the_request(studio: Studio) -> None:
    with pytest.raises(UserError):
        studio.paint(request_of(), progress)


def test_it_can_be_cancelled(studio: Studio, selfie: Reference) -> None:
    def stop(done: int, total: int, doing: str, preview: Image | None = None) -> None:
        raise Cancelled

    with pytest.raises(Cancelled):
        studio.paint(request_of(selfie), stop)


def test_backdrops_are_painted_anew_from_their_seed() -> None:
    size = Size(160, 200)
    for name in backdrops.NAMES:
        one = backdrops.paint(name, size, 5)
        assert one.shape == (200, 160, 3)
        assert np.array_equal(one, backdrops.paint(name, size, 5))
        assert not np.array_equal(one, backdrops.paint(name, size, 6))


def test_backdrops_have_the_tones_of_their_names() -> None:
    def middle(name: str, part: slice = slice(None)) -> Sequence[float]:
        return backdrops.paint(name, Size(320, 400), 2)[part].reshape(-1, 3).mean(axis=0).tolist()

    assert max(middle("studio-black")) < 60
    assert min(middle("studio-white")) > 215
    assert np.ptp(middle("studio-grey")) < 6
    red, _, blue = middle("studio-warm")
    assert red > blue + 25
    red, _, blue = middle("studio-cool")
    assert blue > red + 20
    assert np.mean(middle("studio-gradient", slice(300, 400))) > np.mean(middle("studio-gradient", slice(0, 100))) + 40
    red, green, blue = middle("studio-outdoors")
    assert green == max(red, green, blue)


@pytest.mark.parametrize("name", ["studio-office", "studio-outdoors"])
def test_light_comes_from_the_stated_side(name: str) -> None:
    image = backdrops.paint(name, Size(320, 400), 1).mean(axis=(0, 2))
    left, right = image[:100].mean(), image[-100:].mean()
    assert np.sign(right - left) == np.sign(backdrops.LIGHTS[name].side)


@pytest.mark.parametrize("name", ["studio-grey", "studio-black", "studio-white", "studio-gradient"])
def test_smooth_paper_shows_no_bands(name: str) -> None:
    image = backdrops.paint(name, Size(512, 640), 1)[..., 1].astype(int)
    # A band is a run of equal levels; grain breaks them up.
    runs = (np.diff(image, axis=1) == 0).reshape(640, 7, 73).all(axis=2)
    assert not runs.any()


@pytest.mark.parametrize("size", [Size(64, 64), Size(1600, 400), Size(200, 900)])
def test_no_part_of_a_backdrop_is_left_unpainted(size: Size) -> None:
    for name in ("studio-office", "studio-outdoors"):
        small = cv2.resize(backdrops.paint(name, size, 3), (16, 16), interpolation=cv2.INTER_AREA)
        assert small.max(axis=2).min() > 20


class RoughMatting(CountingMatting):
    """Cuts people out by their silhouette, which takes no time."""

    def matte(self, image: Image, face: Face) -> Mask:
        self.calls += 1
        return self.matter.silhouette(image, face)


def test_cut_outs_are_dropped_when_somebody_was_erased(matter: Matter, selfie: Reference) -> None:
    rough = RoughMatting(matter)
    studio, small = Studio(lambda _: rough), Size(160, 200)
    for backdrop in ("studio-grey", "studio-white"):
        studio.paint(request_of(selfie, backdrop=backdrop, size=small), progress)
    assert rough.calls == 1, "one matte serves every backdrop"
    studio.forget()
    studio.paint(request_of(selfie, size=small), progress)
    assert rough.calls == 2


def test_what_takes_much_memory_is_not_cached(
    matter: Matter, selfie: Reference, monkeypatch: pytest.MonkeyPatch
) -> None:
    rough, small = RoughMatting(matter), Size(160, 200)
    studio = Studio(lambda _: rough)
    cached = studio.cut_out([selfie], small)
    assert cached is not None
    assert studio.cut_out([selfie], small) is cached
    monkeypatch.setattr(painter, "CACHED_BYTES", cached.nbytes - 1)
    studio = Studio(lambda _: rough)
    assert studio.cut_out([selfie], small) is not studio.cut_out([selfie], small)


def test_a_subject_that_is_cached_is_drawn_before_another_backdrop(
    matter: Matter, selfie: Reference, monkeypatch: pytest.MonkeyPatch
) -> None:
    studio, small = Studio(lambda _: RoughMatting(matter)), Size(160, 200)
    framed: list[Size] = []
    frame = painter.frame_person
    monkeypatch.setattr(
        painter, "frame_person", lambda cut, framing, size: (framed.append(size), frame(cut, framing, size))[1]
    )
    for backdrop in ("studio-grey", "studio-white"):
        studio.paint(request_of(selfie, backdrop=backdrop, size=small), progress)
    assert framed == [small]
