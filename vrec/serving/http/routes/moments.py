"""Routes of moments: of a video by words, and of the catalog by an example."""

from typing import Annotated, Any

from fastapi import APIRouter, Path, Query, Request, Response

from vrec.config.serve import ServeConfig
from vrec.serving.deployments.protocol import BackendUnavailable, ServingBackend
from vrec.serving.http.body import COMMON_ERRORS, openapi_body, read_body
from vrec.serving.http.errors import error_responses, request_id_of
from vrec.serving.http.keys import ApiKeyring, require_scope
from vrec.serving.http.lists import now_us
from vrec.serving.http.multipart import EXAMPLE_PATH, FORM, read_example_form
from vrec.serving.http.routers import service_router
from vrec.serving.http.schemas.moments import (
    MOST_MOMENTS,
    ExampleFields,
    ExampleForm,
    MomentsRequest,
    MomentsResponse,
    moments_body,
)
from vrec.serving.http.schemas.requests import Text, VideoId
from vrec.serving.http.schemas.responses import json_response
from vrec.serving.moments.messages import MomentQuery


def routes(backend: ServingBackend, config: ServeConfig, keys: ApiKeyring | None) -> APIRouter:
    """Return the routes of moments."""
    router = service_router("moments", require_scope("read", keys))
    errors = error_responses(*((401,) if keys else ()), *COMMON_ERRORS, 404)

    @router.get("/v1/videos/{video_id:video}/moments", responses={200: {"model": MomentsResponse}, **errors})
    async def find_moments(
        request: Request,
        video_id: Annotated[VideoId, Path()],
        q: Annotated[Text, Query(description="What is said, or shown, in the moment.")],
        k: Annotated[int, Query(ge=1, le=MOST_MOMENTS, description="Maximum number of moments.")] = 5,
    ) -> Response:
        """Return the moments of a video that match a text, best first; none of a video that no list can
        have."""
        return await respond(
            backend, MomentQuery(k, now_us(), text=q, video_ids=(video_id,), per_video=k), request
        )

    @router.post(
        "/v1/moments:search",
        responses={200: {"model": MomentsResponse}, **errors, **error_responses(415)},
        openapi_extra=openapi_body(MomentsRequest),
    )
    async def search_moments(request: Request) -> Response:
        """Return moments of other videos that are like some seconds of one, nearest first."""
        body = await read_body(request, MomentsRequest)
        filters = body.filters.to_filters(body.kinds, body.exclude)
        like = body.video_id, body.start_s, body.end_s
        query = MomentQuery(body.k, now_us(), filters, like=like, by=body.by, per_video=body.per_video)
        return await respond(backend, query, request)

    _add_search_by_file(router, backend, config, errors)
    return router


def _add_search_by_file(
    router: APIRouter, backend: ServingBackend, config: ServeConfig, errors: dict[int | str, dict[str, Any]]
) -> None:
    @router.post(
        EXAMPLE_PATH,
        responses={200: {"model": MomentsResponse}, **errors, **error_responses(415)},
        openapi_extra=openapi_body(ExampleForm, media_type=FORM),
    )
    async def search_moments_by_file(request: Request) -> Response:
        """Return moments that are like a picture, a crop of one, or a short clip, nearest first."""
        fields, content = await read_example_form(request, ExampleFields, config.security.most_example_bytes)
        example = await backend.moments.embed(content)
        filters = fields.to_filters()
        query = MomentQuery(
            fields.k, now_us(), filters, example=example, by=fields.by, per_video=fields.per_video
        )
        return await respond(backend, query, request)


async def respond(backend: ServingBackend, query: MomentQuery, request: Request) -> Response:
    """Return a MomentsResponse; without the titles of the videos if these cannot be read now."""
    result = await backend.moments.find(query)
    names = list(dict.fromkeys(moment.video_id for moment in result.moments))
    try:
        cards = await backend.cards(names) if names else {}
    except (BackendUnavailable, TimeoutError):
        cards = {}
    return json_response(moments_body(result, cards, request_id_of(request)))
