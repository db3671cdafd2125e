"""The operations that change the catalogue while it is served: a video comes, changes, goes."""

import asyncio
import uuid
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Annotated, Any

import pyarrow as pa
from fastapi import APIRouter, Path, Request, Response

from vrec.config.serve import ServeConfig
from vrec.core.schema import VIDEOS
from vrec.serving.catalog.uploads import UploadStore, readable_uri
from vrec.serving.deployments.protocol import BackendUnavailable, Card, ServingBackend, UnknownVideo
from vrec.serving.http.errors import HttpProblem, error_responses, log_error
from vrec.serving.http.keys import ApiKeyring, require_scope
from vrec.serving.http.multipart import FORM, read_form
from vrec.serving.http.routes.recommendations import COMMON_ERRORS, now_us, openapi_body, read_body
from vrec.serving.http.schemas.requests import (
    AddVideoRequest,
    NewVideoFields,
    UpdateVideoRequest,
    UploadVideoForm,
    VideoId,
)
from vrec.serving.http.schemas.responses import AddVideoResponse, VideoResponse, json_response
from vrec.serving.messages import CatalogChange, EmbeddedVideo, ListResult, RequestFilters

NEIGHBORS_SHOWN = 5
"""Near videos that a new one is shown with."""
INDEX_WAIT_S = 2.0
"""Seconds beyond two refreshes to wait for a new video to be in the index."""
INDEX_POLL_S = 0.1
"""Seconds between two looks whether it is."""


def routes(nodes: ServingBackend, config: ServeConfig, keys: ApiKeyring | None) -> APIRouter:
    """`/v1/videos`."""
    router = APIRouter(tags=["catalogue"], dependencies=require_scope("manage", keys))
    catalogue = _CatalogOperations(nodes, config)
    usual = (*((401,) if keys else ()), *COMMON_ERRORS)

    @router.post(
        "/v1/videos",
        status_code=201,
        responses={201: {"model": AddVideoResponse}, **error_responses(409, 415, *usual)},
        openapi_extra=_bodies(),
    )
    async def add_video(request: Request) -> Response:
        """Embeds a video, uploaded (`multipart/form-data`) or named by its URI (JSON), and adds it to the
        catalogue: it is recommendable within seconds."""
        if request.headers.get("content-type", "").lower().startswith(FORM):
            given, uri = await read_form(request, catalogue.uploads)
            return await catalogue.add(given, uri, uploaded=True)
        return await catalogue.add_from_uri(await read_body(request, AddVideoRequest))

    @router.put(
        "/v1/videos/{video_id:video}",
        responses={200: {"model": VideoResponse}, **error_responses(404, 415, *usual)},
        openapi_extra=openapi_body(UpdateVideoRequest),
    )
    async def change_video(request: Request, video_id: Annotated[VideoId, Path()]) -> Response:
        """Changes what is known of a video, such as whether it may be shown; what is absent stays."""
        return await catalogue.change(video_id, await read_body(request, UpdateVideoRequest))

    @router.delete(
        "/v1/videos/{video_id:video}",
        status_code=204,
        response_class=Response,
        responses=error_responses(404, *usual),
    )
    async def remove_video(video_id: Annotated[VideoId, Path()]) -> Response:
        """Takes a video out of the catalogue, and removes its file where it was uploaded."""
        return await catalogue.remove(video_id)

    return router


