"""Routes that return lists of videos: recommendations, search and similar videos."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Annotated, Any

from fastapi import APIRouter, Path, Query, Request, Response
from starlette.convertors import Convertor, register_url_convertor

from vrec.config.serve import ServeConfig
from vrec.serving.deployments.protocol import BackendUnavailable, Card, ServingBackend
from vrec.serving.experiments import assign_arm
from vrec.serving.http.body import COMMON_ERRORS, openapi_body, read_body, read_json, validate_body
from vrec.serving.http.errors import error_responses, log_error, request_id_of
from vrec.serving.http.keys import ApiKeyring, ShopperToken, require_scope
from vrec.serving.http.list_pages import next_cursor, shown_before
from vrec.serving.http.schemas.requests import (
    MAX_ITEMS,
    RECOMMEND_BODY,
    Expression,
    ListFilters,
    RecommendRequest,
    SearchRequest,
    SessionRecommendRequest,
    UserRecommendRequest,
    VideoId,
)
from vrec.serving.http.schemas.responses import (
    ListResponse,
    RecommendResponse,
    SearchResponse,
    add_explanation,
    json_response,
    list_response,
    mentioned_video_ids,
)
from vrec.serving.http.schemas.videos import SIMILAR_SUFFIX
from vrec.serving.messages import ListResult, RecommendQuery


class _VideoPath(Convertor[str]):
    """Video id in a path. An id may contain slashes, which are decoded before the path is matched."""

    regex = f".+(?<!{SIMILAR_SUFFIX})"

    def convert(self, value: str) -> str:
        return value

    def to_string(self, value: str) -> str:
        return value


register_url_convertor("video", _VideoPath())


def now_us() -> int:
    """Return the time in µs since 1970."""
    return time.time_ns() // 1000


def routes(backend: ServingBackend, config: ServeConfig, keys: ApiKeyring | None) -> APIRouter:
    """Return the routes `/v1/recommend`, `/v1/search` and `/v1/videos/{video_id}/similar`."""
    router = APIRouter(tags=["lists"])
    reading = require_scope("read", keys)
    responder = _ListResponder(backend, config)
    errors = error_responses(*((401,) if keys else ()), *COMMON_ERRORS)

    @router.post(
        "/v1/recommend",
        responses={200: {"model": RecommendResponse}, **errors, **error_responses(415)},
        openapi_extra=openapi_body(UserRecommendRequest, SessionRecommendRequest),
        dependencies=require_scope("read", keys, browsers=True),
    )
    async def recommend(request: Request, shopper_token: ShopperToken = None) -> Response:
        """Recommend videos to a shopper, best first. If ranking is unavailable, the list has popular videos
        and is marked as degraded."""
        body = validate_body(await read_json(request), RECOMMEND_BODY)
        if keys is not None:
            keys.check_shopper(request, shopper_token, [body.user_key])
        return await responder.recommend(body, request_id_of(request))

    @router.post(
        "/v1/search",
        responses={200: {"model": SearchResponse}, **errors, **error_responses(415)},
        openapi_extra=openapi_body(SearchRequest),
        dependencies=reading,
    )
    async def search(request: Request) -> Response:
        """Search videos by a text, best first; popular videos, with `found` 0, if none matches."""
        search = await read_body(request, SearchRequest)
        filters = search.filters.to_filters(search.kinds, search.exclude)
        result = await backend.search(search.text, search.k, filters, now_us())
        found = sum(item.source.startswith("search:") for item in result.items)
        return await responder.respond(result, request_id_of(request), {"found": found})

    _add_similar(router, backend, responder, errors, reading)
    return router


def _add_similar(
    router: APIRouter,
    backend: ServingBackend,
    responder: "_ListResponder",
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
        return await responder.respond(result, request_id_of(request))


class _ListResponder:
    """Lists of the backend as responses."""

    def __init__(self, backend: ServingBackend, config: ServeConfig) -> None:
        self._backend, self._config = backend, config

    async def recommend(self, body: RecommendRequest, request_id: str) -> Response:
        """Return a RecommendResponse: of the arm's order, or of popular videos if ranking fails."""
        start = time.perf_counter()
        arm, page = assign_arm(body.user_key, self._config.arms), body.page
        shown = [] if page is None else shown_before(body, page)
        list_id = request_id if page is None else page.request_id
        related = body.related
        excluded = [*body.exclude, *shown, *related.video_ids, *related.cart]
        query = RecommendQuery(
            request_id=list_id,
            user_id=body.user_key,
            surface=body.surface,
            k=body.k,
            at=now_us(),
            filters=body.filters.to_filters(body.kinds, excluded),
            age=body.context.age,
            order=arm.order,
            candidates=None if body.candidates is None else tuple(body.candidates),
            seeds=tuple(related.video_ids),
            cart=tuple(related.cart),
            explain=body.explain,
            shown=tuple(shown),
        )
        try:
            result = await self._backend.recommend(query)
        except Exception as error:  # after any failure, popular videos are better than none
            log_error(request_id, error)
            result = self._backend.fallback(query)
            result = replace(result, degraded=result.degraded or ("ranking",))
        result, cards = await self._with_cards(result)
        content = list_response(result, cards, list_id, self._config.currency, len(shown))
        content["arm"], content["arm_share"], content["unknown"] = arm.name, arm.share, result.unknown
        content["next_cursor"] = next_cursor(body, list_id, shown, result)
        if body.explain:
            add_explanation(content, result)
        content["spent_ms"] = {**result.spent_ms, "total": (time.perf_counter() - start) * 1e3}
        return json_response(content)

    async def respond(
        self, result: ListResult, request_id: str, more: Mapping[str, Any] | None = None
    ) -> Response:
        """Return a ListResponse with more fields."""
        result, cards = await self._with_cards(result)
        return json_response(
            list_response(result, cards, request_id, self._config.currency) | dict(more or {})
        )

    async def _with_cards(self, result: ListResult) -> tuple[ListResult, Mapping[str, Card]]:
        """Return the list and the cards of its videos; without cards it is marked as degraded."""
        video_ids: Sequence[str] = mentioned_video_ids(result)
        try:
            cards = await self._backend.cards(video_ids) if video_ids else {}
        except (BackendUnavailable, TimeoutError):
            return replace(result, degraded=(*result.degraded, "cards")), {}
        return result, cards
