"""Steps from one price to another: what a message does to the range of prices that is asked for."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from vrec.assistant.catalog import CardFacts
from vrec.assistant.prices import PriceRange, PriceStep
from vrec.assistant.query import Facet, ShoppingQuery
from vrec.assistant.understanding.utterance import Utterance


@dataclass(frozen=True, slots=True)
class ShopView:
    """View of the catalog that the dialogue needs."""

    card: Callable[[str], CardFacts | None]
    fits: Callable[[ShoppingQuery], bool]
    """Whether any video fits a query."""
    has: Callable[[Facet, str], bool]
    """Whether any video has a value of a facet."""


def _prices(video_ids: Sequence[str], shop: ShopView) -> list[float]:
    cards = [shop.card(name) for name in video_ids]
    return [card.price for card in cards if card is not None and card.price is not None]


def with_prices(
    query: ShoppingQuery, said: Utterance, video_ids: Sequence[str], shop: ShopView
) -> tuple[ShoppingQuery, PriceStep | None, PriceStep | None]:
    """Return the query after what was said of prices, the order by price, and a step that leads nowhere.

    Args:
        query: The query before it.
        said: The message.
        video_ids: Videos that "cheaper" compares with.
        shop: The catalog at this moment.
    """
    shown = _prices(video_ids, shop)
    order: PriceStep | None = None
    no_step: PriceStep | None = None
    for wish in said.prices:
        if wish.range is not None:
            query = replace(query, price=query.price.narrowed(wish.range))
        elif wish.step is not None and not shown:
            order = wish.step
        elif wish.step is not None:
            stepped = _step(query, wish.step, shown, shop)
            no_step = wish.step if stepped is None else no_step
            query = stepped or query
    return query, order, no_step


def _step(
    query: ShoppingQuery, step: PriceStep, shown: Sequence[float], shop: ShopView
) -> ShoppingQuery | None:
    """Return the query for things cheaper, or dearer, than all that was shown, or else than half of it, or
    than the dearest; None where there is nothing even then."""
    middle = float(np.median(shown))
    if step == "cheaper":
        bounds = [replace(query.price, most=p, below=True) for p in (min(shown), middle, max(shown))]
    else:
        bounds = [replace(query.price, least=p, above=True) for p in (max(shown), middle, min(shown))]
    if query.price.is_about:
        bounds = [replace(_one_sided(bound, step), is_about=False) for bound in bounds]
    # A step that the other bound leaves no room for takes its place only where no smaller one is left. Of a
    # range that was named as one, "cheaper" leaves the lower end before it repeats what was shown.
    ranges = [bound for bound in bounds if not bound.is_empty]
    ranges += [_one_sided(bound, step) for bound in bounds if bound.is_empty]
    if step == "cheaper" and query.price.most is not None and not query.price.below:
        ranges = [bounds[0], _one_sided(bounds[0], step), *ranges]
        ranges = [bound for bound in ranges if not bound.is_empty]
    tries = (replace(query, price=bound) for bound in ranges)
    return next((trial for trial in tries if shop.fits(trial)), None)


def _one_sided(price: PriceRange, step: PriceStep) -> PriceRange:
    if step == "cheaper":
        return replace(price, least=None, above=False)
    return replace(price, most=None, below=False)
