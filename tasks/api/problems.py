"""What the API says when it cannot do what was asked: `application/problem+json`, RFC 9457."""

import logging
from collections.abc import Iterable, Mapping
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from portrait.errors import OperatorError, PortraitError, UserError
from tasks import schemas
from tasks.files import refused

MEDIA = "application/problem+json"
STATUS = {
    "unauthenticated": 401,
    "bad_code": 401,
    "forbidden": 403,
    "consent_withdrawn": 403,
    "not_found": 404,
    "unknown_style": 404,
    "bad_transition": 409,
    "draft_changed": 409,
    "idempotency_in_flight": 409,
    "not_prepared": 409,
    "too_many_people": 409,
    "too_many_photos": 409,
    "too_many_templates": 409,
    "style_exists": 409,
    "style_faults": 409,
    "style_unchecked": 409,
    "erased": 410,
    "too_large": 413,
    "quota_jobs": 429,
    "quota_photos": 429,
    "quota_portraits": 429,
}
"""Statuses of codes; any other `UserError` is 422, `OperatorError` 503, `EngineError` 500."""
WHEN = {"idempotency_in_flight": 1, "database_unreachable": 5}
"""Seconds after which asking again may help, where the error does not say."""
_WHAT = {
    400: "The request cannot be read.",
    401: "The key is missing or not valid.",
    403: "The caller may not do this, or consent was withdrawn.",
    404: "There is nothing of the caller's with this id.",
    405: "This address does not take that method.",
    409: "It cannot be done in the present state.",
    410: "It was erased.",
    413: "It is too large.",
    416: "The file has no such part.",
    422: "The request does not hold; `errors` says where.",
    429: "A quota is spent; `Retry-After` says when to ask again.",
    500: "A fault of the program.",
    503: "The installation cannot serve at present.",
}
MOST_TOLD = 20
"""Wrong fields that are told of one request."""
_log = logging.getLogger("portrait.api")


def documented(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """The problems a route may answer with, for the OpenAPI document."""
    content = {MEDIA: {"schema": {"$ref": "#/components/schemas/Problem"}}}
    return {status: {"description": _WHAT[status], "content": content} for status in statuses}


def refusal(error: PortraitError, request: Request) -> JSONResponse:
    """An error as an answer."""
    default = 422 if isinstance(error, UserError) else 503 if isinstance(error, OperatorError) else 500
    status = STATUS.get(error.code, default)
    headers = {}
    wait = error.details.get("retry_after", WHEN.get(error.code))
    if wait is not None:
        headers["Retry-After"] = str(int(wait))
    if status == 401:
        headers["WWW-Authenticate"] = 'Bearer realm="portrait"'
    return problem(request, status, error.code, error.message, errors_of(error.details), headers)


def errors_of(details: Mapping[str, Any]) -> list[schemas.Detail]:
    """The parts of an error: the reasons of each photo that was refused, the fields that do not hold."""
    fields = [schemas.Detail(**each) for each in details.get("fields", [])]
    return fields + [
        schemas.Detail(where=str(photo.get("file", "")), code=reason["code"], message=reason["tip"])
        for photo in details.get("photos", [])
        for reason in photo.get("reasons", [])
    ]


def problem(
    request: Request,
    status: int,
    code: str,
    detail: str,
    errors: Iterable[schemas.Detail] = (),
    headers: Mapping[str, str] | None = None,
) -> JSONResponse:
    """One problem."""
    said = schemas.Problem(
        title=HTTPStatus(status).phrase,
        status=status,
        detail=detail,
        code=code,
        instance=f"urn:request:{getattr(request.state, 'id', '')}",
        errors=list(errors),
    )
    return JSONResponse(said.model_dump(), status, dict(headers or {}), media_type=MEDIA)


def install(app: FastAPI) -> None:
    """Every error leaves as a problem; no traceback reaches a caller."""
    app.add_exception_handler(PortraitError, _known)
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(HTTPException, _http)


def _known(request: Request, error: Exception) -> JSONResponse:
    if not isinstance(error, PortraitError):
        raise error
    if not isinstance(error, UserError):
        _log.error("%s: %s", error.code, error.message)
    return refusal(error, request)


def _invalid(request: Request, error: Exception) -> JSONResponse:
    if not isinstance(error, RequestValidationError):
        raise error
    # What was sent is not repeated: it may be anything.
    wrong = [
        schemas.Detail(where=".".join(str(part)[:60] for part in each["loc"]), code=each["type"], message=each["msg"])
        for each in error.errors()[:MOST_TOLD]
    ]
    where = ", ".join(dict.fromkeys(each.where for each in wrong))
    return problem(request, 422, "bad_request", f"The request does not hold: {where}. See `errors`.", wrong)


def _http(request: Request, error: Exception) -> JSONResponse:
    if not isinstance(error, HTTPException):
        raise error
    most = getattr(request.state, "too_large", None)
    if most is not None:
        # The framework took the end of the stream for a body it cannot parse.
        return problem(request, 413, "too_large", f"A request has {most // 1_000_000} MB at most. Send less at once.")
    if isinstance(error.__cause__, OSError):
        # The same of a disk that did not take what was sent.
        return _known(request, refused(error.__cause__))
    code = {404: "no_such_address", 405: "no_such_method", 413: "too_large"}.get(error.status_code, "bad_request")
    return problem(request, error.status_code, code, str(error.detail), headers=error.headers)


def unexpected(request: Request, error: Exception) -> JSONResponse:
    """A fault of ours as an answer that says nothing of it; the log says where it was."""
    # The sentence of an unknown error may hold anything: the log gets its class and where it was raised.
    trace, where = error.__traceback__, ""
    while trace is not None:
        where = f"{trace.tb_frame.f_code.co_filename.rsplit('/', 1)[-1]}:{trace.tb_lineno}"
        trace = trace.tb_next
    _log.error("unexpected %s at %s", type(error).__name__, where, extra={"request": getattr(request.state, "id", "")})
    return problem(request, 500, "unexpected", "Something went wrong that should not have. The log has the details.")
