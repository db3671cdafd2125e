"""What a ranking process knows of the videos, and how it answers one request."""

import time
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Self

import numpy as np

from vrec.bundle.bundle import Bundle
from vrec.config.serve import ServeConfig
from vrec.core.protocols import Vectors
from vrec.profiles.profile import Profile
from vrec.ranking.base import ProfileRanker
from vrec.ranking.features.arrays import Context, Predictions, Request
from vrec.ranking.features.video_counts import Exact
from vrec.ranking.network_ranker import NetworkRanker
from vrec.ranking.reranking.catalog import Places
from vrec.serving.catalog.snapshot import Stocked, Wares
from vrec.serving.catalog.updates import content_of, newest
from vrec.serving.messages import Answer, Ask, Change, Filters
from vrec.serving.recommend.candidates import Sources
from vrec.serving.recommend.eligibility import Gate, shopper_of
from vrec.serving.recommend.response import arranged, as_they_are
from vrec.serving.recommend.search import Finder
from vrec.serving.recommend.similar import similar_to


class Stock:
    """A bundle with the changes since, ready to answer. It does not change but for `set_states`.

    Requests may be answered side by side, and while `with_changes` makes the next stock.
    """

    def __init__(self, bundle: Bundle, config: ServeConfig) -> None:
        self._bundle, self._config = bundle, config
        self._wares = Wares.of(Stocked.of(bundle.content, bundle.encoder, bundle.popular))
        self._changed: ProfileRanker | None = None
        """Knows the videos that changed, and no others."""
        self._sources = Sources(bundle.neighbours, bundle.index, config.candidates)
        self._finder = Finder(bundle.lexicon, bundle.texts)

    @property
    def version(self) -> str:
        """The version of the bundle."""
        return self._bundle.version

    @property
    def encoder(self) -> str | None:
        """The encoder of the bundle's fused vectors."""
        return self._bundle.encoder

    @property
    def stocked(self) -> Stocked:
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

    def with_changes(self, changes: Sequence[Change]) -> Self:
        """Another stock, after more changes: of each video the latest counts, in whatever order they come.

        It costs in proportion to the changes but for a few copies of a number a video. Vectors of other
        encoders than the bundle's are left out, and a change without vectors leaves a video those that it
        had. Make one at a time, and give counts to the last one from then on. Raises SchemaError and
        ServeError for rows that are not a video's, and then nothing has changed.
        """
        fresh = newest(self._wares.latest, changes)
        if not fresh:
            return self
        other = object.__new__(type(self))
        other.__dict__.update(self.__dict__)
        other._wares = self._wares.with_changes(list(fresh.values()))
        other._changed = self._ranker_with(fresh)
        other._finder = self._finder.with_changes(other._wares.latest)
        return other

    def set_states(self, ids: Sequence[str], states: Exact) -> None:
        """Returns when the counts of videos are (N, len(STATE)) `states`; unknown videos are passed over.

        A request that is being answered sees a video's counts as they were or as they are.
        """
        rows = self._wares.shelf.find(ids)
        self._wares.states[rows[rows >= 0]] = states[rows >= 0]

    def recommend(self, ask: Ask, user: Profile, rng: np.random.Generator) -> Answer:
        """At most `ask.k` videos for a shopper, or `candidates.most` if that is less, best first.

        A taste of another length than the bundle's vectors, or with numbers that are not finite, counts as
        none. What a rule bars, or the filters do not want, is not given, whatever the order. Popular order
        goes by popularity alone, without variety, freshness or exploration; the ranker is asked about those
        k only, so that the expectations are there too.
        """
        clock = _Clock()
        user, rules = self._fitting(user), self._config.rerank.for_surface(ask.surface).rules
        shopper = shopper_of(user, ask.filters, ask.age)
        gate = Gate(self._wares, ask.filters, shopper, rules, ask.at)
        shelf, config = self._wares.shelf, self._config.rerank
        if ask.order == "popular":
            picks = gate.pick(self._wares.popular, min(ask.k, self._config.candidates.most))
            rows = np.array(picks, np.int64)
            clock.lap("candidates")
            found = self._expected(ask, user, rows, clock)
            items = as_they_are(ask, shopper, shelf, config, rows=rows, found=found)
        else:
            picked = self._sources.candidates(ask, user, self._wares, gate, rng=rng)
            picks = sorted(picked, key=shelf.video_ids.__getitem__)
            rows, sources = np.array(picks, np.int64), [picked[row] for row in picks]
            clock.lap("candidates")
            found = self._expected(ask, user, rows, clock)
            items = arranged(ask, shopper, shelf, config, rows=rows, found=found, sources=sources, rng=rng)
        clock.lap("rerank")
        return Answer(items, self.version, (), len(rows), dict(gate.barred), clock.spent_ms)

    def similar(self, video_id: str, k: int, filters: Filters, at: int) -> Answer:
        """At most `k` videos like one; see `similar_to`. Raises UnknownVideo."""
        rules = self._config.rerank.for_surface("similar").rules
        gate = Gate(self._wares, filters, shopper_of(None, filters), rules, at)
        items = similar_to(video_id, k, self._wares, gate, self._sources)
        return Answer(items, self.version, candidates=len(items), barred=dict(gate.barred))

    def search(self, text: str, vector: Vectors | None, k: int, filters: Filters, at: int) -> Answer:
        """At most `k` videos for a text and its (dim,) vector, if there is one; see `Finder`."""
        rules = self._config.rerank.for_surface("search").rules
        gate = Gate(self._wares, filters, shopper_of(None, filters), rules, at)
        items = self._finder.find(text, vector, k, self._wares, gate)
        return Answer(items, self.version, candidates=len(items), barred=dict(gate.barred))

    def _ranker_with(self, fresh: dict[str, Change]) -> ProfileRanker | None:
        """A ranker of all videos that changed."""
        ranker, dim = self._bundle.ranker, self._wares.stocked.facts.shelf.vectors.shape[1]
        kept = [change for change in fresh.values() if change.row is not None]
        if not kept:
            return self._changed
        if isinstance(ranker, NetworkRanker) and not ranker.space.dim:
            dim = 0
        ids = [change.video_id for change in kept]
        now = ranker.among(ids).with_videos(content_of(kept, self.encoder, dim))
        if self._changed is None:
            return now
        return self._changed.among([*self._wares.top, *ids], now)

    def _fitting(self, user: Profile) -> Profile:
        dim = self._wares.shelf.vectors.shape[1]
        if user.vector is None or (len(user.vector) == dim and np.isfinite(user.vector).all()):
            return user
        return replace(user, vector=None)

    def _expected(self, ask: Ask, user: Profile, rows: Places, clock: "_Clock") -> Predictions:
        """What the ranker expects of the videos in these rows."""
        names = self._wares.shelf.video_ids
        places: list[int] = rows.tolist()
        ids = tuple(names[row] for row in places)
        request = Request(user, Context(ask.at, ask.surface), ids, self._wares.states[rows])
        ranker, top = self._bundle.ranker, self._wares.top
        if self._changed is not None:
            asked = dict.fromkeys((*ids, *(entry.video_id for entry in user.history)))
            if not top.keys().isdisjoint(asked):
                ranker = ranker.among(list(asked), self._changed)
        if not isinstance(ranker, NetworkRanker):
            found = ranker.predict_requests([request])
        else:
            features = ranker.builder.build([request])
            clock.lap("features")
            found = ranker.predict(features)
        clock.lap("ranker")
        return found


class _Clock:
    """Milliseconds since the last lap, by stage."""

    def __init__(self) -> None:
        self.spent_ms: dict[str, float] = {}
        self._at = time.perf_counter()

    def lap(self, stage: str) -> None:
        now = time.perf_counter()
        self.spent_ms[stage], self._at = (now - self._at) * 1e3, now
