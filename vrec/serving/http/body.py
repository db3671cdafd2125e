"""Reading of request bodies, and their description in OpenAPI."""

from typing import Any, TypeVar

from fastapi import Request
from pydantic import BaseModel, ValidationError

from vrec.serving.http.errors import HttpProblem, validation_problem

BodyModel = TypeVar("BodyModel", bound=BaseModel)
COMMON_ERRORS = (403, 413, 422, 429, 500, 503)
"""Error statuses of any operation with a body."""


def openapi_body(model: type[BaseModel]) -> dict[str, Any]:
    """Return the OpenAPI description of a body that `read_body` reads."""
    return openapi_json_body({"$ref": schema_ref(model)})


def openapi_json_body(schema: dict[str, Any]) -> dict[str, Any]:
    """Return the OpenAPI description of a JSON body with this schema."""
    return {"requestBody": {"required": True, "content": {"application/json": {"schema": schema}}}}


def schema_ref(model: type[BaseModel]) -> str:
    """Return the reference to a model's schema in the OpenAPI document."""
    return f"#/components/schemas/{model.__name__}"


async def read_json(request: Request) -> bytes:
    """Return the body of a request whose content type is JSON; raise HttpProblem for another type.

    Browsers let pages of other sites send some other content types without asking the service.
    """
    content_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if content_type != "application/json":
        raise HttpProblem(415, "unsupported-media-type", "send the body with Content-Type: application/json")
    return await request.body()


async def read_body(request: Request, model: type[BodyModel]) -> BodyModel:
    """Return the validated body; raise HttpProblem if it is invalid."""
    body = await read_json(request)
    try:
        return model.model_validate_json(body)
    except ValidationError as error:
        raise validation_problem(error) from None
