"""Middleware and marks that put calls of the scope `manage` into the audit log."""

import logging
import re
import time
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from fastapi import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from vrec.core.masking import mask_credentials
from vrec.serving.deployments.protocol import ServingBackend
from vrec.serving.http.schemas.requests import MAX_VIDEO_ID_CHARS
from vrec.serving.messages import AuditEntry

logger = logging.getLogger("vrec.http")

PERSONAL_PARAMETERS = frozenset({"user_id", "session_id", "event_id"})
"""Parameters of paths that name a shopper or what a shopper did; they are not in the log."""

NEW_VIDEO_OPERATIONS = frozenset({"upload_video", "add_video"})
REASONED = NEW_VIDEO_OPERATIONS | {"move_bundle", "put_experiment", "stop_experiment"}
"""Operations whose entries have the reason of a refusal; those of others may name shoppers."""
MAX_REASON_CHARS = 500


async def mark_audited(request: Request) -> None:
    """Mark the request as one that belongs into the audit log."""
    route = request.scope["route"]
    key = request.state.key
    mark_audited_as(request, route.name, None if key is None else key.name)


def mark_audited_as(request: Request, operation: str, by: str | None) -> None:
    """Mark the request as one that belongs into the audit log.

    Args:
        request: The request.
        operation: Name of its operation.
        by: Name of the API key that it is made with; None without one.
    """
    route = request.scope["route"]
    request.state.audited = {
        "by": by,
        "operation": operation,
        "path": re.sub(r":\w+}", "}", route.path),
        "target": {
            name: str(value) for name, value in request.path_params.items() if name not in PERSONAL_PARAMETERS
        },
    }


def name_audited(request: Request, **target: str) -> None:
    """Add what a request changes to its entry, if it is marked: never names of shoppers."""
    if hasattr(request.state, "audited"):
        request.state.audited["target"] |= target


def name_new_video(request: Request, video_id: str | None) -> None:
    """Add the id of a new video to the entry of a marked request, if it is one that a video can have."""
    if video_id is not None and 0 < len(video_id) <= MAX_VIDEO_ID_CHARS and video_id.isprintable():
        name_audited(request, video_id=video_id)


class AuditMiddleware:
    """ASGI middleware that writes the entry of a marked request before its response begins.

    Requests without a valid key are refused and left out: strangers could fill the log. If the entry cannot
    be written, the service's own log has it, and the response is as it would be.
    """

    def __init__(self, app: ASGIApp, backend: ServingBackend, *, has_keys: bool) -> None:
        self._app, self._backend, self._has_keys = app, backend, has_keys

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle an ASGI connection."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        state: dict[str, Any] = scope["state"]

        async def send_after_entry(message: Message) -> None:
            marked = state.get("audited")
            if message["type"] == "http.response.start" and marked is not None:
                await self._write(scope, state, marked, message["status"])
            await send(message)

        await self._app(scope, receive, send_after_entry)

    async def _write(
        self, scope: Scope, state: Mapping[str, Any], marked: Mapping[str, Any], status: int
    ) -> None:
        if marked["by"] is None and self._has_keys:
            return
        refused = status >= 400 and marked["operation"] in REASONED
        entry = AuditEntry(
            at=time.time_ns() // 1000,
            method=scope["method"],
            status=status,
            request_id=state["request_id"],
            reason=_reason(state.get("problem")) if refused else None,
            **marked,
        )
        try:
            await self._backend.audit.append(entry)
        except Exception as error:  # the operation is done: its caller has to know
            extra = {**asdict(entry), "why": f"{type(error).__name__}: {error}"[:300]}
            logger.error("a call is not in the audit log", extra=extra)


def _reason(problem: Any) -> str | None:
    """Return the text of a problem with its fields, without credentials and not in all its length."""
    if problem is None:
        return None
    fields = "; ".join(f"{one.where}: {one.detail}" for one in problem.errors)
    return mask_credentials(f"{problem.name}: {fields or problem.detail}")[:MAX_REASON_CHARS]
