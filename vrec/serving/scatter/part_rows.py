"""Videos of a part with their columns, and their places in the orders of the whole catalog."""

from typing import Any

import numpy as np
import numpy.typing as npt

from vrec.bundle.part import BundlePart
from vrec.ranking.reranking.catalog import Floats, RowIndices
from vrec.serving.catalog.columns import CODED_COLUMNS
from vrec.serving.catalog.snapshot import CatalogSnapshot
from vrec.serving.scatter.messages import ARRIVED, OTHERS, POPULAR, NamedCodes, PartRows
from vrec.serving.streams.rows import LiveStreams

PLAIN = ("price", "available", "published_at", "expires_at", "is_stream")


def part_rows(
    snapshot: CatalogSnapshot, part: BundlePart, rows: RowIndices, *, live: LiveStreams, **found: Any
) -> PartRows:
    """Return (n,) rows of a part's snapshot with their columns and places.

    Args:
        snapshot: Snapshot of the part.
        part: Place of the part in the bundle.
        rows: The rows, by ascending id.
        live: Streams that are live, whose vectors are wanted.
        found: Fields of `PartRows` that depend on the request.
    """
    numbers: list[int] = rows.tolist()
    ids = tuple(snapshot.catalog.video_ids[row] for row in numbers)
    bundled = snapshot.view.columns.catalog.find(ids)
    rank, value = popular_ranks(snapshot, part, rows)
    changed, streams = np.isin(rows, snapshot.changed), np.flatnonzero(np.isin(rows, live.rows))
    vectors = snapshot.catalog.vectors
    return PartRows(
        ids=ids,
        tags=tuple(snapshot.catalog.tags[row] for row in numbers),
        named={name: _named(snapshot, name, rows) for name in CODED_COLUMNS},
        plain={name: snapshot.column(name)[rows] for name in PLAIN},
        video_counts=snapshot.video_counts[rows],
        rank=rank,
        rank_value=value,
        date=_dates(snapshot, rows, bundled, changed),
        is_changed=changed,
        bundle_row=np.where(bundled < 0, -1, bundled + part.first),
        dim=vectors.shape[1],
        vectors=(streams, vectors[rows[streams]]),
        **found,
    )


def popular_ranks(snapshot: CatalogSnapshot, part: BundlePart, rows: RowIndices) -> tuple[RowIndices, Floats]:
    """Return the rank of each row in the order of popularity, and its value among those of the rank."""
    numbers: list[int] = rows.tolist()
    bundled = snapshot.view.columns.catalog.find([snapshot.catalog.video_ids[row] for row in numbers])
    catalog, popular = snapshot.view.columns.catalog, snapshot.view.popular
    count = len(part.popular_places)
    place = np.full(len(catalog.video_ids), -1)
    place[popular[:count]] = part.popular_places
    known = bundled >= 0
    rank, value = np.full(len(rows), ARRIVED), -snapshot.column("arrived")[rows].astype(np.float64)
    places, dates = place[bundled[known]], -catalog.published_at[bundled[known]]
    rank[known] = np.where(places >= 0, POPULAR, OTHERS)
    value[known] = np.where(places >= 0, places, np.where(np.isnan(dates), np.inf, dates))
    return rank, value


def _dates(
    snapshot: CatalogSnapshot, rows: RowIndices, bundled: RowIndices, changed: npt.NDArray[np.bool_]
) -> Floats:
    """Return the date by which each row is ordered among new videos, NaN for none."""
    dates = snapshot.catalog.published_at[rows].copy()
    undated = np.isnan(dates) & changed & (bundled < 0)
    dates[undated] = snapshot.column("arrived")[rows[undated]]
    return dates


def _named(snapshot: CatalogSnapshot, name: str, rows: RowIndices) -> NamedCodes:
    codes, at = np.unique(snapshot.column(name)[rows], return_inverse=True)
    names, every = snapshot.names_of(name), [int(code) for code in codes]
    known = [code for code in every if code >= 0]
    first = len(codes) - len(known)
    return NamedCodes(tuple(names[code] for code in known), (at - first).clip(-1).astype(np.int64))
