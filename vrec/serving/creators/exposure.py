"""Exposure of creators in the lists of one process."""

import time
from collections import Counter
from collections.abc import Sequence

import numpy as np

from vrec.retrieval.creators.exposure import gini
from vrec.serving.creators.lists import RankedCreator
from vrec.serving.observability import metrics

GINI_EVERY_S = 5.0
"""Seconds between two computations of the inequality."""


class ExposureCounts:
    """Places of creators in lists since the process began, for metrics."""

    def __init__(self, recorder: metrics.MetricsRecorder) -> None:
        """Build the counts without places."""
        self._recorder, self._next_at = recorder, 0.0
        self._places: Counter[str] = Counter()

    def add(self, creators: Sequence[RankedCreator], all_creators: int) -> None:
        """Count the places of a list; `all_creators` is the number of creators that could have one."""
        for creator in creators:
            self._places[creator.creator_id] += 1
            self._recorder.record(metrics.CREATOR_PLACES, new="yes" if creator.is_new else "no")
        if (now := time.monotonic()) >= self._next_at and creators:
            self._next_at = now + GINI_EVERY_S
            counts = np.zeros(max(all_creators, len(self._places)), np.int64)
            counts[: len(self._places)] = list(self._places.values())
            self._recorder.record(metrics.CREATOR_GINI, gini(counts))
