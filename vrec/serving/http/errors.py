"""Errors as RFC 9457 problem documents."""

import logging
from collections.abc import Collection, Mapping, Sequence
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
    SessionTaken,
    SourceError,
    StoreError,
    UnknownEvent,
    VideoError,
    VrecError,
)
from vrec.privacy.consent.table import ConsentMissing
from vrec.profiles.links import LinkTaken, UnknownLink
from vrec.serving.ab_test.log import ExperimentChanged
from vrec.serving.batches.folder import BatchNotDone, TooManyBatches, UnknownBatch
from vrec.serving.bundle_moves import CannotMove, MoveRuns, UnknownBundle, UnreadableBundle
from vrec.serving.creators.entries import UnknownCreator
from vrec.serving.deployments.protocol import BackendUnavailable, UnknownVideo, VideoChanged, VideoIdTaken
from vrec.serving.moments.messages import MomentsMissing
from vrec.serving.rules.errors import RuleConflict, RuleLimit, UnknownRule
from vrec.serving.streams.states import StreamIsLive, StreamOver, StreamTaken, UnknownStream

logger = logging.getLogger("vrec.http")

MEDIA_TYPE = "application/problem+json"
RETRY_AFTER_S = 2
"""Seconds in Retry-After if a part of the service is temporarily unavailable."""
MAX_FIELD_PROBLEMS = 100
"""Maximum number of invalid fields that one document lists."""


class FieldProblem(BaseModel):
    """Problem of one field."""

    model_config = ConfigDict(use_attribute_docstrings=True)

    where: str
    """Path of the field, such as `events.3.kind`."""
    detail: str
    """Explanation of the problem."""


class ProblemDocument(BaseModel):
    """Error in the format of RFC 9457."""

    model_config = ConfigDict(use_attribute_docstrings=True)

    type: str
    """Kind of problem: `urn:vrec:problem:` and a name."""
    title: str
    """Kind of problem in a few words."""
    status: int
    """HTTP status."""
    detail: str
    """Explanation of the problem and its fix."""
    request_id: str
    """Id of the request in the service's logs."""
    errors: list[FieldProblem] = Field(default_factory=list)
    """Problems by field."""


class HttpProblem(HTTPException):
    """Error response, raised anywhere below the routes."""

    def __init__(
        self,
        status: int,
        name: str,
        detail: str,
        *,
        errors: Sequence[FieldProblem] = (),
        headers: Mapping[str, str] | None = None,
    ) -> None:
        """Set `name`, the end of the type's URN, which with spaces for hyphens is the title."""
        super().__init__(status, detail, dict(headers or {}))
        self.name = name
        self.errors = errors


def problem_response(problem: HttpProblem, request_id: str) -> Response:
    """Return the problem as a response."""
    return Response(
        to_json(problem_body(problem, request_id)), problem.status_code, problem.headers, MEDIA_TYPE
    )


def problem_body(problem: HttpProblem, request_id: str) -> dict[str, Any]:
    """Return a ProblemDocument as a dict."""
    return {
        "type": f"urn:vrec:problem:{problem.name}",
        "title": problem.name.replace("-", " ").capitalize(),
        "status": problem.status_code,
        "detail": problem.detail,
        "request_id": request_id,
        "errors": [{"where": field.where, "detail": field.detail} for field in problem.errors],
    }


@dataclass(frozen=True, slots=True)
class _ProblemKind:
    """Problem that stands for some classes of errors."""

    errors: tuple[type[Exception], ...]
    status: int
    name: str
    detail: str | None = None
    """Detail that replaces the error's own message, which is for the operator."""


_KINDS = (
    _ProblemKind((UnknownVideo,), 404, "unknown-video"),
    _ProblemKind((MomentsMissing,), 404, "no-moments"),
    _ProblemKind((VideoIdTaken,), 409, "id-taken"),
    _ProblemKind((UnknownRule,), 404, "unknown-rule"),
    _ProblemKind((RuleConflict,), 412, "precondition-failed"),
    _ProblemKind((RuleLimit,), 409, "too-many-rules"),
    _ProblemKind((VideoChanged,), 412, "video-changed"),
    _ProblemKind((UnknownStream,), 404, "unknown-stream"),
    _ProblemKind((UnknownCreator,), 404, "unknown-creator"),
    _ProblemKind((StreamOver,), 409, "stream-over"),
    _ProblemKind((StreamIsLive,), 409, "stream-live"),
    _ProblemKind((StreamTaken,), 409, "stream-taken"),
    _ProblemKind((UnknownLink,), 404, "unknown-link"),
    _ProblemKind((LinkTaken,), 409, "link-taken"),
    _ProblemKind((ConsentMissing,), 409, "consent-missing"),
    _ProblemKind((UnknownEvent,), 404, "unknown-event"),
    _ProblemKind((SessionTaken,), 409, "session-taken"),
    _ProblemKind((UnknownBatch,), 404, "unknown-batch"),
    _ProblemKind((BatchNotDone,), 409, "batch-not-done"),
    _ProblemKind((TooManyBatches,), 409, "too-many-batches"),
    _ProblemKind((ExperimentChanged,), 412, "experiment-changed"),
    _ProblemKind((UnknownBundle,), 404, "unknown-bundle"),
    _ProblemKind((UnreadableBundle,), 422, "unreadable-bundle"),
    _ProblemKind((MoveRuns,), 409, "move-runs"),
    _ProblemKind((CannotMove,), 409, "cannot-move"),
    _ProblemKind((VideoError,), 422, "unusable-video"),
    _ProblemKind((EventsError, SchemaError), 422, "unusable-events"),
    _ProblemKind((SourceError,), 422, "unreachable-video"),
    _ProblemKind(
        (BackendUnavailable, TimeoutError),
        503,
        "busy",
        "a part of the service is temporarily unavailable: send the request again",
    ),
    _ProblemKind(
        (StoreError,),
        503,
        "store-away",
        "the store is temporarily unavailable and stored nothing: send the request again",
    ),
    _ProblemKind(
        (OutputError,),
        503,
        "no-room",
        "the data folder cannot be written and nothing was stored: send the request again later",
    ),
    _ProblemKind((ServeError,), 503, "not-served"),
)
"""Problem kinds; the first that matches an error applies."""


