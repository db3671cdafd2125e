"""Rows that are k-anonymous and l-diverse: classes of equal quasi-identifiers, with too small ones left out.

Sweeney 2002, "k-anonymity: a model for protecting privacy"; Machanavajjhala et al. 2007, "l-diversity:
privacy beyond k-anonymity".
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import polars as pl

Codes = npt.NDArray[np.int64]
Mask = npt.NDArray[np.bool_]
_MOST_KEYS = 2**62


@dataclass(frozen=True, slots=True)
class SensitiveCodes:
    """Codes of a sensitive column."""

    codes: Codes
    """(N,) code of each row's value."""
    missing: int
    """Code of a missing value, which adds nothing to diversity."""


def combined_keys(columns: Sequence[Codes], sizes: Sequence[int], rows: int) -> Codes:
    """Return (N,) keys that are equal where all columns are.

    Args:
        columns: (N,) codes from 0 of each column.
        sizes: Number of codes of each column.
        rows: N, for no columns at all.
    """
    keys, count = np.zeros(rows, np.int64), 1
    for codes, size in zip(columns, sizes, strict=True):
        if count * size > _MOST_KEYS:
            distinct, keys = np.unique(keys, return_inverse=True)
            count = len(distinct)
        keys, count = keys * size + codes, count * size
    return keys


def anonymous_rows(
    keys: Codes,
    shoppers: Codes,
    sensitive: Sequence[SensitiveCodes],
    *,
    k: int,
    diversity: int,
    joined: bool,
) -> Mask:
    """Return (N,) bool, whether a row may be written.

    A class is the rows of one key. With `joined`, shoppers are alike only if they have the same number of
    rows of every key, and a class is the rows of one key of shoppers who are alike; of these, all rows are
    written or none.

    Args:
        keys: (N,) equal for equal quasi-identifiers.
        shoppers: (N,) codes of shoppers.
        sensitive: Sensitive columns.
        k: Least number of shoppers of a class.
        diversity: Least number of values of each sensitive column in a class.
        joined: Whether rows of a shopper can be told to be of one.
    """
    frame = pl.DataFrame({"key": keys, "shopper": shoppers})
    by = ["key"]
    if joined:
        frame = frame.with_columns(alike=_alike(frame))
        by = ["alike", "key"]
    # A shopper's rows of a key are all in one class, so that this is also the number of shoppers alike.
    enough = pl.col("shopper").n_unique().over(by) >= k
    if diversity > 1:
        for number, column in enumerate(sensitive):
            codes = pl.Series(column.codes)
            frame = frame.with_columns(codes.set(codes == column.missing, None).alias(f"s{number}"))
            enough &= pl.col(f"s{number}").drop_nulls().n_unique().over(by) >= diversity
    frame = frame.with_columns(enough=enough)
    if joined:
        frame = frame.with_columns(enough=pl.col("enough").all().over("alike"))
    return frame["enough"].to_numpy()


def _alike(frame: pl.DataFrame) -> pl.Series:
    """Return (N,) codes of groups of shoppers who have the same number of rows of every key."""
    counts = frame.group_by("shopper", "key").len().sort("shopper", "key")
    piece = pl.col("key").cast(pl.String) + ":" + pl.col("len").cast(pl.String)
    traces = counts.group_by("shopper").agg(trace=piece.str.join(" "))
    traces = traces.with_columns(alike=pl.col("trace").rank("dense"))
    return frame.join(traces, on="shopper", how="left", maintain_order="left")["alike"]


def distinct_pairs(keys: Codes, shoppers: Codes) -> tuple[Codes, Codes]:
    """Return the distinct (P,) keys and (P,) shoppers, by shopper and then by key."""
    pairs = pl.DataFrame({"shopper": shoppers, "key": keys}).unique().sort("shopper", "key")
    return pairs["key"].to_numpy(), pairs["shopper"].to_numpy()
