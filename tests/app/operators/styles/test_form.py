"""Every line that a style may say has a field, or is left as it is on purpose."""

from typing import Any, get_args

import pytest

from app.operators.styles import form
from app.words import translation
from templates.schema import PassStrengths, StyleFile
from tests.app.operators.styles.drafts import at
from tests.app.pages import as_client, press
from tests.tasks.api.desk import Desk, picture

AS_IT_IS = {"schema_", "id", "version", "kind", "status", "picture", "carried"}
"""What nobody types: it is given, or belongs to the file."""


def test_every_line_of_a_style_has_words_and_every_pass_a_slider() -> None:
    fields = set(StyleFile.model_fields) - AS_IT_IS
    named = {key.removeprefix("style_field.") for key in translation.words("en") if key.startswith("style_field.")}
    assert fields - named == set()
    strengths = {name for name, field in PassStrengths.model_fields.items() if float in _types(field.annotation)}
    assert strengths == set(form.PASSES)


@pytest.mark.services
def test_a_template_says_how_a_model_draws_into_it_only_where_it_is_wished(desk: Desk) -> None:
    olga = as_client(desk, "olga", "operator")
    content: dict[str, Any] = {"schema": 1, "id": "garden", "kind": "template", "title": "Hall", "licence": "CC0-1.0"}
    olga.write_style("garden", content | {"picture": {"file": "picture.jpg"}})
    olga.hang_picture("garden", "a.jpg", picture(3, side=600, format="JPEG"))
    app = at(olga, "garden")
    [wished] = app.toggle
    wished.set_value(True).run()
    [face] = [each for each in app.slider if str(each.key).startswith("field-passes-face-")]
    face.set_value(0.6).run()
    press(app, "Save the draft")
    assert _passes(olga)["face"] == 0.6
    [wished] = app.toggle
    wished.set_value(False).run()
    press(app, "Save the draft")
    assert _passes(olga) is None


def _passes(olga: Any) -> Any:
    return olga.own_style("garden").draft.content["passes"]


def _types(annotation: Any) -> set[Any]:
    return {annotation, *get_args(annotation)}
