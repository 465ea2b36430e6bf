from collections.abc import Sequence
from dataclasses import replace
from typing import Any, cast

import numpy as np
import pytest

from pipelines import build
from pipelines.engines import Engines
from pipelines.engines.upscalers.lanczos import Lanczos
from pipelines.refine import Refine, RestoreFaces, Upscale, blend, steps_of
from pipelines.render import Render
from portrait.arrays import Image
from portrait.errors import OperatorError, UserError
from portrait.ports import Refiner
from portrait.types import Face, Identity, PortraitRequest, Refinement
from tests.fakes import FakeFinder, FakeRestorer, RecordingProgress, picture
from tests.pipelines.test_render import STYLE, Paints, make_request

SKIN, TONE, TWICE = Refinement("skin", 0.5), Refinement("tone", 1.0), Refinement("upscale2", 1.0)


class Adds:
    """Adds a number, and remembers what faces it was shown."""

    def __init__(self, number: int) -> None:
        self.number = number
        self.faces: list[Sequence[Face]] = []

    def refine(self, image: Image, faces: Sequence[Face]) -> Image:
        self.faces.append(faces)
        return np.clip(image.astype(int) + self.number, 0, 255).astype(np.uint8)


def flow(**refiners: Refiner) -> Refine:
    return Refine(refiners, FakeFinder())


def wanting(style: Sequence[Refinement] = (), own: Sequence[Refinement] = (), count: int = 1) -> PortraitRequest:
    return replace(make_request(count, style=replace(STYLE, refiners=tuple(style))), refiners=tuple(own))


def test_steps_are_done_in_order_and_each_is_blended_with_what_it_was_given() -> None:
    image = np.full((40, 40, 3), 100, np.uint8)

    class Doubles:
        def refine(self, image: Image, faces: Sequence[Face]) -> Image:
            return image * 2

    both = {"adds": Adds(20), "doubles": Doubles()}
    one = flow(**both)(image, [Refinement("adds", 0.5), Refinement("doubles", 0.25)], RecordingProgress())
    two = flow(**both)(image, [Refinement("doubles", 0.25), Refinement("adds", 0.5)], RecordingProgress())
    assert one[0, 0, 0] == 138  # (100 + 10) · 1.25, rounded up from its half
    assert two[0, 0, 0] == 135


def test_without_steps_the_picture_is_the_very_one_and_no_face_is_looked_for() -> None:
    finder = FakeFinder()
    image = picture(1, 1)
    assert Refine({}, finder)(image, (), RecordingProgress()) is image
    assert finder.image_sizes == []


def test_faces_grow_with_the_picture() -> None:
    adds = Adds(1)
    image = picture(1, 1)
    out = flow(twice=Upscale(Lanczos(), 2), adds=adds)(
        image, [Refinement("twice"), Refinement("adds")], RecordingProgress()
    )
    assert out.shape == (800, 800, 3)
    (face,) = adds.faces[0]
    assert face.box.width == pytest.approx(240, abs=0.1)
    assert face.landmarks[2] == pytest.approx((399.5 + 0.5, 423.5 + 0.5), abs=1.5)


def test_an_enlarged_picture_is_blended_with_an_interpolated_one() -> None:
    image = picture(1, 1, side=60)

    class White:
        def upscale(self, image: Image, factor: int) -> Image:
            return np.full((image.shape[0] * factor, image.shape[1] * factor, 3), 255, np.uint8)

    plain = Lanczos().upscale(image, 2)
    out = flow(upscale2=Upscale(White(), 2))(image, [Refinement("upscale2", 0.25)], RecordingProgress())
    assert np.abs(out - (plain * 0.75 + 255 * 0.25)).max() <= 1


def test_blending_leaves_the_ends_to_the_bit() -> None:
    before, after = picture(1, 1), picture(1, 2)
    assert (blend(before, after, 1.0) == after).all()
    assert (blend(before, after, 0.0) == before).all()
    assert (blend(after, after, 0.3) == after).all()


