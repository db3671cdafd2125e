"""What is there for browsers and for machines that look after the service: the page, media, health."""

import asyncio
import os
import stat
from collections.abc import Callable
from pathlib import Path as FilePath
from typing import Annotated, Any

from fastapi import APIRouter, Path, Request, Response
from starlette.responses import FileResponse

from vrec.config.serve import ServeConfig
from vrec.media.decoders.signature import HEAD_BYTES, non_video_kind
from vrec.serving.catalog.uploads import detect_container, local_path
from vrec.serving.deployments.protocol import ServingBackend
from vrec.serving.http.errors import HttpProblem, error_responses
from vrec.serving.http.keys import ApiKeyring, require_scope
from vrec.serving.http.schemas.requests import VideoId
from vrec.serving.http.schemas.responses import HealthResponse, ReadyResponse, json_response

WEB = FilePath(__file__).resolve().parents[2] / "web"
"""The page's files."""
PAGE_TYPES = {
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".json": "application/json",
    ".svg": "image/svg+xml",
    ".png": "image/png",
    ".webp": "image/webp",
    ".ico": "image/x-icon",
    ".woff2": "font/woff2",
    ".txt": "text/plain; charset=utf-8",
}
"""What the page may consist of; other files are not given out."""
PAGE_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; "
    "media-src 'self' blob:; font-src 'self'; connect-src 'self'; manifest-src 'self'; "
    "base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
)
METRICS_MEDIA_TYPE = "text/plain; version=0.0.4; charset=utf-8"


def routes(
    nodes: ServingBackend, config: ServeConfig, keys: ApiKeyring | None, metrics: Callable[[], bytes] | None
) -> APIRouter:
    """`/healthz`, `/readyz`, `/metrics` where metrics are given, `/media/` and the page."""
    router = APIRouter(tags=["pages"])

    @router.get("/healthz", responses={200: {"model": HealthResponse}, **error_responses(403, 500)})
    async def healthz() -> Response:
        """Whether this process answers at all."""
        return json_response({"status": "ok"})

    @router.get(
        "/readyz",
        responses={200: {"model": ReadyResponse}, 503: {"model": ReadyResponse}, **error_responses(500)},
    )
    async def readyz(request: Request) -> Response:
        """Whether every part of the service can answer; why not is told to those who have a key.

        A service that refused another bundle answers with the one before, and is ready.
        """
        state = await nodes.ready()
        told = keys is None or request.state.key is not None
        parts = {part: why if told or why is None else "not ready" for part, why in state.parts.items()}
        refused = state.refused if told or state.refused is None else "refused"
        said = {"ready": state.ready, "bundle": state.bundle, "parts": parts, "refused": refused}
        return json_response(said, 200 if state.ready else 503)

    if metrics is not None:
        _add_metrics(router, keys, metrics)
    _add_media(router, nodes, config)
    _add_page(router)
    return router


def _add_metrics(router: APIRouter, keys: ApiKeyring | None, metrics: Callable[[], bytes]) -> None:
    denied = (401, 403) if keys else ()

    @router.get(
        "/metrics",
        responses={
            200: {"content": {"text/plain": {"schema": {"type": "string"}}}},
            **error_responses(*denied, 429, 500),
        },
        response_class=Response,
        dependencies=require_scope("read", keys),
    )
    async def metrics_text() -> Response:
        """Figures for Prometheus."""
        return Response(await asyncio.to_thread(metrics), 200, {"content-type": METRICS_MEDIA_TYPE})


def _add_media(router: APIRouter, nodes: ServingBackend, config: ServeConfig) -> None:
    async def media(video_id: Annotated[VideoId, Path()]) -> Response:
        """A video of the catalogue, whole or by `Range`, where it is a local file and may be shown."""
        if not config.security.serve_media:
            raise _no_media(video_id)
        card = (await nodes.cards([video_id])).get(video_id)
        if card is None or not card["available"]:
            raise _no_media(video_id)
        found = await asyncio.to_thread(_file_response, str(card["uri"]))
        if found is None:
            raise _no_media(video_id)
        return found

    binary: dict[str, Any] = {"content": {"video/*": {"schema": {"type": "string", "format": "binary"}}}}
    plain = {"text/plain": {"schema": {"type": "string"}}}
    responses: dict[int | str, dict[str, Any]] = {
        200: {"description": "The video", **binary},
        206: {"description": "The part that was asked for", **binary},
        400: {"description": "A malformed Range", "content": plain},
        416: {"description": "A Range beyond the end", "content": plain},
        **error_responses(404, 422, 429, 500, 503),
    }
    path = "/media/{video_id:path}"
    router.add_api_route(path, media, methods=["GET"], response_class=Response, responses=responses)
    router.add_api_route(path, media, methods=["HEAD"], include_in_schema=False)


def _file_response(uri: str) -> FileResponse | None:
    """A local regular file that may be a video; None for anything else that a catalogue may name."""
    path = local_path(uri)
    if path is None:
        return None
    try:
        found = os.stat(path)
        if not stat.S_ISREG(found.st_mode):
            return None
        with open(path, "rb") as file:
            head = file.read(HEAD_BYTES)
    except (OSError, ValueError):
        return None
    if not head or non_video_kind(head):
        return None
    headers = {
        "cache-control": "private, max-age=3600",
        "content-security-policy": "default-src 'none'; media-src 'self'; frame-ancestors 'none'",
    }
    return FileResponse(path, 200, headers, detect_container(head).media_type, stat_result=found)


def _no_media(video_id: str) -> HttpProblem:
    return HttpProblem(
        404, "no-media", f"{video_id} has no file here that may be shown: play it from where it lies"
    )


def _add_page(router: APIRouter) -> None:
    """One route for each file that is there now: no path is ever made of what a request says."""
    for file in sorted(WEB.rglob("*")) if WEB.is_dir() else ():
        if file.suffix not in PAGE_TYPES or not file.is_file() or file.is_symlink():
            continue
        name = file.relative_to(WEB).as_posix()
        paths = ("/", "/index.html") if name == "index.html" else (f"/{name}",)
        for path in paths:
            router.add_api_route(path, _page_route(file), methods=["GET", "HEAD"], include_in_schema=False)


def _page_route(file: FilePath) -> Callable[[], Any]:
    async def page() -> Response:
        headers = {"content-security-policy": PAGE_POLICY, "cache-control": "no-cache"}
        return FileResponse(file, 200, headers, PAGE_TYPES[file.suffix])

    return page
