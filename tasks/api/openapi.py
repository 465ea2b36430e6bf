"""The OpenAPI document beyond what FastAPI writes: problems of every route, headers, events, summaries, texts of tags."""

import inspect
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from fastapi import FastAPI, Response
from fastapi.routing import APIRoute
from starlette.routing import BaseRoute

from tasks import schemas
from tasks.api import problems

DESCRIPTION = """People, their photos, what was learned of them, styles, and jobs that make portraits.

Long work is a job: the answer is 202 with `Location`. Errors are `application/problem+json` (RFC 9457) with a `code` that stays
the same from version to version. Lists come in pages: give `next` as `cursor`. A POST with an `Idempotency-Key` is done once.
Times are UTC."""
SERVERS = [{"url": "/", "description": "The installation that this document comes from."}]
TAGS = {
    "keys": "API keys: what programs send as `Authorization: Bearer …`.",
    "sessions": "Signing in and out of people, with a code, a key or an OpenID provider.",
    "people": "People, the consents to use their photos, and what they can be drawn from.",
    "selfies": "Photos of people, with the verdict on each.",
    "jobs": "Trainings, portraits and orders as jobs: asked for, followed, cancelled, tried again.",
    "portraits": "Portraits that are finished: lists, files, edits, print sheets, and where a picture comes from.",
    "styles": "Styles to draw in, and pictures of one's own to put people into.",
    "webhooks": "Addresses that are called when jobs end.",
    "me": "The caller: quotas, export and erasure of everything, receipts.",
    "system": "The installation: whether it answers and is ready, what it can do, metrics.",
    "operator": "For operators: everybody's jobs, workers, models; for admins: owners, consents, erasures, the audit log.",
    "operator styles": "For operators: drafts and versions of the styles of an installation.",
}
"""What the routes of a tag are about."""
LOCATION = {"description": "The address of what was made.", "schema": {"type": "string", "format": "uri-reference"}}
RETRY_AFTER = {"description": "Seconds after which to ask again.", "schema": {"type": "integer", "minimum": 0}}
REPLAYED = {
    "description": "`true` where this is the first answer to this `Idempotency-Key` again.",
    "schema": {"type": "string", "enum": ["true"]},
}
ETAG = {"description": "Give it as `If-None-Match`: 304 while nothing changed.", "schema": {"type": "string"}}
WAITS = {"408", "429", "503"}
"""Statuses whose problems may say when to ask again."""
EVENTS = ("state", "progress", "standing")
"""Names of the events of a job."""


def customize(app: FastAPI, routes: Iterable[BaseRoute]) -> None:
    """Have the application's OpenAPI document say the rest; `routes` are those of its routers."""
    plain = app.openapi
    made_by = {route.name: made for route in routes if isinstance(route, APIRoute) and (made := _made(route))}

    def openapi() -> dict[str, Any]:
        document = plain()
        if "Problem" not in document["components"]["schemas"]:
            _add_schemas(document["components"]["schemas"])
            for method, operation in _operations(document):
                operation["summary"] = summary(operation["description"])
                _add_problems(method, operation)
                _add_headers(method, operation, made_by.get(operation["operationId"], ""))
                _describe_events(operation)
        return document

    app.openapi = openapi


def tags() -> list[dict[str, str]]:
    """The tags with their texts, as the document lists them."""
    return [{"name": name, "description": text} for name, text in TAGS.items()]


def summary(description: str) -> str:
    """The first clause of a description, without its full stop and marks of code."""
    clause = re.split(r"[.:;](?:\s|$)", " ".join(description.split()), maxsplit=1)[0]
    return clause.replace("`", "")


def _operations(document: Mapping[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    return (each for path in document["paths"].values() for each in path.items())


def _made(route: APIRoute) -> str:
    """The status of a route that makes something, whose answer is built by `tasks.api.context.created`; else empty."""
    builds = inspect.signature(route.endpoint).return_annotation is Response
    return str(route.status_code) if builds and route.status_code in (201, 202) else ""


def _add_schemas(parts: dict[str, Any]) -> None:
    """Add what FastAPI does not see: problems, which take the place of its own, and the data of events."""
    for kind in (schemas.Problem, schemas.JobEvent):
        schema = kind.model_json_schema(ref_template="#/components/schemas/{model}")
        parts |= schema.pop("$defs", {})
        parts[kind.__name__] = schema
    for name in ("HTTPValidationError", "ValidationError"):
        parts.pop(name, None)


def _add_problems(method: str, operation: dict[str, Any]) -> None:
    """Add what every route may answer: 429, 304 for what has a tag, and 400, 408 and 413 where there is a body."""
    responses = operation["responses"]
    content = responses.get("200", {}).get("content", {})
    if method == "get" and content.keys() & {"application/json", "image/*"}:
        responses["304"] = {"description": "It is still what `If-None-Match` names."}
    further = (400, 408, 413, 429) if "requestBody" in operation else (429,)
    often = {str(status): each for status, each in problems.problem_responses(*further).items()}
    operation["responses"] = dict(sorted((often | responses).items()))


def _add_headers(method: str, operation: dict[str, Any], made: str) -> None:
    """Add the headers of answers that say something: where it is, when to ask again, whether it was said before."""
    responses = operation["responses"]
    if made:
        responses[made].setdefault("headers", {})["Location"] = LOCATION
    if made == "202" or operation["operationId"] == "get_job":
        responses[made or "200"].setdefault("headers", {})["Retry-After"] = RETRY_AFTER
    if any(each["name"].lower() == "idempotency-key" for each in operation.get("parameters", [])):
        responses[made].setdefault("headers", {})["Idempotent-Replayed"] = REPLAYED
    if method == "get" and "304" in responses:
        for status in ("200", "304"):
            responses[status].setdefault("headers", {})["ETag"] = ETAG
    for status in WAITS & responses.keys():
        # The descriptions of problems are shared by all routes.
        responses[status] = {**responses[status], "headers": {"Retry-After": RETRY_AFTER}}


def _describe_events(operation: dict[str, Any]) -> None:
    """Say of a stream what its events are, as FastAPI does of its own, in the words of OpenAPI 3.2."""
    stream = operation["responses"].get("200", {}).get("content", {}).get("text/event-stream")
    if stream is None:
        return
    data = {"contentMediaType": "application/json", "contentSchema": {"$ref": "#/components/schemas/JobEvent"}}
    properties = {
        "event": {"type": "string", "enum": list(EVENTS)},
        "id": {"type": "string", "description": "Give the last one as `Last-Event-ID`; `standing` events have none."},
        "data": {"type": "string", **data},
    }
    stream["itemSchema"] = {"type": "object", "properties": properties, "required": ["event", "data"]}
