"""Routes that return lists of videos: recommendations, search and similar videos."""

from collections.abc import Sequence
from typing import Annotated, Any

from fastapi import APIRouter, Path, Query, Request, Response
from starlette.convertors import Convertor, register_url_convertor

from vrec.config.serve import ServeConfig
from vrec.serving.budgets.cpu import charge_cpu
from vrec.serving.deployments.protocol import ServingBackend
from vrec.serving.http.body import COMMON_ERRORS, openapi_body, read_body, read_json, validate_body
from vrec.serving.http.errors import error_responses, request_id_of
from vrec.serving.http.keys import ApiKeyring, ShopperToken, require_scope
from vrec.serving.http.lists import ListResponder, now_us
from vrec.serving.http.routers import service_router
from vrec.serving.http.schemas.creators import RecommendCreatorsResponse
from vrec.serving.http.schemas.requests import (
    MAX_ITEMS,
    RECOMMEND_BODY,
    Expression,
    ListFilters,
    SearchRequest,
    SessionRecommendRequest,
    UserRecommendRequest,
    VideoId,
)
from vrec.serving.http.schemas.responses import ListResponse, RecommendResponse, SearchResponse
from vrec.serving.http.schemas.slots import (
    SLOTS_BODY,
    SessionSlotsRequest,
    SlotsResponse,
    UserSlotsRequest,
)
from vrec.serving.http.schemas.videos import MOMENTS_SUFFIX, SIMILAR_SUFFIX


class _VideoPath(Convertor[str]):
    """Video id in a path. An id may contain slashes, which are decoded before the path is matched."""

    regex = f".+(?<!{SIMILAR_SUFFIX})(?<!{MOMENTS_SUFFIX})"

    def convert(self, value: str) -> str:
        return value

    def to_string(self, value: str) -> str:
        return value


register_url_convertor("video", _VideoPath())


def routes(backend: ServingBackend, config: ServeConfig, keys: ApiKeyring | None) -> APIRouter:
    """Return the routes of recommendations, search and similar videos."""
    router = service_router("lists")
    reading = require_scope("read", keys)
    responder = ListResponder(backend, config)
    errors = error_responses(*((401,) if keys else ()), *COMMON_ERRORS)

    @router.post(
        "/v1/recommend",
        responses={
            200: {"model": RecommendResponse | RecommendCreatorsResponse},
            **errors,
            **error_responses(415),
        },
        openapi_extra=openapi_body(UserRecommendRequest, SessionRecommendRequest),
        dependencies=require_scope("read", keys, browsers=True),
    )
    async def recommend(request: Request, shopper_token: ShopperToken = None) -> Response:
        """Recommend videos or creators to a shopper, best first. If ranking is unavailable, a list of videos
        has popular ones and is marked as degraded."""
        body = validate_body(await read_json(request), RECOMMEND_BODY)
        if keys is not None:
            keys.check_shopper(request, shopper_token, [body.user_key])
        return await responder.recommend(body, request_id_of(request))

    @router.post(
        "/v1/recommend:slots",
        responses={200: {"model": SlotsResponse}, **errors, **error_responses(415)},
        openapi_extra=openapi_body(UserSlotsRequest, SessionSlotsRequest),
        dependencies=require_scope("read", keys, browsers=True),
    )
    async def recommend_slots(request: Request, shopper_token: ShopperToken = None) -> Response:
        """Recommend videos to a shopper for several slots of a page, each as `POST /v1/recommend` does. No
        video is in two of the lists."""
        body = validate_body(await read_json(request), SLOTS_BODY)
        if keys is not None:
            keys.check_shopper(request, shopper_token, [body.user_key])
        return await responder.recommend_slots(body, request_id_of(request))

    @router.post(
        "/v1/search",
        responses={200: {"model": SearchResponse}, **errors, **error_responses(415)},
        openapi_extra=openapi_body(SearchRequest),
        dependencies=reading,
    )
    async def search(request: Request) -> Response:
        """Search videos by a text, best first; popular videos, with `found` 0, if none matches."""
        return await responder.search(await read_body(request, SearchRequest), request_id_of(request))

    _add_similar(router, backend, responder, errors, reading)
    return router


def _add_similar(
    router: APIRouter,
    backend: ServingBackend,
    responder: ListResponder,
    errors: dict[int | str, dict[str, Any]],
    reading: Sequence[Any],
) -> None:
    @router.get(
        "/v1/videos/{video_id:video}/similar",
        responses={200: {"model": ListResponse}, **errors, **error_responses(404)},
        dependencies=reading,
    )
    async def similar_videos(
        request: Request,
        video_id: Annotated[VideoId, Path()],
        k: Annotated[int, Query(ge=1, le=MAX_ITEMS, description="Maximum number of videos.")] = 20,
        expression: Annotated[Expression | None, Query(description="Filter expression.")] = None,
    ) -> Response:
        """Return videos similar to one of the catalog, nearest first."""
        filters = ListFilters(expression=expression).to_filters([], [])
        result = await backend.similar(video_id, k, filters, now_us())
        charge_cpu(result.cpu_ms)
        return await responder.respond(result, request_id_of(request))
