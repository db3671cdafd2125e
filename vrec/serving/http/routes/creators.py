"""Routes of creators and streamers: their profiles."""

from typing import Annotated

from fastapi import APIRouter, Path, Query, Response

from vrec.config.serve import ServeConfig
from vrec.serving.deployments.protocol import ServingBackend
from vrec.serving.http.body import COMMON_ERRORS
from vrec.serving.http.creators import creator_body
from vrec.serving.http.cursors import decode_cursor, encode_cursor
from vrec.serving.http.errors import error_responses
from vrec.serving.http.keys import ApiKeyring, require_scope
from vrec.serving.http.routers import service_router
from vrec.serving.http.schemas.creators import CreatorResponse, CreatorsResponse, ListCreatorsQuery
from vrec.serving.http.schemas.requests import VideoId
from vrec.serving.http.schemas.responses import json_response


def routes(backend: ServingBackend, config: ServeConfig, keys: ApiKeyring | None) -> APIRouter:
    """Return the routes below `/v1/creators`."""
    router = service_router("creators", require_scope("read", keys))
    errors = (*((401,) if keys else ()), *COMMON_ERRORS)

    @router.get("/v1/creators", responses={200: {"model": CreatorsResponse}, **error_responses(*errors)})
    async def list_creators(query: Annotated[ListCreatorsQuery, Query()]) -> Response:
        """Return a page of the creators of all videos by id, unavailable videos included."""
        common = ("list_creators", query.kind)
        after = decode_cursor(query.cursor, common, str, "cursor") if query.cursor is not None else ""
        page = await backend.creators.page(after, query.limit, query.kind)
        last = page.entries[-1].creator_id if page.has_more else None
        content = {
            "creators": [creator_body(entry) for entry in page.entries],
            "found": page.matching,
            "next_cursor": None if last is None else encode_cursor(common, last),
        }
        return json_response(content)

    @router.get(
        "/v1/creators/{creator_id:id}",
        responses={200: {"model": CreatorResponse}, **error_responses(404, *errors)},
    )
    async def get_creator(creator_id: Annotated[VideoId, Path()]) -> Response:
        """Return the profile of a creator or streamer: figures when the bundle was made, and what shoppers
        did so far."""
        entry, counts = await backend.creators.get(creator_id)
        activity = {
            "follows": round(counts["event:follow"]),
            "gifts": round(counts["event:gift"]),
            "gifted": counts["gifted"],
        }
        return json_response(creator_body(entry) | {"activity": activity})

    return router
