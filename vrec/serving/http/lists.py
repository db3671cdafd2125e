"""Lists of the backend as responses."""

import time
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from fastapi import Response

from vrec.config.serve import ExperimentArmConfig, ServeConfig
from vrec.serving.budgets.cpu import charge_cpu
from vrec.serving.budgets.load import cheap_reason
from vrec.serving.creators.lists import CreatorKind
from vrec.serving.deployments.protocol import BackendUnavailable, Card, ServingBackend, UnknownVideo
from vrec.serving.http.creators import creator_list_body
from vrec.serving.http.errors import log_error
from vrec.serving.http.list_pages import ShownVideos, next_cursor, shown_before
from vrec.serving.http.live_items import CheckedStreams, check_streams
from vrec.serving.http.schemas.moments import moment_body
from vrec.serving.http.schemas.requests import RecommendRequest, SearchRequest
from vrec.serving.http.schemas.responses import (
    MatchingMoment,
    add_explanation,
    add_scores,
    json_response,
    list_response,
    mentioned_video_ids,
)
from vrec.serving.http.schemas.slots import SlotsRequest
from vrec.serving.http.schemas.streams import live_body
from vrec.serving.messages import ListResult, RecommendQuery
from vrec.serving.moments.messages import MomentQuery, MomentsMissing

MOMENTS_SHOWN = 3
"""Moments of a video in a search."""


def now_us() -> int:
    """Return the time in µs since 1970."""
    return time.time_ns() // 1000


@dataclass(frozen=True, eq=False, slots=True)
class _MadeList:
    """List for a request, before its cards."""

    body: RecommendRequest
    list_id: str
    shown: ShownVideos
    result: ListResult
    arm: ExperimentArmConfig
    spent_s: float

    @property
    def video_ids(self) -> list[str]:
        return [item.video_id for item in self.result.items]


