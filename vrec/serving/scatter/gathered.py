"""Engine over the videos that the parts of a catalog handed over for one request."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from vrec.bundle.bundle import ServingBundle
from vrec.config.serve import ServeConfig
from vrec.core.schema import VIDEOS
from vrec.core.types import Vectors
from vrec.ranking.base import ProfileRanker
from vrec.ranking.features.arrays import RankingRequest
from vrec.ranking.ranker_part import with_parts
from vrec.ranking.reranking.catalog import CatalogArrays, Floats, RowIndices
from vrec.serving.catalog.bundle_view import BundleCatalogView
from vrec.serving.catalog.columns import FilterColumns, GrowableColumns, Mask
from vrec.serving.catalog.snapshot import CatalogSnapshot
from vrec.serving.recommend.candidates import CandidateSources, by_impressions, rank_neighbors
from vrec.serving.recommend.engine import RecommendEngine
from vrec.serving.recommend.exact_scores import Scores
from vrec.serving.recommend.predictions import ChosenCandidates
from vrec.serving.recommend.search import TextSearch
from vrec.serving.rules.compiled import RuleCompiler
from vrec.serving.scatter.messages import NamedCodes, Numbers, PartFacts, PartRecords, PartRows, PopularKey
from vrec.serving.streams.rows import StreamCompiler

Floats32 = npt.NDArray[np.float32]
NO_VIDEOS = VIDEOS.arrow().empty_table()


@dataclass(eq=False)
class GatheredFacts:
    """Facts of all parts about the videos that a request names."""

    neighbors: dict[str, tuple[npt.NDArray[np.int32], Floats32]] = field(default_factory=dict)
    vectors: dict[str, Vectors] = field(default_factory=dict)
    """(dim,) vector of each of them that the catalog has."""

    @classmethod
    def of(cls, parts: Sequence[PartFacts]) -> "GatheredFacts":
        """Return the facts of all parts together."""
        made = cls()
        for part in parts:
            made.neighbors.update(part.neighbors)
            made.vectors.update(part.vectors)
        return made

    def ranked_neighbors(self, video_ids: Sequence[str], weights: Sequence[float]) -> RowIndices:
        """Return the neighbors of videos as rows of the whole bundle, best first; see `rank_neighbors`."""
        known = [
            (self.neighbors[name], weight)
            for name, weight in zip(video_ids, weights, strict=True)
            if name in self.neighbors
        ]
        if not known:
            return np.zeros(0, np.int64)
        indices = np.stack([rows for (rows, _), _ in known])
        scores = np.stack([values for (_, values), _ in known])
        return rank_neighbors(indices, scores, [weight for _, weight in known])


class GatheredSnapshot(CatalogSnapshot):
    """Videos of several parts, by ascending id, in the orders of the whole catalog."""

    def __init__(self, parts: Sequence[PartRows], encoder: str | None, dim: int) -> None:
        """Join the rows of parts, which follow each other by id."""
        self._parts = parts
        starts = np.cumsum([0, *(len(part.ids) for part in parts)])
        self.starts: list[int] = starts.tolist()
        """First row of each part, and the number of rows."""
        columns = _joined_columns(parts, self.starts[-1], dim)
        counts = np.concatenate([part.video_counts for part in parts])
        super().__init__(_view(parts, columns, encoder), GrowableColumns(columns, counts, 0), {}, {})

    @property
    def ids(self) -> Sequence[str]:
        """Ids by row."""
        return self.catalog.video_ids

    def joined(self, found: Sequence[tuple[RowIndices, Scores]]) -> tuple[RowIndices, Scores]:
        """Return scored rows of each part as rows of this snapshot, best first, ties by id; −1 stays −1."""
        rows = [
            np.where(one < 0, -1, one + start) for (one, _), start in zip(found, self.starts, strict=False)
        ]
        scores = np.concatenate([one for _, one in found])
        order = np.argsort(-scores, kind="stable")
        return np.concatenate(rows)[order], scores[order]

    def _by_date(self, new: RowIndices) -> tuple[RowIndices, Floats]:
        """Return the rows with a date as the whole catalog has them: of equal dates changed ones first."""
        dates = np.concatenate([part.date for part in self._parts])
        changed = np.concatenate([part.is_changed for part in self._parts])
        rows = np.lexsort((~changed, -dates))[: np.count_nonzero(~np.isnan(dates))]
        return rows, -dates[rows]


class GatheredSources(CandidateSources):
    """Sources of candidates that the parts found."""

    def __init__(
        self,
        head: ServingBundle,
        config: ServeConfig,
        facts: GatheredFacts,
        parts: Sequence[PartRows],
        snapshot: GatheredSnapshot,
    ) -> None:
        super().__init__(head.neighbors, head.index, config.candidates)
        self._facts, self._parts = facts, parts
        self._bundle_rows = np.concatenate([part.bundle_row for part in parts])
        self._has_neighbors = np.concatenate([part.has_neighbors for part in parts])
        keys = dict.fromkeys(key for part in parts for key in part.by_content)
        nothing = np.zeros(0, np.int64), np.zeros(0, np.float32)
        self._near = {
            key: snapshot.joined([one.by_content.get(key, nothing) for one in parts]) for key in keys
        }
        places = np.concatenate([part.drawn[0] for part in parts])
        rows = [part.drawn[1] + start for part, start in zip(parts, snapshot.starts, strict=False)]
        self._drawn = np.concatenate(rows)[np.argsort(places)]
        self._row_of = snapshot.catalog.row_by_id
        self.places: dict[str, int] = {}
        """Places in the order of popularity of the whole catalog, from 1, once they are known."""

    def by_neighbors(
        self, snapshot: CatalogSnapshot, video_ids: Sequence[str], weights: Sequence[float]
    ) -> RowIndices:
        """Return the rows of neighbors of videos, best first."""
        order, own = self._facts.ranked_neighbors(video_ids, weights), self._bundle_rows
        # Those of the bundle ascend, as their ids do.
        bundled = np.flatnonzero(own >= 0)
        if not len(bundled):
            return bundled
        at = np.minimum(np.searchsorted(own[bundled], order), len(bundled) - 1)
        return bundled[at[own[bundled[at]] == order]]

    def by_content(
        self, snapshot: CatalogSnapshot, query: Vectors, need: int, mask: Mask | None
    ) -> RowIndices:
        """Return the rows nearest to a vector that the parts searched for, best first."""
        found = self._near.get(query.tobytes())
        return np.zeros(0, np.int64) if found is None else found[0][:need]

    def underexposed(
        self, snapshot: CatalogSnapshot, need: int, mask: Mask | None, rng: np.random.Generator
    ) -> RowIndices:
        """Return the rows that were drawn from the whole catalog, those with the fewest impressions first."""
        return by_impressions(snapshot, self._drawn)

    def vectors_of(self, snapshot: CatalogSnapshot, video_ids: Sequence[str]) -> Vectors:
        """Return the vectors of videos that the request names."""
        known = [self._facts.vectors[name] for name in video_ids if name in self._facts.vectors]
        return np.stack(known) if known else snapshot.catalog.vectors[:0]

    def has_neighbors(self, video_id: str) -> bool:
        """Return whether a video has neighbors of its own."""
        return bool(self._has_neighbors[self._row_of[video_id]])

    def similarity(self, weights: Mapping[str, float], video_id: str) -> float:
        """Return the sum over videos of weight times similarity to another video."""
        target, total = int(self._bundle_rows[self._row_of[video_id]]), 0.0
        for name, weight in weights.items():
            if name in self._facts.neighbors and target >= 0:
                indices, scores = self._facts.neighbors[name]
                total += weight * float(scores[indices == target].sum())
        return total

    def popular_places(self, snapshot: CatalogSnapshot, rows: Sequence[int]) -> list[int]:
        """Return the places of rows in the order of popularity of the whole catalog, from 1."""
        return [self.places[snapshot.catalog.video_ids[row]] for row in rows]


class GatheredSearch(TextSearch):
    """Matches of a text that the parts found."""

    def __init__(self, videos: int, parts: Sequence[PartRows], snapshot: GatheredSnapshot) -> None:
        """Take the parts' matches; `videos` is the number of videos of the whole bundle."""
        self._videos = videos
        self._found = {
            name: snapshot.joined([part.found[name] for part in parts])
            for name in (parts[0].found if parts else ())
        }

    @property
    def word_videos(self) -> int:
        """Number of videos in the whole bundle's BM25 index."""
        return self._videos

    def scored_words(self, text: str, limit: int, snapshot: CatalogSnapshot) -> tuple[RowIndices, Scores]:
        """Return the rows of the best matches, and their scores."""
        rows, scores = self._found["words"]
        return rows[:limit], scores[:limit]

    def scored_new_words(
        self, text: str, limit: int, snapshot: CatalogSnapshot, counts: object = None
    ) -> tuple[RowIndices, Scores]:
        """Return the rows of the best matches among changed videos, and their scores."""
        rows, scores = self._found["words-new"]
        return rows[:limit], scores[:limit]

    def scored_by_meaning(
        self, vector: Vectors | None, snapshot: CatalogSnapshot
    ) -> tuple[RowIndices, Scores] | None:
        """Return the rows whose text is similar enough, and their cosines."""
        return self._found.get("meaning")


