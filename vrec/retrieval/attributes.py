"""Catalog attributes of videos: sparse TF-IDF vectors, and filters."""

import difflib
import re
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from scipy import sparse

from vrec.core.compute import pc
from vrec.core.config import BaseConfig
from vrec.core.errors import FitError
from vrec.core.schema import VIDEOS, conform
from vrec.retrieval.config import AttributesConfig
from vrec.retrieval.interaction_matrix import Matrix

_NO_SPACES = r"\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af"
_RUNS = re.compile(rf"[{_NO_SPACES}]+|[^\W_{_NO_SPACES}]+")
_SPACELESS = re.compile(rf"[{_NO_SPACES}]")


def attribute_vectors(videos: pa.Table, config: AttributesConfig) -> tuple[list[str], Matrix]:
    """Return the ids of VIDEOS and their attributes as sparse unit vectors.

    The values of each column are weighted by TF-IDF, ln(1 + count) · ln(N / videos with the value), and
    scaled to length √weight per video, so that many tags count no more than one category. Values of only one
    video or of all videos carry no similarity and are left out.

    Returns:
        N ids, and (N, values) float32 CSR unit rows; a video without attributes has an empty row.

    Raises:
        SchemaError: The table is not VIDEOS.
    """
    videos = conform(videos, VIDEOS, stage="attribute_vectors")
    blocks: list[Matrix] = []
    for field, weight in config.model_dump().items():
        if weight:
            rows, values = _values(field, videos.column(field))
            blocks.append(_tf_idf(rows, values, videos.num_rows) * np.float32(weight**0.5))
    joined = sparse.hstack(blocks, format="csr") if blocks else sparse.csr_matrix((videos.num_rows, 0))
    return videos.column("video_id").to_pylist(), unit_rows(sparse.csr_matrix(joined, dtype=np.float32))


def unit_rows(matrix: Matrix) -> Matrix:
    """Return a CSR matrix with its rows scaled to length 1 (float32); rows of zeros stay zero."""
    squares = np.asarray(matrix.multiply(matrix).sum(axis=1)).ravel()
    lengths = np.sqrt(np.where(squares > 0, squares, 1))
    data = matrix.data / np.repeat(lengths, np.diff(matrix.indptr))
    return sparse.csr_matrix((data.astype(np.float32), matrix.indices, matrix.indptr), shape=matrix.shape)


def title_words(title: str) -> list[str]:
    """Return the lower-case words of a title; in scripts without spaces, its characters and their pairs."""
    words: list[str] = []
    for run in _RUNS.findall(title.lower()):
        words.append(run)
        if _SPACELESS.match(run):
            words[-1:] = [*run, *(run[at : at + 2] for at in range(len(run) - 1))]
    return words


def _values(field: str, column: pa.ChunkedArray) -> tuple[npt.NDArray[np.int64], pa.Array]:
    # Parallel arrays of row indices and values; a row may occur many times or never.
    whole = column.combine_chunks()
    if field == "title":
        words = [None if title is None else title_words(title) for title in whole.to_pylist()]
        whole = pa.array(words, pa.list_(pa.string()))
    if field in ("price", "duration_s"):
        amounts = pc.if_else(pc.greater(whole, 0), whole, None)
        whole = pc.floor(pc.log2(amounts)).cast(pa.string())
    if pa.types.is_list(whole.type):
        rows, values = pc.list_parent_indices(whole), pc.list_flatten(whole)
    else:
        rows, values = pa.array(np.arange(len(whole))), whole
    valid = pc.is_valid(values)
    return np.asarray(rows.filter(valid)).astype(np.int64), values.filter(valid)


def _tf_idf(rows: npt.NDArray[np.int64], values: pa.Array, count: int) -> Matrix:
    coded = values.dictionary_encode()
    columns = np.asarray(coded.indices).astype(np.int64)
    ones = np.ones(len(rows), np.float32)
    counts = sparse.csr_matrix((ones, (rows, columns)), shape=(count, len(coded.dictionary)))
    counts.sum_duplicates()
    frequency = np.bincount(counts.indices, minlength=counts.shape[1])
    idf = np.where(frequency > 1, np.log(count / np.maximum(frequency, 1)), 0).astype(np.float32)
    weighted = sparse.csr_matrix(
        (np.log1p(counts.data) * idf[counts.indices], counts.indices, counts.indptr), shape=counts.shape
    )
    weighted.eliminate_zeros()
    return unit_rows(weighted)


class VideoFilters(BaseConfig):
    """Conditions on recommended videos: all given ones must hold, each by any of its values."""

    kind: tuple[str, ...] | None = None
    """The kinds allowed: product, live, clip."""
    category: tuple[str, ...] | None = None
    """The categories allowed."""
    creator_id: tuple[str, ...] | None = None
    """The creators allowed."""
    domain: tuple[str, ...] | None = None
    """The domains allowed."""
    language: tuple[str, ...] | None = None
    """The languages allowed."""
    tags: tuple[str, ...] | None = None
    """Tags of which a video must have at least one."""
    min_price: float | None = None
    """The lowest price allowed, in the catalog's currency; a video without a price does not pass."""
    max_price: float | None = None
    """The highest price allowed; a video without a price does not pass."""
    available: bool | None = True
    """Required availability of a video: true, false, or null for either."""


def filter_videos(videos: pa.Table, filters: VideoFilters) -> list[str]:
    """Return the ids of the VIDEOS that pass, in the table's order, for `candidates` or an index's `allowed`.

    Raises:
        FitError: A filter has a value that no video has; the message suggests the closest one.
        SchemaError: The table is not VIDEOS.
    """
    videos = conform(videos, VIDEOS, stage="filter_videos")
    passing = np.ones(videos.num_rows, bool)
    for field in ("kind", "category", "creator_id", "domain", "language", "tags"):
        wanted = getattr(filters, field)
        if wanted is not None:
            rows, values = _values(field, videos.column(field))
            _check_known(field, wanted, values)
            matches = np.asarray(pc.is_in(values, value_set=pa.array(wanted, pa.string())))
            passing &= np.bincount(rows[matches], minlength=len(passing)) > 0
    price = np.asarray(videos.column("price").to_numpy(), np.float64)
    # A missing price is NaN here, and every comparison with NaN is False.
    if filters.min_price is not None:
        passing &= price >= filters.min_price
    if filters.max_price is not None:
        passing &= price <= filters.max_price
    if filters.available is not None:
        passing &= np.asarray(videos.column("available")) == filters.available
    return videos.column("video_id").filter(pa.array(passing)).to_pylist()


def _check_known(field: str, wanted: Sequence[str], values: pa.Array) -> None:
    known = pc.unique(values)
    unknown = pc.filter(
        pa.array(wanted, pa.string()), pc.invert(pc.is_in(pa.array(wanted, pa.string()), value_set=known))
    )
    if len(unknown):
        example = unknown[0].as_py()
        near = difflib.get_close_matches(example, known.to_pylist(), n=1)
        guess = f"; did you mean {near[0]}?" if near else ""
        raise FitError(
            f"filter_videos: VIDEOS.{field} is never {example}{guess}",
            fix=f"give values that occur in the catalog's {field}",
        )
