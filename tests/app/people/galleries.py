"""What components of a page are given, and choosing from the gallery: by the address, as the browser's clicks end in it."""

import json
from typing import Any

from streamlit.testing.v1 import AppTest


def offered(app: AppTest) -> dict[str, dict[str, Any]]:
    """The cards that can be chosen, by id, in their order."""
    return {card["id"]: card for section in sections(app) for card in section["cards"]}


def sections(app: AppTest) -> list[dict[str, Any]]:
    """The sections of all galleries of a page."""
    return [section for data in component_data(app, "gallery") for section in data["sections"]]


def component_data(app: AppTest, name: str) -> list[dict[str, Any]]:
    """What each component of that name on a page is given."""
    found = [each.proto for each in app.get("bidi_component") if each.proto.component_name == f"portrait_{name}"]
    return [data for proto in found for data in json.loads(proto.json)]


def choose(app: AppTest, *ids: str) -> AppTest:
    """Choose these beside what is chosen."""
    named = address(app, "styles")
    app.query_params["styles"] = ",".join([*filter(None, named.split(",")), *ids])
    return app.run()


def address(app: AppTest, name: str) -> str:
    """A parameter of the page's address; empty where it has none. AppTest gives a list for what a run has set."""
    found = app.query_params.get(name, "")
    return found if isinstance(found, str) else "".join(found)


def picker_addresses(app: AppTest) -> list[str]:
    """Where the pickers of a page send files."""
    return [data["address"] for data in component_data(app, "picker")]
