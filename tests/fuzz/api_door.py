"""The door for requests to the API: bodies that were whole, sent to every route that takes one."""

import functools
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hypothesis import strategies as st

from portrait.errors import UserError
from tests.fuzz.entering import Door
from tests.fuzz.mutations import TEXTS, TREES, altered, spoilt, to_json
from tests.tasks.api.harness import STUDIO, ApiHarness, OwnedIds, environment, new_home, open_api
from tests.tasks.api.routes import request_body, routes, url_of

TECHNIQUE = {
    "base": "sd15",
    "identities": ["lora"],
    "strengths": {"lora": 0.8},
    "lora_weights": {"lora": [1, 0, 0.5]},
    "steps": 8,
    "hints": [{"kind": "pose", "strength": 0.5}],
}
SEND_TO_OTHERS = ("/operator/models", "/webhooks", "/webhooks/{id}/test")
"""Routes that would call addresses that somebody names."""


@dataclass(frozen=True)
class Request:
    """One request with a body of JSON."""

    method: str
    url: str
    body: bytes


@contextmanager
def opened(folder: Path) -> Iterator[Door]:
    """The door of an API with one of everything that an owner may have."""
    names = ("jobs", "people", "photos", "photos_a_day", "portraits_a_day", "templates", "webhooks", "keys")
    with open_api(environment(new_home(folder), **{f"quotas__{name}": 1_000_000 for name in names})) as api:
        things = api.one_of_each()
        made = st.sampled_from(list(_whole(api, things))).flatmap(_spoilt)
        yield Door("request to the API", made, functools.partial(_send, api), share=0.2)


def _whole(api: ApiHarness, things: OwnedIds) -> Iterator[tuple[str, str, list[Any]]]:
    """Every route that takes JSON, with bodies that would do something."""
    for route in routes(api.app):
        if route.body != "application/json" or route.path in SEND_TO_OTHERS:
            continue
        bodies = [request_body(route, things)["json"]]
        if route.path == "/generations":
            bodies.append(
                {**bodies[0], "technique": TECHNIQUE, "size": {"width": 512, "height": 640}, "traits": {"age": "30"}}
            )
            bodies.append(
                {
                    **bodies[0],
                    "style": "idphoto",
                    "idphoto": {"preset": "de-passport", "size": {"width": 35, "height": 45}},
                }
            )
            bodies.append(
                {"people": {"1": things.person}, "template": things.template, "places": {"1": {"x": 1, "y": 2}}}
            )
        if route.path.endswith("/edits"):
            bodies.append({"kind": "repaint", "area": [[[0, 0], [1, 0], [1, 1]]], "words": "a", "strength": 0.5})
            bodies.append({"kind": "extend", "shape": [16, 9]})
        if route.path.endswith("/draft"):
            bodies.append({"content": STUDIO})
        yield route.method, url_of(route, things), bodies


def _spoilt(whole: tuple[str, str, list[Any]]) -> st.SearchStrategy[Request]:
    method, url, bodies = whole
    texts = spoilt([json.dumps(each).encode() for each in bodies], TEXTS)
    return st.builds(Request, st.just(method), st.just(url), altered(bodies).map(to_json) | TREES.map(to_json) | texts)


def _send(api: ApiHarness, request: Request, folder: Path) -> None:
    """Send it; what is refused is raised with its code, as other doors do."""
    client = api.client("ann", "admin")
    headers = {"Content-Type": "application/json"}
    answer = client.request(request.method, request.url, content=request.body, headers=headers)
    assert answer.status_code < 500, answer.text
    if answer.status_code >= 400:
        problem = answer.json()
        raise UserError(problem["code"], problem["detail"])
