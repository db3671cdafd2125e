"""Routes of the catalog in service: list, add, update and remove videos."""

import asyncio
import uuid
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Annotated, Any

from fastapi import APIRouter, Path, Query, Request, Response

from vrec.config.serve import ServeConfig
from vrec.core.schema import VIDEOS
from vrec.serving.catalog.listing import CatalogQuery
from vrec.serving.catalog.uploads import UploadStore, readable_uri
from vrec.serving.catalog.versions import card_version
from vrec.serving.deployments.protocol import (
    BackendUnavailable,
    Card,
    ServingBackend,
    UnknownVideo,
    VideoChanged,
    VideoIdTaken,
)
from vrec.serving.http.audit import name_new_video
from vrec.serving.http.body import COMMON_ERRORS, openapi_body, read_body
from vrec.serving.http.conditional import IfMatchOne, named_version
from vrec.serving.http.cursors import decode_cursor, encode_cursor
from vrec.serving.http.errors import HttpProblem, error_responses, log_error
from vrec.serving.http.keys import ApiKeyring, require_scope
from vrec.serving.http.lists import now_us
from vrec.serving.http.live_items import check_streams, live_stream_ids
from vrec.serving.http.multipart import FORM, UPLOAD_PATH, read_form
from vrec.serving.http.routers import service_router
from vrec.serving.http.schemas.requests import VideoId
from vrec.serving.http.schemas.responses import (
    AddVideoResponse,
    VideoResponse,
    json_response,
    rounded_seconds,
)
from vrec.serving.http.schemas.videos import (
    AddVideoRequest,
    ListVideosQuery,
    NewVideoFields,
    UpdateVideoRequest,
    UploadVideoForm,
    VideoDetails,
    VideosResponse,
)
from vrec.serving.messages import CatalogEdit, CatalogEntry, EmbeddedVideo, ListResult, RequestFilters
from vrec.serving.streams.states import StreamIsLive

LONG_AGO = datetime.fromtimestamp(0, UTC)
"""Publishing date of a copy of a video without one: without a date it would count as new."""
NEIGHBORS_SHOWN = 5
"""Similar videos in the response to a new video."""


def routes(backend: ServingBackend, config: ServeConfig, keys: ApiKeyring | None) -> APIRouter:
    """Return the routes `/v1/uploads` and those below `/v1/videos`."""
    router = service_router("catalog", require_scope("manage", keys))
    catalog = _CatalogOperations(backend, config)
    errors = (*((401,) if keys else ()), *COMMON_ERRORS)
    _add_new_videos(router, catalog, errors)
    _add_reading(router, backend, errors)

    @router.patch(
        "/v1/videos/{video_id:video}",
        responses={
            200: {"model": VideoResponse, "headers": _ETAG},
            **error_responses(404, 409, 412, 415, *errors),
        },
        openapi_extra=openapi_body(UpdateVideoRequest),
    )
    async def update_video(
        request: Request, video_id: Annotated[VideoId, Path()], if_match: IfMatchOne = None
    ) -> Response:
        """Update fields of a video, such as its availability; absent fields stay as they are. With
        `If-Match`, only if the video is still as the `ETag` of GET says."""
        update = await read_body(request, UpdateVideoRequest)
        return await catalog.change(video_id, update, named_version(if_match))

    @router.delete(
        "/v1/videos/{video_id:video}",
        status_code=204,
        response_class=Response,
        responses=error_responses(404, 409, *errors),
    )
    async def remove_video(video_id: Annotated[VideoId, Path()]) -> Response:
        """Remove a video from the catalog, and its file if it was uploaded."""
        return await catalog.remove(video_id)

    return router


