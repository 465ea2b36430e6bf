"""The two cookies of the app: whose key it is, and the chosen language."""

from starlette.requests import Request
from starlette.responses import Response

KEY = "portrait_key"
"""Holds the key to the task API; scripts of a page cannot read it, and other sites cannot send it along."""
LANGUAGE = "portrait_language"
KEPT_FOR = 30 * 86_400
"""Seconds: as long as a key from a sign-in link opens."""


def keep(response: Response, request: Request, name: str, value: str) -> None:
    """Set a cookie of ours."""
    response.set_cookie(
        name, value, max_age=KEPT_FOR, httponly=True, samesite="strict", secure=request.url.scheme == "https"
    )
