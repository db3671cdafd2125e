"""HEAD for every operation that has GET: monitors, caches and download tools use it (RFC 9110, 9.3.2)."""

from collections.abc import Sequence
from copy import copy

from fastapi import APIRouter
from fastapi.routing import APIRoute
from starlette.routing import BaseRoute


def add_head_methods(router: APIRouter) -> None:
    """Let each GET route of a router answer HEAD too, with the headers of GET; the server sends no body.

    A route of its own would take as much memory again, .2 MB for each application.
    """
    for route in router.routes:
        if isinstance(route, APIRoute) and route.methods == {"GET"}:
            route.methods = {"GET", "HEAD"}


def without_head(routes: Sequence[BaseRoute]) -> list[BaseRoute]:
    """Return the routes as the OpenAPI document has them: without HEAD, which says nothing beside GET."""
    return [_without_head(route) if isinstance(route, APIRoute) else route for route in routes]


def _without_head(route: APIRoute) -> APIRoute:
    other = copy(route)
    other.methods = (route.methods or set()) - {"HEAD"}
    return other
