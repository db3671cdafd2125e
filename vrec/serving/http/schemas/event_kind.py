"""Kinds of events in requests: vrec's and the shop's own."""

from typing import Annotated

from pydantic import AfterValidator, ValidationInfo, WithJsonSchema
from pydantic_core import PydanticCustomError
from typing_extensions import TypeAliasType

from vrec.core.schema import EVENT_KINDS


def _check_kind(kind: str, info: ValidationInfo) -> str:
    """Return a kind of event that is vrec's or in `context["own_kinds"]`."""
    kinds = (*EVENT_KINDS, *(info.context or {}).get("own_kinds", ()))
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
        WithJsonSchema({"type": "string", "title": "EventKind", "enum": list(EVENT_KINDS)}),
    ],
)
