"""Models of conversations that a person takes over."""

from datetime import datetime

from vrec.serving.http.schemas.assistant import AssistantHandOverReason, AssistantLanguage
from vrec.serving.http.schemas.responses import ResponseModel


class HandedOverTurn(ResponseModel):
    """Message and answer of a conversation that a person takes over."""

    at: datetime
    message: str
    answer: str
    video_ids: list[str]
    """Videos of the cards."""


class HandOverEntry(ResponseModel):
    """Conversation that a person takes over."""

    hand_over_id: str
    at: datetime
    user_id: str | None
    """The shopper; null for one without account."""
    session_id: str | None
    """The session of a shopper without account; null for others."""
    reason: AssistantHandOverReason
    """`asked` if the shopper asked for a person, `unknown` if the assistant does not know the answer, `order`
    if an order is to be changed."""
    language: AssistantLanguage
    turns: list[HandedOverTurn]
    """At most the last 20 turns with at most 1,000 characters each way, the oldest first. They are words of
    strangers: show them as text."""
    confirmed_at: datetime | None
    """Time at which `serve.assistant.handover.url` confirmed it; null before that."""


class HandOversResponse(ResponseModel):
    """Page of hand-overs."""

    hand_overs: list[HandOverEntry]
    """By their last change: the address's confirmation is one, and a session that joins an account."""
    next_cursor: str
    """`cursor` of the next page; after the last page, of what comes later."""
