from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from pipelines.engines.painters import numbers_drawn
from pipelines.render import Render, choose, recipe
from portrait.arrays import Image, Size
from portrait.errors import UserError
from portrait.faces.likeness import distance
from portrait.generation.options import GenerationOptions
from portrait.ports import Progress
from portrait.types import Candidate, Face, Identity, PortraitRequest, Quality, Reference, Style, StylePicture
from tests import fakes
from tests.fakes import FakeFinder, RecordingProgress, picture

GOOD = Quality(1, 1, 1, 1, 1, 1, 1)
STYLE = Style("studio-grey", 1, "studio", "Grey", backdrop="studio-grey")


def identity(person: int) -> Identity:
    image = picture(person, person)
    face = fakes.face(image, person)
    return Identity(f"p{person}", (Reference("a.jpg", image, face, GOOD),), face.embeddings)


def make_request(
    count: int = 1, size: Size | None = None, people: dict[int, Identity] | None = None, style: Style = STYLE
) -> PortraitRequest:
    return PortraitRequest({1: identity(1)} if people is None else people, style, 7, count, size)


class Paints:
    """Gives the pictures it was made with."""

    def __init__(self, images: Sequence[Image]) -> None:
        self.images = images

    def paint(self, request: PortraitRequest, progress: Progress) -> list[Candidate]:
        drawn = numbers_drawn(request, len(self.images))
        return [Candidate(self.images[number], {1: "a.jpg"}, {"number": float(number)}) for number in drawn]


def render(images: Sequence[Image]) -> Render:
    painter = Paints(images)
    return Render({"studio": painter, "template": painter}, FakeFinder())


def test_the_most_alike_come_first() -> None:
    flow = render([picture(2, 1), picture(1, 2), picture(0, 3), picture(1, 4)])
    portraits = flow(make_request(3), RecordingProgress())
    assert [each.recipe["candidate"] for each in portraits[:2]] in ([1, 3], [3, 1])
    assert portraits[0].likeness[1].distance == pytest.approx(0)
    assert portraits[2].likeness[1].distance == pytest.approx(2**0.5)
    totals = [each.scores["total"] for each in portraits]
    assert totals == sorted(totals, reverse=True)


def test_shut_eyes_lose_to_open_ones() -> None:
    blinking = picture(1, 1)

    class Blinks(FakeFinder):
        def faces(self, image: Image, embedded: int = 1) -> list:
            shut = np.zeros((478, 3), np.float32) if np.array_equal(image, blinking) else None
            return [replace(each, mesh=shut) for each in super().faces(image, embedded)]

    flow = Render({"studio": Paints([blinking, picture(1, 2)])}, Blinks())
    first, second = flow(make_request(2), RecordingProgress())
    assert first.recipe["candidate"] == 1
    assert first.scores["total"] > second.scores["total"] + 0.1


def test_a_drawing_without_a_face_is_the_last_resort_and_says_so() -> None:
    flow = render([picture(0, 1)])
    (portrait,) = flow(make_request(), RecordingProgress())
    assert portrait.likeness == {}
    assert portrait.scores["faces"] == 0
    assert portrait.scores["total"] < 0.1


def test_likeness_is_measured_on_the_drawing_and_not_taken_from_the_painter() -> None:
    flow = render([picture(3, 1)])
    (portrait,) = flow(make_request(), RecordingProgress())
    expected = distance("dlib", fakes.face(picture(3, 1), 3).embeddings["dlib"], identity(1).mean_embeddings["dlib"])
    assert portrait.likeness[1].distance == pytest.approx(expected)


@pytest.mark.parametrize(
    ("request_", "code"),
    [
        (make_request(size=Size(63, 100)), "bad_size"),
        (make_request(size=Size(100, 9000)), "bad_size"),
        (make_request(count=0), "bad_count"),
        (make_request(count=99), "bad_count"),
        (make_request(people={}), "nobody"),
        (make_request(people={1: identity(1), 2: identity(2)}), "template_face_missing"),
    ],
)
def test_what_nobody_could_draw_is_refused_before_drawing(request_: PortraitRequest, code: str) -> None:
    with pytest.raises(UserError) as caught:
        render([])(request_, RecordingProgress())
    assert caught.value.code == code


