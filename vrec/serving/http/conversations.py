"""Answers of the assistant as responses."""

import hashlib
import re
from collections.abc import AsyncIterator, Awaitable, Mapping, Sequence
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from typing import Any

from fastapi.sse import format_sse_event
from pydantic_core import to_json

from vrec.assistant.dialogue import DialogueState
from vrec.config.serve import ServeConfig
from vrec.serving.conversation.messages import ConversationTurn, ShopperMessage
from vrec.serving.conversation.record import Conversation, TranscriptTurn
from vrec.serving.deployments.protocol import BackendUnavailable, Card, ServingBackend
from vrec.serving.http.errors import FieldProblem, HttpProblem, log_error, problem_body, to_problem
from vrec.serving.http.lists import now_us
from vrec.serving.http.live_items import check_streams
from vrec.serving.http.schemas.assistant import (
    MAX_LIKED,
    AssistantFileFields,
    AssistantRequest,
    UserAssistantRequest,
)
from vrec.serving.http.schemas.requests import ListFilters
from vrec.serving.http.schemas.responses import MatchingMoment, item_body, mentioned_video_ids
from vrec.serving.http.schemas.streams import live_body
from vrec.serving.messages import ListResult
from vrec.serving.moments.messages import FoundMoment, MomentQuery

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_PIECE = re.compile(r"[^.!?。！？;；\n]*[.!?。！？;；\n]+\s*|[^.!?。！？;；\n]+$")
"""Sentence of an answer, with what is between it and the next."""


class ConversationResponder:
    """Conversations of the backend as responses."""

    def __init__(self, backend: ServingBackend, config: ServeConfig) -> None:
        self._backend, self._config = backend, config

    def message(self, body: AssistantRequest, request_id: str, *, vouched: bool) -> ShopperMessage:
        """Return the message of a request; raise HttpProblem for one that is too long.

        Args:
            body: Body of the request.
            request_id: Id of the request.
            vouched: Whether a key, or the token beside it, vouches for the shopper.
        """
        self._check_length(body.message)
        return ShopperMessage(
            message_id=body.message_id or request_id,
            request_id=request_id,
            text=body.message.strip(),
            remove=body.remove,
            like=tuple(body.like),
            language=body.language,
            surface=body.surface,
            filters=body.filters.to_filters([], []),
            vouched=vouched and isinstance(body, UserAssistantRequest),
            age=body.context.age,
        )

    async def message_by_file(
        self, body: AssistantFileFields, content: bytes, request_id: str, *, vouched: bool
    ) -> ShopperMessage:
        """Return the message of a request with a file: it asks for the videos with the nearest moments.

        Args:
            body: Fields of the form.
            content: Bytes of the picture or clip.
            request_id: Id of the request.
            vouched: Whether a key, or the token beside it, vouches for the shopper.

        Raises:
            HttpProblem: The message is too long.
            VideoError: The file is neither a picture nor a clip.
            MomentsMissing: The bundle has no moments that it could be compared with.
        """
        self._check_length(body.message)
        example = await self._backend.moments.embed(content)
        filters = ListFilters(expression=body.expression).to_filters([], [])
        found = await self._backend.moments.find(MomentQuery(MAX_LIKED, now_us(), filters, example=example))
        return ShopperMessage(
            message_id=body.message_id or request_id,
            request_id=request_id,
            text=body.message.strip(),
            remove=body.remove,
            like=tuple(dict.fromkeys(one.video_id for one in found.moments)),
            example=hashlib.blake2b(content, digest_size=16).hexdigest(),
            language=body.language,
            surface=body.surface,
            filters=filters,
            vouched=vouched and body.user_id is not None,
        )

    def _check_length(self, message: str) -> None:
        most = self._config.assistant.message_chars
        if len(message) > most:
            detail = f"has more than {most:,} characters: shorten it"
            raise HttpProblem(
                422,
                "invalid-request",
                f"the message {detail}",
                errors=[FieldProblem(where="message", detail=detail)],
            )

    async def answer(self, user_id: str, message: ShopperMessage) -> dict[str, Any]:
        """Return an AssistantResponse as a dict."""
        return await self._content(await self._backend.conversations.answer(user_id, message))

    async def get(self, user_id: str) -> dict[str, Any]:
        """Return a ConversationResponse as a dict."""
        found = await self._backend.conversations.get(user_id)
        if found is None:
            return {"user_id": user_id, "conversation_id": None, "turns": [], "last": None}
        return {
            "user_id": user_id,
            "conversation_id": found.conversation_id,
            "turns": [_spoken(turn) for turn in found.turns],
            "last": await self._content(turn) if (turn := _last(found)) is not None else None,
        }

    async def _content(self, turn: ConversationTurn) -> dict[str, Any]:
        reply, answer = turn.reply, turn.reply.answer
        listed = ListResult(reply.items, reply.bundle, reply.degraded)
        streams = await check_streams(self._backend, [listed])
        listed = streams.cut(listed)
        cards = await self._cards(turn, listed)
        items = [item for item in listed.items if item.video_id in cards]
        bodies = [item_body(item, position, cards) for position, item in enumerate(items)]
        for body in bodies:
            if (state := streams.live.get(body["video_id"])) is not None:
                body["live"] = live_body(state)
            if reply.moments:
                body["moments"] = _moments_of(body["video_id"], reply.moments)
        return {
            "request_id": turn.request_id,
            "conversation_id": turn.conversation_id,
            "turn": turn.number,
            "message_id": turn.message_id,
            "kind": answer.kind,
            "language": answer.language,
            "text": answer.text,
            "cards": bodies,
            "currency": self._config.currency,
            "query": _query(reply.state),
            "constraints": [asdict(one) for one in answer.constraints],
            "relaxed": answer.relaxed,
            "unchecked": answer.unchecked,
            "sources": [
                {"anchor": one.passage.anchor, "title": one.passage.title, "quote": one.quote}
                for one in answer.sources
            ],
            "suggestions": [asdict(one) for one in answer.suggestions],
            "hand_over": answer.hand_over,
            "hand_over_reason": answer.hand_over_reason,
            "unknown": reply.unknown,
            "bundle": reply.bundle,
            "degraded": bool(listed.degraded),
            "why": list(listed.degraded),
        }

    async def _cards(self, turn: ConversationTurn, listed: ListResult) -> Mapping[str, Card]:
        """Return the cards as the answer speaks of them, and those of videos that reasons name."""
        try:
            known = await self._backend.cards(mentioned_video_ids(listed))
        except (BackendUnavailable, TimeoutError):
            known = {}
        return {**known, **turn.cards}


