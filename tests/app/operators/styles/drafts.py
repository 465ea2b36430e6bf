"""A style of words and its page, for tests of the styles board."""

import re
from typing import Any

from tasks import schemas
from tasks.client.client import Client
from tests.app.pages import opened, turned

GARDEN = {
    "schema": 1,
    "id": "garden",
    "kind": "text",
    "title": "Garden",
    "prompt": "{who}, {traits}, in a garden",
    "licence": "CC0-1.0",
}


def at(client: Client, id: str) -> Any:
    """The page of one style."""
    app = opened(client)
    app.query_params["id"] = id
    app = turned(app, "style")
    assert [each.value for each in app.exception] == []
    return app


def made(client: Client, **more: Any) -> schemas.StyleDraft:
    """A draft of the garden."""
    draft = client.write_style("garden", {**GARDEN, **more}).draft
    assert draft is not None
    return draft


def drafted(client: Client) -> schemas.StyleDraft:
    """The garden's draft as it is."""
    draft = client.own_style("garden").draft
    assert draft is not None
    return draft


def field(app: Any, name: str) -> Any:
    """The field of that name, as it is laid out now."""
    found = [*app.text_input, *app.text_area, *app.number_input, *app.slider, *app.multiselect, *app.selectbox]
    [one] = [
        each for each in found if re.fullmatch(rf"field-{name}-(garden|studio-warm|idphoto-passport)-\d+", each.key)
    ]
    return one
