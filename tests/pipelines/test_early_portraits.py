"""Portraits that are delivered before all are drawn: finished as they come, replaced by better ones, the same in the end."""

from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np

from pipelines.engines.painters.fusion import Fusion
from pipelines.render import Render
from portrait.arrays import Image
from portrait.ports import Progress, StreamingPainter
from portrait.types import (
    Candidate,
    Face,
    Identity,
    Portrait,
    PortraitRequest,
    Quality,
    Reference,
    Refinement,
    Style,
    StylePicture,
)
from tests.fakes import FakeFinder, RecordingProgress, picture
from tests.pipelines.test_render import Paints, identity, make_request

WORDS = Style("made-of-words", 1, "text", "Words")


class Streams:
    """Gives pictures one by one: of the person for even seeds, of somebody else for odd ones."""

    def __init__(self) -> None:
        self.drawn: list[int] = []

    def paint(self, request: PortraitRequest, progress: Progress) -> list[Candidate]:
        return list(self.draw_each(request, progress))

    def draw_each(self, request: PortraitRequest, progress: Progress) -> Iterator[Candidate]:
        for number in range(request.count):
            seed = request.seed + number
            self.drawn.append(seed)
            progress(number, request.count, "Drawing")
            yield Candidate(picture(1 if seed % 2 == 0 else 3, seed), {1: "a.jpg"}, {"seed": float(seed)})


class Brightens:
    """A refiner that makes a picture brighter."""

    def refine(self, image: Image, faces: Sequence[Face]) -> Image:
        return np.asarray(np.minimum(image.astype(int) + 1, 255), np.uint8)


def words(seed: int, count: int) -> PortraitRequest:
    return PortraitRequest({1: identity(1)}, WORDS, seed, count)


def test_each_is_delivered_before_the_next_is_drawn_and_the_result_is_as_without() -> None:
    painter, delivered = Streams(), []
    flow = Render({"text": painter}, FakeFinder())

    def deliver(portrait: Portrait) -> None:
        delivered.append((portrait, list(painter.drawn)))

    drawn = flow(words(2, 3), RecordingProgress(), deliver)
    assert [seeds for _, seeds in delivered] == [[2], [2, 3], [2, 3, 4]]
    assert {id(each) for each in drawn} == {id(portrait) for portrait, _ in delivered}
    plain = flow(words(2, 3), RecordingProgress())
    assert [each.recipe for each in drawn] == [each.recipe for each in plain]
    assert all(np.array_equal(one.image, other.image) for one, other in zip(drawn, plain, strict=True))


def test_those_that_are_not_alike_are_replaced_in_the_end() -> None:
    delivered: list[Portrait] = []
    drawn = Render({"text": Streams()}, FakeFinder(), redraws=2)(words(1, 2), RecordingProgress(), delivered.append)
    assert [each.recipe["seed"] for each in delivered] == [1, 1]
    assert {each.recipe["seed"] for each in drawn} == {1, 4}
    assert sum(any(each is one for one in delivered) for each in drawn) == 1, "the other was drawn again"


def test_what_is_delivered_is_refined_once() -> None:
    brighter = replace(words(2, 3), refiners=(Refinement("bright"),))
    delivered: list[Portrait] = []
    flow = Render({"text": Streams()}, FakeFinder(), {"bright": Brightens()})
    drawn = flow(brighter, RecordingProgress(), delivered.append)
    plain = Render({"text": Streams()}, FakeFinder())(words(2, 3), RecordingProgress())
    assert {id(each) for each in drawn} == {id(each) for each in delivered}
    by_candidate = {each.recipe["candidate"]: each.image for each in drawn}
    assert all(int(by_candidate[each.recipe["candidate"]][0, 0, 0]) == int(each.image[0, 0, 0]) + 1 for each in plain)


def test_where_there_is_a_choice_nothing_is_delivered_before_it_is_made() -> None:
    delivered: list[Portrait] = []
    flow = Render({"studio": Paints([picture(2, 1), picture(1, 2), picture(1, 4)])}, FakeFinder())
    assert len(flow(make_request(2), RecordingProgress(), delivered.append)) == 2
    Render({"text": Streams()}, FakeFinder())(words(2, 1), RecordingProgress(), delivered.append)
    assert delivered == []
    flow(make_request(3), RecordingProgress(), delivered.append)
    assert len(delivered) == 3, "a painter that gives all at once: each as soon as it is measured"


def test_progress_says_how_far_the_drawing_is_while_something_is_measured_and_refined() -> None:
    heard: list[tuple[float, str]] = []

    def progress(done: int, total: int, doing: str, preview: Image | None = None) -> None:
        heard.append((done / total, doing))

    flow = Render({"text": Streams()}, FakeFinder(), {"bright": Brightens()})
    flow(replace(words(2, 4), refiners=(Refinement("bright"),)), progress, lambda _: None)
    assert [done for done, _ in heard] == sorted(done for done, _ in heard)
    assert {doing for _, doing in heard} == {"Drawing"}
    assert len(heard) == 12, "each is drawn, measured and refined"


def test_a_person_in_a_picture_is_given_before_the_next_is_drawn(astronaut: Image, astronaut_face: Face) -> None:
    painter, told = Fusion(), list[int]()
    assert isinstance(painter, StreamingPainter)

    def progress(done: int, total: int, doing: str, preview: Image | None = None) -> None:
        told.append(done)

    photo = Reference("a.jpg", astronaut, astronaut_face, Quality(1, 1, 1, 1, 1, 1, 1))
    style = Style("made", 1, "template", "Made", picture=StylePicture(astronaut, (astronaut_face,)))
    request = PortraitRequest({1: Identity("ann", (photo,), {})}, style, 3, 3, skin="template")
    seen, one_by_one = [], []
    for candidate in painter.draw_each(request, progress):
        one_by_one.append(candidate)
        seen.append(told[-1])
    assert seen == [0, 1, 2]
    at_once = painter.paint(request, RecordingProgress())
    assert [each.variation for each in one_by_one] == [each.variation for each in at_once]
    assert all(np.array_equal(one.image, other.image) for one, other in zip(one_by_one, at_once, strict=True))
