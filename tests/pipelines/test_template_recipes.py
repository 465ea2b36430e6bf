"""Recipes of templates: whose skin, and where the faces were."""

import numpy as np

from pipelines import render
from portrait.types import Box, Candidate, Face, Identity, PortraitRequest, Pose, Skin, Style, StyleKind, StylePicture


def request(skin: Skin | None = None, style_skin: Skin = "person", kind: StyleKind = "template") -> PortraitRequest:
    face = Face(Box(0, 0, 40, 40), np.zeros((5, 2), np.float32), None, {}, Pose(0, 0, 0), 1.0)
    picture = StylePicture(np.zeros((64, 64, 3), np.uint8), (face, face), {1: (20.0, 20.0), 2: (50.0, 20.5)})
    style = Style("made", 1, kind, "Made", picture=picture if kind == "template" else None, skin=style_skin)
    return PortraitRequest({2: Identity("anna", (), {})} if kind == "template" else {}, style, 0, 1, skin=skin)


def recipe(given: PortraitRequest) -> dict[str, object]:
    return render.recipe(given, Candidate(np.zeros((4, 4, 3), np.uint8), {}, {}), 0)


def test_a_recipe_says_whose_skin_and_where_the_faces_are() -> None:
    written = recipe(request())
    assert written["skin"] == "person"
    assert written["places"] == {"2": [50.0, 20.5]}
    assert render.skin_of_recipe(written) == "person"
    assert render.places_of_recipe(written) == {2: (50.0, 20.5)}


def test_a_recipe_of_before_means_the_templates_skin_and_names_no_places() -> None:
    assert render.skin_of_recipe({"schema": 1}) == "template"
    assert render.places_of_recipe({"schema": 1}) == {}
    assert "skin" not in recipe(request("template"))


def test_a_request_overrules_its_style_and_other_kinds_have_no_skin() -> None:
    assert request("person", "template").keeps_skin
    assert not request("template", "person").keeps_skin
    assert not request(None, "template").keeps_skin
    assert not request(kind="studio").keeps_skin
