"""Recommender of live streams: which of those that are live at an instant a shopper will watch."""

from dataclasses import dataclass, replace
from typing import Any, Protocol, Self

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from vrec.core.artifact import ModelArtifact, read_artifact, write_artifact
from vrec.core.errors import FitError
from vrec.core.schema import INTERACTIONS, RECOMMENDATIONS, TIMESTAMP
from vrec.retrieval.interaction_matrix import IdVocabulary, csr_arrays, restore_csr
from vrec.retrieval.live.attention import LiveAttention, LiveQuery, to_query
from vrec.retrieval.live.choice import Choices, fit_weights
from vrec.retrieval.live.config import LiveConfig
from vrec.retrieval.live.features import FEATURES, LiveNow, ShopperViews, live_features
from vrec.retrieval.live.log import SECOND_US, Floats, Indices, LiveLog
from vrec.retrieval.live.replay import LiveReplay
from vrec.retrieval.live.watch_time import WatchTimeModel
from vrec.retrieval.models.item_knn import ItemKnn

FEWEST_VIEWS = 20
"""Views below which no weights are learned."""


@dataclass(frozen=True)
class _Example:
    """A view as a choice among what was live."""

    view: int
    query: LiveQuery
    chosen: int
    weight: float


def _choices(examples: list[_Example]) -> Choices:
    starts = np.cumsum([0, *(len(example.query.base) for example in examples[:-1])])
    return Choices(
        np.concatenate([example.query.features for example in examples]),
        starts,
        starts + np.array([example.chosen for example in examples]),
        np.array([example.weight for example in examples]),
    )


class HasStreamers(Protocol):
    """Log, or whatever names the streamers whose rows it gives."""

    @property
    def streamers(self) -> IdVocabulary: ...


