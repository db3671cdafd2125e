"""Lists that bundles give the shoppers of an evaluation."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from vrec.bundle.bundle import ServingBundle
from vrec.config.serve import ServeConfig
from vrec.core.compute import pc
from vrec.core.types import CatalogContent
from vrec.evaluation.intervals import Floats
from vrec.loop.evaluation.log import EvaluationLog
from vrec.profiles.profile import Profile, profiles_from_table
from vrec.profiles.update import ProfilesConfig, build_profiles
from vrec.ranking.features.arrays import RankingRequest, RequestContext
from vrec.ranking.features.video_counts import VIDEO_COUNT_KEYS, profile_counts
from vrec.serving.messages import RecommendQuery, RequestFilters
from vrec.serving.recommend.engine import RecommendEngine

SURFACE = "feed"
"""Surface of the lists."""


@dataclass(frozen=True, eq=False, slots=True)
class BundleLists:
    """Lists of one bundle, and what its ranker predicts."""

    lists: Mapping[str, tuple[str, ...]]
    """Video ids by shopper, best first."""
    cpu_s: Floats
    """CPU seconds of each list, in the order of the lists."""
    p_click: Floats | None
    """Predicted click probability of each impression in the first place; None for a ranker without any."""


class BundleUnderTest:
    """Bundle with the state that its service would have had at the beginning of the evaluated part."""

    def __init__(
        self, bundle: ServingBundle, config: ServeConfig, log: EvaluationLog, counts: "CountsBefore"
    ) -> None:
        self.bundle, self._counts = bundle, counts
        self._engine = RecommendEngine(bundle, config)
        self._engine.set_video_counts(counts.video_ids, counts.rows)
        users = pa.array(log.everybody, pa.string())
        own = log.before.filter(pc.is_in(log.before.column("user_id"), value_set=users))
        built = profiles_from_table(build_profiles(own, bundle.content, bundle.profiles))
        self._profiles = {one.entity_id: one for one in built if one.entity == "user"}

    def profile(self, user_id: str) -> Profile:
        """Return the profile of a shopper, blank for an unknown one."""
        return self._profiles.get(user_id) or Profile("user", user_id)

    def recommend(self, user_id: str, k: int, at: int, seen: frozenset[str]) -> tuple[tuple[str, ...], float]:
        """Return the list of a shopper without some videos, and the CPU seconds that it took."""
        filters = RequestFilters(exclude=seen, streams="none")
        query = RecommendQuery(f"loop-{user_id}", user_id, SURFACE, k, at, filters)
        user, begun = self.profile(user_id), time.thread_time()
        found = self._engine.recommend(query, user)
        return tuple(item.video_id for item in found.items), time.thread_time() - begun

    def click_probabilities(self, shown: pa.Table) -> Floats:
        """Return the (N,) predicted click probabilities of EVENTS rows, each alone in the first place."""
        columns = (shown.column(name).to_pylist() for name in ("user_id", "video_id", "domain"))
        at = shown.column("at").cast(pa.int64()).to_pylist()
        requests = [
            RankingRequest(
                self.profile(user), RequestContext(moment, domain), (video,), self._counts.of(video)[None]
            )
            for user, video, domain, moment in zip(*columns, at, strict=True)
        ]
        return self.bundle.ranker.predict_requests(requests).p_click.astype(np.float64)


@dataclass(frozen=True, eq=False, slots=True)
class CountsBefore:
    """Counts of videos at the beginning of the evaluated part."""

    video_ids: tuple[str, ...]
    rows: npt.NDArray[np.float64]
    """(V, len(VIDEO_COUNT_KEYS))."""
    places: Mapping[str, int]

    @classmethod
    def from_events(cls, events: pa.Table, videos: pa.Table, config: ProfilesConfig) -> "CountsBefore":
        """Count EVENTS by video, with the lengths of VIDEOS."""
        built = profiles_from_table(build_profiles(events, CatalogContent(videos), config))
        found = [one for one in built if one.entity == "video"]
        rows = np.array([profile_counts(one) for one in found]).reshape(-1, len(VIDEO_COUNT_KEYS))
        names = tuple(one.entity_id for one in found)
        return cls(names, rows, {name: place for place, name in enumerate(names)})

    def of(self, video_id: str) -> npt.NDArray[np.float64]:
        """Return the counts of a video, zeros for an unknown one."""
        place = self.places.get(video_id)
        return np.zeros(len(VIDEO_COUNT_KEYS)) if place is None else self.rows[place]


def serve_lists(
    pair: Sequence[ServingBundle], log: EvaluationLog, k: int, serve: ServeConfig, shown: pa.Table
) -> list[BundleLists]:
    """Return what two bundles answer to the shoppers of an evaluation, at its moment.

    Args:
        pair: The bundles.
        log: The log.
        k: Length of the lists.
        serve: Settings of the service.
        shown: EVENTS rows of impressions, whose clicks are predicted.
    """
    counts: dict[str, CountsBefore] = {}
    tested: list[BundleUnderTest] = []
    for bundle in pair:
        key = bundle.profiles.model_dump_json()
        if key not in counts:
            counts[key] = CountsBefore.from_events(log.before, all_videos(pair), bundle.profiles)
        tested.append(BundleUnderTest(bundle, serve, log, counts[key]))
    seen = _seen(log.train)
    lists: list[dict[str, tuple[str, ...]]] = [{}, {}]
    seconds: list[list[float]] = [[], []]
    for number, user in enumerate(log.everybody):
        # In turn, so that what else the machine does falls on both.
        for side in (0, 1) if number % 2 else (1, 0):
            found, spent_s = tested[side].recommend(user, k, log.since + 1, seen.get(user, frozenset()))
            lists[side][user] = found
            seconds[side].append(spent_s)
    p_click = [
        one.click_probabilities(shown) if one.bundle.ranker.predicts and shown.num_rows else None
        for one in tested
    ]
    return [BundleLists(lists[side], np.array(seconds[side]), p_click[side]) for side in (0, 1)]


def _seen(train: pa.Table) -> dict[str, frozenset[str]]:
    grouped = train.group_by("user_id").aggregate([("video_id", "list")])
    users, videos = (grouped.column(name).to_pylist() for name in ("user_id", "video_id_list"))
    return {user: frozenset(names) for user, names in zip(users, videos, strict=True)}


def all_videos(pair: Sequence[ServingBundle]) -> pa.Table:
    """Return VIDEOS of both bundles; where both have a video, the row of the first."""
    first, second = (bundle.videos for bundle in pair)
    extra = pc.invert(
        pc.is_in(second.column("video_id"), value_set=first.column("video_id").combine_chunks())
    )
    names = [name for name in first.column_names if name in second.column_names]
    return pa.concat_tables(
        [first.select(names), second.select(names).filter(extra)], promote_options="permissive"
    )
