"""Engine of a ranking process: answers requests from a bundle and the changes since."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Self

import numpy as np

from vrec.bundle.bundle import ServingBundle
from vrec.bundle.moments import CatalogMoments
from vrec.config.serve import ServeConfig
from vrec.core.pauses import pause_if_due
from vrec.core.types import Vectors
from vrec.profiles.profile import Profile
from vrec.ranking.features.video_counts import Doubles
from vrec.ranking.reranking.catalog import RowIndices, ShopperContext
from vrec.ranking.reranking.utility import utility
from vrec.retrieval.live.online import OnlineLiveModel
from vrec.serving.catalog.bundle_view import BundleCatalogView
from vrec.serving.catalog.columns import Mask
from vrec.serving.catalog.snapshot import CatalogSnapshot
from vrec.serving.messages import CatalogChange, ListResult, RecommendQuery, RequestFilters
from vrec.serving.recommend.candidates import CandidateSources
from vrec.serving.recommend.catalog_ranker import CatalogRanker
from vrec.serving.recommend.eligibility import EligibilityFilter, shopper_context
from vrec.serving.recommend.explanation import source_scores
from vrec.serving.recommend.live import ScoreStreams, popular_order, stream_relevance
from vrec.serving.recommend.predictions import ChosenCandidates, predict, with_valid_taste
from vrec.serving.recommend.response import (
    RankedCandidates,
    popular_items,
    reranked_items,
    unknown_videos,
)
from vrec.serving.recommend.search import TextSearch, popular_suggestions
from vrec.serving.recommend.seeds import given_candidates, seeded_candidates
from vrec.serving.recommend.similar import find_similar
from vrec.serving.recommend.stage_timer import StageTimer
from vrec.serving.rules.book import NO_BOOK, RuleBook
from vrec.serving.rules.compiled import RULE_SOURCE, ListRules, RuleCompiler
from vrec.serving.streams.rows import LiveStreams, StreamCompiler
from vrec.serving.streams.states import NO_STREAMS, StreamBook


class RecommendEngine:
    """Bundle with the changes since, ready to answer. Only `set_video_counts` changes it in place.

    Requests may be answered concurrently, also while `with_changes` makes the next engine.
    """

    def __init__(self, bundle: ServingBundle, config: ServeConfig) -> None:
        self._bundle, self._config = bundle, config
        self._snapshot = CatalogSnapshot.from_view(
            BundleCatalogView.from_content(bundle.content, bundle.encoder, bundle.popular)
        )
        dim = self._snapshot.view.columns.catalog.vectors.shape[1]
        self._ranker = CatalogRanker(bundle.ranker, bundle.encoder, dim, self._snapshot.video_ids)
        self._sources = CandidateSources(bundle.neighbors, bundle.index, config.candidates)
        self._rules = RuleCompiler()
        self._streams = StreamCompiler()
        self._search = TextSearch(bundle.text_index, bundle.texts, config.search.min_similarity)

    @property
    def version(self) -> str:
        """Version of the bundle."""
        return self._bundle.version

    @property
    def encoder(self) -> str | None:
        """Encoder of the bundle's fused vectors."""
        return self._bundle.encoder

    @property
    def live_model(self) -> OnlineLiveModel | None:
        """Model of live streams, if the bundle has one."""
        return self._bundle.live

    @property
    def bundle_view(self) -> BundleCatalogView:
        """The bundle's videos without the changes since."""
        return self._snapshot.view

    @property
    def snapshot(self) -> CatalogSnapshot:
        """The catalog with all changes so far."""
        return self._snapshot

    @property
    def video_ids(self) -> list[str]:
        """Ids of all videos, available or not."""
        return self._snapshot.video_ids

    @property
    def moments(self) -> CatalogMoments | None:
        """Moments of the bundle's videos, if it has any."""
        return self._bundle.moments

    def card(self, video_id: str) -> dict[str, Any] | None:
        """Return a video's row of VIDEOS by column, or None for an unknown video."""
        return self._snapshot.card(video_id)

    def with_changes(self, changes: Sequence[CatalogChange]) -> Self:
        """Return another engine after more changes, each of which replaces the one of its video before.

        The cost is proportional to the changes, apart from copies of a few numbers per video. Vectors of
        encoders other than the bundle's are ignored, and a change without vectors keeps the video's vectors.
        Make one at a time, and set counts on the newest engine only. This engine stays as it is. Raises what
        `CatalogSnapshot.with_changes` raises.
        """
        new = {change.video_id: change for change in changes}
        if not new:
            return self
        other = object.__new__(type(self))
        other.__dict__.update(self.__dict__)
        other._snapshot = self._snapshot.with_changes(list(new.values()))
        other._ranker = self._ranker.with_changes(list(new.values()))
        pause_if_due()
        other._search = self._search.with_changes(list(new.values()))
        return other

    def set_video_counts(self, video_ids: Sequence[str], video_counts: Doubles) -> None:
        """Set the (N, len(VIDEO_COUNT_KEYS)) counts of videos; unknown videos are ignored.

        A request being answered sees the counts of a video before or after.
        """
        rows = self._snapshot.catalog.find(video_ids)
        self._snapshot.video_counts[rows[rows >= 0]] = video_counts[rows >= 0]

    def recommend(
        self,
        query: RecommendQuery,
        user: Profile,
        book: RuleBook = NO_BOOK,
        *,
        streams: StreamBook = NO_STREAMS,
        score_streams: ScoreStreams | None = None,
    ) -> ListResult:
        """Recommend at most min(`query.k`, `candidates.most`) videos to a shopper, best first.

        With `query.candidates` these are ranked and no others; with `query.seeds` or `query.cart`, the videos
        most related to them.

        Equal queries get equal lists until the profile, a count or the catalog changes. Propensities are
        probabilities over request ids; see `docs/decisions/propensities.md`.

        Rules, those of the shop's `book` too, and filters hold in either order. The popular order has no
        diversity, freshness, exploration or boosts; the ranker predicts for its items only, so that they have
        predictions too. A taste vector of another length than the bundle's vectors, or with a value that is
        not finite, counts as none.
        """
        chosen = self.choose(query, user, book, streams=streams)
        return self.rank(chosen, streams=streams, score_streams=score_streams)

    def choose(
        self, query: RecommendQuery, user: Profile, book: RuleBook, *, streams: StreamBook
    ) -> ChosenCandidates:
        """Return the candidates for a list, before any prediction."""
        timer = StageTimer()
        user = with_valid_taste(user, self._snapshot.catalog.vectors.shape[1])
        shopper = shopper_context(user, query.filters, query.age)
        rules = self._rules.compiled(book, self._snapshot).for_list(query.surface, query.filters, query.at)
        live = self._streams.compiled(streams, self._snapshot).live(query.at)
        most = self._config.candidates.live if query.candidates is None else None
        eligible = self._eligible(
            query.surface, query.filters, shopper, query.at, rules=rules, live=live, most_streams=most
        )
        picks, picked = self._candidates(query, user, eligible, live)
        rows, sources = self._with_rules(picks, picked, query, rules, eligible, by_id=query.order == "ranked")
        timer.lap("candidates")
        return ChosenCandidates(query, user, shopper, rules, live, eligible, rows, sources, timer)

    def rank(
        self, chosen: ChosenCandidates, *, streams: StreamBook, score_streams: ScoreStreams | None = None
    ) -> ListResult:
        """Return the list of candidates."""
        query, user, rules, timer = chosen.query, chosen.user, chosen.rules, chosen.timer
        catalog, arrange = self._snapshot.catalog, reranked_items
        if query.order != "ranked":
            arrange = popular_items
        only_streams = query.filters.streams == "only"
        named = query.candidates is not None or arrange is popular_items
        scores_all = named or only_streams or rules.places
        counts = self._streams.compiled(streams, self._snapshot).with_priors(
            chosen.rows, self._snapshot.video_counts[chosen.rows]
        )
        most = None if scores_all else self._config.candidates.ranked
        weights = self._config.rerank.utility
        rows, sources, predictions = predict(
            chosen, counts, self._snapshot, self._ranker, most=most, config=weights
        )
        relevance = None
        if only_streams:
            expected = utility(predictions, catalog.price[rows], query.surface, weights)
            relevance = stream_relevance(
                self._snapshot, chosen.live, user, rows, expected, score=score_streams
            )
        candidates = RankedCandidates(
            query,
            chosen.shopper,
            catalog,
            rows,
            predictions,
            sources,
            self._bundle.popularity,
            rules,
            rules.placements(query, self._snapshot, rows),
            relevance,
        )
        items = arrange(candidates, self._config.rerank)
        if not self._bundle.ranker.predicts:
            items = tuple(replace(item, p_click=0.0) for item in items)
        timer.lap("rerank")
        unknown, excluded = unknown_videos(query, catalog.row_by_id), dict(chosen.eligible.excluded)
        result = ListResult(items, self.version, (), len(chosen.rows), excluded, timer.spent_ms, unknown)
        return self._explained(result, query, user, chosen.eligible) if query.explain else result

    def allowed(
        self,
        query: RecommendQuery,
        user: Profile,
        book: RuleBook = NO_BOOK,
        *,
        streams: StreamBook = NO_STREAMS,
    ) -> Mask:
        """Return the (N,) mask of the snapshot's videos that a list for a request may have."""
        rules = self._rules.compiled(book, self._snapshot).for_list(query.surface, query.filters, query.at)
        live = self._streams.compiled(streams, self._snapshot).live(query.at)
        shopper = shopper_context(user, query.filters, query.age)
        eligible = self._eligible(query.surface, query.filters, shopper, query.at, rules=rules, live=live)
        return eligible.allowed()

    def similar(
        self,
        video_id: str,
        k: int,
        filters: RequestFilters,
        at: int,
        book: RuleBook = NO_BOOK,
        *,
        streams: StreamBook = NO_STREAMS,
    ) -> ListResult:
        """Return at most `k` videos similar to one; see `find_similar`. Of rules, the book's bans hold.

        Raises:
            UnknownVideo: The video is not in the catalog.
        """
        rules = self._rules.compiled(book, self._snapshot).for_list("similar", filters, at)
        live = self._streams.compiled(streams, self._snapshot).live(at)
        eligible = self._eligible(
            "similar", filters, shopper_context(None, filters), at, rules=rules, live=live
        )
        items = find_similar(video_id, k, self._snapshot, eligible, self._sources)
        return ListResult(
            items, self.version, candidates=len(items), excluded_by_rule=dict(eligible.excluded)
        )

    def search(
        self,
        text: str,
        vector: Vectors | None,
        k: int,
        filters: RequestFilters,
        at: int,
        *,
        book: RuleBook = NO_BOOK,
        streams: StreamBook = NO_STREAMS,
    ) -> ListResult:
        """Return at most `k` videos for a text and its (dim,) vector, if any; see `TextSearch.search`.

        If nothing matches, popular videos are returned instead, whose source tells them apart. Of rules, the
        book's bans hold.
        """
        rules = self._rules.compiled(book, self._snapshot).for_list("search", filters, at)
        live = self._streams.compiled(streams, self._snapshot).live(at)
        eligible = self._eligible(
            "search", filters, shopper_context(None, filters), at, rules=rules, live=live
        )
        items = self._search.search(text, vector, k, self._snapshot, eligible)
        if not items:
            items = popular_suggestions(self._snapshot, eligible, k)
        return ListResult(
            items, self.version, candidates=len(items), excluded_by_rule=dict(eligible.excluded)
        )

    def _eligible(
        self,
        surface: str,
        filters: RequestFilters,
        shopper: ShopperContext,
        at: int,
        *,
        rules: ListRules,
        live: LiveStreams,
        most_streams: int | None = None,
    ) -> EligibilityFilter:
        found = self._snapshot, filters, shopper, self._config.rerank.for_surface(surface).rules, at
        return EligibilityFilter(*found, bans=rules.bans, live=live, most_streams=most_streams)

    def _candidates(
        self, query: RecommendQuery, user: Profile, eligible: EligibilityFilter, live: LiveStreams
    ) -> tuple[list[int], Mapping[int, str]]:
        """Return the rows of the candidates, those of a ranked list by id, and the source of each row."""
        if query.candidates is not None or query.seeds or query.cart:
            picked = self._named_candidates(query, user, eligible, live)
            if query.order == "popular":
                return list(picked)[: query.k], picked
        elif query.order == "popular":
            order = popular_order(self._snapshot, live, query.filters)
            picks = eligible.pick(order, min(query.k, self._config.candidates.most))
            return picks, dict.fromkeys(picks, "popular")
        else:
            picked = self._sources.candidates(query, user, self._snapshot, eligible, live)
        return sorted(picked, key=self._snapshot.catalog.video_ids.__getitem__), picked

    def _with_rules(
        self,
        picks: list[int],
        picked: Mapping[int, str],
        query: RecommendQuery,
        rules: ListRules,
        eligible: EligibilityFilter,
        *,
        by_id: bool,
    ) -> tuple[RowIndices, list[str]]:
        """Return the candidates and their sources, with those that rules add, unless the request names all.

        Args:
            picks: Rows of the candidates.
            picked: Source of each row.
            query: The request.
            rules: Rules of the list.
            eligible: The filter of the request.
            by_id: Whether the order is that of the ids, else added ones come last.
        """
        if rules.places and query.candidates is None:
            added = rules.candidates(query, self._snapshot, eligible)
            picked = {**dict.fromkeys(added, RULE_SOURCE), **picked}
            picks = list(dict.fromkeys([*picks, *added]))
            if by_id:
                picks = sorted(picks, key=self._snapshot.catalog.video_ids.__getitem__)
        return np.array(picks, np.int64), [picked[row] for row in picks]

    def _named_candidates(
        self, query: RecommendQuery, user: Profile, eligible: EligibilityFilter, live: LiveStreams
    ) -> dict[int, str]:
        """Return the source of each row of the request's own candidates, or of those related to its seeds.

        If fewer than `k` are related, those found for the shopper fill up.
        """
        if query.candidates is not None:
            return given_candidates(query, self._snapshot, eligible)
        picked = seeded_candidates(query, self._snapshot, eligible, self._sources)
        if len(picked) < query.k:
            more = self._sources.candidates(query, user, self._snapshot, eligible, live)
            fill = [row for row in more if row not in picked][: query.k - len(picked)]
            picked |= {row: more[row] for row in fill}
        return picked

    def _explained(
        self, result: ListResult, query: RecommendQuery, user: Profile, eligible: EligibilityFilter
    ) -> ListResult:
        rows: list[int] = self._snapshot.catalog.find([item.video_id for item in result.items]).tolist()
        scores = source_scores(query, user, rows, self._snapshot, self._sources)
        return replace(result, scores=tuple(scores), barred=tuple(eligible.barred(query.candidates or ())))
