"""Questions about orders: how one stands, or a wish to change one."""

import re
from typing import Literal

from vrec.assistant.text import normal_form

OrderWish = Literal["status", "change"]
_CHANGE = re.compile(
    r"\b(?:cancel(?:l?ing|l?ed)?|change|changing|modify|edit|correct|stop|reroute|redirect|return|refund)\b"
    r"|取消|退掉|不要了|修改|更改|改(?:一下|地址|成|订单|个)|换(?:个|一下)?地址|退(?:货|款|单)"
)
_GIVEN_BACK = r"\b(?:refund(?:ed)?|money|return(?:ed)?|exchange|replacement)\b|退款|退货|换货|退的钱|我的?钱"
_HOW_IT_STANDS = re.compile(
    r"\b(?:has|have|had|did|where(?:'s| is| are)|status|news)\b[^.?!]{0,30}"
    r"\b(?:refund|return|exchange|replacement|money)\b"
    r"|(?:退款|退货|换货|退的钱|我的?钱)[^，。]{0,8}(?:到|收到|处理|进度|办好|成功)"
)
"""Questions how a refund or return stands, which name what would otherwise be a wish for one."""
_ORDER_NUMBER = re.compile(r"[a-z0-9](?:[a-z0-9.#/_-]{2,62})[a-z0-9]|\d{3,}", re.ASCII)
_SAYS_NUMBER = r"(?:orders?|number|no\.?|#|订单号?|单号)[ #:：]*"
_AFTER = r"(?![a-z0-9]|[.#/_-][a-z0-9])"


def order_wish(message: str) -> OrderWish:
    """Return what a message that is about the shopper's orders asks for: to tell of one, or to change one.

    Args:
        message: The message.
    """
    text = normal_form(message)
    return "change" if _CHANGE.search(text) and not _HOW_IT_STANDS.search(text) else "status"


def asks_of_refund(message: str) -> bool:
    """Return whether a message asks how a refund, return or exchange stands."""
    return re.search(_GIVEN_BACK, normal_form(message)) is not None


def named_orders(message: str, order_ids: tuple[str, ...]) -> tuple[str, ...]:
    """Return those of a shopper's orders whose numbers stand in a message.

    Args:
        message: The message.
        order_ids: Numbers of the shopper's orders.
    """
    text = normal_form(message)
    return tuple(name for name in order_ids if _names(text, normal_form(name)))


def names_unknown_order(message: str, order_ids: tuple[str, ...]) -> bool:
    """Return whether a message names a number with four digits or more that no order of the shopper has."""
    named = {one for one in _ORDER_NUMBER.findall(normal_form(message)) if sum(c.isdigit() for c in one) >= 4}
    return bool(named) and not named & {normal_form(name) for name in order_ids}


def _names(text: str, order_id: str) -> bool:
    """Return whether a text has an order's number; short ones, and words, count after "order" or "#" only."""
    is_plain = len(order_id) >= 3 and any(c.isdigit() for c in order_id)
    before = r"(?<![a-z0-9])(?<![a-z0-9][.#/_-])" if is_plain else _SAYS_NUMBER
    return re.search(f"{before}{re.escape(order_id)}{_AFTER}", text, re.ASCII) is not None
