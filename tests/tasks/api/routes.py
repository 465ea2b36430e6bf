"""Every route of the OpenAPI document, and how to request each of them with the ids of an owner."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from fastapi import FastAPI

from tests.tasks.api.harness import OwnedIds, picture

PUBLIC = {
    ("POST", "/sign-in"),
    ("POST", "/sessions"),
    ("GET", "/oidc"),
    ("POST", "/oidc/authorizations"),
    ("GET", "/health"),
    ("GET", "/ready"),
    ("POST", "/verify"),
}
"""Routes that ask for no key."""
SHARED = {"/styles/{id}", "/styles/{id}/preview", "/styles/{id}/samples/{number}", "/styles/{id}/traits"}
"""Routes with an id that is nobody's."""


@dataclass(frozen=True)
class Route:
    """One method of one address."""

    method: str
    path: str
    """Without `/v1`."""
    body: str
    """Media type of the body; empty for none."""

    @property
    def operators(self) -> bool:
        return self.path.startswith("/operator/") or self.path == "/metrics"

    @property
    def admins(self) -> bool:
        """Whether operators may not."""
        kinds = ("owners", "invitations", "audit", "erasures", "consents")
        return self.path.startswith(tuple(f"/operator/{each}" for each in kinds))


def routes(app: FastAPI) -> Iterator[Route]:
    """All of them; a new one is among them by itself."""
    for path, methods in app.openapi()["paths"].items():
        for method, operation in methods.items():
            media = next(iter(operation.get("requestBody", {}).get("content", {})), "")
            yield Route(method.upper(), path.removeprefix("/v1"), media)


def url_of(route: Route, things: OwnedIds) -> str:
    """The address with somebody's ids in it; fails for a new kind of thing, which belongs into the table."""
    kind = route.path.removeprefix("/operator").split("/")[1]
    ids = {
        "people": things.person,
        "selfies": things.selfie,
        "jobs": things.waiting,
        "portraits": things.portrait,
        "templates": things.template,
        "webhooks": things.webhook,
        "keys": things.key,
        "sessions": things.session,
        "owners": things.owner,
        "identities": things.identity,
        "me": things.waiting,  # /me/erasures/{id}
        "styles": "studio-warm",
        "models": "film-look",
        "ages": things.person,
        "blocked-people": "blocked_1",
    }
    more = {"delivery": things.delivery, "version": "1", "number": "1", "name": "film-look"}
    named = {"id": ids[kind], **more} if "{" in route.path else {}
    return route.path.format(**named)


def request_body(route: Route, things: OwnedIds) -> dict[str, Any]:
    """What to send: a body that would do something if the things were the caller's."""
    if not route.body:
        return {}
    if route.body == "multipart/form-data":
        name = (
            "file"
            if route.path in {"/templates", "/verify", "/operator/blocked-people"} or route.path.endswith("/picture")
            else "files"
        )
        return {"files": [(name, ("me.png", picture(50)))]}
    consent = {"agreed": True, "text_version": "2026-11", "given_by": "Eve"}
    bodies: Mapping[str, Mapping[str, Any]] = {
        "POST /sign-in": {"code": "none"},
        "POST /keys": {"name": "k"},
        "POST /sessions": {"code": "none"},
        "POST /oidc/authorizations": {"redirect_uri": "https://example.org/back"},
        "POST /people": {"name": "Eve", "consent": consent},
        "PATCH /people/{id}": {"name": "Eve was here"},
        "POST /people/{id}/consents": consent,
        "PATCH /selfies/{id}": {"wish": "exclude"},
        "PUT /templates/{id}/statement": {"text_version": "2026-12"},
        "PATCH /portraits/{id}": {"favourite": True},
        "PATCH /operator/jobs/{id}": {"priority": 5},
        "POST /trainings": {"person": things.person},
        "POST /generations": {"people": {"1": things.person}, "style": "studio-warm"},
        "POST /orders": {"generations": [{"people": {"1": things.person}, "style": "studio-warm"}]},
        "POST /jobs/seen": {"jobs": [things.waiting]},
        "POST /portraits/{id}/edits": {"kind": "variations"},
        "POST /webhooks": {"url": "https://example.org/eve"},
        "POST /operator/blocked-people/from-person": {
            "owner": things.owner,
            "person": things.person,
            "note": "a letter",
        },
        "POST /operator/invitations": {"owner": "zoe"},
        "POST /operator/models": {
            "name": "film-look",
            "kind": "lora",
            "source": "https://127.0.0.1/film.safetensors",
            "licence": "CC0-1.0",
            "commercial": "yes",
        },
        "POST /operator/erasures": {"owner": things.owner, "person": things.person},
        "PUT /operator/styles/{id}/draft": {"content": {"schema": 1}},
        "POST /operator/styles/{id}/publish": {},
        "POST /operator/styles/{id}/test": {},
    }
    return {"json": bodies[f"{route.method} {route.path}"]}
