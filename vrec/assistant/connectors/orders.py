"""Orders of a shopper, as the shop's own tool tells them."""

import re
from datetime import date
from typing import Annotated, Literal

from pydantic import AfterValidator, AwareDatetime, BaseModel, ConfigDict, Field, HttpUrl, ValidationError

from vrec.assistant.connectors.config import OrdersConfig
from vrec.assistant.connectors.json_calls import JsonCaller, WrongAnswer
from vrec.assistant.text import one_line

MAX_BYTES = 256_000
"""Maximum size of the tool's answer."""
MAX_ORDERS = 50
OrderStatus = Literal[
    "placed",
    "paid",
    "packed",
    "shipped",
    "out_for_delivery",
    "delivered",
    "cancelled",
    "returned",
    "refunded",
]
_ORDER_ID = re.compile(r"[\w.#/-]{1,64}")


def _line(text: str) -> str:
    line = one_line(text)
    if not line:
        raise ValueError("is empty")
    return line


def _shown_id(text: str) -> str:
    if _ORDER_ID.fullmatch(text) is None:
        raise ValueError("has other characters than letters, digits and .#/_-")
    return text


def _public(url: HttpUrl) -> HttpUrl:
    if url.username or url.password:
        raise ValueError("has a user name or password")
    return url


_Line = Annotated[str, Field(max_length=200), AfterValidator(_line)]


class _Told(BaseModel):
    # The tool may say more than is read here.
    model_config = ConfigDict(extra="ignore", frozen=True, strict=False)


class OrderedItem(_Told):
    """Item of an order."""

    title: _Line
    quantity: int = Field(default=1, ge=1, le=100_000, strict=True)


class ShopOrder(_Told):
    """Order of a shopper."""

    order_id: Annotated[str, AfterValidator(_shown_id)]
    status: OrderStatus
    items: tuple[OrderedItem, ...] = Field(min_length=1, max_length=200)
    ordered_at: AwareDatetime
    shipped_at: AwareDatetime | None = None
    delivered_at: AwareDatetime | None = None
    expected_on: date | None = None
    """Day on which it should arrive."""
    carrier: _Line | None = None
    tracking_url: Annotated[HttpUrl, AfterValidator(_public)] | None = None


class ShopperOrders(_Told):
    """Answer of the tool: some or all of a shopper's orders."""

    user_id: str
    """Shopper whose orders they are; it must be the one that was asked for."""
    orders: tuple[ShopOrder, ...] = Field(max_length=MAX_ORDERS)


def read_orders(found: object, user_id: str) -> tuple[ShopOrder, ...]:
    """Return the orders in the tool's answer, the latest first; raises WrongAnswer if it is not as declared.

    Args:
        found: The JSON.
        user_id: Shopper whose orders they must be.
    """
    try:
        told = ShopperOrders.model_validate(found)
    except (ValidationError, RecursionError) as error:
        raise WrongAnswer(f"the answer is not as declared: {_places(error)}") from None
    if told.user_id != user_id:
        raise WrongAnswer("the answer is about another shopper")
    return tuple(sorted(told.orders, key=lambda order: order.ordered_at, reverse=True))


class OrderLookup:
    """Look-up of orders in the shop's tool."""

    def __init__(self, config: OrdersConfig, key: str) -> None:
        """Build it.

        Args:
            config: Settings with a `url`.
            key: The tool's bearer token; "" for none.
        """
        assert config.url is not None
        self._caller = JsonCaller(config.url, config.timeout_s, MAX_BYTES, key)

    async def of(self, user_id: str) -> tuple[ShopOrder, ...]:
        """Return an account's orders, the latest first.

        Args:
            user_id: The account; the caller has seen that it is the shopper's own.

        Raises:
            CallFailed: The tool gives no usable answer, or that of another shopper.
        """
        return read_orders(await self._caller.get({"user_id": user_id}), user_id)

    async def close(self) -> None:
        """Close all connections."""
        await self._caller.close()


def _places(error: ValidationError | RecursionError) -> str:
    """Return where an answer is wrong, without its values: they are a shopper's."""
    if isinstance(error, RecursionError):
        return "too deep"
    found = error.errors(include_input=False, include_url=False, include_context=False)
    return "; ".join(f"{'.'.join(map(str, one['loc']))}: {one['type']}" for one in found[:3])
