"""Traits: what photos show, what is offered, what captions say."""

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import pytest

from portrait.arrays import Image
from portrait.errors import UserError
from portrait.ports import Attributes
from portrait.traits import measure_traits, offer_traits, parse_traits, with_traits
from portrait.types import Crop, Face, ScoredPhoto, TrainingSet
from tests import dressed, eyewear, selfies

ADULT = Attributes(age=41, minor=0.0, female=0.5)


def test_photos_show_what_is_worn_and_done_in_them(
    astronaut: Image, astronaut_face: Face, group_faces: list[Face]
) -> None:
    assert measure_traits(astronaut, astronaut_face, ADULT) == {"age": "middle-aged", "expression": "smiling"}
    calm, smiling = group_faces[0], group_faces[2]
    photo = selfies.group()
    assert measure_traits(photo, calm) == {"expression": "serious"}
    assert measure_traits(photo, smiling) == {"expression": "smiling"}
    framed = eyewear.clear_glasses(photo, smiling, thick=True)
    assert measure_traits(framed, smiling) == {"glasses": "with glasses", "expression": "smiling"}
    assert measure_traits(dressed.bearded(photo, calm), calm)["beard"] == "with a beard"


def test_nothing_is_said_of_a_minors_age_or_a_face_that_is_turned_away(
    astronaut: Image, astronaut_face: Face, group_faces: list[Face]
) -> None:
    for years, group in ((20, "young"), (35, "middle-aged"), (60, "elderly")):
        assert measure_traits(astronaut, astronaut_face, replace(ADULT, age=years))["age"] == group
    assert "age" not in measure_traits(astronaut, astronaut_face, Attributes(16, 0.7, 0.5))
    assert "age" not in measure_traits(astronaut, astronaut_face)
    assert measure_traits(selfies.group(), group_faces[1], ADULT) == {}
    assert measure_traits(astronaut, replace(astronaut_face, mesh=None), ADULT) == {}


def test_what_half_of_the_photos_show_is_offered() -> None:
    glasses, smile = {"glasses": "with glasses", "age": "young"}, {"expression": "smiling", "age": "young"}
    assert offer_traits([glasses, smile, {}]) == {"age": "young", "glasses": "with glasses", "expression": "smiling"}
    assert offer_traits([glasses, smile, {"age": "elderly"}]) == {"age": "young"}
    assert offer_traits([]) == offer_traits([{}]) == {}


def made(*shown: Mapping[str, str]) -> TrainingSet:
    blank = np.zeros((8, 8, 3), np.uint8)
    photos = tuple(ScoredPhoto(f"{n}.jpg", "use", traits=each) for n, each in enumerate(shown))
    crops = tuple(Crop(blank, "a photo of sks person, head turned to the left", each.name) for each in photos)
    return TrainingSet(crops, (), {}, photos, "sks", "person")


def test_captions_say_what_was_chosen_where_it_is_seen() -> None:
    training = made({"glasses": "with glasses"}, {"expression": "smiling"})
    chosen = {"glasses": "with glasses", "age": "young", "beard": "with a beard"}
    said = with_traits(training, chosen)
    assert [each.caption for each in said.crops] == [
        "a photo of sks person, young, with glasses, with a beard, head turned to the left",
        "a photo of sks person, young, with a beard, head turned to the left",
    ]
    assert said.traits == chosen
    again = with_traits(said, {"glasses": ""})
    assert [each.caption for each in again.crops] == [each.caption for each in training.crops]
    assert again.traits == {}
    own = replace(training, crops=tuple(replace(each, caption="sks, in a boat") for each in training.crops))
    assert [each.caption for each in with_traits(own, chosen).crops] == ["sks, in a boat"] * 2


def test_words_are_read_as_traits() -> None:
    assert parse_traits(["With glasses ", "smiling", ""]) == {"glasses": "with glasses", "expression": "smiling"}
    for words in (["tall"], ["smiling", "serious"]):
        with pytest.raises(UserError, match="young, middle-aged") as caught:
            parse_traits(words)
        assert caught.value.code == "bad_trait"