def test_what_would_be_too_large_is_refused_before_it_is_drawn() -> None:
    with pytest.raises(UserError, match="longer than 8000") as caught:
        Upscale(Lanczos(), 4).refine(np.zeros((100, 2001, 3), np.uint8), ())
    assert caught.value.code == "bad_size"


def test_a_request_changes_leaves_out_and_adds_to_the_steps_of_its_style() -> None:
    assert steps_of(wanting([SKIN, TONE])) == (SKIN, TONE)
    assert steps_of(wanting([SKIN, TONE], [Refinement("skin", 0.9)])) == (Refinement("skin", 0.9), TONE)
    assert steps_of(wanting([SKIN, TONE], [Refinement("skin", 0.0)])) == (TONE,)
    assert steps_of(wanting([TWICE, SKIN], [TONE])) == (SKIN, TONE, TWICE), "enlarging comes last"


def test_portraits_are_measured_after_refining_and_their_recipe_names_the_steps() -> None:
    class Someone:
        """Makes everybody person 2."""

        def refine(self, image: Image, faces: Sequence[Face]) -> Image:
            return picture(2, 1)

    painter = Paints([picture(1, n) for n in range(3)])
    render = Render({"studio": painter}, FakeFinder(), {"skin": Someone()})
    (portrait,) = render(wanting([Refinement("skin", 1.0)]), RecordingProgress())
    assert portrait.likeness[1].distance == pytest.approx(2**0.5)
    assert portrait.recipe["refiners"] == [{"name": "skin", "strength": 1.0}]
    again = render.reproduce(
        wanting([Refinement("skin", 1.0)]), int(str(portrait.recipe["candidate"])), RecordingProgress()
    )
    assert (again.image == portrait.image).all()


def test_a_step_of_version_0_1_0_works_as_it_did_then() -> None:
    class Changed(Adds):
        """Adds one where it added two."""

        def refine_as_before(self, image: Image, faces: Sequence[Face]) -> Image:
            return Adds(2).refine(image, faces)

    class Restorer(FakeRestorer):
        """Restores nothing where it restored."""

        def restore_as_before(self, image: Image, face: Face) -> Image:
            return image

    image, old = picture(1, 1), replace(TONE, method=1)
    run = flow(tone=Changed(1), classic=RestoreFaces(Restorer()), skin=RestoreFaces(FakeRestorer()))
    assert (run(image, [TONE], RecordingProgress()) == image + 1).all()
    assert (run(image, [old], RecordingProgress()) == image + 2).all()
    classic = Refinement("classic", method=1)
    assert (run(image, [classic], RecordingProgress()) == image).all()
    assert not (run(image, [replace(classic, name="skin")], RecordingProgress()) == image).all(), "it never changed"
    painter = Paints([picture(1, n) for n in range(3)])
    for step, said in ((TONE, 2), (old, None)):
        (portrait,) = Render({"studio": painter}, FakeFinder(), {"tone": Changed(1)})(
            wanting([step]), RecordingProgress()
        )
        assert portrait.recipe.get("refining") == said


def test_only_what_is_delivered_is_refined() -> None:
    adds = Adds(1)
    painter = Paints([picture(1, n) for n in range(6)])
    portraits = Render({"studio": painter}, FakeFinder(), {"skin": adds})(wanting([SKIN], count=2), RecordingProgress())
    assert len(portraits) == len(adds.faces) == 2


def test_without_refiners_nothing_is_other_than_it_was() -> None:
    painter = Paints([picture(1, n) for n in range(3)])
    (plain,) = Render({"studio": painter}, FakeFinder())(make_request(), RecordingProgress())
    assert any(plain.image is image for image in painter.images)
    assert "refiners" not in plain.recipe
    (off,) = Render({"studio": painter}, FakeFinder())(wanting([SKIN], [Refinement("skin", 0.0)]), RecordingProgress())
    assert (off.image == plain.image).all()