class ListResponder:
    """Lists of the backend as responses."""

    def __init__(self, backend: ServingBackend, config: ServeConfig) -> None:
        self._backend, self._config = backend, config

    async def recommend(self, body: RecommendRequest, request_id: str) -> Response:
        """Return a RecommendResponse: of the arm's order, or of popular videos if ranking fails.

        Of creators or streamers it is a RecommendCreatorsResponse.
        """
        if body.kind in ("creator", "streamer"):
            return await self._recommend_creators(body, body.kind, request_id)
        shown = ShownVideos() if body.page is None else shown_before(body, body.page)
        list_id = request_id if body.page is None else body.page.request_id
        made = await self._list(body, list_id, shown)
        streams = await check_streams(self._backend, [made.result])
        if streams.over and not streams.failed:
            # Others take the places of the streams that have ended meanwhile.
            made = await self._list(body, list_id, shown, without=streams.over)
            streams = await check_streams(self._backend, [made.result])
        return json_response(await self._content(made, streams))

    async def _recommend_creators(
        self, body: RecommendRequest, kind: CreatorKind, request_id: str
    ) -> Response:
        query = RecommendQuery(
            request_id=request_id,
            user_id=body.user_key,
            surface=body.surface,
            k=body.k,
            at=now_us(),
            filters=body.filters.to_filters(body.kinds, body.exclude),
            age=body.context.age,
        )
        return json_response(
            creator_list_body(await self._backend.creators.recommend(query, kind), request_id)
        )

    async def recommend_slots(self, body: SlotsRequest, request_id: str) -> Response:
        """Return a SlotsResponse; the lists are made one after the other, and none has a video twice."""
        lists: list[_MadeList] = []
        for slot in body.slots:
            elsewhere = [video_id for one in lists for video_id in one.video_ids]
            request = body.request_of(slot)
            lists.append(await self._list(request, f"{request_id}-{slot.name}", ShownVideos((), elsewhere)))
        contents: list[dict[str, Any]] = []
        streams = await check_streams(self._backend, [one.result for one in lists])
        for slot, made in zip(body.slots, lists, strict=True):
            # Later pages of a slot have no video of the slots after it either.
            others = [video_id for one in lists if one is not made for video_id in one.video_ids]
            content = await self._content(replace(made, shown=ShownVideos((), others)), streams)
            contents.append({"name": slot.name, **content})
        return json_response({"request_id": request_id, "slots": contents})

    async def _list(
        self,
        body: RecommendRequest,
        list_id: str,
        shown: ShownVideos,
        *,
        without: Collection[str] = (),
    ) -> "_MadeList":
        """Return a list for a request.

        Args:
            body: The request.
            list_id: Id of the list.
            shown: Videos that the list has no more.
            without: Further videos that it must not have.
        """
        start, related = time.perf_counter(), body.related
        arm = self._backend.experiment.arm_of(body.user_key)
        excluded = [*body.exclude, *shown.before, *shown.elsewhere, *related.video_ids, *related.cart]
        filters = body.filters.to_filters(body.kinds, [*excluded, *without])
        if body.kind == "stream":
            filters = replace(filters, streams="only")
        query = RecommendQuery(
            request_id=list_id,
            user_id=body.user_key,
            surface=body.surface,
            k=body.k,
            at=now_us(),
            filters=filters,
            age=body.context.age,
            order=arm.order,
            candidates=None if body.candidates is None else tuple(body.candidates),
            seeds=tuple(related.video_ids),
            cart=tuple(related.cart),
            explain=body.explain,
            shown=tuple(shown.before),
        )
        cheap = cheap_reason()
        try:
            if cheap is not None:
                result = self._backend.fallback(query, cheap)
            else:
                result = await self._backend.recommend(query)
                charge_cpu(result.cpu_ms)
        except Exception as error:  # after any failure, popular videos are better than none
            log_error(list_id, error)
            result = self._backend.fallback(query)
            result = replace(result, degraded=result.degraded or ("ranking",))
        return _MadeList(body, list_id, shown, result, arm, time.perf_counter() - start)

    async def _content(self, made: "_MadeList", streams: CheckedStreams) -> dict[str, Any]:
        """Return a RecommendResponse as a dict, without the streams that are over."""
        body, start = made.body, time.perf_counter()
        result, cards = await self._with_cards(streams.cut(made.result))
        before = len(made.shown.before)
        content = list_response(result, cards, made.list_id, self._config.currency, before)
        content |= {"arm": made.arm.name, "arm_share": made.arm.share, "unknown": result.unknown}
        _add_live(content, streams)
        is_last = _has_all(made, streams, self._config.candidates.most)
        content["next_cursor"] = next_cursor(body, made.list_id, made.shown, result, is_last=is_last)
        if body.explain:
            add_explanation(content, result)
        total_s = made.spent_s + time.perf_counter() - start
        content["spent_ms"] = {**result.spent_ms, "total": total_s * 1e3}
        return content

    async def respond(
        self, result: ListResult, request_id: str, more: Mapping[str, Any] | None = None
    ) -> Response:
        """Return a ListResponse with more fields."""
        return await self._respond(
            result, request_id, await check_streams(self._backend, [result]), more or {}
        )

    async def _respond(
        self,
        result: ListResult,
        request_id: str,
        streams: CheckedStreams,
        more: Mapping[str, Any],
        moments: Mapping[str, list[dict[str, Any]]] | None = None,
    ) -> Response:
        result, cards = await self._with_cards(streams.cut(result))
        content = list_response(result, cards, request_id, self._config.currency)
        _add_live(content, streams)
        add_scores(content, result)
        for item in content["items"] if moments is not None else ():
            item["moments"] = (moments or {}).get(item["video_id"], [])
        return json_response(content | dict(more))

    async def search(self, body: SearchRequest, request_id: str) -> Response:
        """Return a SearchResponse; a search that finds something counts for its shopper."""
        filters = body.filters.to_filters(body.kinds, body.exclude)
        result = await self._backend.search(body.text, body.k, filters, now_us())
        charge_cpu(result.cpu_ms)
        streams = await check_streams(self._backend, [result])
        found = sum(item.source.startswith("search:") for item in streams.cut(result).items)
        if found and body.user_key is not None:
            self._backend.searches.count(body.text, body.user_key, now_us())
            self._backend.learned_searches.learn(body.text, body.user_key, request_id)
        response = {"found": found}
        if not body.moments:
            return await self._respond(result, request_id, streams, response)
        moments = await self._moments(body, streams.cut(result))
        return await self._respond(result, request_id, streams, response, moments)

    async def _moments(self, body: SearchRequest, result: ListResult) -> dict[str, list[dict[str, Any]]]:
        """Return the moments of a search's videos by id; none where the bundle has none."""
        names = tuple(item.video_id for item in result.items)
        found: dict[str, list[dict[str, Any]]] = {name: [] for name in names}
        query = MomentQuery(
            len(names) * MOMENTS_SHOWN, now_us(), text=body.text, video_ids=names, per_video=MOMENTS_SHOWN
        )
        try:
            moments = (await self._backend.moments.find(query)).moments if names else ()
        except (MomentsMissing, UnknownVideo, BackendUnavailable, TimeoutError):
            moments = ()  # the list without moments is better than none
        for moment in moments:
            content = moment_body(moment, {})
            found[moment.video_id].append({k: content[k] for k in MatchingMoment.model_fields})
        return found

    async def _with_cards(self, result: ListResult) -> tuple[ListResult, Mapping[str, Card]]:
        """Return the list and the cards of its videos; without cards it is marked as degraded."""
        video_ids: Sequence[str] = mentioned_video_ids(result)
        try:
            cards = await self._backend.cards(video_ids) if video_ids else {}
        except (BackendUnavailable, TimeoutError):
            return replace(result, degraded=(*result.degraded, "cards")), {}
        return result, cards


def _has_all(made: "_MadeList", streams: CheckedStreams, most: int) -> bool:
    """Return whether a list has all videos that there are for it, so that nothing is left for another page.

    Without live streams, whose number in a list is limited, candidates fill it as long as there are any.
    """
    result = made.result
    if (
        result.degraded
        or streams.failed
        or any(name in streams.live or name in streams.over for name in made.video_ids)
    ):
        return False
    return result.candidates <= len(result.items) < min(made.body.k, most)


def _add_live(content: dict[str, Any], streams: CheckedStreams) -> None:
    """Add the states of the live streams to the items of a response."""
    for item in content["items"]:
        if (state := streams.live.get(item["video_id"])) is not None:
            item["live"] = live_body(state)