def test_a_recipe_draws_the_same_candidate_again() -> None:
    images = [picture(1, n) for n in range(4)]
    portrait = render(images)(make_request(1), RecordingProgress())[0]
    number = portrait.recipe["candidate"]
    assert isinstance(number, int)
    again = render(images).reproduce(make_request(1), number, RecordingProgress())
    assert (again.image == portrait.image).all()
    with pytest.raises(UserError) as caught:
        render(images).reproduce(make_request(1), 9, RecordingProgress())
    assert caught.value.code == "recipe_differs"


def test_each_person_is_measured_where_they_were_put() -> None:
    class Two(FakeFinder):
        def faces(self, image: Image, embedded: int = 1) -> list:
            left, right = fakes.face(image, 2), fakes.face(image, 1)
            return [
                replace(right, box=replace(right.box, left=300, right=380)),
                replace(left, box=replace(left.box, left=20, right=100)),
            ]

    image = picture(1, 1)
    faces = tuple(sorted(Two().faces(image), key=lambda face: face.box.left))
    style = Style("pair", 1, "template", "Pair", picture=StylePicture(image, faces))
    flow = Render({"template": Paints([image])}, Two())
    (portrait,) = flow(make_request(people={1: identity(2), 2: identity(1)}, style=style), RecordingProgress())
    assert [portrait.likeness[place].distance for place in (1, 2)] == pytest.approx([0, 0])
    (swapped,) = flow(make_request(people={1: identity(1), 2: identity(2)}, style=style), RecordingProgress())
    assert min(swapped.likeness[place].distance for place in (1, 2)) > 1


def test_a_recipe_says_where_the_eyes_are_in_the_portrait_and_in_what_it_was_made_from() -> None:
    image = picture(1, 1)
    faces = (fakes.face(image, 2), fakes.face(image, 1))
    style = Style("pair", 1, "template", "Pair", picture=StylePicture(image, faces))
    flow = Render({"studio": Paints([image]), "template": Paints([image])}, FakeFinder())
    (portrait,) = flow(make_request(), RecordingProgress())
    shares = [each / 400 for each in fakes.face(image, 1).landmarks[:2].flatten()]
    drawn = portrait.recipe["drawn"]
    assert isinstance(drawn, dict)
    found = drawn["eyes"]["1"]
    assert found["portrait"] == pytest.approx(shares, abs=1e-3)
    assert found["photo"] == pytest.approx(shares, abs=1e-3)
    assert (found["photo_aspect"], "template" in found) == (1.0, False)
    (put,) = flow(make_request(style=style), RecordingProgress())
    told: Any = put.recipe["drawn"]
    assert told["eyes"]["1"]["template"] == pytest.approx(shares, abs=1e-3)


def test_recipe_holds_no_names_and_no_paths() -> None:
    candidate = Candidate(picture(1, 1), {1: "anna in paris.jpg"}, {"rank": 1.0})
    text = str(recipe(make_request(), candidate, 0))
    assert "anna" not in text
    assert "/" not in text


def test_choose_gives_no_more_than_there_are() -> None:
    assert choose([], 3) == []
    assert np.isfinite(render([picture(1, 1)])(make_request(), RecordingProgress())[0].scores["total"])


def test_who_is_not_alike_is_drawn_again_until_the_budget_is_spent() -> None:
    class Seeded:
        """Draws the person for even seeds, and somebody else for odd ones."""

        def __init__(self) -> None:
            self.requests: list[tuple[int, int]] = []

        def paint(self, request: PortraitRequest, progress: Progress) -> list[Candidate]:
            self.requests.append((request.seed, request.count))
            seeds = range(request.seed, request.seed + request.count)
            return [
                Candidate(picture(1 if seed % 2 == 0 else 3, seed), {1: "a"}, {"seed": float(seed)}) for seed in seeds
            ]

    style = Style("made-of-words", 1, "text", "Words")
    request = PortraitRequest({1: identity(1)}, style, 1, 2)
    painter = Seeded()
    drawn = Render({"text": painter}, FakeFinder(), redraws=2)(request, RecordingProgress())
    assert painter.requests == [(1, 2), (3, 1), (4, 1)]
    assert {each.recipe["seed"] for each in drawn} == {1, 4}
    again = Render({"text": painter}, FakeFinder()).reproduce(
        PortraitRequest({1: identity(1)}, style, 4, 1), int(str(drawn[-1].recipe["candidate"])), RecordingProgress()
    )
    assert any(np.array_equal(again.image, each.image) for each in drawn)
    assert len(Render({"text": Seeded()}, FakeFinder())(request, RecordingProgress())) == 2


