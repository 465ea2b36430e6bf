"""Both guards where something is drawn: pictures that come with a request, candidates, what is refined, what is delivered."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from pipelines.guards.drawings import DrawingGuards, pictures_of
from pipelines.guards.pictures import BLOCKED, NOT_DELIVERED, PictureGuard
from pipelines.prepare import Overrides, Prepare
from pipelines.render import Render
from pipelines.settings import PrepareSettings
from portrait.arrays import Image
from portrait.errors import OperatorError, UserError
from portrait.generation.edits import Edit
from portrait.generation.options import ControlInput, GenerationOptions, ImagePrompt, PromptSpec
from portrait.photos.reasons import Thresholds
from portrait.ports import Guard, Progress
from portrait.types import Candidate, Face, Portrait, PortraitRequest, Refinement, Style, StyleKind, StylePicture
from tests import fakes
from tests.fakes import FakeFinder, FakeRestorer, RecordingProgress, picture, save
from tests.guard_network import Dark, Says
from tests.pipelines.test_early_portraits import Streams, words
from tests.pipelines.test_render import Paints, make_request

SHUT = PictureGuard(Says(allowed=False), closed=False)
ONLY_DARK = PictureGuard(Dark(), closed=False)


class Whitens:
    """A refiner after which nothing is dark."""

    def refine(self, image: Image, faces: Sequence[Face]) -> Image:
        return np.maximum(image, (40, 250, 250)).astype(np.uint8)


def render(images: Sequence[Image], pictures: PictureGuard | None, checker: Guard | None = None) -> Render:
    painter = Paints(images)
    modes: Sequence[str] = ("studio", "template", "idphoto", "inpaint")
    return Render(dict.fromkeys(modes, painter), FakeFinder(), {"whiten": Whitens()}, checker, pictures=pictures)


def template(image: Image) -> Style:
    return Style("made", 1, "template", "Made", picture=StylePicture(image, (fakes.face(image),)))


def code_of(flow: Render, request: PortraitRequest, reproduce: bool = False) -> tuple[str, str]:
    with pytest.raises(UserError) as caught:
        flow.reproduce(request, 0, RecordingProgress()) if reproduce else flow(request, RecordingProgress())
    return caught.value.code, caught.value.message


@pytest.mark.parametrize("kind", ["studio", "idphoto"])
@pytest.mark.parametrize("reproduce", [False, True])
def test_nothing_that_is_drawn_without_a_model_is_delivered_past_it(kind: StyleKind, reproduce: bool) -> None:
    style = Style("plain", 1, kind, "Plain")
    flow = render([picture(1, 1)], SHUT)
    assert code_of(flow, make_request(style=style), reproduce) == ("blocked", NOT_DELIVERED)
    assert render([picture(1, 1)], None)(make_request(style=style), RecordingProgress())


@pytest.mark.parametrize("reproduce", [False, True])
def test_a_template_that_may_not_be_used_is_refused_before_it_is_drawn(reproduce: bool) -> None:
    class Never(Paints):
        def paint(self, request: PortraitRequest, progress: Progress) -> list[Candidate]:
            raise AssertionError("drawn")

    bright, flow = np.full((400, 400, 3), 250, np.uint8), Render({"template": Never([])}, FakeFinder())
    guarded = replace(flow, pictures=ONLY_DARK)
    assert code_of(guarded, make_request(style=template(bright)), reproduce) == ("blocked", BLOCKED)
    drawn = replace(guarded, painters={"template": Paints([picture(1, 1)])})
    assert drawn(make_request(style=template(picture(1, 1))), RecordingProgress())


def test_every_picture_that_a_request_brings_is_looked_at() -> None:
    images = [np.full((80, 80, 3), level, np.uint8) for level in range(8)]
    edit = Edit("instruct", images[0], "hash", 1.0, "a hat", pictures=(images[1], images[2]))
    given = GenerationOptions(control_inputs=(ControlInput("pose", images[3]),), look=ImagePrompt(images[4]))
    style = replace(
        template(images[5]), backdrop_picture=images[6], prompt_spec=PromptSpec("{who}", look_picture=images[7])
    )
    request = replace(make_request(style=style), edit=edit, options=given)
    found = pictures_of(request)
    assert sorted(int(each[0, 0, 0]) for each in found) == list(range(8))
    assert pictures_of(make_request()) == []
    guard = Says()
    DrawingGuards(PictureGuard(guard, closed=True)).check_request(request)
    assert len(guard.seen) == 8
    for level in range(8):
        with pytest.raises(UserError, match="may not be used here"):
            DrawingGuards(PictureGuard(Except(level), closed=True)).check_request(request)


class Except:
    """A guard that keeps one level of grey back."""

    def __init__(self, level: int) -> None:
        self.level = level

    def allows(self, image: Image) -> bool:
        return int(image[0, 0, 0]) != self.level


def test_candidates_that_may_not_be_delivered_are_left_out_and_others_take_their_place() -> None:
    bright = picture(1, 2)
    bright[..., 1:] = 240
    flow = render([bright, picture(2, 1)], ONLY_DARK)
    (portrait,) = flow(make_request(), RecordingProgress())
    assert portrait.recipe["candidate"] == 1, "the first is more alike"
    generated = replace(make_request(style=template(picture(1, 1))), options=GenerationOptions())
    assert [each.recipe["candidate"] for each in flow(generated, RecordingProgress())] == [1]


def test_what_is_refined_is_looked_at_as_it_is_delivered() -> None:
    request = replace(make_request(), refiners=(Refinement("whiten"),))
    assert render([picture(1, 1)], ONLY_DARK)(make_request(), RecordingProgress())
    assert code_of(render([picture(1, 1)], ONLY_DARK), request) == ("blocked", NOT_DELIVERED)
    assert code_of(render([picture(1, 1)], ONLY_DARK), request, reproduce=True) == ("blocked", NOT_DELIVERED)


def test_nothing_is_handed_out_early_that_may_not_be_delivered() -> None:
    class Second:
        """Keeps the second picture back that it has not seen yet."""

        def __init__(self) -> None:
            self.seen: list[int] = []

        def allows(self, image: Image) -> bool:
            key = int(image[0, 0, 1]) * 1000 + int(image[30, 30, 1])
            self.seen += [] if key in self.seen else [key]
            return self.seen.index(key) != 1

    delivered: list[Portrait] = []
    flow = Render({"text": Streams()}, FakeFinder(), pictures=PictureGuard(Second(), closed=False))
    drawn = flow(words(2, 3), RecordingProgress(), delivered.append)
    assert [each.recipe["candidate"] for each in delivered] == [0, 2]
    assert {id(each) for each in drawn} == {id(each) for each in delivered}
    shut = Render({"text": Streams()}, FakeFinder(), pictures=SHUT)
    assert code_of(shut, words(2, 3)) == ("blocked", NOT_DELIVERED)


def test_the_safety_checker_still_looks_at_drawings_and_photos_alone() -> None:
    checker, studio = Says(allowed=False), make_request()
    flow = render([picture(1, 1)], PictureGuard(Says(), closed=False), checker)
    assert flow(studio, RecordingProgress())
    assert checker.seen == []
    generated = replace(make_request(style=template(picture(1, 1))), options=GenerationOptions())
    assert code_of(flow, generated)[0] == "blocked"
    assert code_of(flow, generated)[1].startswith("A photo of this person")


def test_a_guard_that_is_missing_stops_drawings_before_they_begin_or_lets_them_pass() -> None:
    closed = PictureGuard(None, closed=True, lacks="It is not here.")
    for request in (make_request(), words(2, 1)):
        with pytest.raises(OperatorError, match="It is not here") as caught:
            Render({"studio": Paints([]), "text": Paints([])}, FakeFinder(), pictures=closed)(
                request, RecordingProgress()
            )
        assert caught.value.code == "guard_missing"
    assert render([picture(1, 1)], PictureGuard(None, closed=False))(make_request(), RecordingProgress())
    failing = PictureGuard(Says(error=RuntimeError("CUDA")), closed=True)
    with pytest.raises(OperatorError, match=r"RuntimeError: CUDA"):
        render([picture(1, 1)], failing)(make_request(), RecordingProgress())


def test_photos_that_may_not_be_used_are_refused_by_themselves(tmp_path: Path) -> None:
    photos = [save(tmp_path / f"{number}.png", picture(1, number)) for number in range(3)]
    photos.append(save(tmp_path / "bright.png", np.full((400, 400, 3), 250, np.uint8)))
    flow = Prepare(FakeFinder(), FakeRestorer(), None, PrepareSettings(), Thresholds(full_size=100), guard=ONLY_DARK)
    judged = flow(photos, progress=RecordingProgress(), overrides=Overrides()).photos
    assert [photo.verdict for photo in judged] == ["use", "use", "use", "refuse"]
    assert [reason.code for reason in judged[3].reasons] == ["blocked"]
    assert judged[3].selfie is None, "it is shown in no report"
    with pytest.raises(UserError, match="may not be used here") as caught:
        replace(flow, guard=SHUT)(photos, Overrides(), RecordingProgress())
    assert caught.value.code == "no_usable_photos"
    with pytest.raises(UserError, match="may not be used here") as caught:
        flow(photos, Overrides(include=[3]), RecordingProgress())
    assert caught.value.code == "cannot_include"
    with pytest.raises(OperatorError, match="guard"):
        replace(flow, guard=PictureGuard(None, closed=True))(photos, Overrides(), RecordingProgress())
