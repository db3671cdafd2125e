"""Unchanging view of a bundle's videos: their columns, and the orders in which lists take them."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
import pyarrow as pa

from vrec.core.schema import VIDEOS, conform
from vrec.core.types import CatalogContent
from vrec.ranking.reranking.catalog import RowIndices
from vrec.serving.catalog.columns import FilterColumns


@dataclass(frozen=True, eq=False, slots=True)
class BundleCatalogView:
    """Unchanging view of the M videos of a bundle."""

    videos: pa.Table
    """VIDEOS, one row per video in row order."""
    columns: FilterColumns
    encoder: str | None
    """Encoder of the vectors."""
    popular: RowIndices
    """(M,) all rows: the bundle's popular videos in their order, then the others, newest first."""
    newest_first: RowIndices
    """Rows of the videos with a publishing date, newest first."""
    by_id: RowIndices
    """(M,) all rows, by ascending video id."""
    rows_by_tag: Mapping[str, RowIndices]
    """Rows by normalized tag."""
    by_creator: RowIndices
    """(M,) all rows, by ascending code of the creator."""
    creators: RowIndices
    """(M,) their codes, ascending."""
    other_domains: tuple[str, ...] = ()
    """Domains whose videos are in no list."""

    @classmethod
    def from_content(cls, content: CatalogContent, encoder: str | None, popular: Sequence[str]) -> Self:
        """Build the view of a bundle.

        Raises:
            RankError: VIDEOS is missing, a video has several rows, or a vector is not finite.
            SchemaError: A table has other columns.
        """
        columns = FilterColumns.from_content(content)
        catalog, ids = columns.catalog, columns.catalog.video_ids
        assert content.videos is not None
        videos = conform(content.videos, VIDEOS, stage="serving", extra=True).combine_chunks()
        by_date = np.argsort(-catalog.published_at, kind="stable")
        by_creator = np.argsort(catalog.creator, kind="stable")
        first = np.array([catalog.row_by_id[name] for name in popular if name in catalog.row_by_id], np.int64)
        rest = by_date[~np.isin(by_date, first)]
        rows_by_tag: dict[str, list[int]] = defaultdict(list)
        for row, tags in enumerate(catalog.tags):
            for tag in tags:
                rows_by_tag[tag].append(row)
        return cls(
            videos,
            columns,
            encoder,
            popular=np.concatenate([first, rest]),
            newest_first=by_date[: np.count_nonzero(~np.isnan(catalog.published_at))],
            by_id=np.array(sorted(range(len(ids)), key=lambda row: ids[row]), np.int64),
            rows_by_tag={tag: np.array(rows, np.int64) for tag, rows in rows_by_tag.items()},
            by_creator=by_creator,
            creators=catalog.creator[by_creator].astype(np.int64),
            other_domains=content.other_domains,
        )
