"""Impressions with their features as a table with one row per request, for Parquet files."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from vrec.ranking.features.arrays import (
    CatalogFeatureArrays,
    FeatureShape,
    ImpressionLabels,
    RankerPredictions,
    RankingFeatures,
)

REQUEST_COLUMNS = ("context", "user", "history", "history_dense")
"""Arrays of features with a row per request."""
LABELS, RATES = "label_", "rate_"
"""Prefixes of the columns of labels and of the predictions of the smoothed-rate baseline."""

Array = npt.NDArray[Any]


@dataclass(frozen=True, eq=False, slots=True)
class ExampleTable:
    """Impressions of some requests, N rows."""

    features: RankingFeatures
    labels: ImpressionLabels
    rates: RankerPredictions
    """(N,) predictions of the smoothed-rate baseline."""
    cold: npt.NDArray[np.bool_]
    """(N,) whether the video has no training impression."""

    def to_arrow(self) -> pa.Table:
        """Return a table with one row per request: a list per column of its impressions.

        Rows of one request must be adjacent, and requests numbered in their order, as `take` leaves them.
        """
        f = self.features
        counts = np.bincount(f.request, minlength=len(f.user))
        offsets = pa.array(np.append(0, np.cumsum(counts)), pa.int32())
        columns = {name: _fixed_lists(getattr(f, name)) for name in REQUEST_COLUMNS}
        lists = {"video": f.video, "position": f.position, "cold": self.cold}
        lists |= {LABELS + name: getattr(self.labels, name) for name in ImpressionLabels.__dataclass_fields__}
        lists |= {RATES + name: getattr(self.rates, name) for name in RankerPredictions.__dataclass_fields__}
        values = {name: pa.array(array) for name, array in lists.items()} | {
            "candidate": _fixed_lists(f.candidate)
        }
        columns |= {name: pa.ListArray.from_arrays(offsets, array) for name, array in values.items()}
        return pa.table(columns)


def read_examples(table: pa.Table, catalog: CatalogFeatureArrays, shape: FeatureShape) -> ExampleTable:
    """Return the impressions of a table of `ExampleTable.to_arrow`, equal to the bit."""
    table = table.combine_chunks()
    lists = {name: _chunk(table, name) for name in table.column_names if name not in REQUEST_COLUMNS}
    counts: npt.NDArray[np.int32] = np.diff(lists["video"].offsets.to_numpy())
    numbers = {name: _numbers(array.flatten()) for name, array in lists.items() if name != "candidate"}
    history = _matrix(_chunk(table, "history"))
    features = RankingFeatures(
        catalog,
        shape,
        request=np.repeat(np.arange(len(counts), dtype=np.int32), counts),
        video=numbers["video"],
        candidate=_matrix(lists["candidate"].flatten()),
        position=numbers["position"],
        context=_matrix(_chunk(table, "context")),
        user=_matrix(_chunk(table, "user")),
        history=history,
        history_dense=_matrix(_chunk(table, "history_dense")).reshape(*history.shape, -1),
    )
    labels = ImpressionLabels(**{n: numbers[LABELS + n] for n in ImpressionLabels.__dataclass_fields__})
    rates = RankerPredictions(**{n: numbers[RATES + n] for n in RankerPredictions.__dataclass_fields__})
    return ExampleTable(features, labels, rates, numbers["cold"])


def regroup_tables(tables: Iterable[pa.Table], sizes: Sequence[int]) -> Iterator[pa.Table]:
    """Yield tables of these numbers of rows, made of the rows of other tables in their order."""
    wanted, held, rows = iter(sizes), list[pa.Table](), 0
    size = next(wanted, None)
    for table in tables:
        held.append(table)
        rows += table.num_rows
        while size is not None and rows >= size:
            whole = pa.concat_tables(held)
            yield whole.slice(0, size)
            held, rows = [whole.slice(size)], rows - size
            size = next(wanted, None)


def _fixed_lists(array: Array) -> pa.FixedSizeListArray:
    rows = np.ascontiguousarray(array).reshape(len(array), int(np.prod(array.shape[1:])))
    return pa.FixedSizeListArray.from_arrays(pa.array(rows.reshape(-1)), rows.shape[1])


def _chunk(table: pa.Table, name: str) -> Any:
    column = table.column(name)
    return column.chunk(0) if column.num_chunks else pa.array([], column.type)


def _matrix(array: pa.FixedSizeListArray) -> Array:
    return _numbers(array.flatten()).reshape(len(array), array.type.list_size)


def _numbers(array: pa.Array) -> Array:
    # A copy: the memory of a file or of Ray's object store is read-only, and torch wants to write.
    return np.array(array.to_numpy(zero_copy_only=False))
