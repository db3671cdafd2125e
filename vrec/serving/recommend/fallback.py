"""Popular videos for answers without ranking. Needs no torch, so that HTTP processes can hold it."""

from collections.abc import Sequence
from typing import Any, Self

import numpy as np

from vrec.bundle.catalog import BundleCatalog
from vrec.config.serve import ServeConfig
from vrec.ranking.reranking.reasons import find_reasons
from vrec.serving.catalog.snapshot import BundleCatalogView, CatalogSnapshot
from vrec.serving.messages import CatalogChange, ListResult, RecommendQuery, unranked_item
from vrec.serving.recommend.eligibility import EligibilityFilter, shopper_context

MAX_CACHED_CARDS = 10_000
"""Maximum number of cached cards; making a card takes longer than the rest of an item."""


class PopularFallback:
    """Immutable list of a bundle's popular videos with the changes since."""

    def __init__(
        self, bundle: BundleCatalog, config: ServeConfig, view: BundleCatalogView | None = None
    ) -> None:
        """Build the list; `view` is the bundle's view if this process has it already."""
        self._version, self._config, self._popularity = bundle.version, config, bundle.popularity
        if view is None:
            view = BundleCatalogView.from_content(bundle.content, bundle.encoder, bundle.popular)
        self._snapshot = CatalogSnapshot.from_view(view)
        self._cards: dict[str, dict[str, Any] | None] = {}

    def with_changes(self, changes: Sequence[CatalogChange]) -> Self:
        """Return another list after more changes; see `CatalogSnapshot.with_changes`."""
        other = object.__new__(type(self))
        other.__dict__ = self.__dict__ | {"_snapshot": self._snapshot.with_changes(changes), "_cards": {}}
        return other

    def card(self, video_id: str) -> dict[str, Any] | None:
        """Return a video's row of VIDEOS by column, or None for an unknown video."""
        if video_id not in self._cards:
            if len(self._cards) >= MAX_CACHED_CARDS:
                self._cards.clear()
            self._cards[video_id] = self._snapshot.card(video_id)
        return self._cards[video_id]

    def answer(self, query: RecommendQuery, missing: tuple[str, ...]) -> ListResult:
        """Return at most `query.k` popular videos that pass the rules and filters, without predictions.

        The shopper counts as unknown, so purchases are not excluded.

        Args:
            query: The request.
            missing: Parts of the service that were missing, for `degraded`.
        """
        rules = self._config.rerank.for_surface(query.surface).rules
        shopper = shopper_context(None, query.filters, query.age)
        eligible = EligibilityFilter(self._snapshot, query.filters, shopper, rules, query.at)
        rows = eligible.pick(self._snapshot.popular, min(query.k, self._config.candidates.most))
        ids = self._snapshot.catalog.video_ids
        reasons = find_reasons(
            np.array(rows, np.int64),
            self._snapshot.catalog,
            shopper,
            self._config.rerank.for_surface(query.surface).reasons,
            sources=["popular"] * len(rows),
            explored=np.zeros(len(rows), np.bool_),
            at=query.at,
            popularity=self._popularity,
        )
        items = tuple(
            unranked_item(ids[row], 1 / slot, "popular", tuple(codes))
            for slot, (row, codes) in enumerate(zip(rows, reasons, strict=True), start=1)
        )
        return ListResult(items, self._version, missing, len(rows), dict(eligible.excluded))
