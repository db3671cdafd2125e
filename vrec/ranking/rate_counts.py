"""The counts behind candidates' rates, as they were before the moment of the request."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
import numpy.typing as npt

from vrec.core.errors import RankError
from vrec.profiles.video import WATCH_S
from vrec.ranking.features.arrays import RankingRequest
from vrec.ranking.features.numeric import request_counts
from vrec.ranking.features.video_counts import VIDEO_COUNT_KEYS, column
from vrec.ranking.labels import LabelsConfig

Doubles = npt.NDArray[np.float64]

SHOWN, CLICKS = "event:impression", "event:click"


@dataclass(frozen=True, eq=False, slots=True)
class RateCounts:
    """What the rates of N candidates are made of, each (N,): counts from before the moment."""

    shown: Doubles
    clicks: Doubles
    watch_s: Doubles
    converted: Doubles
    user_shown: Doubles
    user_clicks: Doubles
    surface: list[str]
    video: list[str]

    @classmethod
    def from_requests(cls, requests: Sequence[RankingRequest], labels: LabelsConfig) -> Self:
        """The counts in requests, candidate by candidate; `labels` says what counts as a conversion.

        Raises RankError for counts that are not finite or below 0.
        """
        states, sizes = request_counts(requests), [len(r.video_ids) for r in requests]
        of_users = np.array([[r.user.counts.get(key, 0.0) for key in (SHOWN, CLICKS)] for r in requests])
        of_users = of_users.reshape(-1, 2)
        wrong = np.flatnonzero(~(np.isfinite(of_users) & (of_users >= 0)).all(axis=1))
        if len(wrong):
            raise RankError(
                f"impressions and clicks of user {requests[wrong[0]].user.entity_id} are "
                f"{of_users[wrong[0]]}; {len(wrong):,} of {len(requests):,} such are not finite or below 0",
                fix="make the profiles anew from the events",
            )
        user_shown, user_clicks = np.repeat(of_users, sizes, axis=0).T
        ends = [key for kind in labels.conversion_kinds if (key := f"event:{kind}") in VIDEO_COUNT_KEYS]
        converted = sum((column(states, key) for key in ends), np.zeros(len(states)))
        return cls(
            shown=column(states, SHOWN),
            clicks=column(states, CLICKS),
            watch_s=column(states, WATCH_S),
            converted=converted,
            user_shown=np.ascontiguousarray(user_shown),
            user_clicks=np.ascontiguousarray(user_clicks),
            surface=[r.context.surface for r, size in zip(requests, sizes, strict=True) for _ in range(size)],
            video=[video for r in requests for video in r.video_ids],
        )
