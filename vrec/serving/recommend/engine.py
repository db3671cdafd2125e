"""What a ranking process knows of the videos, and how it answers one request."""

import time
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Self

import numpy as np

from vrec.bundle.bundle import ServingBundle
from vrec.config.serve import ServeConfig
from vrec.core.types import Vectors
from vrec.profiles.profile import Profile
from vrec.ranking.base import ProfileRanker
from vrec.ranking.features.arrays import RankerPredictions, RankingRequest, RequestContext
from vrec.ranking.features.video_counts import Doubles
from vrec.ranking.network_ranker import NetworkRanker
from vrec.ranking.reranking.catalog import RowIndices
from vrec.serving.catalog.snapshot import BundleCatalogView, CatalogSnapshot
from vrec.serving.catalog.updates import changes_to_content, latest_changes
from vrec.serving.messages import CatalogChange, ListResult, RecommendQuery, RequestFilters
from vrec.serving.recommend.candidates import CandidateSources
from vrec.serving.recommend.eligibility import EligibilityFilter, shopper_context
from vrec.serving.recommend.response import popular_items, reranked_items
from vrec.serving.recommend.search import TextSearch
from vrec.serving.recommend.similar import find_similar


class RecommendEngine:
    """A bundle with the changes since, ready to answer. It does not change but for `set_states`.

    Requests may be answered side by side, and while `with_changes` makes the next stock.
    """

    def __init__(self, bundle: ServingBundle, config: ServeConfig) -> None:
        self._bundle, self._config = bundle, config
        self._wares = CatalogSnapshot.from_view(
            BundleCatalogView.from_content(bundle.content, bundle.encoder, bundle.popular)
        )
        self._changed: ProfileRanker | None = None
        """Knows the videos that changed, and no others."""
        self._sources = CandidateSources(bundle.neighbors, bundle.index, config.candidates)
        self._finder = TextSearch(bundle.text_index, bundle.texts)

    @property
    def version(self) -> str:
        """The version of the bundle."""
        return self._bundle.version

    @property
    def encoder(self) -> str | None:
        """The encoder of the bundle's fused vectors."""
        return self._bundle.encoder

    @property
    def bundle_view(self) -> BundleCatalogView:
        """What the bundle's videos come to, without the changes since."""
        return self._wares.stocked

    @property
    def video_ids(self) -> list[str]:
        """The ids of all videos, available or not."""
        return self._wares.video_ids

    def videos(self) -> int:
        """How many videos there are, available or not."""
        return len(self._wares)

    def card(self, video_id: str) -> dict[str, Any] | None:
        """A video's row of VIDEOS by column, or None where there is no such video."""
        return self._wares.card(video_id)

    def with_changes(self, changes: Sequence[CatalogChange]) -> Self:
        """Another stock, after more changes: of each video the latest counts, in whatever order they come.

        It costs in proportion to the changes but for a few copies of a number a video. Vectors of other
        encoders than the bundle's are left out, and a change without vectors leaves a video those that it
        had. Make one at a time, and give counts to the last one from then on. Raises SchemaError and
        ServeError for rows that are not a video's, and then nothing has changed.
        """
        fresh = latest_changes(self._wares.latest, changes)
        if not fresh:
            return self
        other = object.__new__(type(self))
        other.__dict__.update(self.__dict__)
        other._wares = self._wares.with_changes(list(fresh.values()))
        other._changed = self._update_changed_ranker(fresh)
        other._finder = self._finder.with_changes(other._wares.latest)
        return other

    def set_video_counts(self, ids: Sequence[str], states: Doubles) -> None:
        """Returns when the counts of videos are (N, len(STATE)) `states`; unknown videos are passed over.

        A request that is being answered sees a video's counts as they were or as they are.
        """
        rows = self._wares.shelf.find(ids)
        self._wares.states[rows[rows >= 0]] = states[rows >= 0]

    def recommend(self, query: RecommendQuery, user: Profile, rng: np.random.Generator) -> ListResult:
        """At most `ask.k` videos for a shopper, or `candidates.most` if that is less, best first.

        A taste of another length than the bundle's vectors, or with numbers that are not finite, counts as
        none. What a rule bars, or the filters do not want, is not given, whatever the order. Popular order
        goes by popularity alone, without variety, freshness or exploration; the ranker is asked about those
        k only, so that the expectations are there too.
        """
        clock = _StageTimer()
        user, rules = self._with_valid_taste(user), self._config.rerank.for_surface(query.surface).rules
        shopper = shopper_context(user, query.filters, query.age)
        gate = EligibilityFilter(self._wares, query.filters, shopper, rules, query.at)
        shelf, config = self._wares.shelf, self._config.rerank
        if query.order == "popular":
            picks = gate.pick(self._wares.popular, min(query.k, self._config.candidates.most))
            rows = np.array(picks, np.int64)
            clock.lap("candidates")
            found = self._predict(query, user, rows, clock)
            items = popular_items(query, shopper, shelf, config, rows=rows, predictions=found)
        else:
            picked = self._sources.candidates(query, user, self._wares, gate, rng=rng)
            picks = sorted(picked, key=shelf.video_ids.__getitem__)
            rows, sources = np.array(picks, np.int64), [picked[row] for row in picks]
            clock.lap("candidates")
            found = self._predict(query, user, rows, clock)
            items = reranked_items(
                query, shopper, shelf, config, rows=rows, predictions=found, sources=sources, rng=rng
            )
        clock.lap("rerank")
        return ListResult(items, self.version, (), len(rows), dict(gate.barred), clock.spent_ms)

    def similar(self, video_id: str, k: int, filters: RequestFilters, at: int) -> ListResult:
        """At most `k` videos like one; see `similar_to`. Raises UnknownVideo."""
        rules = self._config.rerank.for_surface("similar").rules
        gate = EligibilityFilter(self._wares, filters, shopper_context(None, filters), rules, at)
        items = find_similar(video_id, k, self._wares, gate, self._sources)
        return ListResult(items, self.version, candidates=len(items), excluded_by_rule=dict(gate.barred))

    def search(
        self, text: str, vector: Vectors | None, k: int, filters: RequestFilters, at: int
    ) -> ListResult:
        """At most `k` videos for a text and its (dim,) vector, if there is one; see `Finder`."""
        rules = self._config.rerank.for_surface("search").rules
        gate = EligibilityFilter(self._wares, filters, shopper_context(None, filters), rules, at)
        items = self._finder.search(text, vector, k, self._wares, gate)
        return ListResult(items, self.version, candidates=len(items), excluded_by_rule=dict(gate.barred))

    def _update_changed_ranker(self, fresh: dict[str, CatalogChange]) -> ProfileRanker | None:
        """A ranker of all videos that changed."""
        ranker, dim = self._bundle.ranker, self._wares.stocked.columns.catalog.vectors.shape[1]
        kept = [change for change in fresh.values() if change.row is not None]
        if not kept:
            return self._changed
        if isinstance(ranker, NetworkRanker) and not ranker.space.dim:
            dim = 0
        ids = [change.video_id for change in kept]
        now = ranker.restricted_to(ids).with_videos(changes_to_content(kept, self.encoder, dim))
        if self._changed is None:
            return now
        return self._changed.restricted_to([*self._wares.top, *ids], now)

    def _with_valid_taste(self, user: Profile) -> Profile:
        dim = self._wares.shelf.vectors.shape[1]
        if user.vector is None or (len(user.vector) == dim and np.isfinite(user.vector).all()):
            return user
        return replace(user, vector=None)

    def _predict(
        self, ask: RecommendQuery, user: Profile, rows: RowIndices, clock: "_StageTimer"
    ) -> RankerPredictions:
        """What the ranker expects of the videos in these rows."""
        names = self._wares.shelf.video_ids
        places: list[int] = rows.tolist()
        ids = tuple(names[row] for row in places)
        request = RankingRequest(user, RequestContext(ask.at, ask.surface), ids, self._wares.states[rows])
        ranker, top = self._bundle.ranker, self._wares.top
        if self._changed is not None:
            asked = dict.fromkeys((*ids, *(entry.video_id for entry in user.history)))
            if not top.keys().isdisjoint(asked):
                ranker = ranker.restricted_to(list(asked), self._changed)
        if not isinstance(ranker, NetworkRanker):
            found = ranker.predict_requests([request])
        else:
            features = ranker.builder.build([request])
            clock.lap("features")
            found = ranker.predict(features)
        clock.lap("ranker")
        return found


class _StageTimer:
    """Milliseconds since the last lap, by stage."""

    def __init__(self) -> None:
        self.spent_ms: dict[str, float] = {}
        self._at = time.perf_counter()

    def lap(self, stage: str) -> None:
        now = time.perf_counter()
        self.spent_ms[stage], self._at = (now - self._at) * 1e3, now
