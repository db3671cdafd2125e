"""Reading of request bodies, and their description in OpenAPI."""

import codecs
from typing import Any, TypeVar

from fastapi import Request
from pydantic import BaseModel, TypeAdapter, ValidationError

from vrec.serving.http.errors import HttpProblem, validation_problem
from vrec.serving.http.schemas.requests import MANY_TAG, ONE_TAG, SESSION_TAG, USER_TAG
from vrec.serving.http.schemas.rules import RULE_TAGS

Body = TypeVar("Body")
BodyModel = TypeVar("BodyModel", bound=BaseModel)
COMMON_ERRORS = (403, 408, 413, 422, 429, 500, 503)
"""Error statuses of any operation with a body."""


_TAGS = frozenset({USER_TAG, SESSION_TAG, ONE_TAG, MANY_TAG}) | RULE_TAGS


def openapi_body(
    model: type[BaseModel], *others: type[BaseModel], media_type: str = "application/json"
) -> dict[str, Any]:
    """Return the OpenAPI description of a body that is of this model, or of one of several."""
    refs = [{"$ref": schema_ref(one)} for one in (model, *others)]
    schema = {"anyOf": refs} if others else refs[0]
    return {"requestBody": {"required": True, "content": {media_type: {"schema": schema}}}}


def schema_ref(model: type[BaseModel]) -> str:
    """Return the reference to a model's schema in the OpenAPI document."""
    return f"#/components/schemas/{model.__name__}"


async def read_json(request: Request) -> bytes:
    """Return the body of a request whose content type is JSON, without a byte order mark.

    Raises HttpProblem for another type: browsers let pages of other sites send some other content types
    without asking the service.
    """
    content_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if content_type != "application/json":
        raise HttpProblem(415, "unsupported-media-type", "send the body with Content-Type: application/json")
    return (await request.body()).removeprefix(codecs.BOM_UTF8)


async def read_body(request: Request, model: type[BodyModel]) -> BodyModel:
    """Return the validated body; raise HttpProblem if it is invalid."""
    return validate_body(await read_json(request), TypeAdapter(model))


def validate_body(body: bytes, adapter: TypeAdapter[Body], context: Any = None) -> Body:
    """Return a validated JSON body; raise HttpProblem with every invalid field if it is invalid."""
    try:
        return adapter.validate_json(body, context=context)
    except ValidationError as error:
        raise validation_problem(error, tags=_TAGS) from None
