"""Names and titles from people and packs are text on every page: no image is fetched, nothing is a link."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from streamlit.testing.v1 import AppTest

from app.components import markdown
from tests.app.pages import as_client, go_to_page, open_page, open_test_api
from tests.tasks.api.harness import STUDIO, picture

pytestmark = pytest.mark.services  # starts an API of its own, which is too slow for the inner loop
FOREIGN = "![x](https://evil.example/x.png) www.evil.example $x$ :red[x]"
RENDERED = {"body", "label", "help", "text", "content", "title"}
"""Fields of Streamlit's elements that are rendered as Markdown; the others are text, values and ids."""


def rendered_texts(app: AppTest) -> Iterator[str]:
    """Everything on a page that Streamlit renders as Markdown."""
    waiting: list[Any] = [app._tree]
    while waiting:
        node = waiting.pop()
        waiting += getattr(node, "children", {}).values()
        if getattr(node, "type", "") != "html" and getattr(node, "proto", None) is not None:
            yield from _texts(node.proto)


def _texts(proto: Any) -> Iterator[str]:
    for field, value in proto.ListFields():
        for each in value if not isinstance(value, str | bytes) and hasattr(value, "__iter__") else [value]:
            if hasattr(each, "ListFields"):
                yield from _texts(each)
            elif isinstance(each, str) and field.name in RENDERED:
                yield each


def test_what_others_wrote_is_shown_as_it_is_on_every_page(tmp_path: Path) -> None:
    with open_test_api(tmp_path / "home") as api:
        ann, olga = as_client(api), as_client(api, "olga", "admin")
        olga.write_draft("mine", STUDIO | {"title": FOREIGN, "titles": {"zh": FOREIGN}, "tags": [FOREIGN]})
        olga.publish_style("mine", None)
        olga.write_draft("mine", STUDIO | {"title": FOREIGN, "retouch": 0.9})
        other, person = api.prepared_person(name=FOREIGN), api.prepared_person(name=FOREIGN)
        ann.withdraw_consent(other)
        ann.add_selfies(person, [(f"{FOREIGN}.png".replace("/", " "), picture(5))])
        ann.add_template(f"{FOREIGN}.png".replace("/", " "), picture(6))
        api.complete_next_job("look")
        api.client().post("/generations", json={"people": {"1": person}, "style": "mine"})
        portrait = api.complete_next_job("draw:studio").result["portraits"][0]
        rejected = {person: [(FOREIGN, "unknown", FOREIGN)]}
        states: list[dict[str, Any]] = [{"person": person, "rejected": rejected}, {"person": other, "language": "zh"}]
        seen = 0
        for pages, client in ((("", "photos", "create", "results", "privacy"), ann), (("styles",), olga)):
            for page in pages:
                for state in states:
                    seen += assert_plain(open_page(client, page, **state), page)
        for page, client, id in (("portrait", ann, portrait), ("style", olga, "mine")):
            app = open_page(client)
            app.query_params["id"] = id
            seen += assert_plain(go_to_page(app, page), page)
        assert seen > 15, "the name stands on the pages"


def assert_plain(app: AppTest, page: str) -> int:
    """The number of texts in which the name stands, none of them as Markdown."""
    assert [each.value for each in app.exception] == [], page
    texts = [each for each in rendered_texts(app) if "evil" in each]
    assert [each for each in texts if "![x](" in each or " www.evil" in each] == [], page
    return len(texts)


def test_a_text_is_shown_with_the_signs_it_has() -> None:
    assert markdown.plain("Ann & Bob\nat the sea (2024) - 1.5") == r"Ann \& Bob at the sea (2024) - 1.5"
    assert markdown.plain("[a](b) $x$ :red[x] <i> 1_2") == r"\[a\](b) \$x\$ \:red\[x\] \<i\> 1\_2"
    shown = markdown.plain("https://evil.example WWW.evil.example me@evil.example").replace("\\", "")
    assert re.findall(r"https?://|www\.|\w@\w", shown, re.IGNORECASE) == [], "what looks like an address is no link"
    assert shown.replace("\u2060", "") == "https://evil.example WWW.evil.example me@evil.example"
