"""Models of requests and responses about batches."""

from datetime import datetime
from typing import Annotated

from pydantic import Field, StringConstraints
from typing_extensions import TypeAliasType

from vrec.serving.batches import folder
from vrec.serving.http.schemas.requests import ListRequest, Surface, UserId
from vrec.serving.http.schemas.responses import ResponseModel

MAX_BATCH_USERS = 100_000
"""Maximum number of shoppers that a batch names."""
BatchId = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{10}-[0-9a-f]{12}$")]
BatchStateName = TypeAliasType("BatchStateName", folder.BatchStateName)


class BatchRequest(ListRequest):
    """Body of `POST /v1/batches`."""

    user_ids: Annotated[list[UserId], Field(min_length=1, max_length=MAX_BATCH_USERS)] | None = None
    """Shoppers, each of whom gets a list; if absent, all with an account and events."""
    surface: Surface = "feed"
    """Surface of the lists, as in `POST /v1/recommend`."""


class BatchResponse(ResponseModel):
    """State of a batch."""

    batch_id: str
    state: BatchStateName
    users: int | None
    """Number of shoppers; null until they are known."""
    done: int
    """Number of shoppers whose lists are made."""
    created_at: datetime
    why: str | None
    """Reason why it failed."""