def to_problem(error: Exception) -> HttpProblem:
    """Return the problem for an error by its class; status 500 for an unexpected one.

    Internal causes are logged and not revealed to the client.
    """
    if isinstance(error, HttpProblem):
        return error
    if isinstance(error, AnyHttpException):
        return _from_http_exception(error)
    for kind in _KINDS:
        if isinstance(error, kind.errors):
            headers = {"Retry-After": str(RETRY_AFTER_S)} if kind.status == 503 else {}
            return HttpProblem(kind.status, kind.name, kind.detail or _client_detail(error), headers=headers)
    detail = "the service failed: its operator finds the cause in the log by the request_id"
    return HttpProblem(500, "internal-error", detail)


def validation_problem(
    error: ValidationError | RequestValidationError, skip: int = 0, tags: Collection[str] = ()
) -> HttpProblem:
    """Return the problem of an invalid body or parameter, field by field.

    Args:
        error: The validation error.
        skip: Number of leading path elements to leave out of each field's path.
        tags: Path elements to leave out wherever they stand.
    """
    field_errors = error.errors()
    fields = [
        FieldProblem(where=_path(one["loc"][skip:], tags), detail=_detail(one))
        for one in field_errors[:MAX_FIELD_PROBLEMS]
    ]
    count = len(field_errors)
    more = f" (the first {MAX_FIELD_PROBLEMS} are listed)" if count > MAX_FIELD_PROBLEMS else ""
    plural = "field is" if count == 1 else "fields are"
    detail = f"{count} {plural} invalid{more}: correct the fields in `errors` and send the request again"
    return HttpProblem(422, "invalid-request", detail, errors=fields)


def _detail(error: Mapping[str, Any]) -> str:
    return "must be a JSON object" if error["type"] == "model_type" else str(error["msg"])


def _path(parts: Sequence[str | int], tags: Collection[str]) -> str:
    return ".".join(str(part) for part in parts if part not in tags) or "body"


def request_id_of(request: Request) -> str:
    """Return the id of the request in the logs."""
    return request.state.request_id


def install_error_handlers(app: FastAPI, routes: Sequence[BaseRoute]) -> None:
    """Turn every error of the app into a problem document.

    Args:
        app: The application.
        routes: All its routes, which tell the allowed methods of a path.
    """

    async def respond(request: Request, error: Exception) -> Response:
        if isinstance(error, AnyHttpException) and error.status_code == 405:
            error.headers = {"Allow": ", ".join(sorted(_allowed_methods(request, routes)))}
        problem = (
            validation_problem(error, 1) if isinstance(error, RequestValidationError) else to_problem(error)
        )
        if problem.status_code >= 500:
            log_error(request_id_of(request), error)
        # For the audit log, whose middleware is outside of this handler.
        request.state.problem = problem
        return problem_response(problem, request_id_of(request))

    for kind in (AnyHttpException, RequestValidationError, VrecError, TimeoutError):
        app.add_exception_handler(kind, respond)


def _allowed_methods(request: Request, routes: Sequence[BaseRoute]) -> set[str]:
    """Return the methods of all routes with the path of the first that matches.

    The router itself names those of one route only. A later path that matches too has the end of the earlier
    one as a part of its id.
    """
    found = [
        route
        for route in routes
        if isinstance(route, Route) and route.matches(request.scope)[0] != Match.NONE
    ]
    return {method for route in found if route.path == found[0].path for method in route.methods or ()}


def log_error(request_id: str, error: Exception) -> None:
    """Log a failure of the service; an unexpected error with its traceback."""
    expected = isinstance(error, VrecError | TimeoutError | AnyHttpException)
    message = f"{type(error).__name__}: {error}"
    logger.error(message, extra={"request_id": request_id}, exc_info=None if expected else error)


def error_responses(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """Return an operation's `responses` for these error statuses."""
    content = {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/ProblemDocument"}}}
    return {status: {"description": HTTPStatus(status).phrase, "content": content} for status in statuses}


def _client_detail(error: Exception) -> str:
    """Return an error's message and fix; a video's error begins with its kind, as FAILURES names it."""
    kind = f"{type(error).__name__}: " if isinstance(error, VideoError) else ""
    return f"{kind}{error}. Fix: {error.fix}" if isinstance(error, VrecError) else str(error)


def _from_http_exception(error: AnyHttpException) -> HttpProblem:
    details = {
        404: "there is nothing at this path: /openapi.json lists the paths",
        405: "this path does not support this method: /openapi.json lists the methods",
    }
    name = HTTPStatus(error.status_code).phrase.lower().replace(" ", "-")
    detail = details.get(error.status_code, str(error.detail))
    return HttpProblem(error.status_code, name, detail, headers=error.headers)