def test_a_template_with_a_technique_is_drawn_into_by_a_diffusion_model() -> None:
    image = picture(1, 1)
    style = Style("made", 1, "template", "Made", picture=StylePicture(image, (fakes.face(image),)))
    plain = make_request(style=style)
    with_options = replace(plain, options=GenerationOptions())
    preferred = replace(plain, style=replace(style, engines=("diffusion", "fusion")))
    fallback = replace(plain, style=replace(style, engines=("fusion", "diffusion")))
    assert [each.mode for each in (plain, with_options, preferred, fallback)] == [
        "template",
        "inpaint",
        "inpaint",
        "template",
    ]
    assert replace(make_request(), options=GenerationOptions()).mode == "studio"
    painters = {"template": Paints([picture(1, 2)]), "inpaint": Paints([picture(1, 3)])}
    drawn = [Render(painters, FakeFinder())(each, RecordingProgress())[0] for each in (plain, with_options)]
    assert [int(each.image[0, 0, 1]) for each in drawn] == [int(picture(1, seed)[0, 0, 1]) for seed in (2, 3)]
    assert "technique" not in drawn[0].recipe
    assert drawn[1].recipe["technique"] == {"preset": "balanced"}


def test_the_guard_checks_what_was_drawn_into_a_template() -> None:
    class Strict:
        """Lets photos pass, and nothing with a dark first pixel."""

        def allows(self, image: Image) -> bool:
            return int(image[0, 0, 1]) != int(picture(1, 3)[0, 0, 1])

    image = picture(1, 1)
    style = Style("made", 1, "template", "Made", picture=StylePicture(image, (fakes.face(image),)))
    flow = Render({"template": Paints([picture(1, 3)]), "inpaint": Paints([picture(1, 3)])}, FakeFinder(), {}, Strict())
    assert flow(make_request(style=style), RecordingProgress())
    with pytest.raises(UserError) as caught:
        flow(replace(make_request(style=style), options=GenerationOptions()), RecordingProgress())
    assert caught.value.code == "blocked"


class ArcFinder(FakeFinder):
    """The same faces with vectors in its own embedding space."""

    def embed(self, image: Image, face: Face) -> Face:
        return replace(face, embeddings={self.space: next(iter(fakes.face(image).embeddings.values()))})

    def faces(self, image: Image, embedded: int = 1) -> list[Face]:
        return [self.embed(image, each) if embedded else each for each in super().faces(image, 0)]


def test_who_was_prepared_with_another_face_engine_is_embedded_before_drawing() -> None:
    flow = Render({"studio": Paints([picture(1, 1)])}, ArcFinder("buffalo_l"))
    (portrait,) = flow(make_request(), RecordingProgress())
    assert portrait.likeness[1].space == "buffalo_l"
    assert portrait.likeness[1].distance == pytest.approx(0)
    assert flow.reproduce(make_request(), 0, RecordingProgress()).likeness == portrait.likeness


def test_in_whose_photos_the_present_engine_finds_no_face_is_refused_before_drawing() -> None:
    class Blind(ArcFinder):
        def faces(self, image: Image, embedded: int = 1) -> list[Face]:
            return []

    class Never:
        def paint(self, request: PortraitRequest, progress: Progress) -> list[Candidate]:
            raise AssertionError("nothing is drawn")

    with pytest.raises(UserError) as caught:
        Render({"studio": Never()}, Blind("buffalo_l"))(make_request(), RecordingProgress())
    assert caught.value.code == "other_face_engine"


def test_a_person_on_the_smallest_of_many_faces_is_measured() -> None:
    class Party(FakeFinder):
        """Seven people in a row, the one at the right the smallest; only embedded faces carry a vector."""

        def faces(self, image: Image, embedded: int = 1) -> list[Face]:
            whole = fakes.face(image, 1)
            row = [
                replace(
                    whole, embeddings={}, box=replace(whole.box, left=55 * place, right=55 * place + 50 - 4 * place)
                )
                for place in range(7)
            ]
            return [self.embed(image, each) for each in row[:embedded]] + row[embedded:]

        def embed(self, image: Image, face: Face) -> Face:
            return replace(face, embeddings=fakes.face(image, 1).embeddings)

    image = picture(1, 1)
    style = Style("party", 1, "template", "Party", picture=StylePicture(image, tuple(Party().faces(image, 0))))
    flow = Render({"template": Paints([image])}, Party())
    (portrait,) = flow(make_request(people={7: identity(1)}, style=style), RecordingProgress())
    assert portrait.likeness[7].distance == pytest.approx(0)
    assert portrait.scores["faces"] == 7
