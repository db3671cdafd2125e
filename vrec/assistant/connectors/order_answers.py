"""Answers to questions about orders, made of what the shop's tool has told and nothing else."""

from collections.abc import Sequence
from datetime import date

from babel.dates import format_date

from vrec.assistant.answers import Answer, person_offer
from vrec.assistant.connectors.order_questions import asks_of_refund, named_orders, names_unknown_order
from vrec.assistant.connectors.orders import OrderStatus, ShopOrder
from vrec.assistant.wording import Wording

MAX_TOLD_ORDERS = 3
MAX_TOLD_ITEMS = 3
GIVEN_BACK: frozenset[OrderStatus] = frozenset({"cancelled", "returned", "refunded"})
ENDED: frozenset[OrderStatus] = frozenset({"delivered", "cancelled", "returned", "refunded"})


def orders_answer(orders: Sequence[ShopOrder], message: str, words: Wording) -> Answer:
    """Return how a shopper's orders stand: the one that is named, else those under way, else the last.

    To a question about a refund, those that were given back come before those under way.

    Args:
        orders: All orders that the shop told of, the latest first.
        message: The shopper's message.
        words: The shopper's language.
    """
    numbers = tuple(order.order_id for order in orders)
    named = named_orders(message, numbers)
    given_back = [order for order in orders if order.status in GIVEN_BACK] if asks_of_refund(message) else []
    under_way = given_back or [order for order in orders if order.status not in ENDED]
    told = [order for order in orders if order.order_id in named] or under_way or list(orders[:1])
    parts = [_order_text(order, words) for order in told[:MAX_TOLD_ORDERS]]
    if not orders:
        parts = [words.say("There are no orders in your account.")]
    elif names_unknown_order(message, numbers):
        parts.insert(0, words.say("I see no order of yours with that number."))
    return Answer("order", words.code, words.joined(parts), suggestions=person_offer(words))


def signed_out_answer(words: Wording) -> Answer:
    """Return the answer to a shopper for whose account nobody vouches."""
    text = words.say("I can only look up orders when you are signed in. A person can help you too.")
    return Answer("order", words.code, text, suggestions=person_offer(words))


def orders_away_answer(words: Wording) -> Answer:
    """Return the answer while the shop's tool cannot be asked."""
    text = words.say("I cannot look up orders right now. Try again later, or ask for a person.")
    return Answer("order", words.code, text, suggestions=person_offer(words))


def order_change_answer(words: Wording) -> Answer:
    """Return the answer to a wish to change or cancel an order, which a person takes over."""
    text = words.say(
        "I cannot change orders. I am passing you on to a person, with what we have said so far."
    )
    return Answer("person", words.code, text, hand_over=True, hand_over_reason="order")


def _order_text(order: ShopOrder, words: Wording) -> str:
    items = [
        one.title if one.quantity == 1 else f"{one.quantity} × {one.title}"
        for one in order.items[:MAX_TOLD_ITEMS]
    ]
    if rest := len(order.items) - MAX_TOLD_ITEMS:
        items += [words.counted("%(n)d more", "%(n)d more", rest) % {"n": rest}] if rest > 0 else []
    head = words.say("Order %(order)s (%(items)s): %(status)s.") % {
        "order": order.order_id, "items": ", ".join(items), "status": _status(order, words),
    }  # fmt: skip
    parts = [head]
    if order.expected_on is not None and order.status not in ENDED:
        parts.append(words.say("It should arrive on %(day)s.") % {"day": _day(order.expected_on, words)})
    if order.carrier is not None and order.status in ("shipped", "out_for_delivery"):
        parts.append(words.say("The carrier is %(carrier)s.") % {"carrier": order.carrier})
    if order.tracking_url is not None and order.status not in ENDED:
        # A space behind the address keeps the sign after it out of it, also in Chinese.
        parts.append(words.say("Follow it at %(url)s .") % {"url": order.tracking_url})
    return words.joined(parts)


def _status(order: ShopOrder, words: Wording) -> str:
    if order.status == "shipped" and order.shipped_at is not None:
        return words.say("shipped on %(day)s") % {"day": _day(order.shipped_at, words)}
    if order.status == "delivered" and order.delivered_at is not None:
        return words.say("delivered on %(day)s") % {"day": _day(order.delivered_at, words)}
    texts: dict[OrderStatus, str] = {
        "placed": words.say("placed on %(day)s, not shipped yet") % {"day": _day(order.ordered_at, words)},
        "paid": words.say("paid, not shipped yet"),
        "packed": words.say("packed, not shipped yet"),
        "shipped": words.say("shipped"),
        "out_for_delivery": words.say("out for delivery"),
        "delivered": words.say("delivered"),
        "cancelled": words.say("cancelled"),
        "returned": words.say("returned"),
        "refunded": words.say("refunded"),
    }
    return texts[order.status]


def _day(day: date, words: Wording) -> str:
    return format_date(day, "long", words.locale)
