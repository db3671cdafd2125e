"""Popular videos for answers without ranking. Needs no torch, so that HTTP processes can hold it."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Self

import numpy as np

from vrec.bundle.catalog import BundleCatalog
from vrec.config.serve import ServeConfig
from vrec.ranking.reranking.catalog import RowIndices, ShopperContext
from vrec.ranking.reranking.eligibility_rules import barring_rules, minimum_age
from vrec.ranking.reranking.placements import Placements, place_in_order
from vrec.ranking.reranking.reasons import find_reasons
from vrec.serving.catalog.bundle_view import BundleCatalogView
from vrec.serving.catalog.columns import Mask
from vrec.serving.catalog.listing import CatalogQuery, list_rows
from vrec.serving.catalog.snapshot import CatalogSnapshot
from vrec.serving.creators.figures import CreatorFigures
from vrec.serving.creators.table import CreatorTable
from vrec.serving.messages import (
    CatalogChange,
    CatalogEntry,
    CatalogPage,
    ListResult,
    RecommendQuery,
    RequestFilters,
    unranked_item,
)
from vrec.serving.recommend.eligibility import OVER, EligibilityFilter, shopper_context
from vrec.serving.recommend.live import popular_order
from vrec.serving.recommend.search import popular_suggestions
from vrec.serving.rules.book import NO_BOOK, RuleBook
from vrec.serving.rules.compiled import RuleCompiler
from vrec.serving.streams.rows import StreamCompiler
from vrec.serving.streams.states import NO_STREAMS, StreamBook
from vrec.serving.trends.trending import TrendingVideo

TRENDING = "trending"
"""Surface and source of trending videos."""
DEFAULT_SURFACE = "feed"
"""Surface whose rules tell whether a video can be recommended."""
OLDEST_AGE = 1_000
"""Age above every limit: a limit alone keeps no video from all shoppers."""
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
        self._rules = RuleCompiler()
        self._streams = StreamCompiler()
        self._cards: dict[str, dict[str, Any]] = {}
        self._figures = CreatorFigures.load(bundle)
        self._creators: CreatorTable | None = None

    @property
    def version(self) -> str:
        """Version of the bundle."""
        return self._version

    @property
    def creators(self) -> CreatorTable:
        """The creators of all videos; making the table takes time in proportion to the catalog."""
        if self._creators is None:
            self._creators = CreatorTable.from_snapshot(self._snapshot, self._figures)
        return self._creators

    def bans(self, surface: str, filters: RequestFilters, at: int, book: RuleBook) -> list[Mask]:
        """Return the (N,) masks of the videos that the shop's bans keep from a list."""
        rules = self._rules.compiled(book, self._snapshot).for_list(surface, filters, at)
        return [mask for _, mask in rules.bans]

    @property
    def fallback(self) -> Self:
        """This list, as of any state that holds one."""
        return self

    def with_changes(self, changes: Sequence[CatalogChange]) -> Self:
        """Return another list after more changes; see `CatalogSnapshot.with_changes`."""
        return self.with_snapshot(self._snapshot.with_changes(changes))

    def with_snapshot(self, snapshot: CatalogSnapshot) -> Self:
        """Return the list over another snapshot of the same bundle."""
        other = object.__new__(type(self))
        other.__dict__ = self.__dict__ | {"_snapshot": snapshot, "_cards": {}, "_creators": None}
        return other

    def has(self, video_id: str) -> bool:
        """Return whether the catalog has a video."""
        return self._snapshot.catalog.row_by_id.get(video_id) is not None

    def possible_streams(self, video_ids: Sequence[str]) -> list[str]:
        """Return the ids of streams, live or over, and of unknown videos."""
        row_by_id, streams = self._snapshot.catalog.row_by_id, set(self._snapshot.streams.tolist())
        rows = ((name, row_by_id.get(name)) for name in video_ids)
        return [name for name, row in rows if row is None or row in streams]

    def card(self, video_id: str) -> dict[str, Any] | None:
        """Return a video's row of VIDEOS by column, or None for an unknown video."""
        card = self._cards.get(video_id)
        if card is None and (card := self._snapshot.card(video_id)) is not None:
            # Several threads may be here: what one of them clears, the next request caches again.
            if len(self._cards) >= MAX_CACHED_CARDS:
                self._cards.clear()
            self._cards[video_id] = card
        return card

    def page(
        self, query: CatalogQuery, at: int, book: RuleBook = NO_BOOK, *, streams: StreamBook = NO_STREAMS
    ) -> CatalogPage:
        """Return a page of the catalog, with the state of each video at a time (µs since 1970)."""
        found = list_rows(self._snapshot, query)
        entries = self._entries(np.array(found.rows, np.int64), at, book, streams)
        return CatalogPage(entries, found.matching, found.has_more)

    def entry(
        self, video_id: str, at: int, book: RuleBook = NO_BOOK, *, streams: StreamBook = NO_STREAMS
    ) -> CatalogEntry | None:
        """Return a video with its state at a time (µs since 1970), or None for an unknown video."""
        row = self._snapshot.catalog.row_by_id.get(video_id)
        return None if row is None else self._entries(np.array([row], np.int64), at, book, streams)[0]

    def _entries(
        self, rows: RowIndices, at: int, book: RuleBook, streams: StreamBook
    ) -> tuple[CatalogEntry, ...]:
        """Return the videos at (N,) rows. Only rules that hold for every shopper and list count."""
        rules, catalog = self._config.rerank.for_surface(DEFAULT_SURFACE).rules, self._snapshot.catalog
        barred = barring_rules(rows, catalog, ShopperContext(age=OLDEST_AGE), rules, at=at)
        compiled = self._rules.compiled(book, self._snapshot)
        bans = [mask for _, mask in compiled.for_list(DEFAULT_SURFACE, RequestFilters(), at).bans]
        over = self._streams.compiled(streams, self._snapshot).live(at).over
        entries: list[CatalogEntry] = []
        row_list: list[int] = rows.tolist()
        for row, names in zip(row_list, barred, strict=True):
            card = self.card(catalog.video_ids[row])
            assert card is not None  # rows of a snapshot are videos of it
            barred_by = (*names, "ban") if any(mask[row] for mask in bans) else names
            min_age = minimum_age(catalog.tags[row], rules)
            barred_by = (*barred_by, OVER) if over is not None and over[row] else barred_by
            entries.append(CatalogEntry(card, barred_by, min_age, bool(catalog.vectors[row].any())))
        return tuple(entries)

    def answer(
        self,
        query: RecommendQuery,
        missing: tuple[str, ...],
        book: RuleBook = NO_BOOK,
        *,
        streams: StreamBook = NO_STREAMS,
    ) -> ListResult:
        """Return at most `query.k` popular videos that pass the rules and filters, without predictions.

        The shopper counts as unknown, so purchases are not excluded.

        Args:
            query: The request.
            missing: Parts of the service that were missing, for `degraded`.
            book: Rules of the shop.
            streams: Streams of the shop.
        """
        hard_rules = self._config.rerank.for_surface(query.surface).rules
        shopper = shopper_context(None, query.filters, query.age)
        rules = self._rules.compiled(book, self._snapshot).for_list(query.surface, query.filters, query.at)
        live = self._streams.compiled(streams, self._snapshot).live(query.at)
        most = self._config.candidates.live if query.candidates is None else None
        found = self._snapshot, query.filters, shopper, hard_rules, query.at
        eligible = EligibilityFilter(*found, bans=rules.bans, live=live, most_streams=most)
        order, catalog = popular_order(self._snapshot, live, query.filters), self._snapshot.catalog
        if query.candidates is not None:
            order = order[np.isin(order, catalog.find(query.candidates))]
        picks = eligible.pick(order, min(query.k, self._config.candidates.most))
        if rules.places and query.candidates is None:
            picks = list(dict.fromkeys([*picks, *rules.candidates(query, self._snapshot, eligible)]))
        placements = rules.placements(query, self._snapshot, np.array(picks, np.int64))
        placed, placed_by = place_in_order(placements or Placements(), len(picks), query.k)
        rows, ids = [picks[slot] for slot in placed], catalog.video_ids
        reasons = find_reasons(
            np.array(rows, np.int64),
            self._snapshot.catalog,
            shopper,
            self._config.rerank.for_surface(query.surface).reasons,
            sources=["popular"] * len(rows),
            explored=np.zeros(len(rows), np.bool_),
            at=query.at,
            popularity=self._popularity,
            featured=placed_by,
        )
        items = tuple(
            replace(
                unranked_item(ids[row], 1 / slot, "popular", tuple(codes)), rules=rules.names_for(row, rule)
            )
            for slot, (row, codes, rule) in enumerate(zip(rows, reasons, placed_by, strict=True), start=1)
        )
        named = (*(query.candidates or ()), *query.seeds, *query.cart)
        unknown = tuple(name for name in dict.fromkeys(named) if name not in catalog.row_by_id)
        return ListResult(items, self._version, missing, len(rows), dict(eligible.excluded), unknown=unknown)

    def trending(
        self,
        videos: Sequence[TrendingVideo] | None,
        k: int,
        filters: RequestFilters,
        at: int,
        book: RuleBook = NO_BOOK,
        *,
        streams: StreamBook = NO_STREAMS,
    ) -> ListResult:
        """Return the first at most `k` trending videos that pass the rules and filters.

        Args:
            videos: Trending videos in their order; None, if they are not known, for popular ones.
            k: Maximum number of items.
            filters: Filters of the request.
            at: Time of the request, µs since 1970.
            book: Rules of the shop, of which bans hold.
            streams: Streams of the shop.
        """
        rules = self._rules.compiled(book, self._snapshot).for_list(TRENDING, filters, at)
        hard_rules, shopper = self._config.rerank.for_surface(TRENDING).rules, shopper_context(None, filters)
        live = self._streams.compiled(streams, self._snapshot).live(at)
        eligible = EligibilityFilter(
            self._snapshot, filters, shopper, hard_rules, at, bans=rules.bans, live=live
        )
        if videos is None:
            return ListResult(popular_suggestions(self._snapshot, eligible, k), self._version)
        rows = self._snapshot.catalog.find([video.video_id for video in videos])
        by_row = dict(zip(rows.tolist(), videos, strict=True))
        picked = [by_row[row] for row in eligible.pick(rows[rows >= 0], k)]
        return ListResult(
            tuple(unranked_item(video.video_id, video.score, TRENDING) for video in picked),
            self._version,
            candidates=len(videos),
            excluded_by_rule=dict(eligible.excluded),
            scores=tuple({"shoppers": float(one.shoppers), "expected": one.expected} for one in picked),
        )