def _add_reading(router: APIRouter, backend: ServingBackend, errors: Sequence[int]) -> None:
    @router.get("/v1/videos", responses={200: {"model": VideosResponse}, **error_responses(*errors)})
    async def list_videos(query: Annotated[ListVideosQuery, Query()]) -> Response:
        """Return a page of the catalog by video id, unavailable videos included. Over all pages a video comes
        once, also if the catalog changes between them."""
        filters, request = query.to_filters(), query.model_dump(exclude={"cursor", "limit"})
        common = ("list_videos", sorted(request.items()))
        after = decode_cursor(query.cursor, common, str, "cursor") if query.cursor is not None else ""
        asked = CatalogQuery(query.limit, after, filters, query.text, query.available)
        page = await backend.videos(asked, now_us())
        last = page.entries[-1].card["video_id"] if page.has_more else None
        content = {
            "videos": [_details(entry) for entry in page.entries],
            "found": page.matching,
            "next_cursor": None if last is None else encode_cursor(common, last),
        }
        return json_response(content)

    @router.get(
        "/v1/videos/{video_id:video}",
        responses={200: {"model": VideoDetails, "headers": _ETAG}, **error_responses(404, *errors)},
    )
    async def get_video(video_id: Annotated[VideoId, Path()]) -> Response:
        """Return a video of the catalog with all its fields, and why no list can have it. Its `ETag` goes
        into `If-Match` of a change."""
        entry = await backend.video(video_id, now_us())
        return json_response(_details(entry), 200, _etag_of(entry.card))


_ETAG = {"ETag": {"description": "Version of the video, for If-Match.", "schema": {"type": "string"}}}


def _etag_of(card: Card) -> dict[str, str]:
    return {"etag": f'"{card_version(card)}"'}


def _details(entry: CatalogEntry) -> dict[str, Any]:
    """Return a VideoDetails as a dict."""
    card = {name: entry.card[name] for name in VideoDetails.model_fields if name in entry.card}
    return card | {
        "duration_s": rounded_seconds(entry.card["duration_s"]),
        "embedded": entry.embedded,
        "min_age": entry.min_age,
        "recommendable": not entry.barred_by,
        "why_not": list(entry.barred_by),
    }


def _add_new_videos(router: APIRouter, catalog: "_CatalogOperations", errors: Sequence[int]) -> None:
    responses: dict[int | str, dict[str, Any]] = {
        201: {"model": AddVideoResponse},
        **error_responses(409, 415, *errors),
    }

    # Uploads have a path of their own: with two kinds of bodies, generated clients lose one of them.
    @router.post(
        UPLOAD_PATH,
        status_code=201,
        responses=responses,
        openapi_extra=openapi_body(UploadVideoForm, media_type=FORM),
    )
    async def upload_video(request: Request) -> Response:
        """Embed an uploaded video and add it to the catalog. It can be recommended within seconds."""
        if not request.headers.get("content-type", "").lower().startswith(FORM):
            detail = f"send the video in a form with Content-Type: {FORM}, or its URI as JSON to /v1/videos"
            raise HttpProblem(415, "unsupported-media-type", detail)
        fields, uri = await read_form(request, catalog.uploads)
        return await catalog.add(fields, uri, request, uploaded=True)

    @router.post(
        "/v1/videos", status_code=201, responses=responses, openapi_extra=openapi_body(AddVideoRequest)
    )
    async def add_video(request: Request) -> Response:
        """Embed a video that the service can read by its URI, and add it to the catalog. It can be
        recommended within seconds."""
        if request.headers.get("content-type", "").lower().startswith(FORM):
            raise HttpProblem(415, "unsupported-media-type", f"send a form with a video to {UPLOAD_PATH}")
        return await catalog.add_from_uri(await read_body(request, AddVideoRequest), request)