async def answer_events(answer: Awaitable[dict[str, Any]], request_id: str) -> AsyncIterator[bytes]:
    """Iterate over the events of an answer: its text in pieces, its cards, and all of it.

    An error is an event with the problem document, since the response has begun by then.

    Args:
        answer: An AssistantResponse as a dict.
        request_id: Id of the request.
    """
    yield format_sse_event(comment="answering")
    try:
        content = await answer
    except Exception as error:
        problem = to_problem(error)
        if problem.status_code >= 500:
            log_error(request_id, error)
        yield _event("error", problem_body(problem, request_id))
        return
    for piece in _PIECE.findall(content["text"]):
        yield _event("text", {"text": piece})
    yield _event("cards", {"cards": content["cards"]})
    yield _event("done", content)


def _event(name: str, data: Any) -> bytes:
    return format_sse_event(event=name, data_str=to_json(data, inf_nan_mode="null").decode())


def _moments_of(video_id: str, moments: Sequence[FoundMoment]) -> list[dict[str, Any]]:
    """Return the moments of a video as MatchingMoments."""
    return [
        {name: getattr(one, name) for name in MatchingMoment.model_fields}
        for one in moments
        if one.video_id == video_id
    ]


def _query(state: DialogueState) -> dict[str, Any]:
    query = state.query
    return {
        "wanted": asdict(query.wanted),
        "unwanted": asdict(query.unwanted),
        "price": {name: getattr(query.price, name) for name in ("least", "most", "above", "below")},
        "occasion": query.occasion,
        "recipient": query.recipient,
        "references": list(dict.fromkeys((*state.seeds, *([state.focus] if state.focus else ())))),
    }


def _spoken(turn: TranscriptTurn) -> dict[str, Any]:
    return {
        "turn": turn.number,
        "at": (_EPOCH + timedelta(microseconds=turn.at)).isoformat(),
        "message": turn.message,
        "remove": turn.remove,
        "kind": turn.kind,
        "language": turn.language,
        "text": turn.text,
        "video_ids": turn.video_ids,
    }


def _last(conversation: Conversation) -> ConversationTurn | None:
    """Return the last turn of a conversation."""
    if not conversation.answers:
        return None
    kept = conversation.answers[-1]
    return ConversationTurn(
        conversation.conversation_id, kept.number, kept.message_id, kept.request_id, kept.reply
    )
