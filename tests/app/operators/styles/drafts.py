"""A style with a prompt, its draft and its page, for tests of the operators' pages of styles."""

import re
from typing import Any

from tasks import schemas
from tasks.client.client import Client
from tests.app.pages import go_to_page, open_page

GARDEN = {
    "schema": 1,
    "id": "garden",
    "kind": "text",
    "title": "Garden",
    "prompt": "{who}, {traits}, in a garden",
    "licence": "CC0-1.0",
}


def open_style(client: Client, id: str) -> Any:
    """The page of one style."""
    app = open_page(client)
    app.query_params["id"] = id
    app = go_to_page(app, "style")
    assert [each.value for each in app.exception] == []
    return app


def create_draft(client: Client, **more: Any) -> schemas.StyleDraft:
    """Save a draft of the garden; `more` is content besides its own."""
    draft = client.write_draft("garden", {**GARDEN, **more}).draft
    assert draft is not None
    return draft


def get_draft(client: Client) -> schemas.StyleDraft:
    """The garden's draft from the API."""
    draft = client.operator_style("garden").draft
    assert draft is not None
    return draft


def field(app: Any, name: str) -> Any:
    """The field of that name in the form as it is."""
    found = [*app.text_input, *app.text_area, *app.number_input, *app.slider, *app.multiselect, *app.selectbox]
    [one] = [
        each for each in found if re.fullmatch(rf"field-{name}-(garden|studio-warm|idphoto-passport)-\d+", each.key)
    ]
    return one
