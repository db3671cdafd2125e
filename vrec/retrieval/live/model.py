"""Recommender of live streams: which of those that are live at an instant a shopper will watch."""

from typing import Any, Self

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from vrec.core.artifact import ModelArtifact, read_artifact, write_artifact
from vrec.core.errors import FitError
from vrec.core.schema import INTERACTIONS, RECOMMENDATIONS, TIMESTAMP
from vrec.retrieval.interaction_matrix import IdVocabulary, csr_arrays, restore_csr
from vrec.retrieval.live.choice import Choices, fit_weights
from vrec.retrieval.live.config import LiveConfig
from vrec.retrieval.live.features import FEATURES, LiveNow, ShopperViews, live_features
from vrec.retrieval.live.log import Indices, LiveLog
from vrec.retrieval.live.replay import LiveReplay
from vrec.retrieval.models.item_knn import ItemKnn

FEWEST_VIEWS = 20
"""Views below which no weights are learned."""


class LiveRecommender:
    """Choice among live streams by a conditional logit over `live_features`.

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
        self.streamers, self.drifting = log.streamers, drifting
        cut = int(log.view_start[int(views * (1 - self.config.learned_share))])
        self._fit_similarities(log.until(cut))
        choices = self._choices(log, cut)
        self.weights = fit_weights(choices, self.config.l2)
        self.report = {
            "views": views,
            "learned_by": len(choices.starts),
            "weights": dict(zip(FEATURES, np.round(self.weights, 4).tolist(), strict=True)),
        }
        self._fit_similarities(log)
        return self

    def score(self, log: LiveLog, views: ShopperViews, now: LiveNow) -> npt.NDArray[np.float32]:
        """Return the (C,) log-odds, up to a constant, that the shopper will watch each live stream next.

        Args:
            log: The log whose rows `views` and `now` name; it may have ids that the fit did not see.
            views: What the shopper watched.
            now: The live streams.
        """
        return self.features(log, views, now) @ self.weights.astype(np.float32)

    def features(self, log: LiveLog, views: ShopperViews, now: LiveNow) -> npt.NDArray[np.float32]:
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
            scores = self.score(log, replay.views(row, self.config.max_history), now)
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
        config = {**self.config.model_dump(mode="json"), "drifting": self.drifting}
        tables = {"streamers": pa.table({"streamer_id": self.streamers.ids})}
        write_artifact(uri, ModelArtifact(self.kind, config, arrays, tables, metrics=self.report))

    @classmethod
    def load(cls, uri: str) -> Self:
        """Load a model that `save` wrote; raise ModelError where the folder is damaged or of another kind."""
        artifact = read_artifact(uri, cls.kind)
        config = dict(artifact.config)
        drifting = bool(config.pop("drifting"))
        model = cls(LiveConfig.model_validate(config))
        model.drifting = drifting
        model.streamers = IdVocabulary(artifact.tables["streamers"].column(0).combine_chunks())
        size = len(model.streamers)
        model.similarities = restore_csr(artifact.arrays, "similar.", (size, size))
        model.weights = artifact.arrays["weights"]
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

    def _similar(self, log: LiveLog, rows: Indices, columns: Indices) -> npt.NDArray[np.float32]:
        """Return the (H, C) similarities of streamers of a log; 0 for those that the fit did not see."""
        if log.streamers is not self.streamers:
            mapped = self._mapping(log)
            rows, columns = mapped[rows], mapped[columns]
        out = np.zeros((len(rows), len(columns)), np.float32)
        unique, inverse = np.unique(rows, return_inverse=True)
        known, shown = unique >= 0, columns >= 0
        if known.any() and shown.any():
            dense = np.zeros((len(unique), len(columns)), np.float32)
            dense[np.ix_(known, shown)] = self.similarities[unique[known]][:, columns[shown]].toarray()
            out = dense[inverse]
        return out

    def _mapping(self, log: LiveLog) -> Indices:
        if getattr(self, "_mapped_from", None) is not log.streamers:
            self._mapped_from, self._mapped = log.streamers, self.streamers.find(log.streamers.ids)
        return self._mapped

    def _choices(self, log: LiveLog, cut: int) -> Choices:
        """Return the views after a time as choices among what was live."""
        rng = np.random.default_rng(0)
        rows = np.flatnonzero(log.view_start >= cut)
        if len(rows) > self.config.max_views:
            rows = np.sort(rng.choice(rows, self.config.max_views, replace=False))
        replay = LiveReplay(log, self.config.early_leave_s, drifting=self.drifting)
        blocks: list[npt.NDArray[np.float32]] = []
        chosen: list[int] = []
        weights: list[float] = []
        size = 0
        for row in rows.tolist():
            at, target = int(log.view_start[row]), int(log.view_stream[row])
            replay.advance(at)
            views = replay.views(int(log.view_user[row]), self.config.max_history)
            streams = self._alternatives(log, views, log.live_at(at), target, rng)
            place = np.flatnonzero(streams == target)
            if len(streams) < 2 or not len(place):
                continue
            blocks.append(self.features(log, views, replay.now(streams)))
            chosen.append(size + int(place[0]))
            size += len(streams)
            early = log.view_end[row] - log.view_start[row] < self.config.early_leave_s * 1e6
            weights.append(self.config.early_weight if early else 1.0)
        if len(blocks) < FEWEST_VIEWS:
            raise FitError(f"{self.kind}: {len(blocks)} views had a choice, too few", fix="give a longer log")
        starts = np.cumsum([0, *(len(block) for block in blocks[:-1])])
        return Choices(np.concatenate(blocks), starts, np.array(chosen), np.array(weights))

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
