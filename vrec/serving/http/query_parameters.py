"""Check of query parameters: an unknown or repeated one is refused, not ignored."""

import difflib
from collections import Counter
from collections.abc import Mapping
from typing import get_origin

from fastapi import Request
from fastapi.routing import APIRoute
from pydantic import BaseModel

from vrec.serving.http.errors import MAX_FIELD_PROBLEMS, FieldProblem, HttpProblem

MAX_SHOWN_CHARS = 40
"""Maximum length of an unknown name in a message."""


async def check_query_parameters(request: Request) -> None:
    """Raise HttpProblem if a query parameter is unknown to the operation or is given more than once."""
    route = request.scope["route"]
    if not request.query_params or not isinstance(route, APIRoute):
        return
    known = _parameters(route)
    counts = Counter(name for name, _ in request.query_params.multi_items())
    problems = [(name, _problem(name, count, known)) for name, count in counts.items()]
    found = [
        FieldProblem(where=_shown(name), detail=detail) for name, detail in problems if detail is not None
    ]
    if found:
        plural = "query parameter is" if len(found) == 1 else "query parameters are"
        detail = f"{len(found)} {plural} invalid: correct those in `errors` and send the request again"
        raise HttpProblem(422, "invalid-request", detail, errors=found[:MAX_FIELD_PROBLEMS])


def _parameters(route: APIRoute) -> dict[str, bool]:
    """Return whether a parameter may be repeated, by the name of each parameter of an operation."""
    repeatable: dict[str, bool] = {}
    for parameter in route.dependant.query_params:
        annotation = parameter.field_info.annotation
        if isinstance(annotation, type) and issubclass(annotation, BaseModel):
            fields = annotation.model_fields.items()
            repeatable |= {name: get_origin(field.annotation) is list for name, field in fields}
        else:
            repeatable[parameter.alias] = get_origin(annotation) is list
    return repeatable


def _problem(name: str, count: int, known: Mapping[str, bool]) -> str | None:
    if name in known:
        return None if count == 1 or known[name] else f"the parameter is given {count} times: give it once"
    if not known:
        return "this operation has no query parameters: its fields are in the path and the body"
    near = difflib.get_close_matches(name.lower(), known, n=1, cutoff=0.5)
    hint = f"did you mean {near[0]}?" if near else f"known are {', '.join(known)}"
    return f"there is no parameter of this name: {hint}"


def _shown(name: str) -> str:
    return name if len(name) <= MAX_SHOWN_CHARS else f"{name[:MAX_SHOWN_CHARS]}…"
