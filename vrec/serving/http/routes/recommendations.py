"""The operations that answer with lists of videos."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Annotated, Any, TypeVar

from fastapi import APIRouter, Path, Query, Request, Response
from pydantic import BaseModel, ValidationError
from starlette.convertors import Convertor, register_url_convertor

from vrec.config.serve import ServeConfig
from vrec.serving.deployments.protocol import BackendUnavailable, Card, ServingBackend
from vrec.serving.experiments import assign_arm
from vrec.serving.http.errors import (
    HttpProblem,
    error_responses,
    log_error,
    request_id_of,
    validation_problem,
)
from vrec.serving.http.keys import ApiKeyring, require_scope
from vrec.serving.http.schemas.requests import (
    MAX_ITEMS,
    SIMILAR_SUFFIX,
    RecommendRequest,
    SearchRequest,
    VideoId,
)
from vrec.serving.http.schemas.responses import (
    ListResponse,
    RecommendResponse,
    json_response,
    list_response,
    mentioned_video_ids,
)
from vrec.serving.messages import ListResult, RecommendQuery, RequestFilters

BodyModel = TypeVar("BodyModel", bound=BaseModel)
COMMON_ERRORS = (403, 413, 422, 429, 500, 503)
"""What any operation with a body may answer instead."""


def openapi_body(model: type[BaseModel]) -> dict[str, Any]:
    """What OpenAPI says of a body that `read` reads."""
    schema = {"$ref": f"#/components/schemas/{model.__name__}"}
    return {"requestBody": {"required": True, "content": {"application/json": {"schema": schema}}}}


async def read_json(request: Request) -> bytes:
    """The body, which must be called JSON: browsers let any page send other types to any service."""
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "application/json":
        raise HttpProblem(415, "unsupported-media-type", "send the body with Content-Type: application/json")
    return await request.body()


async def read_body(request: Request, model: type[BodyModel]) -> BodyModel:
    """The request's body; raises the problem of one that is not as the model says."""
    body = await read_json(request)
    try:
        return model.model_validate_json(body)
    except ValidationError as error:
        raise validation_problem(error) from None


class _VideoPath(Convertor[str]):
    """A video's id in a path. Ids may have slashes, which a server cannot tell from those of the path."""

    regex = f".+(?<!{SIMILAR_SUFFIX})"

    def convert(self, value: str) -> str:
        return value

    def to_string(self, value: str) -> str:
        return value


register_url_convertor("video", _VideoPath())


def now_us() -> int:
    """µs since 1970."""
    return time.time_ns() // 1000


def routes(nodes: ServingBackend, config: ServeConfig, keys: ApiKeyring | None) -> APIRouter:
    """`/v1/recommend`, `/v1/search` and `/v1/videos/{video_id}/similar`."""
    router = APIRouter(tags=["lists"], dependencies=require_scope("read", keys))
    lists = _ListResponder(nodes, config)
    usual = error_responses(*((401,) if keys else ()), *COMMON_ERRORS)

    @router.post(
        "/v1/recommend",
        responses={200: {"model": RecommendResponse}, **usual, **error_responses(415)},
        openapi_extra=openapi_body(RecommendRequest),
    )
    async def recommend(request: Request) -> Response:
        """Videos for a shopper, best first: a popular list, marked as degraded, where no better can be."""
        return await lists.recommend(await read_body(request, RecommendRequest), request_id_of(request))

    @router.post(
        "/v1/search",
        responses={200: {"model": ListResponse}, **usual, **error_responses(415)},
        openapi_extra=openapi_body(SearchRequest),
    )
    async def search(request: Request) -> Response:
        """Videos for a text, best first."""
        given = await read_body(request, SearchRequest)
        filters = given.filters.to_filters(given.kinds, given.exclude)
        answer = await nodes.search(given.text, given.k, filters, now_us())
        return await lists.respond(answer, request_id_of(request))

    _add_similar(router, nodes, lists, usual)
    return router


def _add_similar(
    router: APIRouter, nodes: ServingBackend, lists: "_ListResponder", usual: dict[int | str, dict[str, Any]]
) -> None:
    @router.get(
        "/v1/videos/{video_id:video}/similar",
        responses={200: {"model": ListResponse}, **usual, **error_responses(404)},
    )
    async def similar(
        request: Request,
        video_id: Annotated[VideoId, Path()],
        k: Annotated[int, Query(ge=1, le=MAX_ITEMS, description="How many videos at most.")] = 20,
    ) -> Response:
        """Videos that are like one of the catalogue, the nearest first."""
        answer = await nodes.similar(video_id, k, RequestFilters(), now_us())
        return await lists.respond(answer, request_id_of(request))


class _ListResponder:
    """Answers of nodes as responses."""

    def __init__(self, nodes: ServingBackend, config: ServeConfig) -> None:
        self._nodes, self._config = nodes, config

    async def recommend(self, given: RecommendRequest, request_id: str) -> Response:
        begun = time.perf_counter()
        arm = assign_arm(given.user_key, self._config.arms)
        ask = RecommendQuery(
            request_id=request_id,
            user_id=given.user_key,
            surface=given.surface,
            k=given.k,
            at=now_us(),
            filters=given.filters.to_filters(given.kinds, given.exclude),
            age=given.context.age,
            order=arm.order,
        )
        try:
            answer = await self._nodes.recommend(ask)
        except Exception as error:  # whatever it is, popular videos are better than none
            log_error(request_id, error)
            answer = self._nodes.fallback(ask)
            answer = replace(answer, degraded=answer.degraded or ("ranking",))
        answer, cards = await self._with_cards(answer)
        said = list_response(answer, cards, request_id)
        said["arm"], said["arm_share"] = arm.name, arm.share
        said["spent_ms"] = {**answer.spent_ms, "total": (time.perf_counter() - begun) * 1e3}
        return json_response(said)

    async def respond(self, answer: ListResult, request_id: str) -> Response:
        """ListSaid of an answer."""
        answer, cards = await self._with_cards(answer)
        return json_response(list_response(answer, cards, request_id))

    async def _with_cards(self, answer: ListResult) -> tuple[ListResult, Mapping[str, Card]]:
        """The cards of what the answer speaks of; a list without them is better than none."""
        names: Sequence[str] = mentioned_video_ids(answer)
        try:
            cards = await self._nodes.cards(names) if names else {}
        except (BackendUnavailable, TimeoutError):
            return replace(answer, degraded=(*answer.degraded, "cards")), {}
        return answer, cards
