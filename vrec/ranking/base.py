"""Base class of rankers: candidates and profiles to requests, predictions to RANKED."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from copy import copy
from dataclasses import dataclass
from typing import Any, ClassVar, Self

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from vrec.core.compute import pc
from vrec.core.errors import RankError
from vrec.core.schema import EMBEDDINGS, RANKED, RECOMMENDATIONS, VIDEOS, TableSchema, conform
from vrec.core.types import CatalogContent
from vrec.profiles.profile import Entity, Profile
from vrec.ranking.features.arrays import Floats, RankerPredictions, RankingRequest, RequestContext
from vrec.ranking.features.video_counts import profile_counts
from vrec.ranking.reranking.utility import UtilityConfig, utility

RowIndices = npt.NDArray[np.int64]

SCALAR_COLUMNS = ("duration_s", "price")


@dataclass(frozen=True, eq=False)
class VideoScalars:
    """Durations and prices of M videos; NaN for unknown videos."""

    rows: Mapping[str, int]
    """The row of each video by its id."""
    duration_s: Floats
    """(M + 1,) float32 seconds, NaN where unknown; the last row stands for unknown videos."""
    price: Floats
    """(M + 1,) float32, NaN where there is none or the video is unknown."""

    @classmethod
    def from_content(cls, content: CatalogContent) -> Self:
        """Read the scalars from VIDEOS; raise SchemaError, or RankError for a video with several rows."""
        if content.videos is None:
            names = [
                pa.field("video_id", pa.string()),
                *(pa.field(name, pa.float32()) for name in SCALAR_COLUMNS),
            ]
            return cls.restore(pa.schema(names).empty_table())
        return cls.restore(conform(content.videos, VIDEOS, stage="ranker", extra=True))

    @classmethod
    def restore(cls, table: pa.Table) -> Self:
        """Rebuild the scalars from the table of `store`; raise RankError for a video with several rows."""
        ids = table.column("video_id").to_pylist()
        rows = {video_id: row for row, video_id in enumerate(ids)}
        if len(rows) < len(ids):
            twice = next(video_id for row, video_id in enumerate(ids) if rows[video_id] != row)
            raise RankError(
                f"VIDEOS.video_id has {len(ids) - len(rows):,} duplicates of {len(ids):,}, such as {twice}",
                fix="give every video a unique id",
            )
        scalars = (
            np.asarray(pc.fill_null(table.column(name), np.nan), np.float32) for name in SCALAR_COLUMNS
        )
        duration_s, price = (np.append(values, np.float32(np.nan)) for values in scalars)
        return cls(rows, np.where(duration_s > 0, duration_s, np.float32(np.nan)), price)

    def restricted_to(self, video_ids: Sequence[str], newer: Self | None = None) -> Self:
        """Return the scalars of some videos only, from `newer` where it knows them."""
        rows, other = self.find(video_ids), self if newer is None else newer
        theirs = np.full(len(rows), -1) if newer is None else newer.find(video_ids)
        scalars = (
            np.append(np.where(theirs < 0, mine[rows], new[theirs]), np.float32(np.nan))
            for mine, new in ((self.duration_s, other.duration_s), (self.price, other.price))
        )
        return type(self)({video_id: row for row, video_id in enumerate(video_ids)}, *scalars)

    def store(self) -> pa.Table:
        """Return the table that `restore` reads."""
        columns = [pa.array(values[:-1]) for values in (self.duration_s, self.price)]
        return pa.table([pa.array(self.rows, pa.string()), *columns], names=["video_id", *SCALAR_COLUMNS])

    def with_videos(self, content: CatalogContent) -> Self:
        """Return a copy with the scalars of VIDEOS added or replaced; errors as in `from_content`."""
        new = self.from_content(content)
        old = self.store().filter(
            pc.invert(pc.is_in(pa.array(self.rows, pa.string()), value_set=pa.array(new.rows, pa.string())))
        )
        return self.restore(pa.concat_tables([old, new.store()]))

    def find(self, video_ids: Sequence[str]) -> RowIndices:
        """Return the (N,) int64 rows of videos, −1 (and so the last row) for unknown ones."""
        return np.array([self.rows.get(video_id, -1) for video_id in video_ids], np.int64)


class ProfileRanker(ABC):
    """Base class of rankers that predict from profiles.

    A subclass defines `kind`, `predict_requests` and its files on disk; the base class builds the requests,
    puts predictions back in the candidates' order, looks up prices and computes the utility.
    """

    kind: ClassVar[str]
    predicts: ClassVar[bool] = True
    """Whether its predictions are probabilities and seconds; otherwise `p_click` only orders the videos."""
    scalars: VideoScalars
    utility_config: UtilityConfig
    """Weights of clicks, minutes and sales in the utility."""
    promise: Mapping[str, Any] | None = None
    """What a training with differential privacy promised and spent; None for one without."""

    @property
    def name(self) -> str:
        """Name by which the configuration selects the ranker."""
        return self.kind

    @abstractmethod
    def predict_requests(self, requests: Sequence[RankingRequest]) -> RankerPredictions:
        """Predict for all candidates of all requests as if each were shown in the first slot.

        Returns:
            N rows, in the order of the requests and of the candidates in each.

        Raises:
            RankError: a request is invalid.
        """

    @abstractmethod
    def with_videos(self, content: CatalogContent) -> Self:
        """Return a copy of the ranker with the videos of `content` added or updated, without training.

        Raises:
            RankError: the embeddings are of another encoder than the ranker was trained with.
            SchemaError: a table of `content` has other columns.
        """

    @abstractmethod
    def restricted_to(self, video_ids: Sequence[str], newer: "ProfileRanker | None" = None) -> Self:
        """Return a copy of the ranker that knows only some videos, from `newer` where it has them.

        Requests for those videos get the same predictions as from the full ranker. The cost is proportional
        to the number of videos, so that few videos of a large catalog can change. The copy is for prediction
        only: it does not save its videos.

        Args:
            video_ids: The videos that the copy knows.
            newer: A ranker derived from this one by `restricted_to` and `with_videos`.
        """

    @abstractmethod
    def save(self, uri: str) -> None:
        """Write the fitted ranker as a folder; see `Ranker`."""

    @classmethod
    @abstractmethod
    def load(cls, uri: str) -> Self:
        """Load the ranker that `save` wrote; see `Ranker`."""

    def score(
        self,
        candidates: pa.Table,
        users: Mapping[str, Profile],
        videos: Mapping[str, Profile],
        context: RequestContext,
    ) -> pa.Table:
        """Return RANKED: the candidates' rows with predictions and utility; see `Ranker`.

        The lists of reasons are empty; reranking fills them.

        Raises:
            RankError: a profile belongs to another user or video, or holds invalid counts.
            SchemaError: `candidates` has other columns.
        """
        table = conform(candidates, RECOMMENDATIONS, stage=f"{type(self).__name__}.score")
        if not table.num_rows:
            return RANKED.arrow().empty_table()
        requests, order = build_requests(table, users, videos, context)
        predictions = self.predict_requests(requests).take(order)
        price = self.scalars.price[self.scalars.find(table.column("video_id").to_pylist())]
        utilities = utility(predictions, price, context.surface, self.utility_config)
        numbers = (predictions.p_click, predictions.watch_s, predictions.p_conv, utilities)
        reasons = pa.array([[]] * table.num_rows, pa.list_(pa.string()))
        columns = [*table.columns, *(pa.array(values, pa.float32()) for values in numbers), reasons]
        return pa.Table.from_arrays(columns, schema=RANKED.arrow())

    def with_scalars(self, scalars: VideoScalars) -> Self:
        """Return a copy with other durations and prices."""
        other = copy(self)
        other.scalars = scalars
        return other

    def _check_same_kind(self, newer: "ProfileRanker | None") -> Self | None:
        """Return the newer ranker; raise RankError where it is of another kind."""
        if newer is None or isinstance(newer, type(self)):
            return newer
        raise RankError(
            f"restricted_to: the newer ranker is of kind {newer.kind}, this one of kind {self.kind}",
            fix="pass a ranker derived from this one by with_videos",
        )


def merge_content(old: CatalogContent, new: CatalogContent) -> CatalogContent:
    """Merge two contents: videos and vectors of `new` replace those of `old` with the same id.

    Raises:
        SchemaError: a table has other columns.
    """
    videos, embeddings = ([getattr(part, name) for part in (old, new)] for name in ("videos", "embeddings"))
    return CatalogContent(_merged(videos, VIDEOS, "video_id"), _merged(embeddings, EMBEDDINGS, "entity_id"))


def _merged(parts: Sequence[pa.Table | None], schema: TableSchema, key: str) -> pa.Table | None:
    old, new = (None if part is None else conform(part, schema, stage="ranker", extra=True) for part in parts)
    if old is None or new is None:
        return new if old is None else old
    replaced = pc.is_in(old.column(key), value_set=new.column(key).combine_chunks())
    return pa.concat_tables([old.filter(pc.invert(replaced)), new])


def build_requests(
    candidates: pa.Table, users: Mapping[str, Profile], videos: Mapping[str, Profile], context: RequestContext
) -> tuple[list[RankingRequest], RowIndices]:
    """Build a request for each user of RECOMMENDATIONS.

    Users come in the order of their first rows, the candidates of a user in the order of their rows. A user
    or video without a profile is new and gets a blank one.

    Returns:
        The requests, and (N,) int64: for each row of `candidates`, its index among the requests' candidates.

    Raises:
        RankError: a profile belongs to another user or video.
    """
    user_ids = candidates.column("user_id").combine_chunks().dictionary_encode()
    video_ids = candidates.column("video_id").combine_chunks().dictionary_encode()
    names: list[str] = video_ids.dictionary.to_pylist()
    counts = np.array([profile_counts(_profile_of(videos, "video", name)) for name in names])
    owner, video = np.asarray(user_ids.indices), np.asarray(video_ids.indices)
    order = np.argsort(owner, kind="stable")
    starts = np.flatnonzero(np.diff(owner[order], prepend=-1))
    requests: list[RankingRequest] = []
    for user, rows in zip(user_ids.dictionary.to_pylist(), np.split(order, starts[1:]), strict=True):
        own = video[rows]
        profile = _profile_of(users, "user", user)
        requests.append(RankingRequest(profile, context, tuple(names[v] for v in own), counts[own]))
    positions = np.empty(len(order), np.int64)
    positions[order] = np.arange(len(order))
    return requests, positions


def _profile_of(profiles: Mapping[str, Profile], entity: Entity, entity_id: str) -> Profile:
    profile = profiles.get(entity_id)
    if profile is None:
        return Profile(entity, entity_id)
    if (profile.entity, profile.entity_id) != (entity, entity_id):
        raise RankError(
            f"the profile given for {entity} {entity_id} is of {profile.entity} {profile.entity_id}",
            fix=f"key the profiles of {entity}s by {entity}_id",
        )
    return profile