class _CatalogOperations:
    """Changes of the catalogue, durable when they are answered."""

    def __init__(self, nodes: ServingBackend, config: ServeConfig) -> None:
        self._nodes, self._config = nodes, config
        self.uploads = UploadStore(config.data, config.security.most_upload_bytes)

    async def add_from_uri(self, given: AddVideoRequest) -> Response:
        """AddedSaid of a video that lies below one of the roots."""
        security = self._config.security
        allowed = security.media_roots, security.most_upload_bytes
        uri = await asyncio.to_thread(readable_uri, given.uri, *allowed)
        return await self.add(given, uri, uploaded=False)

    async def add(self, given: NewVideoFields, uri: str, *, uploaded: bool) -> Response:
        """AddedSaid, once the video is in the catalogue; an upload that cannot be used leaves nothing."""
        video_id = given.video_id or f"upload-{uuid.uuid4().hex[:16]}"
        kept = not uploaded
        try:
            if video_id in await self._nodes.cards([video_id]):
                detail = f"there is a video {video_id}: take another id, or DELETE that one first"
                raise HttpProblem(409, "id-taken", detail)
            found = await self._nodes.embed(uri, given.title, tuple(given.tags))
            card = given.model_dump(exclude={"video_id", "uri"})
            card |= {"uri": uri, "duration_s": found.duration_s, "published_at": datetime.now(UTC)}
            change = CatalogChange(
                video_id, now_us(), video_row(video_id, card), found.vectors, found.encoders
            )
            await self._nodes.change(change)
            kept = True
        finally:
            if not kept:
                await asyncio.to_thread(self.uploads.delete, uri)
        return json_response(await self._add_video_body(video_id, found), 201)

    async def change(self, video_id: str, given: UpdateVideoRequest) -> Response:
        """CardSaid, once the change is durable."""
        leave = {"creator_id"} if given.creator_id is None else set()
        card = {**await self._card(video_id), **given.model_dump(exclude_unset=True, exclude=leave)}
        await self._nodes.change(CatalogChange(video_id, now_us(), video_row(video_id, card)))
        return json_response({"video_id": video_id, **{name: card[name] for name in _CARD_FIELDS}})

    async def remove(self, video_id: str) -> Response:
        """204, once the removal is durable."""
        card = await self._card(video_id)
        await self._nodes.change(CatalogChange(video_id, now_us(), None))
        await asyncio.to_thread(self.uploads.delete, str(card["uri"]))
        return Response(status_code=204)

    async def _card(self, video_id: str) -> Card:
        cards = await self._nodes.cards([video_id])
        if video_id not in cards:
            raise UnknownVideo(f"{video_id} is not in the catalogue")
        return cards[video_id]

    async def _add_video_body(self, video_id: str, found: EmbeddedVideo) -> dict[str, Any]:
        answer = await self._neighbours(video_id)
        near = [item for item in answer.items if item.video_id != video_id] if answer else []
        cards = await self._nodes.cards([item.video_id for item in near]) if near else {}
        return {
            "video_id": video_id,
            "duration_s": found.duration_s,
            "modalities": sorted(found.vectors),
            "decode_s": found.decode_s,
            "encode_s": found.encode_s,
            "recommendable": answer is not None,
            "neighbours": [
                {
                    "video_id": item.video_id,
                    "score": item.score,
                    "title": cards.get(item.video_id, {}).get("title"),
                }
                for item in near
            ],
        }

    async def _neighbours(self, video_id: str) -> ListResult | None:
        """What is like a new video, as soon as the index knows it; None where that takes too long."""
        until = asyncio.get_running_loop().time() + 2 * self._config.refresh_s + INDEX_WAIT_S
        while asyncio.get_running_loop().time() < until:
            try:
                return await self._nodes.similar(video_id, NEIGHBORS_SHOWN, RequestFilters(), now_us())
            except UnknownVideo:
                await asyncio.sleep(INDEX_POLL_S)
            except (BackendUnavailable, TimeoutError) as error:
                # The video is in the catalogue all the same.
                log_error(video_id, error)
                return None
        return None


_CARD_FIELDS: Sequence[str] = tuple(name for name in VideoResponse.model_fields if name != "video_id")


def video_row(video_id: str, card: Card) -> pa.Table:
    """One VIDEOS row."""
    row = {column.name: card.get(column.name) for column in VIDEOS.columns} | {"video_id": video_id}
    return pa.Table.from_pylist([row], schema=VIDEOS.arrow())


def _bodies() -> dict[str, Any]:
    found = openapi_body(AddVideoRequest)
    found["requestBody"]["content"][FORM] = {
        "schema": {"$ref": f"#/components/schemas/{UploadVideoForm.__name__}"}
    }
    return found
