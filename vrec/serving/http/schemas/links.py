"""Models of requests and responses about links to accounts in other domains."""

from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field
from pydantic_core import PydanticCustomError

from vrec.profiles.links import AccountLink
from vrec.serving.http.schemas.requests import Cursor, Id, Moment, OtherUserId, RequestModel
from vrec.serving.http.schemas.responses import ResponseModel

MAX_LINKS_LISTED = 1_000
"""Maximum number of links in one response."""
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


def _check_consent(consent: Any) -> Any:
    """Return `True`; a link without the shopper's consent is refused."""
    if consent is not True:
        raise PydanticCustomError(
            "consent", "must be true: a link without the shopper's consent is refused; ask for it first"
        )
    return consent


class LinkRequest(RequestModel):
    """Body of `PUT /v1/links/{domain}/{user_id}`."""

    other_user_id: OtherUserId
    """Id of the shopper's account in the other domain, preferably a pseudonym."""
    consent: Annotated[Literal[True], BeforeValidator(_check_consent)]
    """True: the shopper has agreed that what the account watches counts in the shop."""
    consented_at: Moment | None = None
    """Time of the consent; the time of arrival if absent."""

    def to_link(self, user_id: str, domain: str, now: int) -> AccountLink:
        """Return the link; a consent that is dated later than now (µs since 1970) is of now."""
        at = now if self.consented_at is None else (self.consented_at - _EPOCH) // _MICROSECOND
        return AccountLink(user_id, domain, self.other_user_id, min(at, now))


class ListLinksQuery(RequestModel):
    """Query of `GET /v1/links`."""

    model_config = RequestModel.model_config | {"strict": False}

    user_id: Id | None = None
    """Only the links of this shopper, all on one page."""
    limit: Annotated[int, Field(ge=1, le=MAX_LINKS_LISTED)] = MAX_LINKS_LISTED
    """Maximum number of links in the page."""
    cursor: Cursor | None = None
    """`next_cursor` of the page before; absent for the first page."""


class LinkResponse(ResponseModel):
    """Link of a shopper to an account in another domain, a row of LINKS."""

    user_id: str
    other_domain: str
    other_user_id: str
    consented_at: datetime
    revoked_at: datetime | None
    """Time at which the shopper took the consent back; null while the link holds."""


class LinksResponse(ResponseModel):
    """Page of links."""

    links: list[LinkResponse]
    next_cursor: str | None
    """`cursor` of the next page; null at the end."""


class LinkedDomain(ResponseModel):
    """Domain in which a shopper has a linked account."""

    domain: str
    counts: bool
    """Whether the bundle in service has a weight for the domain, so that what is watched there counts."""


class LinkedDomainsResponse(ResponseModel):
    """Domains to which a link of a shopper holds."""

    user_id: str
    domains: list[LinkedDomain]
    """By ascending name."""


def link_body(link: AccountLink) -> dict[str, Any]:
    """Return a link as JSON values."""
    return {
        "user_id": link.user_id,
        "other_domain": link.other_domain,
        "other_user_id": link.other_user_id,
        "consented_at": (_EPOCH + link.consented_at * _MICROSECOND).isoformat(),
        "revoked_at": None
        if link.revoked_at is None
        else (_EPOCH + link.revoked_at * _MICROSECOND).isoformat(),
    }
