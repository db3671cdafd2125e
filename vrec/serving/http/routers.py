"""Routers of the service, whose routes join the application as they are."""

from collections.abc import Sequence

from fastapi import APIRouter, Depends, FastAPI, params
from starlette.convertors import Convertor, register_url_convertor
from starlette.routing import Match, Route
from starlette.types import Scope

from vrec.serving.http.query_parameters import check_query_parameters


class _IdPath(Convertor[str]):
    """Id in a path, with its slashes. Line breaks match too: the operation refuses them and says why."""

    regex = "(?s:.*)"

    def convert(self, value: str) -> str:
        return value

    def to_string(self, value: str) -> str:
        return value


register_url_convertor("id", _IdPath())


def service_router(
    tag: str | None = None, dependencies: Sequence[params.Depends] = (), *, is_open: bool = False
) -> APIRouter:
    """Return an empty router.

    Args:
        tag: Tag of its operations in the OpenAPI document.
        dependencies: Dependencies of all of its operations.
        is_open: Whether unknown query parameters are let through, as load balancers and caches add some to
            the addresses of pages.
    """
    checks = [] if is_open else [Depends(check_query_parameters)]
    return APIRouter(
        tags=None if tag is None else [tag],
        dependencies=[*checks, *dependencies],
        generate_unique_id_function=lambda route: route.name,
    )


class PageRoute(Route):
    """Route of a page, which is no operation of the API: it takes 5 kB less in each application.

    The scope of a request has it as its route, as it has those of the API.
    """

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        """See Route."""
        match, child = super().matches(scope)
        return match, child if match == Match.NONE else {**child, "route": self}


def add_routes(app: FastAPI, router: APIRouter) -> None:
    """Add the routes of a router to an application.

    `include_router` would build a second form of each route, which takes as much memory again, 1 MB for each
    application, and time to find in every request.
    """
    app.router.routes.extend(router.routes)