class GatheredRanker:
    """Ranker of the videos that were fetched for one request."""

    def __init__(self, ranker: ProfileRanker) -> None:
        self._ranker = ranker

    def of_request(self, request: RankingRequest, rows: RowIndices) -> tuple[ProfileRanker, RankingRequest]:
        """Return the ranker and the request; see `CatalogRanker.of_request`."""
        return self._ranker, request


class GatheredEngine(RecommendEngine):
    """Engine over the videos that parts handed over, for one request."""

    def __init__(
        self, head: ServingBundle, config: ServeConfig, facts: GatheredFacts, parts: Sequence[PartRows]
    ) -> None:
        """Build the engine.

        Args:
            head: Bundle without videos, from `cut_bundle`.
            config: The settings of the service.
            facts: Facts about the videos that the request names.
            parts: Rows of the parts, at least of one, in their order.
        """
        assert head.part is not None
        self._bundle, self._config = head, config
        self._gathered = GatheredSnapshot(parts, head.encoder, max(part.dim for part in parts))
        self._snapshot = self._gathered
        self._parts, self.sources = parts, GatheredSources(head, config, facts, parts, self._gathered)
        self._sources = self.sources
        self._rules, self._streams = RuleCompiler(), StreamCompiler()
        self._search = GatheredSearch(head.part.cut.edges[-1], parts, self._gathered)
        vectors = self._snapshot.catalog.vectors
        for part, start in zip(parts, self._gathered.starts, strict=False):
            vectors[part.vectors[0] + start] = part.vectors[1]
        for name, vector in facts.vectors.items():
            if (row := self._snapshot.catalog.row_by_id.get(name)) is not None:
                vectors[row] = vector

    def take_records(self, records: Sequence[PartRecords]) -> None:
        """Take what ranking needs of the candidates and of the shopper's history."""
        vectors = self._snapshot.catalog.vectors
        for one in records:
            rows = self._snapshot.catalog.find(one.ids)
            vectors[rows[rows >= 0]] = one.vectors[rows >= 0]
        self._ranker = GatheredRanker(with_parts(self._bundle.ranker, [one.ranker for one in records]))

    def ids_of(self, chosen: ChosenCandidates) -> list[str]:
        """Return the ids of candidates."""
        numbers: list[int] = chosen.rows.tolist()
        return [self._gathered.ids[row] for row in numbers]

    def popular_key(self, video_id: str) -> PopularKey:
        """Return the key of a video in the order of popularity."""
        row = self._snapshot.catalog.row_by_id[video_id]
        number = int(np.searchsorted(self._gathered.starts, row, side="right")) - 1
        part, at = self._parts[number], row - self._gathered.starts[number]
        return int(part.rank[at]), float(part.rank_value[at]), video_id


