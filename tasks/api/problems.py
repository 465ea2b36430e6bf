"""Error responses of the API: `application/problem+json`, RFC 9457."""

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
from tasks.files import disk_error
from tasks.logs import format_trace

MEDIA_TYPE = "application/problem+json"
STATUS_BY_CODE = {
    "unauthenticated": 401,
    "bad_code": 401,
    "bad_oidc": 401,
    "forbidden": 403,
    "signed_in_by_key": 403,
    "owner_disabled": 403,
    "consent_withdrawn": 403,
    "consent_outdated": 403,
    "guardian_needed": 403,
    "person_blocked": 403,
    "not_found": 404,
    "no_oidc": 404,
    "unknown_style": 404,
    "bad_transition": 409,
    "draft_changed": 409,
    "idempotency_in_flight": 409,
    "not_prepared": 409,
    "model_exists": 409,
    "model_busy": 409,
    "not_own_model": 409,
    "bad_model": 422,
    "bad_model_source": 422,
    "owner_taken": 409,
    "own_account": 409,
    "too_many_keys": 409,
    "too_many_people": 409,
    "too_many_photos": 409,
    "too_many_templates": 409,
    "too_many_webhooks": 409,
    "storage_full": 409,
    "style_exists": 409,
    "style_faults": 409,
    "style_unchecked": 409,
    "erased": 410,
    "too_large": 413,
    "too_slow": 408,
    "no_permission": 503,
    "quota_jobs": 429,
    "quota_bytes": 429,
    "quota_compute": 429,
    "quota_photos": 429,
    "quota_pixels": 429,
    "quota_portraits": 429,
    "quota_trainings": 429,
    "quota_webhooks": 429,
    "too_many_at_once": 429,
    "too_many_requests": 429,
    "busy": 503,
}
"""HTTP status by error code; any other `UserError` is 422, `OperatorError` 503, `EngineError` 500."""
RETRY_AFTER = {"idempotency_in_flight": 1, "database_unreachable": 5, "storage_unreachable": 5}
"""`Retry-After` in seconds by error code, where the error does not say."""
_DESCRIPTIONS = {
    400: "The request cannot be read.",
    401: "The key is missing or not valid.",
    403: "The caller may not do this, or consent was withdrawn or is asked for again.",
    404: "There is nothing of the caller's with this id.",
    405: "This address does not take that method.",
    408: "It did not arrive in time.",
    409: "It cannot be done in the present state.",
    410: "It was erased.",
    413: "It is too large.",
    416: "The file has no such part.",
    422: "The request does not hold; `errors` says where.",
    429: "A quota is spent, or there are too many requests; `Retry-After` says when to ask again.",
    500: "A fault of the program.",
    503: "The installation cannot serve at present.",
}
MAX_FIELD_ERRORS = 20
"""Field errors that are listed of one request."""
_log = logging.getLogger("portrait.api")


def problem_responses(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """Responses of a route for the OpenAPI document: a problem for each of these statuses."""
    content = {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}}
    return {status: {"description": _description(status), "content": content} for status in statuses}


def _description(status: int) -> str:
    """What a status means, with the codes that have it; of 422 and 500 these are too many to be named."""
    codes = [f"`{code}`" for code, each in sorted(STATUS_BY_CODE.items()) if each == status]
    if not codes or status == 422:
        return _DESCRIPTIONS[status]
    return f"{_DESCRIPTIONS[status]} `code` is {'one of ' if len(codes) > 1 else ''}{', '.join(codes)}."


def error_response(error: PortraitError, request: Request) -> JSONResponse:
    """An error as a response."""
    default = 422 if isinstance(error, UserError) else 503 if isinstance(error, OperatorError) else 500
    status = STATUS_BY_CODE.get(error.code, default)
    headers = {}
    wait = error.details.get("retry_after", RETRY_AFTER.get(error.code))
    if wait is not None:
        headers["Retry-After"] = str(int(wait))
    if status == 401:
        headers["WWW-Authenticate"] = 'Bearer realm="portrait"'
    return problem_response(request, status, error.code, error.message, error_details(error.details), headers)


