"""The model of live streams at the moment of a request: views and streams by id, without a whole log."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from vrec.core.errors import ModelError
from vrec.retrieval.interaction_matrix import IdVocabulary
from vrec.retrieval.live.features import LiveNow, ShopperViews
from vrec.retrieval.live.log import SECOND_US
from vrec.retrieval.live.model import LiveRecommender
from vrec.retrieval.live.views import NamedRates, OpenStream, WatchedView


@dataclass(frozen=True)
class _Streamers:
    """Streamers of the fit; larger rows are of others."""

    streamers: IdVocabulary


class OnlineLiveModel:
    """Fitted model for requests, which scores as `LiveRecommender.score` on a log with the same content.

    Streams have no content vectors here.
    """

    def __init__(self, model: LiveRecommender) -> None:
        """Take a fitted model; raise ModelError if it was fitted with content vectors."""
        if model.has_content:
            raise ModelError(
                "the model of live streams was fitted with content vectors, which the service does not have",
                fix="fit it by `vrec fit --model live`",
            )
        self._model, self._ids = model, _Streamers(model.streamers)
        names: list[str] = model.streamers.ids.to_pylist()
        self._row = {name: row for row, name in enumerate(names)}

    @property
    def early_leave_s(self) -> float:
        """Seconds below which a view was left early."""
        return self._model.config.early_leave_s

    def save(self, uri: str) -> None:
        """Write the model to a folder."""
        self._model.save(uri)

    def score(
        self, streams: Sequence[OpenStream], views: Sequence[WatchedView], rates: NamedRates, at: int
    ) -> npt.NDArray[np.float32]:
        """Return the (C,) log-odds, up to a constant, that a shopper will watch each stream next.

        Args:
            streams: The live streams. Of several of one streamer, the first by id has the shopper's views.
            views: What the shopper watched, in any order.
            rates: Rates of the streamers.
            at: The moment, µs since 1970.
        """
        if not streams:
            return np.zeros(0, np.float32)
        order = sorted(range(len(streams)), key=lambda place: streams[place].stream_id)
        shown = [streams[place] for place in order]
        ended = [view for view in views if view.end <= at and view.start < at]
        watched = sorted(ended, key=lambda view: (view.start, view.stream_id))[
            -self._model.config.max_history :
        ]
        everything: list[OpenStream | WatchedView] = [*shown, *watched]
        streamer = _codes([one.streamer_id for one in everything], self._row)
        stream = _codes([one.stream_id for one in everything], {})
        category = _codes([one.category for one in everything], {})
        count, known = len(shown), rates.of([one.streamer_id for one in shown])
        start, end = (np.array([one[n] for one in watched], np.int64) for n in (3, 4))
        now = LiveNow(
            at=at,
            stream=stream[:count],
            streamer=streamer[:count],
            category=category[:count],
            started=np.array([one.started for one in shown], np.int64),
            viewers=np.array([one.viewers for one in shown], np.float64),
            vectors=None,
            **known.rates.at(np.array([known.row[one.streamer_id] for one in shown]), at),
        )
        past = ShopperViews(
            streamer=streamer[count:],
            stream=stream[count:],
            category=category[count:],
            start=start,
            seconds=(end - start) / SECOND_US,
            vectors=None,
        )
        scores = np.empty(count, np.float32)
        scores[order] = self._model.score(self._ids, past, now)
        return scores


def _codes(names: Sequence[str | None], known: Mapping[str, int]) -> npt.NDArray[np.int64]:
    """Return (N,) codes of names: those that are known, further ones for others, −1 for None."""
    others: dict[str | None, int] = {None: -1}
    out = np.empty(len(names), np.int64)
    for place, name in enumerate(names):
        code = None if name is None else known.get(name)
        out[place] = others.setdefault(name, len(known) + len(others)) if code is None else code
    return out