def test_a_restorer_of_faces_and_the_upscaler_are_refiners_by_name(engines: Engines) -> None:
    steps = [Refinement(name) for name in ("skin", "tone", "classic", "upscale2", "upscale4")]
    made = build.refiners(engines, steps)
    assert isinstance(made["classic"], RestoreFaces)
    assert isinstance(made["upscale4"], Upscale)
    with pytest.raises(OperatorError, match="fuse, skin, swap, tone, classic, restoreformer, upscale2") as caught:
        build.refiner(engines, "nobody")
    assert caught.value.code == "unknown_engine"


def test_each_face_is_restored() -> None:
    faces = [*FakeFinder().faces(picture(1, 1)), *FakeFinder().faces(picture(2, 2))]
    image = picture(1, 1)
    out = RestoreFaces(FakeRestorer()).refine(image, faces)
    assert (out[..., 1].astype(int) - image[..., 1] == 6).all()


def test_embedded_refiners_change_a_real_face_and_little_else(
    engines: Engines, astronaut: Image, astronaut_face: Face
) -> None:
    skin, tone = (cast(Refiner, build.refiner(engines, name)) for name in ("skin", "tone"))
    change = np.abs(skin.refine(astronaut, [astronaut_face]).astype(int) - astronaut).max(axis=2)
    assert change.max() > 3
    box = astronaut_face.box
    assert change[int(box.bottom) + 30 :].max() == 0
    dark = (astronaut * 0.4).astype(np.uint8)
    lit = tone.refine(dark, [astronaut_face])
    assert lit.mean() > 1.3 * dark.mean()
    assert tone.refine(dark, []) is dark


class Becomes:
    """Draws somebody into a portrait, or refuses to; see `portrait.ports.PersonRefiner`."""

    def __init__(self, person: int, model: str = "a") -> None:
        self.person, self.model = person, model

    def facts(self) -> dict[str, object]:
        return {"model": self.model}

    def refine_person(self, image: Image, face: Face, person: Identity) -> Image:
        if not self.person:
            raise UserError("template_profile", "It is turned away.")
        return picture(self.person, 1)


@pytest.mark.parametrize(
    ("drawn", "becomes", "told"),
    [
        (2, 1, {"before": 1.4142, "after": 0.0, "kept": True}),
        (1, 2, {"before": 0.0, "after": 1.4142, "kept": False}),
        (1, 1, {"before": 0.0, "after": 0.0, "kept": False}),
        (2, 0, {"left": "template_profile"}),
    ],
)
def test_faces_that_are_drawn_in_are_kept_where_they_are_more_like_the_person(
    drawn: int, becomes: int, told: dict[str, object]
) -> None:
    flow = Render({"studio": Paints([picture(drawn, 9)])}, FakeFinder(), {"fuse": Becomes(becomes)})
    request = wanting([Refinement("fuse")])
    (portrait,) = flow(request, RecordingProgress())
    facts: Any = portrait.recipe["drawn"]
    assert facts["refined"] == {"fuse": {"people": {"1": told}, "models": {"model": "a"}}}
    assert (portrait.image == picture(becomes if told.get("kept") else drawn, 1 if told.get("kept") else 9)).all()
    measures = {f"fuse_{name}": told[name] for name in ("before", "after") if name in told}
    assert {name: value for name, value in portrait.scores.items() if name.startswith("fuse")} == measures
    again = flow.reproduce(request, 0, RecordingProgress(), facts)
    assert (again.image == portrait.image).all()
    other = Render({"studio": Paints([picture(drawn, 9)])}, FakeFinder(), {"fuse": Becomes(becomes, "b")})
    with pytest.raises(OperatorError) as caught:
        other.reproduce(request, 0, RecordingProgress(), facts)
    assert caught.value.code == "model_differs"
