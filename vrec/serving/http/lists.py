"""Lists of the backend as responses."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from fastapi import Response

from vrec.config.serve import ServeConfig
from vrec.serving.deployments.protocol import BackendUnavailable, Card, ServingBackend
from vrec.serving.experiments import assign_arm
from vrec.serving.http.errors import log_error
from vrec.serving.http.list_pages import next_cursor, shown_before
from vrec.serving.http.schemas.requests import RecommendRequest
from vrec.serving.http.schemas.responses import (
    add_explanation,
    add_scores,
    json_response,
    list_response,
    mentioned_video_ids,
)
from vrec.serving.messages import ListResult, RecommendQuery


def now_us() -> int:
    """Return the time in µs since 1970."""
    return time.time_ns() // 1000


class ListResponder:
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
        content = list_response(result, cards, request_id, self._config.currency)
        add_scores(content, result)
        return json_response(content | dict(more or {}))

    async def _with_cards(self, result: ListResult) -> tuple[ListResult, Mapping[str, Card]]:
        """Return the list and the cards of its videos; without cards it is marked as degraded."""
        video_ids: Sequence[str] = mentioned_video_ids(result)
        try:
            cards = await self._backend.cards(video_ids) if video_ids else {}
        except (BackendUnavailable, TimeoutError):
            return replace(result, degraded=(*result.degraded, "cards")), {}
        return result, cards
