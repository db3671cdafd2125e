"""Kinds of events in requests: vrec's and the shop's own, but not those that the service writes itself."""

from typing import Annotated

from pydantic import AfterValidator, ValidationInfo, WithJsonSchema
from pydantic_core import PydanticCustomError
from typing_extensions import TypeAliasType

from vrec.core.schema import EVENT_KINDS
from vrec.profiles.searches import SEARCH_KIND

SENT_KINDS = tuple(kind for kind in EVENT_KINDS if kind != SEARCH_KIND)
"""Kinds of events that clients send, besides the shop's own."""


def _check_kind(kind: str, info: ValidationInfo) -> str:
    """Return a kind of event that clients send, or one in `context["own_kinds"]`."""
    if kind == SEARCH_KIND:
        raise PydanticCustomError(
            "search",
            "'search' is written by the service itself: send the search to POST /v1/search with user_id or "
            "session_id",
        )
    kinds = (*SENT_KINDS, *(info.context or {}).get("own_kinds", ()))
    if kind not in kinds:
        *names, last = map(repr, kinds)
        raise PydanticCustomError(
            "kind", "Input should be {kinds}", {"kinds": f"{', '.join(names)} or {last}"}
        )
    return kind


EventKind = TypeAliasType(
    "EventKind",
    Annotated[
        str,
        AfterValidator(_check_kind),
        WithJsonSchema({"type": "string", "title": "EventKind", "enum": list(SENT_KINDS)}),
    ],
)
