"""The popular videos, for answers without ranking: what an HTTP process knows by itself, without torch."""

from collections.abc import Sequence
from typing import Any, Self

from vrec.bundle.catalog import BundleCatalog
from vrec.config.serve import ServeConfig
from vrec.serving.catalog.snapshot import BundleCatalogView, CatalogSnapshot
from vrec.serving.messages import CatalogChange, ListResult, RecommendQuery, unranked_item
from vrec.serving.recommend.eligibility import EligibilityFilter, shopper_context

MAX_CACHED_CARDS = 10_000
"""Cards kept at most: making one takes longer than all else that is said of a video."""


class PopularFallback:
    """A bundle's popular videos with the changes since. It does not change: changes give another."""

    def __init__(
        self, bundle: BundleCatalog, config: ServeConfig, view: BundleCatalogView | None = None
    ) -> None:
        """`stocked` is what the bundle's videos come to, where this process has worked it out already."""
        self._version, self._config = bundle.version, config
        if view is None:
            view = BundleCatalogView.from_content(bundle.content, bundle.encoder, bundle.popular)
        self._wares = CatalogSnapshot.from_view(view)
        self._cards: dict[str, dict[str, Any] | None] = {}

    def with_changes(self, changes: Sequence[CatalogChange]) -> Self:
        """Another one, after more changes; see `Wares.with_changes`."""
        other = object.__new__(type(self))
        other.__dict__ = self.__dict__ | {"_wares": self._wares.with_changes(changes), "_cards": {}}
        return other

    def card(self, video_id: str) -> dict[str, Any] | None:
        """A video's row of VIDEOS by column, or None where there is no such video."""
        if video_id not in self._cards:
            if len(self._cards) >= MAX_CACHED_CARDS:
                self._cards.clear()
            self._cards[video_id] = self._wares.card(video_id)
        return self._cards[video_id]

    def answer(self, query: RecommendQuery, missing: tuple[str, ...]) -> ListResult:
        """At most `ask.k` popular videos that the hard rules and the filters let pass; nothing is expected.

        The shopper is a stranger here: what they bought is not known. `missing` is why nobody ranked.
        """
        rules = self._config.rerank.for_surface(query.surface).rules
        gate = EligibilityFilter(
            self._wares, query.filters, shopper_context(None, query.filters, query.age), rules, query.at
        )
        rows = gate.pick(self._wares.popular, min(query.k, self._config.candidates.most))
        names = self._wares.shelf.video_ids
        items = tuple(
            unranked_item(names[row], 1 / slot, "popular", ("popular",))
            for slot, row in enumerate(rows, start=1)
        )
        return ListResult(items, self._version, missing, len(rows), dict(gate.barred))