class LiveRecommender:
    """Choice among live streams by a conditional logit over `live_features`, and attention where it helps.

    It is no `Recommender`: its candidates are what is live at an instant, and a streamer whom a shopper has
    watched before is no less a candidate. The weights are learned by the views of the newest part of the log,
    each against what else was live at its start, with all that was known then and nothing else. A view that
    was left early counts less.
    """

    kind = "live"

    def __init__(self, config: LiveConfig | None = None) -> None:
        self.config = config if config is not None else LiveConfig()
        self.report: dict[str, Any] = {}

    def fit(self, log: LiveLog, *, drifting: bool = True) -> Self:
        """Fit on all views of a log and return the same model.

        Args:
            log: Streams and views.
            drifting: Whether a stream's content is its latest vector; otherwise it stays the first one.

        Raises:
            FitError: There are too few views.
        """
        views = len(log.view_start)
        if views < FEWEST_VIEWS:
            raise FitError(f"{self.kind}: {views} views are too few", fix=f"give at least {FEWEST_VIEWS}")
        self.streamers, self.drifting, self.has_content = log.streamers, drifting, log.content is not None
        cut = int(log.view_start[int(views * (1 - self.config.learned_share))])
        self._fit_similarities(log.until(cut))
        examples = self._examples(log, cut)
        self.weights = fit_weights(_choices(examples), self.config.l2)
        self.report = {
            "views": views,
            "learned_by": len(examples),
            "weights": dict(zip(FEATURES, np.round(self.weights, 4).tolist(), strict=True)),
        }
        self._fit_watch_time(log, examples)
        self._fit_attention(examples)
        self._fit_similarities(log)
        return self

    def _fit_watch_time(self, log: LiveLog, examples: list["_Example"]) -> None:
        rows = np.array([example.view for example in examples])
        self.watch_time = WatchTimeModel.fit(
            np.stack([example.query.features[example.chosen] for example in examples]),
            log.view_seconds[rows],
            log.view_end[rows] >= log.ended[log.view_stream[rows]] - SECOND_US,
            self.config.early_leave_s,
        )

    def _fit_attention(self, examples: list["_Example"]) -> None:
        self.attention = None
        if self.config.attention is None:
            return
        base = self.weights.astype(np.float32)
        queries = [replace(example.query, base=example.query.features @ base) for example in examples]
        chosen = np.array([example.chosen for example in examples])
        weights = np.array([example.weight for example in examples])
        self.attention, found = LiveAttention.fit(
            queries, chosen, weights, len(self.streamers), self.config.attention
        )
        self.report |= found

    def score(self, log: HasStreamers, views: ShopperViews, now: LiveNow) -> npt.NDArray[np.float32]:
        """Return the (C,) log-odds, up to a constant, that the shopper will watch each live stream next.

        Args:
            log: The log whose rows `views` and `now` name; it may have ids that the fit did not see.
            views: What the shopper watched.
            now: The live streams.
        """
        features = self.features(log, views, now)
        base = features @ self.weights.astype(np.float32)
        if self.attention is None:
            return base
        return self.attention.score(replace(self._query(log, views, now, features), base=base))

    def expected_seconds(self, log: HasStreamers, views: ShopperViews, now: LiveNow) -> Floats:
        """Return the (C,) seconds that the shopper is expected to watch each live stream if it is chosen."""
        return self.watch_time.expected_seconds(self.features(log, views, now))

    def features(self, log: HasStreamers, views: ShopperViews, now: LiveNow) -> npt.NDArray[np.float32]:
        """Return the (C, F) features that `score` weighs."""
        similar = self._similar(log, views.streamer, now.streamer)
        return live_features(views, now, similar, self.config.early_leave_s)

    def recommend(self, log: LiveLog, users: list[str], k: int, at: int) -> pa.Table:
        """Return RECOMMENDATIONS of streams that are live at a time; `video_id` is the stream's id.

        Args:
            log: The log, up to the time or longer.
            users: Shoppers; those whom the log does not know get what suits everybody.
            k: Maximum number of streams per shopper.
            at: Time in µs since 1970.

        Raises:
            FitError: k is below 1, or the model is not fitted.
        """
        if k < 1:
            raise FitError(f"{self.kind}: k is {k}", fix="ask for at least 1 stream")
        if not hasattr(self, "weights"):
            raise FitError(f"{self.kind} is not fitted yet", fix="call fit first")
        replay = LiveReplay(log, self.config.early_leave_s, drifting=self.drifting)
        replay.advance(at)
        now = replay.now()
        parts = [RECOMMENDATIONS.arrow().empty_table()]
        for user, row in zip(users, log.users.find(users).tolist(), strict=True):
            views = replay.views(row, self.config.max_history)
            scores = self.score(log, views, now) if len(now.stream) else np.zeros(0, np.float32)
            best = np.argsort(-scores, kind="stable")[:k]
            columns = {
                "user_id": pa.repeat(user, len(best)),
                "video_id": log.streams.names(now.stream[best]),
                "score": pa.array(scores[best], pa.float32()),
                "rank": pa.array(np.arange(1, len(best) + 1), pa.int32()),
                "source": pa.repeat(self.kind, len(best)),
            }
            parts.append(pa.table(columns, schema=RECOMMENDATIONS.arrow()))
        return pa.concat_tables(parts).combine_chunks()

    def save(self, uri: str) -> None:
        """Write the fitted model to a folder."""
        arrays = csr_arrays("similar.", self.similarities) | {"weights": self.weights}
        arrays |= self.watch_time.arrays() | ({} if self.attention is None else self.attention.arrays())
        config = {**self.config.model_dump(mode="json"), "drifting": self.drifting}
        config["has_content"] = self.has_content
        tables = {"streamers": pa.table({"streamer_id": self.streamers.ids})}
        write_artifact(uri, ModelArtifact(self.kind, config, arrays, tables, metrics=self.report))

    @classmethod
    def load(cls, uri: str) -> Self:
        """Load a model that `save` wrote; raise ModelError where the folder is damaged or of another kind."""
        artifact = read_artifact(uri, cls.kind)
        config = dict(artifact.config)
        drifting, has_content = bool(config.pop("drifting")), bool(config.pop("has_content"))
        model = cls(LiveConfig.model_validate(config))
        model.drifting, model.has_content = drifting, has_content
        model.streamers = IdVocabulary(artifact.tables["streamers"].column(0).combine_chunks())
        size = len(model.streamers)
        model.similarities = restore_csr(artifact.arrays, "similar.", (size, size))
        model.weights = artifact.arrays["weights"]
        model.watch_time = WatchTimeModel.restore(artifact.arrays)
        settings = model.config.attention
        model.attention = None if settings is None else LiveAttention.restore(artifact.arrays, settings)
        model.report = dict(artifact.metrics)
        return model

    def _fit_similarities(self, log: LiveLog) -> None:
        """Fit the similarity of streamers by the shoppers who stayed with both."""
        stayed = log.view_seconds >= self.config.early_leave_s
        streamer = log.streamer[log.view_stream[stayed]]
        pairs, row = np.unique(log.view_user[stayed] * len(log.streamers) + streamer, return_inverse=True)
        minutes = np.bincount(row, log.view_seconds[stayed] / 60, minlength=len(pairs))
        table = pa.table(
            {
                "user_id": log.users.names(pairs // len(log.streamers)),
                "video_id": log.streamers.names(pairs % len(log.streamers)),
                "weight": pa.array(np.log1p(minutes), pa.float32()),
                "at": pa.array(np.zeros(len(pairs), np.int64), TIMESTAMP),
            },
            schema=INTERACTIONS.arrow(),
        )
        knn = ItemKnn().fit(table)
        place = log.streamers.find(knn.videos.ids)
        near = knn.similarities.tocoo()
        size = len(log.streamers)
        self.similarities = type(knn.similarities)(
            (near.data, (place[near.row], place[near.col])), (size, size), dtype=np.float32
        )

    def _similar(self, log: HasStreamers, rows: Indices, columns: Indices) -> npt.NDArray[np.float32]:
        """Return the (H, C) similarities of streamers of a log; 0 for those that the fit did not see."""
        rows, columns = self._fitted(log, rows), self._fitted(log, columns)
        out = np.zeros((len(rows), len(columns)), np.float32)
        unique, inverse = np.unique(rows, return_inverse=True)
        known, shown = unique >= 0, columns >= 0
        if known.any() and shown.any():
            dense = np.zeros((len(unique), len(columns)), np.float32)
            dense[np.ix_(known, shown)] = self.similarities[unique[known]][:, columns[shown]].toarray()
            out = dense[inverse]
        return out

    def _fitted(self, log: HasStreamers, streamers: Indices) -> Indices:
        """Return the rows in the fit of streamers of a log, −1 for those that it did not see."""
        if log.streamers is self.streamers:
            return np.where(streamers < len(self.streamers), streamers, -1)
        if getattr(self, "_mapped_from", None) is not log.streamers:
            self._mapped_from, self._mapped = log.streamers, self.streamers.find(log.streamers.ids)
        return self._mapped[streamers]

    def _query(
        self,
        log: HasStreamers,
        views: ShopperViews,
        now: LiveNow,
        features: npt.NDArray[np.float32],
    ) -> LiveQuery:
        most = 1 if self.config.attention is None else self.config.attention.max_length
        streamers = self._fitted(log, views.streamer), self._fitted(log, now.streamer)
        return to_query(features, views, now, streamers, most)

    def _examples(self, log: LiveLog, cut: int) -> list["_Example"]:
        """Return views after a time as choices among what was live, in the order of time."""
        rng = np.random.default_rng(0)
        rows = np.flatnonzero(log.view_start >= cut)
        if len(rows) > self.config.max_views:
            rows = np.sort(rng.choice(rows, self.config.max_views, replace=False))
        replay = LiveReplay(log, self.config.early_leave_s, drifting=self.drifting)
        examples: list[_Example] = []
        for row in rows.tolist():
            at, target = int(log.view_start[row]), int(log.view_stream[row])
            replay.advance(at)
            views = replay.views(int(log.view_user[row]), self.config.max_history)
            streams = self._alternatives(log, views, log.live_at(at), target, rng)
            place = np.flatnonzero(streams == target)
            if len(streams) < 2 or not len(place):
                continue
            now = replay.now(streams)
            query = self._query(log, views, now, self.features(log, views, now))
            early = log.view_end[row] - log.view_start[row] < self.config.early_leave_s * SECOND_US
            weight = self.config.early_weight if early else 1.0
            examples.append(_Example(row, query, int(place[0]), weight))
        if len(examples) < FEWEST_VIEWS:
            raise FitError(
                f"{self.kind}: {len(examples)} views had a choice, too few", fix="give a longer log"
            )
        return examples

    def _alternatives(
        self, log: LiveLog, views: ShopperViews, live: Indices, target: int, rng: np.random.Generator
    ) -> Indices:
        """Return the live streams that a view is compared with, ascending."""
        most = self.config.max_candidates
        if len(live) <= most:
            return live
        own = np.isin(log.streamer[live], views.streamer) | (live == target)
        others = live[~own]
        kept = live[own]
        if len(kept) < most:
            kept = np.concatenate(
                [kept, rng.choice(others, min(len(others), most - len(kept)), replace=False)]
            )
        return np.sort(kept)
