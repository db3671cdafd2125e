"""Routes of bundles: which one is in service, which others there are, and moves to them."""

from fastapi import APIRouter, Request, Response

from vrec.bundle.summary import summary_in_service
from vrec.config.serve import ServeConfig
from vrec.serving.deployments.protocol import ServingBackend
from vrec.serving.http.audit import name_audited
from vrec.serving.http.body import COMMON_ERRORS, openapi_body, read_body
from vrec.serving.http.errors import error_responses
from vrec.serving.http.keys import ApiKeyring, require_scope
from vrec.serving.http.routers import service_router
from vrec.serving.http.schemas.bundles import (
    BundleMoveResponse,
    BundlesResponse,
    MoveBundleRequest,
    listed_content,
    move_content,
    served_content,
)
from vrec.serving.http.schemas.responses import json_response


def routes(backend: ServingBackend, config: ServeConfig, keys: ApiKeyring | None) -> APIRouter:
    """Return the routes `/v1/bundles` and `/v1/bundles:move`."""
    router = service_router("bundles", require_scope("manage", keys))
    errors = (*((401,) if keys else ()), *COMMON_ERRORS)

    @router.get("/v1/bundles", responses={200: {"model": BundlesResponse}, **error_responses(*errors)})
    async def list_bundles() -> Response:
        """Return the bundle in service, the move that runs or ended last, and the bundles that the shop may
        be moved to, the newest first."""
        state, listed = await backend.service_state(), await backend.bundles.summaries()
        move = await backend.bundles.last_move()
        served = summary_in_service(listed, state.uri, state.version)
        name = None if served is None else served.name
        refused = None if state.refused is None else dict(zip(("why", "fix"), state.refused, strict=True))
        content = {
            "in_service": served_content(state, name),
            "refused": refused,
            "move": None if move is None else move_content(move),
            "bundles": [listed_content(one, name) for one in listed],
            "problem": await backend.bundles.problem(),
        }
        return json_response(content)

    @router.post(
        "/v1/bundles:move",
        status_code=202,
        responses={202: {"model": BundleMoveResponse}, **error_responses(404, 409, 415, *errors)},
        openapi_extra=openapi_body(MoveBundleRequest),
    )
    async def move_bundle(request: Request) -> Response:
        """Move the shop to another bundle of `GET /v1/bundles` without losing a request. The move runs beside
        the service; GET tells how it ended. A bundle that is refused leaves the one before in service."""
        body = await read_body(request, MoveBundleRequest)
        name_audited(request, bundle=body.bundle)
        return json_response(move_content(await backend.bundles.move(body.bundle)), 202)

    return router
