"""Routes of what shoppers choose and search now, without regard to one of them."""

from typing import Annotated

from fastapi import APIRouter, Query, Request, Response

from vrec.config.serve import ServeConfig
from vrec.serving.deployments.protocol import ServingBackend
from vrec.serving.http.body import COMMON_ERRORS
from vrec.serving.http.errors import error_responses, request_id_of
from vrec.serving.http.keys import ApiKeyring, require_scope
from vrec.serving.http.lists import ListResponder, now_us
from vrec.serving.http.routers import service_router
from vrec.serving.http.schemas.responses import json_response
from vrec.serving.http.schemas.trends import (
    PopularSearchesQuery,
    PopularSearchesResponse,
    TrendingQuery,
    TrendingResponse,
)


def routes(backend: ServingBackend, config: ServeConfig, keys: ApiKeyring | None) -> APIRouter:
    """Return the routes of trending videos and popular searches."""
    router = service_router("lists", require_scope("read", keys))
    responder = ListResponder(backend, config)
    errors = error_responses(*((401,) if keys else ()), *COMMON_ERRORS)

    @router.get("/v1/trending", responses={200: {"model": TrendingResponse}, **errors})
    async def trending_videos(request: Request, query: Annotated[TrendingQuery, Query()]) -> Response:
        """Return the videos that more shoppers choose in a window than their share of the shoppers in the
        four windows before leads to expect, the greatest surplus first."""
        result, complete = await backend.trends.videos(query.window, query.k, query.to_filters(), now_us())
        more = {"window": query.window, "complete": complete}
        return await responder.respond(result, request_id_of(request), more)

    @router.get("/v1/searches/popular", responses={200: {"model": PopularSearchesResponse}, **errors})
    async def popular_searches(request: Request, query: Annotated[PopularSearchesQuery, Query()]) -> Response:
        """Return the texts that most shoppers searched in a window and that found something, of most shoppers
        first. Searches without a shopper do not count."""
        found = await backend.searches.popular(query.window, query.k, now_us())
        searches = [{"text": one.text, "shoppers": one.shoppers} for one in found]
        content = {"request_id": request_id_of(request), "window": query.window, "searches": searches}
        return json_response(content)

    return router
