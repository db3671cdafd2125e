"""The shop that a bench attacks: a part of a log, its test, and the targets."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from vrec.core.compute import pc
from vrec.core.errors import EvaluationError
from vrec.evaluation.offline.ground_truth import GroundTruth
from vrec.events.config import RandomSplitConfig
from vrec.events.split import split_interactions
from vrec.robustness.config import AttackBenchConfig
from vrec.robustness.watched import WatchedVideos

LEAST_VIDEOS = 3
"""Fewest videos of a shopper of the bench."""
TAIL_SHARE = 0.3
"""Share of the videos, those with fewest shoppers, that are the long tail."""
POPULAR_TARGETS = 20
"""Most watched videos of which attacks that demote one draw their target."""
HEAVY_SHARE = 0.01
"""Share of the shoppers, those with most videos, who are the heaviest."""
NEW_VIDEO = "new-video"
"""Beginning of the ids of targets that nobody has watched."""


@dataclass(frozen=True)
class AttackedShop:
    """Interactions of honest shoppers, in two parts."""

    train: pa.Table
    """INTERACTIONS to fit on, one row per shopper and video."""
    log: WatchedVideos
    """The same as a matrix."""
    truth: GroundTruth
    """The test, over a catalog that has the new videos."""

    @property
    def tail(self) -> npt.NDArray[np.int64]:
        """Columns of the long tail."""
        order = np.argsort(self.log.counts, kind="stable")
        return order[: max(1, round(TAIL_SHARE * len(order)))]

    def heavy(self) -> pa.Array:
        """Return the ids of the heaviest shoppers."""
        order = np.argsort(-self.log.lengths, kind="stable")
        return self.log.shoppers.take(pa.array(order[: max(1, round(HEAVY_SHARE * len(order)))]))

    def draw_target(self, sort: str, rng: np.random.Generator, number: int) -> str:
        """Return the id of a target of a sort: `tail`, `new` or `popular`."""
        if sort == "new":
            return f"{NEW_VIDEO}-{number}"
        columns = self.tail if sort == "tail" else np.argsort(-self.log.counts, kind="stable")
        columns = columns if sort == "tail" else columns[:POPULAR_TARGETS]
        return self.log.videos[int(rng.choice(columns))].as_py()


def draw_shop(interactions: pa.Table, config: AttackBenchConfig, new_videos: int) -> AttackedShop:
    """Return a shop that is drawn from a log.

    Args:
        interactions: INTERACTIONS, aggregated.
        config: Size of the shop, and the share of the test.
        new_videos: Number of videos without interactions in the catalog.

    Raises:
        EvaluationError: Too little is left.
    """
    rng = np.random.default_rng(config.seed)
    log = WatchedVideos.from_interactions(interactions)
    videos = log.videos
    if len(videos) > config.videos:
        drawn = rng.choice(len(videos), config.videos, replace=False, p=log.counts / log.counts.sum())
        videos = videos.take(pa.array(np.sort(drawn)))
    interactions = interactions.filter(pc.is_in(interactions["video_id"], value_set=videos))
    log = WatchedVideos.from_interactions(interactions)
    able = np.flatnonzero(log.lengths >= LEAST_VIDEOS)
    if len(able) < 10:
        raise EvaluationError(
            f"{len(able)} shoppers have {LEAST_VIDEOS} or more of the {len(videos):,} videos of the bench",
            fix="give a larger log, or raise robustness.bench.videos",
        )
    drawn = np.sort(rng.permutation(able)[: config.shoppers])
    interactions = interactions.filter(
        pc.is_in(interactions["user_id"], value_set=log.shoppers.take(pa.array(drawn)))
    )
    split = split_interactions(
        interactions, RandomSplitConfig(test_share=config.test_share, seed=config.seed)
    )
    train_log = WatchedVideos.from_interactions(split.train)
    names = pc.unique(interactions["video_id"]).to_pylist()
    catalog = [*names, *(f"{NEW_VIDEO}-{number}" for number in range(new_videos))]
    return AttackedShop(split.train, train_log, GroundTruth(split.train, split.test, catalog))
