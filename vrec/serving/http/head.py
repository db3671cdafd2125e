"""HEAD for every operation that has GET: monitors, caches and download tools use it (RFC 9110, 9.3.2)."""

from fastapi import APIRouter
from fastapi.routing import APIRoute


def add_head_routes(router: APIRouter) -> None:
    """Add a HEAD route beside each GET route of a router; the OpenAPI document has the latter only.

    The response has the headers of GET. The server sends no body.
    """
    for route in list(router.routes):
        if isinstance(route, APIRoute) and route.methods == {"GET"}:
            router.add_api_route(
                route.path,
                route.endpoint,
                methods=["HEAD"],
                response_class=route.response_class,
                dependencies=route.dependencies[len(router.dependencies) :],
                include_in_schema=False,
            )
