"""Every field of the style's schema is in the form, or left out on purpose."""

from typing import Any, get_args

import pytest

from app.operators.styles import form
from app.words import translation
from tasks.client.client import Client
from templates.schema import PassStrengths, StyleFile
from tests.app.operators.styles.drafts import get_draft, open_style
from tests.app.pages import as_client, press
from tests.tasks.api.harness import ApiHarness, picture

WITHOUT_FIELD = {"schema_", "id", "version", "kind", "status", "picture", "look", "carried"}
"""Fields that nobody edits: they are given, or belong to the file."""


def test_every_field_of_a_style_has_a_label_and_every_pass_a_slider() -> None:
    fields = set(StyleFile.model_fields) - WITHOUT_FIELD
    named = {key.removeprefix("style_field.") for key in translation.messages("en") if key.startswith("style_field.")}
    assert fields - named == set()
    strengths = {name for name, field in PassStrengths.model_fields.items() if float in _types(field.annotation)}
    assert strengths == set(form.PASSES)


@pytest.mark.services
def test_passes_of_a_template_are_set_only_when_switched_on(api: ApiHarness) -> None:
    olga = as_client(api, "olga", "operator")
    content: dict[str, Any] = {"schema": 1, "id": "garden", "kind": "template", "title": "Hall", "licence": "CC0-1.0"}
    olga.write_draft("garden", content | {"picture": {"file": "picture.jpg"}})
    olga.set_style_picture("garden", "a.jpg", picture(3, side=600, format="JPEG"))
    app = open_style(olga, "garden")
    [toggle] = app.toggle
    toggle.set_value(True).run()
    [face] = [each for each in app.slider if str(each.key).startswith("field-passes-face-")]
    face.set_value(0.6).run()
    press(app, "Save the draft")
    assert _passes(olga)["face"] == 0.6
    [toggle] = app.toggle
    toggle.set_value(False).run()
    press(app, "Save the draft")
    assert _passes(olga) is None


def _passes(olga: Client) -> Any:
    return get_draft(olga).content["passes"]


def _types(annotation: Any) -> set[Any]:
    return {annotation, *get_args(annotation)}
