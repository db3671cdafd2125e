"""What a ranking process knows of the videos, and how it answers one request."""

import time
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Self

import numpy as np

from vrec.bundle.bundle import Bundle
from vrec.core.protocols import Vectors
from vrec.profiles.profile import Profile
from vrec.profiles.user import taste
from vrec.ranking.features.arrays import Context, Predictions, Request
from vrec.ranking.features.numbers import liked_before
from vrec.ranking.features.states import Exact
from vrec.ranking.model import NetworkRanker
from vrec.ranking.order.facts import Places, Shopper
from vrec.ranking.order.reasons import reasons_of
from vrec.ranking.order.rerank import arrange
from vrec.ranking.order.utility import utility
from vrec.ranking.ranked import ProfileRanker
from vrec.serve_config import ServeConfig
from vrec.serving.candidates import by_content, by_neighbours, hardly_shown
from vrec.serving.changes import content_of, newest
from vrec.serving.filters import Gate, shopper_of
from vrec.serving.rows import no_states
from vrec.serving.search import Finder
from vrec.serving.similar import similar_to
from vrec.serving.wares import Stocked, Wares
from vrec.serving.wire import Answer, Ask, Change, Filters, Item


class Stock:
    """A bundle with the changes since, ready to answer. It does not change but for `set_states`.

    Requests may be answered side by side, and while `with_changes` makes the next stock.
    """

    def __init__(self, bundle: Bundle, config: ServeConfig) -> None:
        self._bundle, self._config = bundle, config
        self._wares = Wares.of(Stocked.of(bundle.content, bundle.encoder, bundle.popular))
        self._changed: ProfileRanker | None = None
        """Knows the videos that changed, and no others."""
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
        encoders than the bundle's are left out, and a change without vectors leaves a video those of the
        bundle. Make one at a time, and give counts to the last one from then on. Raises SchemaError and
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
        if ask.order == "popular":
            picked = dict.fromkeys(
                gate.pick(self._wares.popular, min(ask.k, self._config.candidates.most)), "popular"
            )
        else:
            picked = self._candidates(ask, user, gate, rng)
        names = self._wares.shelf.video_ids
        order = list(picked) if ask.order == "popular" else sorted(picked, key=names.__getitem__)
        rows, sources = np.array(order, np.int64), [picked[row] for row in order]
        clock.lap("candidates")
        found = self._expected(ask, user, rows, clock)
        if ask.order == "popular":
            items = self._as_they_are(ask, shopper, rows, found)
        else:
            items = self._arranged(ask, shopper, rows, found, sources, rng)
        clock.lap("rerank")
        return Answer(items, self.version, (), len(rows), dict(gate.barred), clock.spent_ms)

    def similar(self, video_id: str, k: int, filters: Filters, at: int) -> Answer:
        """At most `k` videos like one; see `similar_to`. Raises UnknownVideo."""
        rules = self._config.rerank.for_surface("similar").rules
        gate = Gate(self._wares, filters, shopper_of(None, filters), rules, at)
        items = similar_to(video_id, k, self._wares, gate, self._bundle.neighbours, self._bundle.index)
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

    def _candidates(self, ask: Ask, user: Profile, gate: Gate, rng: np.random.Generator) -> dict[int, str]:
        """Rows and which source had them first; at most `most`, and as many as `k` where that many may be given."""
        config, wares = self._config.candidates, self._wares
        liked = liked_before(Request(user, Context(ask.at, ask.surface), (), no_states(0)))
        names = list(liked.at)[: config.history]
        weights = [liked.weights[name] * config.recency**step for step, name in enumerate(names)]
        near, _ = by_neighbours(wares, self._bundle.neighbours, names, weights)
        close, direction = np.zeros(0, np.int64), taste(user)
        if direction is not None and config.content:
            close = by_content(wares, self._bundle.index, direction, 2 * config.content, gate.mask)
        picked: dict[int, str] = {}

        def take(source: str, order: Places, need: int) -> None:
            need = min(need, config.most - len(picked))
            picked.update(dict.fromkeys(gate.pick(order, need) if need > 0 else (), source))

        take("cf", near, config.most - config.content - config.popular - config.new)
        take("content", close, config.content)
        take("new", wares.dated, config.new // 2)
        take(
            "new",
            hardly_shown(wares, config.new - config.new // 2, gate.mask, rng),
            config.new - config.new // 2,
        )
        take("popular", wares.popular, config.popular)
        take("cf", near, config.most)
        take("popular", wares.popular, ask.k - len(picked))
        return picked

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

    def _arranged(
        self,
        ask: Ask,
        shopper: Shopper,
        rows: Places,
        found: Predictions,
        sources: Sequence[str],
        rng: np.random.Generator,
    ) -> tuple[Item, ...]:
        config, shelf = self._config.rerank, self._wares.shelf
        made = arrange(
            found,
            rows,
            shelf,
            shopper,
            config,
            sources=sources,
            surface=ask.surface,
            at=ask.at,
            k=ask.k,
            rng=rng,
        )
        best = found.take(made.rows)
        return _items(
            [shelf.video_ids[row] for row in rows[made.rows].tolist()],
            best,
            made.worth.tolist(),
            scores=made.scores.tolist(),
            reasons=made.reasons,
            sources=[sources[row] for row in made.rows.tolist()],
            chances=made.propensities.tolist(),
        )

    def _as_they_are(self, ask: Ask, shopper: Shopper, rows: Places, found: Predictions) -> tuple[Item, ...]:
        """The items in the order of the rows, with scores that fall by one over the slot."""
        config, shelf, count = self._config.rerank, self._wares.shelf, len(rows)
        sources = ["popular"] * count
        own, untried = config.for_surface(ask.surface).reasons, np.zeros(count, np.bool_)
        reasons = reasons_of(rows, shelf, shopper, own, sources=sources, explored=untried, at=ask.at)
        worth = utility(found, shelf.price[rows], ask.surface, config.utility)
        return _items(
            [shelf.video_ids[row] for row in rows.tolist()],
            found,
            worth.tolist(),
            scores=[1 / slot for slot in range(1, count + 1)],
            reasons=reasons,
            sources=sources,
            chances=[1.0] * count,
        )


class _Clock:
    """Milliseconds since the last lap, by stage."""

    def __init__(self) -> None:
        self.spent_ms: dict[str, float] = {}
        self._at = time.perf_counter()

    def lap(self, stage: str) -> None:
        now = time.perf_counter()
        self.spent_ms[stage], self._at = (now - self._at) * 1e3, now


def _items(
    ids: Sequence[str],
    found: Predictions,
    worth: Sequence[float],
    *,
    scores: Sequence[float],
    reasons: Sequence[Sequence[str]],
    sources: Sequence[str],
    chances: Sequence[float],
) -> tuple[Item, ...]:
    heads = (found.p_click.tolist(), found.watch_s.tolist(), found.p_conv.tolist())
    whys = [tuple(why) for why in reasons]
    columns = (ids, scores, *heads, worth, whys, sources, chances)
    return tuple(Item(*row) for row in zip(*columns, strict=True))
