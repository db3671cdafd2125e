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
from vrec.serving.catalog.uploads import Uploads, readable_uri
from vrec.serving.deployments.protocol import Card, NodeAway, Nodes, UnknownVideo
from vrec.serving.http.errors import Problem, documented, tell
from vrec.serving.http.keys import Keys, needing
from vrec.serving.http.multipart import FORM, read_form
from vrec.serving.http.routes.recommendations import USUAL, body_of, now_us, read
from vrec.serving.http.schemas.requests import ChangeGiven, FormGiven, NewVideo, VideoGiven, VideoId
from vrec.serving.http.schemas.responses import AddedSaid, CardSaid, json
from vrec.serving.messages import Answer, Change, Embedded, Filters

NEIGHBOURS = 5
"""Near videos that a new one is shown with."""
WAIT_S = 2.0
"""Seconds beyond two refreshes to wait for a new video to be in the index."""
LOOK_S = 0.1
"""Seconds between two looks whether it is."""


def routes(nodes: Nodes, config: ServeConfig, keys: Keys | None) -> APIRouter:
    """`/v1/videos`."""
    router = APIRouter(tags=["catalogue"], dependencies=needing("manage", keys))
    catalogue = _Catalogue(nodes, config)
    usual = (*((401,) if keys else ()), *USUAL)

    @router.post(
        "/v1/videos",
        status_code=201,
        responses={201: {"model": AddedSaid}, **documented(409, 415, *usual)},
        openapi_extra=_bodies(),
    )
    async def add_video(request: Request) -> Response:
        """Embeds a video, uploaded (`multipart/form-data`) or named by its URI (JSON), and adds it to the
        catalogue: it is recommendable within seconds."""
        if request.headers.get("content-type", "").lower().startswith(FORM):
            given, uri = await read_form(request, catalogue.uploads)
            return await catalogue.add(given, uri, uploaded=True)
        return await catalogue.add_from_uri(await read(request, VideoGiven))

    @router.put(
        "/v1/videos/{video_id:video}",
        responses={200: {"model": CardSaid}, **documented(404, 415, *usual)},
        openapi_extra=body_of(ChangeGiven),
    )
    async def change_video(request: Request, video_id: Annotated[VideoId, Path()]) -> Response:
        """Changes what is known of a video, such as whether it may be shown; what is absent stays."""
        return await catalogue.change(video_id, await read(request, ChangeGiven))

    @router.delete(
        "/v1/videos/{video_id:video}",
        status_code=204,
        response_class=Response,
        responses=documented(404, *usual),
    )
    async def remove_video(video_id: Annotated[VideoId, Path()]) -> Response:
        """Takes a video out of the catalogue, and removes its file where it was uploaded."""
        return await catalogue.remove(video_id)

    return router


class _Catalogue:
    """Changes of the catalogue, durable when they are answered."""

    def __init__(self, nodes: Nodes, config: ServeConfig) -> None:
        self._nodes, self._config = nodes, config
        self.uploads = Uploads(config.data, config.security.most_upload_bytes)

    async def add_from_uri(self, given: VideoGiven) -> Response:
        """AddedSaid of a video that lies below one of the roots."""
        security = self._config.security
        allowed = security.media_roots, security.most_upload_bytes
        uri = await asyncio.to_thread(readable_uri, given.uri, *allowed)
        return await self.add(given, uri, uploaded=False)

    async def add(self, given: NewVideo, uri: str, *, uploaded: bool) -> Response:
        """AddedSaid, once the video is in the catalogue; an upload that cannot be used leaves nothing."""
        video_id = given.video_id or f"upload-{uuid.uuid4().hex[:16]}"
        kept = not uploaded
        try:
            if video_id in await self._nodes.cards([video_id]):
                detail = f"there is a video {video_id}: take another id, or DELETE that one first"
                raise Problem(409, "id-taken", detail)
            found = await self._nodes.embed(uri, given.title, tuple(given.tags))
            card = given.model_dump(exclude={"video_id", "uri"})
            card |= {"uri": uri, "duration_s": found.duration_s, "published_at": datetime.now(UTC)}
            change = Change(video_id, now_us(), row_of(video_id, card), found.vectors, found.encoders)
            await self._nodes.change(change)
            kept = True
        finally:
            if not kept:
                await asyncio.to_thread(self.uploads.forget, uri)
        return json(await self._said(video_id, found), 201)

    async def change(self, video_id: str, given: ChangeGiven) -> Response:
        """CardSaid, once the change is durable."""
        leave = {"creator_id"} if given.creator_id is None else set()
        card = {**await self._card(video_id), **given.model_dump(exclude_unset=True, exclude=leave)}
        await self._nodes.change(Change(video_id, now_us(), row_of(video_id, card)))
        return json({"video_id": video_id, **{name: card[name] for name in _SAID}})

    async def remove(self, video_id: str) -> Response:
        """204, once the removal is durable."""
        card = await self._card(video_id)
        await self._nodes.change(Change(video_id, now_us(), None))
        await asyncio.to_thread(self.uploads.forget, str(card["uri"]))
        return Response(status_code=204)

    async def _card(self, video_id: str) -> Card:
        cards = await self._nodes.cards([video_id])
        if video_id not in cards:
            raise UnknownVideo(f"{video_id} is not in the catalogue")
        return cards[video_id]

    async def _said(self, video_id: str, found: Embedded) -> dict[str, Any]:
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

    async def _neighbours(self, video_id: str) -> Answer | None:
        """What is like a new video, as soon as the index knows it; None where that takes too long."""
        until = asyncio.get_running_loop().time() + 2 * self._config.refresh_s + WAIT_S
        while asyncio.get_running_loop().time() < until:
            try:
                return await self._nodes.similar(video_id, NEIGHBOURS, Filters(), now_us())
            except UnknownVideo:
                await asyncio.sleep(LOOK_S)
            except (NodeAway, TimeoutError) as error:
                # The video is in the catalogue all the same.
                tell(video_id, error)
                return None
        return None


_SAID: Sequence[str] = tuple(name for name in CardSaid.model_fields if name != "video_id")


def row_of(video_id: str, card: Card) -> pa.Table:
    """One VIDEOS row."""
    row = {column.name: card.get(column.name) for column in VIDEOS.columns} | {"video_id": video_id}
    return pa.Table.from_pylist([row], schema=VIDEOS.arrow())


def _bodies() -> dict[str, Any]:
    found = body_of(VideoGiven)
    found["requestBody"]["content"][FORM] = {"schema": {"$ref": f"#/components/schemas/{FormGiven.__name__}"}}
    return found
