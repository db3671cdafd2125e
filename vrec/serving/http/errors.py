"""Errors as RFC 9457 problem documents: what is wrong, where, and what to do about it."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, HTTPException, Request, Response
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from pydantic_core import to_json
from starlette.exceptions import HTTPException as AnyHttpException
from starlette.routing import BaseRoute, Match, Route

from vrec.core.errors import (
    EventsError,
    OutputError,
    SchemaError,
    ServeError,
    SourceError,
    StoreError,
    VideoError,
    VrecError,
)
from vrec.serving.deployments.protocol import BackendUnavailable, UnknownVideo

logger = logging.getLogger("vrec.http")

MEDIA_TYPE = "application/problem+json"
RETRY_AFTER_S = 2
"""What Retry-After says where a part of the service is away for a moment."""
MAX_FIELD_PROBLEMS = 100
"""Wrong fields that one document names at most."""


class FieldProblem(BaseModel):
    """What is wrong with one field."""

    model_config = ConfigDict(use_attribute_docstrings=True)

    where: str
    """The field's path, such as `events.3.kind`."""
    detail: str
    """What is wrong with it."""


class ProblemDocument(BaseModel):
    """An error, as RFC 9457 spells it."""

    model_config = ConfigDict(use_attribute_docstrings=True)

    type: str
    """What kind of problem it is: `urn:vrec:problem:` and a name."""
    title: str
    """The same in a few words."""
    status: int
    """The HTTP status."""
    detail: str
    """What happened, and what to do."""
    request_id: str
    """What the service's logs call the request."""
    errors: list[FieldProblem] = Field(default_factory=list)
    """What is wrong field by field."""


class HttpProblem(HTTPException):
    """An answer that is an error; raised anywhere below the routes."""

    def __init__(
        self,
        status: int,
        name: str,
        detail: str,
        *,
        errors: Sequence[FieldProblem] = (),
        headers: Mapping[str, str] | None = None,
    ) -> None:
        """`name` ends the type's URN and, with spaces, is the title."""
        super().__init__(status, detail, dict(headers or {}))
        self.name = name
        self.errors = errors


def problem_response(problem: HttpProblem, request_id: str) -> Response:
    """The problem as a response."""
    document = {
        "type": f"urn:vrec:problem:{problem.name}",
        "title": problem.name.replace("-", " ").capitalize(),
        "status": problem.status_code,
        "detail": problem.detail,
        "request_id": request_id,
        "errors": [{"where": one.where, "detail": one.detail} for one in problem.errors],
    }
    return Response(to_json(document), problem.status_code, problem.headers, MEDIA_TYPE)


@dataclass(frozen=True, slots=True)
class _ProblemKind:
    """What a class of errors is to a caller."""

    errors: tuple[type[Exception], ...]
    status: int
    name: str
    detail: str | None = None
    """What is said in place of the error's own words, which are for the operator."""


_KINDS = (
    _ProblemKind((UnknownVideo,), 404, "unknown-video"),
    _ProblemKind((VideoError,), 422, "unusable-video"),
    _ProblemKind((EventsError, SchemaError), 422, "unusable-events"),
    _ProblemKind((SourceError,), 422, "unreachable-video"),
    _ProblemKind(
        (BackendUnavailable, TimeoutError),
        503,
        "busy",
        "what answers this is away for a moment; send it again",
    ),
    _ProblemKind(
        (StoreError,), 503, "store-away", "the store cannot do it now and kept nothing; send it again"
    ),
    _ProblemKind(
        (OutputError,), 503, "no-room", "the data folder cannot be written and kept nothing; send it again"
    ),
    _ProblemKind((ServeError,), 503, "not-served"),
)
"""The first that fits counts."""


def to_problem(error: Exception) -> HttpProblem:
    """The problem that an error is, by its class; 500 for those that nobody expected.

    What went wrong inside is told to the log and not to the caller.
    """
    if isinstance(error, HttpProblem):
        return error
    if isinstance(error, AnyHttpException):
        return _from_http_exception(error)
    for kind in _KINDS:
        if isinstance(error, kind.errors):
            headers = {"Retry-After": str(RETRY_AFTER_S)} if kind.status == 503 else {}
            return HttpProblem(kind.status, kind.name, kind.detail or _client_detail(error), headers=headers)
    detail = "this is the service's fault: the operator finds it in the log by the request_id"
    return HttpProblem(500, "internal-error", detail)


def validation_problem(error: ValidationError | RequestValidationError, skip: int = 0) -> HttpProblem:
    """The problem of a body or parameter that is not as it should be, field by field.

    `skip` path elements are left out of each field's name.
    """
    found = error.errors()
    fields = [
        FieldProblem(where=".".join(map(str, one["loc"][skip:])) or "body", detail=one["msg"])
        for one in found[:MAX_FIELD_PROBLEMS]
    ]
    more = f" (the first {MAX_FIELD_PROBLEMS} are named)" if len(found) > MAX_FIELD_PROBLEMS else ""
    plural = "field is" if len(found) == 1 else "fields are"
    detail = f"{len(found)} {plural} wrong{more}: correct what `errors` names and send it again"
    return HttpProblem(422, "invalid-request", detail, errors=fields)


def request_id_of(request: Request) -> str:
    """The id by which logs know the request."""
    return request.state.request_id


def install_error_handlers(app: FastAPI, routes: Sequence[BaseRoute]) -> None:
    """Makes every error of the app a problem document; `routes` say which methods a path takes."""

    async def answer(request: Request, error: Exception) -> Response:
        if isinstance(error, AnyHttpException) and error.status_code == 405:
            error.headers = {"Allow": ", ".join(sorted(_methods(request, routes)))}
        problem = (
            validation_problem(error, 1) if isinstance(error, RequestValidationError) else to_problem(error)
        )
        if problem.status_code >= 500:
            log_error(request_id_of(request), error)
        return problem_response(problem, request_id_of(request))

    for kind in (AnyHttpException, RequestValidationError, VrecError, TimeoutError):
        app.add_exception_handler(kind, answer)


def _methods(request: Request, routes: Sequence[BaseRoute]) -> set[str]:
    """All methods that a path takes: the router names those of one route only."""
    found: set[str] = set()
    for route in routes:
        if isinstance(route, Route) and route.matches(request.scope)[0] != Match.NONE:
            found |= route.methods or set()
    return found


def log_error(request_id: str, error: Exception) -> None:
    """Logs an error that is the service's: briefly where it is known, with its traceback where it is not."""
    known = isinstance(error, VrecError | TimeoutError | AnyHttpException)
    said = f"{type(error).__name__}: {error}"
    logger.error(said, extra={"request_id": request_id}, exc_info=None if known else error)


def error_responses(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """What an operation's `responses` say of its errors."""
    content = {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/ProblemDocument"}}}
    return {status: {"description": HTTPStatus(status).phrase, "content": content} for status in statuses}


def _client_detail(error: Exception) -> str:
    kind = f"{type(error).__name__}: " if isinstance(error, VideoError) else ""
    return f"{kind}{error}; {error.fix}" if isinstance(error, VrecError) else str(error)


def _from_http_exception(error: AnyHttpException) -> HttpProblem:
    details = {
        404: "there is nothing at this path: /openapi.json lists what there is",
        405: "this path does not take this method: /openapi.json lists what it takes",
    }
    name = HTTPStatus(error.status_code).phrase.lower().replace(" ", "-")
    detail = details.get(error.status_code, str(error.detail))
    return HttpProblem(error.status_code, name, detail, headers=error.headers)
