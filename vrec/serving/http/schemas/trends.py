"""Models of requests and responses about trends."""

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field
from typing_extensions import TypeAliasType

from vrec.serving.http.schemas.requests import MAX_ITEMS
from vrec.serving.http.schemas.responses import ListResponse, ResponseModel
from vrec.serving.http.schemas.videos import FilterQuery
from vrec.serving.trends import windows

TrendWindow = TypeAliasType("TrendWindow", windows.TrendWindow)
"""Window over which trends are counted, up to now."""


class TrendingQuery(FilterQuery):
    """Query of `GET /v1/trending`."""

    window: TrendWindow = "24h"
    """Window over which shoppers are counted, up to now."""
    k: Annotated[int, Field(ge=1, le=MAX_ITEMS)] = 20
    """Maximum number of videos."""


class TrendingResponse(ListResponse):
    """Response of `GET /v1/trending`."""

    window: TrendWindow
    complete: bool
    """Whether all events are counted; false for a while after a restart and after the removal of events."""


class PopularSearchesQuery(BaseModel):
    """Query of `GET /v1/searches/popular`."""

    model_config = ConfigDict(extra="forbid", use_attribute_docstrings=True)

    window: TrendWindow = "24h"
    """Window over which shoppers are counted, up to now."""
    k: Annotated[int, Field(ge=1, le=MAX_ITEMS)] = 10
    """Maximum number of texts."""


class PopularSearchText(ResponseModel):
    """Text that many shoppers search."""

    text: str
    """Text in lower case with single spaces."""
    shoppers: int
    """Shoppers who sent it in the window, counted once a day."""


class PopularSearchesResponse(ResponseModel):
    """Response of `GET /v1/searches/popular`."""

    request_id: str
    window: TrendWindow
    searches: list[PopularSearchText]
    """Texts, of most shoppers first."""
