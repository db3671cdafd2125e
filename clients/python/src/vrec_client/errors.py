"""The service's refusals and failures as errors."""

from http import HTTPStatus
from typing import TypeVar, cast

import httpx

from vrec_client.generated.models import ProblemDocument
from vrec_client.generated.types import Response, Unset

T = TypeVar("T")


class VrecError(Exception):
    """The service refused a request, or failed.

    Attributes:
        status: HTTP status.
        problem: The problem document (RFC 9457) of the response; None if it has none, as where a proxy
            answers.
    """

    def __init__(self, status: int, problem: ProblemDocument | None, content: bytes) -> None:
        self.status, self.problem = status, problem
        text = content[:200].decode(errors="replace") if problem is None else _sentence(problem)
        super().__init__(f"{status}: {text}")


def _sentence(problem: ProblemDocument) -> str:
    fields = (
        [] if isinstance(problem.errors, Unset) else [f"{one.where}: {one.detail}" for one in problem.errors]
    )
    more = f" ({'; '.join(fields)})" if fields else ""
    return f"{problem.detail}{more} [request {problem.request_id}]"


def error_of(response: httpx.Response) -> VrecError | None:
    """Return the error of a response that was read; None for a status below 400."""
    if response.status_code < HTTPStatus.BAD_REQUEST:
        return None
    try:
        problem = ProblemDocument.from_dict(response.json())
    except (ValueError, KeyError, TypeError, AttributeError):
        problem = None
    return VrecError(response.status_code, problem, response.content)


def result(response: Response[ProblemDocument | T]) -> T:
    """Return the parsed body of a response whose status is below 400."""
    return cast("T", response.parsed)
