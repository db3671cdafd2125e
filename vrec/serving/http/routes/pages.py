"""Routes for browsers and monitoring: the page, media, health and metrics."""

import asyncio
import os
import stat
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path as FilePath
from typing import Annotated, Any

from fastapi import APIRouter, Path, Request, Response
from starlette.responses import FileResponse

from vrec.config.serve import ServeConfig
from vrec.core.uris import local_path
from vrec.media.decoders.signature import HEAD_BYTES, non_video_kind
from vrec.serving.catalog.uploads import MEDIA_TYPES, detect_container
from vrec.serving.deployments.protocol import Card, ServingBackend
from vrec.serving.http.conditional import not_modified
from vrec.serving.http.errors import HttpProblem, error_responses
from vrec.serving.http.keys import ApiKeyring, require_scope
from vrec.serving.http.routers import PageRoute, service_router
from vrec.serving.http.schemas.requests import VideoId
from vrec.serving.http.schemas.responses import HealthResponse, ReadyResponse, json_response

WEB = FilePath(__file__).resolve().parents[2] / "web"
"""Folder of the page."""
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
"""Media types of the page's files by suffix; other files are not served."""
PAGE_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; "
    "media-src 'self' blob:; font-src 'self'; connect-src 'self'; manifest-src 'self'; "
    "base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
)
METRICS_MEDIA_TYPE = "text/plain; version=0.0.4; charset=utf-8"


def routes(
    backend: ServingBackend, config: ServeConfig, keys: ApiKeyring | None, metrics: Callable[[], bytes] | None
) -> APIRouter:
    """Return the routes `/healthz`, `/readyz`, `/metrics` (if metrics are given), `/media/` and the page."""
    router = service_router("pages", is_open=True)

    @router.get("/healthz", responses={200: {"model": HealthResponse}, **error_responses(403, 500)})
    async def check_health() -> Response:
        """Report that this process responds."""
        return json_response({"status": "ok"})

    @router.get(
        "/readyz",
        responses={200: {"model": ReadyResponse}, 503: {"model": ReadyResponse}, **error_responses(500)},
    )
    async def check_readiness(request: Request) -> Response:
        """Report whether every part of the service can respond. Reasons are shown to callers with a key only.

        A service that refused another bundle keeps the previous one and is ready.
        """
        state = await backend.ready()
        authorized = keys is None or request.state.key is not None
        parts = {
            part: reason if authorized or reason is None else "not ready"
            for part, reason in state.parts.items()
        }
        refused = state.refused if authorized or state.refused is None else "refused"
        content = {"ready": state.ready, "bundle": state.bundle, "parts": parts, "refused": refused}
        return json_response(content, 200 if state.ready else 503)

    if metrics is not None:
        _add_metrics(router, keys, metrics)
    _add_media(router, backend, config)
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
    async def get_metrics() -> Response:
        """Return metrics in Prometheus's text format."""
        return Response(await asyncio.to_thread(metrics), 200, {"content-type": METRICS_MEDIA_TYPE})


def _add_media(router: APIRouter, backend: ServingBackend, config: ServeConfig) -> None:
    async def get_media(request: Request, video_id: Annotated[VideoId, Path()]) -> Response:
        """Return the file of an available video, or a `Range` of it, if it is a local file. A client that
        has it gets 304."""
        if not config.security.serve_media:
            raise _no_media(video_id)
        card = (await backend.cards([video_id])).get(video_id)
        if card is None or not card["available"] or _has_expired(card):
            raise _no_media(video_id)
        response = await asyncio.to_thread(_file_response, str(card["uri"]))
        if response is None:
            raise _no_media(video_id)
        return not_modified(request.headers, response) or response

    schema = {"schema": {"type": "string", "format": "binary"}}
    binary: dict[str, Any] = {"content": dict.fromkeys(MEDIA_TYPES, schema)}
    plain = {"text/plain": {"schema": {"type": "string"}}}
    responses: dict[int | str, dict[str, Any]] = {
        200: {"description": "The video", **binary},
        206: {"description": "The requested range", **binary},
        304: {"description": "The client has the file, by If-None-Match or If-Modified-Since"},
        400: {"description": "Malformed Range", "content": plain},
        416: {"description": "Range beyond the end", "content": plain},
        **error_responses(404, 422, 429, 500, 503),
    }
    path = "/media/{video_id:path}"
    router.add_api_route(path, get_media, methods=["GET"], response_class=Response, responses=responses)


def _has_expired(card: Card) -> bool:
    return card["expires_at"] is not None and card["expires_at"] <= datetime.now(UTC)


def _file_response(uri: str) -> FileResponse | None:
    """Return a response with a local regular file that may be a video; None for any other URI."""
    path = local_path(uri)
    if path is None:
        return None
    try:
        status = os.stat(path)
        if not stat.S_ISREG(status.st_mode):
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
    return FileResponse(path, 200, headers, detect_container(head).media_type, stat_result=status)


def _no_media(video_id: str) -> HttpProblem:
    detail = f"the service may not serve a file of {video_id}: play the video from its own URI"
    return HttpProblem(404, "no-media", detail)


def _add_page(router: APIRouter) -> None:
    """Add a route for each file that exists now: no path is ever built from a request."""
    for file in sorted(WEB.rglob("*")) if WEB.is_dir() else ():
        if file.suffix not in PAGE_TYPES or not file.is_file() or file.is_symlink():
            continue
        name = file.relative_to(WEB).as_posix()
        paths = ("/", "/index.html") if name == "index.html" else (f"/{name}",)
        for path in paths:
            router.routes.append(PageRoute(path, file_route(file), include_in_schema=False))


def file_route(file: FilePath) -> Callable[..., Any]:
    """Return the endpoint that serves a file of a page."""

    async def page(request: Request) -> Response:
        headers = {"content-security-policy": PAGE_POLICY, "cache-control": "no-cache"}
        status = await asyncio.to_thread(file.stat)
        response = FileResponse(file, 200, headers, PAGE_TYPES[file.suffix], stat_result=status)
        return not_modified(request.headers, response) or response

    return page
