"""Models of requests and responses about consents."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any

from pydantic import AfterValidator, Field, WithJsonSchema
from pydantic_core import PydanticCustomError
from typing_extensions import TypeAliasType

from vrec.core.schema import DOMAIN_PREFIX, SESSION_PREFIX
from vrec.privacy.consent.table import PURPOSES, Answers, ConsentAnswer, Purpose
from vrec.serving.http.schemas.requests import ID_PATTERN, MAX_ID_CHARS, Cursor, Id, Moment, RequestModel
from vrec.serving.http.schemas.responses import ResponseModel

MAX_CONSENTS_LISTED = 1_000
"""Maximum number of shoppers whose answers are in one response."""
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


def _check_shopper(user_id: str) -> str:
    if user_id.startswith(DOMAIN_PREFIX):
        raise PydanticCustomError(
            "domain", "an account of another domain has the consent of the shopper who is linked to it"
        )
    if user_id == SESSION_PREFIX:
        raise PydanticCustomError("session", "no session_id behind session:")
    return user_id


ShopperId = Annotated[
    Id,
    AfterValidator(_check_shopper),
    WithJsonSchema(
        {
            "type": "string",
            "minLength": 1,
            "maxLength": MAX_ID_CHARS,
            "pattern": ID_PATTERN,
            "not": {"pattern": f"^({SESSION_PREFIX}$|{DOMAIN_PREFIX})"},
        }
    ),
]
"""A shopper's `user_id`, or `session:` and a `session_id`."""
ConsentPurpose = TypeAliasType("ConsentPurpose", Purpose)


class ConsentRequest(RequestModel):
    """Body of `PUT /v1/users/{user_id}/consent`.

    Purposes that are absent or null stay as they are, so that an empty body changes nothing.
    """

    personalise: bool | None = None
    """Whether what the shopper does is kept, and lists and answers are made for the shopper."""
    train: bool | None = None
    """Whether models are fitted on what the shopper does."""
    link: bool | None = None
    """Whether accounts in other domains may be linked; `false` revokes the links that hold."""
    at: Moment | None = None
    """Time of the answer; the time of arrival if absent or later."""

    def to_answers(self, now: int, by: str | None) -> dict[Purpose, ConsentAnswer]:
        """Return the answers, which came at a time (µs since 1970) by an API key."""
        at = now if self.at is None else min(now, (self.at - _EPOCH) // _MICROSECOND)
        given: dict[Purpose, bool | None] = {purpose: getattr(self, purpose) for purpose in PURPOSES}
        return {
            purpose: ConsentAnswer(answer, at, by) for purpose, answer in given.items() if answer is not None
        }


class ConsentItem(ResponseModel):
    """Consent of a shopper for a purpose."""

    purpose: ConsentPurpose
    given: bool
    """Whether the shopper consents; without an answer what `serve.consent.default` says."""
    at: datetime | None
    """Time of the answer; null without one."""
    by: str | None
    """Name of the API key by which the answer came; null without one."""


class ConsentResponse(ResponseModel):
    """Consents of a shopper, one for each purpose."""

    user_id: str
    consents: list[ConsentItem]


class ConsentRow(ResponseModel):
    """Answer of a shopper about a purpose, a row of CONSENTS."""

    user_id: str
    purpose: ConsentPurpose
    given: bool
    at: datetime


class ConsentsResponse(ResponseModel):
    """Page of the answers of all shoppers."""

    consents: list[ConsentRow]
    next_cursor: str | None
    """`cursor` of the next page; null at the end."""


class ListConsentsQuery(RequestModel):
    """Query of `GET /v1/consents`."""

    model_config = RequestModel.model_config | {"strict": False}

    limit: Annotated[int, Field(ge=1, le=MAX_CONSENTS_LISTED)] = MAX_CONSENTS_LISTED
    """Maximum number of shoppers whose answers are in the page."""
    cursor: Cursor | None = None
    """`next_cursor` of the page before; absent for the first page."""


def consent_body(user_id: str, answers: Mapping[Purpose, ConsentAnswer], *, default: bool) -> dict[str, Any]:
    """Return a ConsentResponse as JSON values."""
    items = []
    for purpose in PURPOSES:
        answer = answers.get(purpose)
        given = default if answer is None else answer.given
        at, by = (None, None) if answer is None else (_time(answer.at), answer.by)
        items.append({"purpose": purpose, "given": given, "at": at, "by": by})
    return {"user_id": user_id, "consents": items}


def consent_rows(user_id: str, answers: Answers) -> list[dict[str, Any]]:
    """Return the ConsentRows of a shopper as JSON values."""
    return [
        {"user_id": user_id, "purpose": purpose, "given": answer.given, "at": _time(answer.at)}
        for purpose, answer in answers.items()
    ]


def _time(at: int) -> str:
    return (_EPOCH + at * _MICROSECOND).isoformat()
