"""Popular videos for answers without ranking. Needs no torch, so that HTTP processes can hold it."""

from collections.abc import Sequence
from typing import Any, Self

from vrec.bundle.catalog import BundleCatalog
from vrec.config.serve import ServeConfig
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
        self._version, self._config = bundle.version, config
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
        eligible = EligibilityFilter(
            self._snapshot, query.filters, shopper_context(None, query.filters, query.age), rules, query.at
        )
        rows = eligible.pick(self._snapshot.popular, min(query.k, self._config.candidates.most))
        ids = self._snapshot.catalog.video_ids
        items = tuple(
            unranked_item(ids[row], 1 / slot, "popular", ("popular",))
            for slot, row in enumerate(rows, start=1)
        )
        return ListResult(items, self._version, missing, len(rows), dict(eligible.excluded))
