"""From candidates and profiles to requests, and from predictions to RANKED: the same for every ranker."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar, Self

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
    """How long videos are and what they cost, M of them; a video that is not known has neither."""

    rows: Mapping[str, int]
    """The row of each video by its id."""
    duration_s: Floats
    """(M + 1,) seconds, NaN where it is not known; the last row stands for videos that are not there."""
    price: Floats
    """(M + 1,) NaN where there is none."""

    @classmethod
    def from_content(cls, content: CatalogContent) -> Self:
        """The figures in VIDEOS; raises SchemaError, and RankError for a video with several rows."""
        if content.videos is None:
            names = [
                pa.field("video_id", pa.string()),
                *(pa.field(name, pa.float32()) for name in SCALAR_COLUMNS),
            ]
            return cls.restore(pa.schema(names).empty_table())
        return cls.restore(conform(content.videos, VIDEOS, stage="ranker", extra=True))

    @classmethod
    def restore(cls, table: pa.Table) -> Self:
        """The figures in what `store` gave; raises RankError for a video with several rows."""
        ids = table.column("video_id").to_pylist()
        rows = {video_id: row for row, video_id in enumerate(ids)}
        if len(rows) < len(ids):
            twice = next(video_id for row, video_id in enumerate(ids) if rows[video_id] != row)
            raise RankError(
                f"VIDEOS.video_id has {len(ids) - len(rows):,} duplicates of {len(ids):,}, such as {twice}",
                fix="give every video an id of its own",
            )
        figures = (
            np.asarray(pc.fill_null(table.column(name), np.nan), np.float32) for name in SCALAR_COLUMNS
        )
        duration_s, price = (np.append(values, np.float32(np.nan)) for values in figures)
        return cls(rows, np.where(duration_s > 0, duration_s, np.float32(np.nan)), price)

    def restricted_to(self, video_ids: Sequence[str], newer: Self | None = None) -> Self:
        """The figures of some videos alone, as `newer` knows them or else this one."""
        rows, other = self.find(video_ids), self if newer is None else newer
        theirs = np.full(len(rows), -1) if newer is None else newer.find(video_ids)
        figures = (
            np.append(np.where(theirs < 0, mine[rows], new[theirs]), np.float32(np.nan))
            for mine, new in ((self.duration_s, other.duration_s), (self.price, other.price))
        )
        return type(self)({video_id: row for row, video_id in enumerate(video_ids)}, *figures)

    def store(self) -> pa.Table:
        """What `restore` needs."""
        columns = [pa.array(values[:-1]) for values in (self.duration_s, self.price)]
        return pa.table([pa.array(self.rows, pa.string()), *columns], names=["video_id", *SCALAR_COLUMNS])

    def with_videos(self, content: CatalogContent) -> Self:
        """The same figures, in which those of VIDEOS are added or replace older ones; errors as `of`."""
        new = self.from_content(content)
        old = self.store().filter(
            pc.invert(pc.is_in(pa.array(self.rows, pa.string()), value_set=pa.array(new.rows, pa.string())))
        )
        return self.restore(pa.concat_tables([old, new.store()]))

    def find(self, video_ids: Sequence[str]) -> RowIndices:
        """(N,) the rows of videos, −1 and so the last for those that are not known."""
        return np.array([self.rows.get(video_id, -1) for video_id in video_ids], np.int64)


class ProfileRanker(ABC):
    """A Ranker of profiles: what all have in common.

    A ranker gives `kind`, `predict_requests` and what belongs on disk; which row is whose, what videos cost
    and what it is all worth is settled here, once.
    """

    kind: ClassVar[str]
    scalars: VideoScalars
    utility_config: UtilityConfig
    """What is aimed at."""

    @property
    def name(self) -> str:
        """What is asked for to have such a ranker."""
        return self.kind

    @abstractmethod
    def predict_requests(self, requests: Sequence[RankingRequest]) -> RankerPredictions:
        """What to expect of all candidates of all requests, N rows in their order, shown in the first slot.

        Raises RankError for requests that cannot be.
        """

    @abstractmethod
    def with_videos(self, content: CatalogContent) -> Self:
        """The same ranker, to which the videos of `content` are known as well, or anew; nothing is trained.

        Raises RankError for embeddings of another encoder than it was trained with, and SchemaError.
        """

    @abstractmethod
    def restricted_to(self, video_ids: Sequence[str], newer: "ProfileRanker | None" = None) -> Self:
        """The same ranker, to which only some videos are known: as `newer` knows them, or else this one.

        `newer` was made of this ranker by `among` and `with_videos`. Requests of those videos have the same
        answers as by a ranker that knows all. It costs in proportion to them, so that few videos of a large
        catalog can change, and is for asking only: a ranker so made does not save its videos.
        """

    @abstractmethod
    def save(self, uri: str) -> None:
        """Writes the fitted ranker as a folder; see `Ranker`."""

    @classmethod
    @abstractmethod
    def load(cls, uri: str) -> Self:
        """The ranker that `save` wrote; see `Ranker`."""

    def score(
        self,
        candidates: pa.Table,
        users: Mapping[str, Profile],
        videos: Mapping[str, Profile],
        context: RequestContext,
    ) -> pa.Table:
        """RANKED: the candidates' rows as they are, with what is expected of each; see `Ranker`.

        Nobody has given reasons yet. Raises SchemaError, and RankError for profiles that cannot be.
        """
        table = conform(candidates, RECOMMENDATIONS, stage=f"{type(self).__name__}.score")
        if not table.num_rows:
            return RANKED.arrow().empty_table()
        requests, places = build_requests(table, users, videos, context)
        found = self.predict_requests(requests).take(places)
        price = self.scalars.price[self.scalars.find(table.column("video_id").to_pylist())]
        worth = utility(found, price, context.surface, self.utility_config)
        numbers = (found.p_click, found.watch_s, found.p_conv, worth)
        reasons = pa.array([[]] * table.num_rows, pa.list_(pa.string()))
        columns = [*table.columns, *(pa.array(values, pa.float32()) for values in numbers), reasons]
        return pa.Table.from_arrays(columns, schema=RANKED.arrow())

    def _check_same_kind(self, newer: "ProfileRanker | None") -> Self | None:
        """The newer ranker, which must be of the same kind; raises RankError otherwise."""
        if newer is None or isinstance(newer, type(self)):
            return newer
        raise RankError(f"a {newer.kind} ranker does not know videos as a {self.kind} ranker does")


def merge_content(old: CatalogContent, new: CatalogContent) -> CatalogContent:
    """The videos and vectors of both, those of `new` in place of those of `old` with the same id.

    Raises SchemaError.
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
    """A request for each user of RECOMMENDATIONS, and (N,) where among their candidates each row went.

    Users come in the order of their first rows, a user's candidates in the order of theirs. Who or what has
    no profile is new: a blank one stands for it. Raises RankError for a profile of another user or video.
    """
    user_ids = candidates.column("user_id").combine_chunks().dictionary_encode()
    video_ids = candidates.column("video_id").combine_chunks().dictionary_encode()
    names: list[str] = video_ids.dictionary.to_pylist()
    states = np.array([profile_counts(_profile_of(videos, "video", name)) for name in names])
    owner, video = np.asarray(user_ids.indices), np.asarray(video_ids.indices)
    order = np.argsort(owner, kind="stable")
    starts = np.flatnonzero(np.diff(owner[order], prepend=-1))
    requests: list[RankingRequest] = []
    for user, rows in zip(user_ids.dictionary.to_pylist(), np.split(order, starts[1:]), strict=True):
        wanted = video[rows]
        profile = _profile_of(users, "user", user)
        requests.append(RankingRequest(profile, context, tuple(names[v] for v in wanted), states[wanted]))
    places = np.empty(len(order), np.int64)
    places[order] = np.arange(len(order))
    return requests, places


def _profile_of(profiles: Mapping[str, Profile], entity: Entity, entity_id: str) -> Profile:
    profile = profiles.get(entity_id)
    if profile is None:
        return Profile(entity, entity_id)
    if (profile.entity, profile.entity_id) != (entity, entity_id):
        raise RankError(
            f"the profile given for {entity} {entity_id} is of {profile.entity} {profile.entity_id}",
            fix=f"give {entity}s' profiles by {entity}_id",
        )
    return profile