def error_details(details: Mapping[str, Any]) -> list[schemas.ErrorDetail]:
    """The parts of an error: fields that are wrong, and the reasons of each photo that was refused."""
    fields = [schemas.ErrorDetail(**each) for each in details.get("fields", [])]
    return fields + [
        schemas.ErrorDetail(where=str(photo.get("file", "")), code=reason["code"], message=reason["tip"])
        for photo in details.get("photos", [])
        for reason in photo.get("reasons", [])
    ]


def problem_response(
    request: Request,
    status: int,
    code: str,
    detail: str,
    errors: Iterable[schemas.ErrorDetail] = (),
    headers: Mapping[str, str] | None = None,
) -> JSONResponse:
    """A problem as a response."""
    body = schemas.Problem(
        title=HTTPStatus(status).phrase,
        status=status,
        detail=detail,
        code=code,
        instance=f"urn:request:{getattr(request.state, 'id', '')}",
        errors=list(errors),
    )
    return JSONResponse(body.model_dump(), status, dict(headers or {}), media_type=MEDIA_TYPE)


def install_handlers(app: FastAPI) -> None:
    """Install handlers that turn every error into a problem; no traceback reaches a caller."""
    app.add_exception_handler(PortraitError, _handle_portrait_error)
    app.add_exception_handler(RequestValidationError, _handle_validation_error)
    app.add_exception_handler(HTTPException, _handle_http_error)


def _handle_portrait_error(request: Request, error: Exception) -> JSONResponse:
    if not isinstance(error, PortraitError):
        raise error
    if not isinstance(error, UserError):
        _log.error("%s: %s", error.code, error.message)
    return error_response(error, request)


def _handle_validation_error(request: Request, error: Exception) -> JSONResponse:
    if not isinstance(error, RequestValidationError):
        raise error
    # What was sent is not repeated: it may be anything.
    wrong = [
        schemas.ErrorDetail(
            where=".".join(str(part)[:60] for part in each["loc"]), code=each["type"], message=each["msg"]
        )
        for each in error.errors()[:MAX_FIELD_ERRORS]
    ]
    where = ", ".join(dict.fromkeys(each.where for each in wrong))
    return problem_response(request, 422, "bad_request", f"The request does not hold: {where}. See `errors`.", wrong)


def _handle_http_error(request: Request, error: Exception) -> JSONResponse:
    if not isinstance(error, HTTPException):
        raise error
    most = getattr(request.state, "too_large", None)
    if most is not None:
        # Starlette took the end of the stream for a body that it cannot parse.
        return problem_response(
            request, 413, "too_large", f"A request has {most // 1_000_000} MB at most. Send less at once."
        )
    if getattr(request.state, "too_slow", False):
        return problem_response(request, 408, "too_slow", "The request did not arrive in time. Send it again.")
    if isinstance(error.__cause__, OSError):
        # The same for a disk that did not take the upload.
        return _handle_portrait_error(request, disk_error(error.__cause__))
    code = {404: "no_such_address", 405: "no_such_method", 413: "too_large"}.get(error.status_code, "bad_request")
    return problem_response(request, error.status_code, code, str(error.detail), headers=error.headers)


def unexpected_response(request: Request, error: Exception) -> JSONResponse:
    """The response to an unknown error, without details; the log says where it was raised."""
    # The sentence of an unknown error may hold anything: the log gets its class and where it was raised.
    where = format_trace(error.__traceback__, 1)
    _log.error("unexpected %s at %s", type(error).__name__, where, extra={"request": getattr(request.state, "id", "")})
    return problem_response(
        request, 500, "unexpected", "Something went wrong that should not have. The log has the details."
    )