def _view(parts: Sequence[PartRows], columns: FilterColumns, encoder: str | None) -> BundleCatalogView:
    rank, value = (np.concatenate([getattr(part, name) for part in parts]) for name in ("rank", "rank_value"))
    rows_by_tag: dict[str, list[int]] = {}
    for row, tags in enumerate(columns.catalog.tags):
        for tag in tags:
            rows_by_tag.setdefault(tag, []).append(row)
    by_creator = np.argsort(columns.catalog.creator, kind="stable")
    return BundleCatalogView(
        NO_VIDEOS,
        columns,
        encoder,
        # Rows ascend by id, so that ties do.
        popular=np.lexsort((value, rank)),
        newest_first=np.zeros(0, np.int64),
        by_id=np.arange(len(rank)),
        rows_by_tag={tag: np.array(rows, np.int64) for tag, rows in rows_by_tag.items()},
        by_creator=by_creator,
        creators=columns.catalog.creator[by_creator],
    )


def _joined_columns(parts: Sequence[PartRows], count: int, dim: int) -> FilterColumns:
    ids = [name for part in parts for name in part.ids]
    named = {name: _joined_names([part.named[name] for part in parts]) for name in parts[0].named}
    plain = {name: np.concatenate([part.plain[name] for part in parts]) for name in parts[0].plain}
    catalog = CatalogArrays(
        video_ids=ids,
        creators=named["creator"].names,
        categories=named["category"].names,
        kinds=named["kind"].names,
        creator=named["creator"].codes,
        category=named["category"].codes,
        kind=named["kind"].codes,
        tags=[tags for part in parts for tags in part.tags],
        price=plain["price"],
        available=plain["available"],
        published_at=plain["published_at"],
        expires_at=plain["expires_at"],
        vectors=np.zeros((count, dim), np.float32),
        row_by_id={name: row for row, name in enumerate(ids)},
    )
    language = named["language"]
    return FilterColumns(catalog, language.codes, language.names, plain["is_stream"])


def _joined_names(columns: Sequence[NamedCodes]) -> NamedCodes:
    numbers: dict[str, int] = {}
    codes: list[Numbers] = []
    for column in columns:
        own = [numbers.setdefault(name, len(numbers)) for name in column.names]
        codes.append(np.array([*own, -1], np.int64)[column.codes])
    return NamedCodes(tuple(numbers), np.concatenate(codes))
