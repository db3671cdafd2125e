"""Models of responses about records of shoppers and their receipts."""

import hashlib
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any

from pydantic import Field

from vrec.serving.deployments.held import ShopperReceipt
from vrec.serving.http.schemas.requests import Cursor, RequestModel
from vrec.serving.http.schemas.responses import ResponseModel

MAX_RECEIPTS = 1_000
"""Maximum number of receipts in one response."""
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class ReceiptResponse(ResponseModel):
    """Receipt of what was told or erased of a shopper. It does not name the shopper."""

    receipt_id: int
    """Number of the receipt in `GET /v1/receipts`."""
    what: str
    """`access` or `erasure`."""
    at: datetime
    counts: dict[str, int]
    """What there was, by kind."""
    sha256: str | None
    """Of an access, the digest of the response before `,"receipt":`; of an erasure, that of `SALT:USER_ID`,
    null where it was made in the console."""


class ErasureReceipt(ReceiptResponse):
    """Receipt of an erasure, with what proves whose it is."""

    salt: str
    """Salt of the digest, which is kept nowhere else: keep it with the id that was erased."""


class EraseShopperResponse(ResponseModel):
    """Response of `DELETE /v1/profiles/{user_id}`."""

    user_id: str
    erased: int
    """Number of deleted events."""
    receipt: ErasureReceipt


class ReceiptsResponse(ResponseModel):
    """Page of receipts."""

    receipts: list[ReceiptResponse]
    next_cursor: str | None
    """`cursor` of the next page; null at the end."""


class ListReceiptsQuery(RequestModel):
    """Query of `GET /v1/receipts`."""

    model_config = RequestModel.model_config | {"strict": False}

    limit: Annotated[int, Field(ge=1, le=MAX_RECEIPTS)] = 100
    """Maximum number of receipts in the page."""
    cursor: Cursor | None = None
    """`next_cursor` of the page before; absent for the first page."""


def erasure_digest(salt: str, user_id: str) -> str:
    """Return the digest in the receipt of an erasure, by which whoever has salt and id can prove it."""
    return hashlib.sha256(f"{salt}:{user_id}".encode(errors="surrogatepass")).hexdigest()


def receipt_body(receipt: ShopperReceipt) -> dict[str, Any]:
    """Return a ReceiptResponse as JSON values."""
    return {
        "receipt_id": receipt.number,
        "what": receipt.what,
        "at": text_of(receipt.at),
        "counts": dict(receipt.counts),
        "sha256": receipt.sha256,
    }


def text_of(at: int) -> str:
    """Return a time in µs since 1970 as text."""
    return (_EPOCH + timedelta(microseconds=at)).isoformat()