class _CatalogOperations:
    """Catalog changes, which are durable when they return."""

    def __init__(self, backend: ServingBackend, config: ServeConfig) -> None:
        self._backend, self._config = backend, config
        self.uploads = UploadStore(config.data, config.security.most_upload_bytes)

    async def add_from_uri(self, body: AddVideoRequest, request: Request) -> Response:
        """Add a video that lies below one of `security.media_roots`."""
        name_new_video(request, body.video_id)
        security = self._config.security
        allowed = security.media_roots, security.most_upload_bytes
        uri = await asyncio.to_thread(readable_uri, body.uri, *allowed)
        return await self.add(body, uri, request, uploaded=False)

    async def add(self, fields: NewVideoFields, uri: str, request: Request, *, uploaded: bool) -> Response:
        """Add a video and return an AddVideoResponse; the file of a failed upload is deleted."""
        video_id = fields.video_id or f"upload-{uuid.uuid4().hex[:16]}"
        name_new_video(request, video_id)
        keep_file = not uploaded
        try:
            await self._check_is_not_live(video_id)
            if video_id in await self._backend.cards([video_id]):
                raise VideoIdTaken(f"the video id {video_id} is taken")
            embedded = await self._backend.embed(uri, fields.title, tuple(fields.tags))
            card = fields.model_dump(exclude={"video_id", "uri"})
            card |= {"uri": uri, "duration_s": embedded.duration_s, "published_at": datetime.now(UTC)}
            fields_set = {column.name: card.get(column.name) for column in VIDEOS.columns[1:]}
            edit = CatalogEdit(video_id, "add", fields_set, embedded.vectors, embedded.encoders)
            if embedded.copy_of is not None and self._config.security.copies == "hold_back":
                edit = await self._without_place(edit, embedded.copy_of)
            await self._backend.change(edit)
            keep_file = True
        finally:
            if not keep_file:
                await asyncio.to_thread(self.uploads.delete, uri)
        return json_response(await self._add_video_body(video_id, embedded), 201)

    async def _without_place(self, edit: CatalogEdit, first: str) -> CatalogEdit:
        """Return the addition of a copy without what its content would earn: see `security.copies`."""
        card = (await self._backend.cards([first])).get(first)
        # If the first was removed meanwhile, the copy takes its place.
        if card is None:
            return edit
        fields = dict(edit.fields) | {"published_at": card["published_at"] or LONG_AGO}
        return replace(edit, fields=fields, vectors={}, encoders={})

    async def change(
        self, video_id: str, update: UpdateVideoRequest, expected: str | None = None
    ) -> Response:
        """Update a video and return a VideoResponse.

        Raises:
            UnknownVideo: It is not in the catalog.
            VideoChanged: It has another version than `expected`.
            StreamIsLive: It is a live stream.
        """
        await self._check_is_not_live(video_id)
        unchanged = {"creator_id"} if update.creator_id is None else set()
        fields = update.model_dump(exclude_unset=True, exclude=unchanged)
        card = None
        if fields:
            card = await self._backend.change(CatalogEdit(video_id, "update", fields), expected)
        elif expected not in (None, card_version(await self._card(video_id))):
            raise VideoChanged(f"{video_id} has been changed meanwhile")
        card = card or await self._card(video_id)
        content = {"video_id": video_id, **{name: card[name] for name in _CARD_FIELDS}}
        content["duration_s"] = rounded_seconds(card["duration_s"])
        return json_response(content, 200, _etag_of(card))

    async def remove(self, video_id: str) -> Response:
        """Remove a video and return status 204; raises StreamIsLive for a live stream."""
        await self._check_is_not_live(video_id)
        card = await self._card(video_id)
        await self._backend.change(CatalogEdit(video_id, "remove"))
        await asyncio.to_thread(self.uploads.delete, str(card["uri"]))
        return Response(status_code=204)

    async def _check_is_not_live(self, video_id: str) -> None:
        if await live_stream_ids(self._backend, [video_id]):
            raise StreamIsLive(video_id)

    async def _card(self, video_id: str) -> Card:
        cards = await self._backend.cards([video_id])
        if video_id not in cards:
            raise UnknownVideo(f"{video_id} is not in the catalog")
        return cards[video_id]

    async def _add_video_body(self, video_id: str, embedded: EmbeddedVideo) -> dict[str, Any]:
        """Return an AddVideoResponse."""
        result = await self._neighbors(video_id)
        neighbors = [item for item in result.items if item.video_id != video_id] if result else []
        cards = await self._backend.cards([item.video_id for item in neighbors]) if neighbors else {}
        return {
            "video_id": video_id,
            "duration_s": rounded_seconds(embedded.duration_s),
            "modalities": sorted(embedded.vectors),
            "decode_s": embedded.decode_s,
            "encode_s": embedded.encode_s,
            "recommendable": result is not None,
            "copy_of": embedded.copy_of,
            "neighbours": [
                {
                    "video_id": item.video_id,
                    "score": item.score,
                    "title": cards.get(item.video_id, {}).get("title"),
                }
                for item in neighbors
            ],
        }

    async def _neighbors(self, video_id: str) -> ListResult | None:
        """Return the videos similar to a new one; None if ranking does not answer."""
        try:
            result = await self._backend.similar(video_id, NEIGHBORS_SHOWN, RequestFilters(), now_us())
            return (await check_streams(self._backend, [result])).cut(result)
        except (BackendUnavailable, UnknownVideo, TimeoutError) as error:
            # The video is in the catalog nevertheless.
            log_error(video_id, error)
            return None


_CARD_FIELDS: tuple[str, ...] = tuple(name for name in VideoResponse.model_fields if name != "video_id")
