"""Content-based recommender, which can also recommend videos without interactions."""

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from scipy import sparse

from vrec.core.artifact import Arrays
from vrec.core.checks import find_bad_rows
from vrec.core.compute import pc
from vrec.core.errors import FitError
from vrec.core.schema import EMBEDDINGS, VIDEOS, conform
from vrec.core.types import CatalogContent, Vectors
from vrec.retrieval.attributes import attribute_vectors
from vrec.retrieval.base import MatrixRecommender
from vrec.retrieval.config import AttributesConfig, ContentConfig
from vrec.retrieval.interaction_matrix import IdVocabulary, InteractionMatrix, Matrix, csr_arrays, restore_csr
from vrec.retrieval.topk import Scores

BLOCK_ROWS = 8192
"""Videos whose vectors are in float64 at once."""


class ContentRecommender(MatrixRecommender[ContentConfig]):
    """Content-based recommender: cosines of videos' content with the user's mean content.

    A video is one unit vector, its centered embedding concatenated with its attributes. A user is the mean of
    their videos by weight and recency (Pazzani and Billsus, "Content-Based Recommendation Systems", 2007).
    The catalog includes all videos of the content. Videos without content, and users without a video with
    content, get no scores. `fit` raises FitError if there is no content, or if no watched video has any.
    """

    kind = "content"
    Config = ContentConfig

    def _catalog(self, interactions: pa.Table, content: CatalogContent | None) -> IdVocabulary:
        return catalog_with_content(interactions, content, self.kind)

    def _fit(self, histories: InteractionMatrix, content: CatalogContent | None) -> None:
        if content is None or not content.video_id_columns:
            raise FitError(f"{self.kind}: there is no content", fix="give --videos, --embeddings or both")
        config, share = self.config, self.config.attributes_share
        rows = content_rows(content, self.videos, config.attributes, share, center=config.center)
        self._join(*rows, share)
        watched = np.unique(histories.weights.indices)
        if not self.known[watched].any():
            raise FitError(
                f"{self.kind}: none of the {len(watched):,} videos that were watched, such as "
                f"{self.videos.ids[int(watched[0])]}, has content",
                fix="give the content of these videos, under the same ids",
            )

    def _join(self, dense: Vectors, coded: Matrix, share: float) -> None:
        has_dense = (dense != 0).any(axis=1)
        has_coded = np.diff(coded.indptr) > 0
        # Where a video has only one of the two parts, that part has the full weight.
        dense_part = np.where(has_coded, 1 - share, 1.0) * has_dense
        coded_part = np.where(has_dense, share, 1.0) * has_coded
        self.dense = dense * np.sqrt(dense_part).astype(np.float32)[:, None]
        data = coded.data * np.repeat(np.sqrt(coded_part), np.diff(coded.indptr))
        self.coded = sparse.csr_matrix((data.astype(np.float32), coded.indices, coded.indptr), coded.shape)
        self.known = has_dense | has_coded

    def score_block(self, histories: InteractionMatrix, users: npt.NDArray[np.int64]) -> Scores:
        del users
        weights = _decayed_weights(histories, self.known, self.config.recency)
        scores = self._similarities(weights)
        scores[:, ~self.known] = -np.inf
        scores[np.diff(weights.indptr) == 0] = -np.inf
        return scores

    def _similarities(self, weights: Matrix) -> Scores:
        dense, coded = weights @ self.dense, sparse.csr_matrix(weights @ self.coded)
        squares = (dense**2).sum(axis=1) + np.asarray(coded.multiply(coded).sum(axis=1)).ravel()
        # Videos that cancel each other out leave only rounding errors: all cosines are then 0.
        lengths = np.sqrt(np.where(squares > 1e-12, squares, np.inf))[:, None]
        return (self._products(dense, coded) / lengths).astype(np.float32)

    def _products(self, dense: npt.NDArray[np.float64], coded: Matrix) -> npt.NDArray[np.float64]:
        # In float64, so that videos of equal content have equal scores in any column.
        products = np.zeros((dense.shape[0], len(self.known)))
        for start in range(0, len(self.known), BLOCK_ROWS):
            rows = slice(start, start + BLOCK_ROWS)
            if dense.shape[1]:
                products[:, rows] = dense @ self.dense[rows].astype(np.float64).T
            if coded.nnz:
                products[:, rows] += (coded.astype(np.float64) @ self.coded[rows].T).toarray()
        return products

    def _arrays(self) -> Arrays:
        own = {"dense": self.dense, "known": self.known, "coded.shape": np.array(self.coded.shape)}
        return own | csr_arrays("coded.", self.coded)

    def _restore(self, arrays: Arrays) -> None:
        self.dense, self.known = arrays["dense"], arrays["known"]
        self.coded = restore_csr(arrays, "coded.", tuple(arrays["coded.shape"]))


def catalog_with_content(interactions: pa.Table, content: CatalogContent | None, stage: str) -> IdVocabulary:
    """Return the videos of INTERACTIONS and of the content, whose tables are checked.

    Raises:
        SchemaError: A table of the content is not VIDEOS or EMBEDDINGS; the message begins with `stage`.
    """
    if content is None:
        return IdVocabulary.from_columns(interactions.column("video_id"))
    for table, schema in ((content.videos, VIDEOS), (content.embeddings, EMBEDDINGS)):
        if table is not None:
            conform(table, schema, stage=stage)
    return IdVocabulary.from_columns(interactions.column("video_id"), *content.video_id_columns)


def content_rows(
    content: CatalogContent,
    videos: IdVocabulary,
    attributes: AttributesConfig,
    attributes_share: float,
    *,
    center: bool,
) -> tuple[Vectors, Matrix]:
    """Return the unit rows of a catalog's videos, by embeddings and by attributes.

    Args:
        content: At least one of embeddings and VIDEOS.
        videos: The catalog.
        attributes: Weights of the attributes.
        attributes_share: Share of the attributes; 0 leaves them out and 1 the embeddings, if there are both.
        center: Whether to subtract the mean embedding; see `embedding_rows`.

    Returns:
        (videos, dim) dense and (videos, values) CSR float32; without columns for what is left out or absent,
        and a row of zeros for a video without that content.
    """
    count = len(videos)
    dense = np.zeros((count, 0), np.float32)
    coded: Matrix = sparse.csr_matrix(np.zeros((count, 0), np.float32))
    if content.embeddings is not None and (attributes_share < 1 or content.videos is None):
        dense = embedding_rows(content.embeddings, videos, center=center)
    if content.videos is not None and (attributes_share > 0 or content.embeddings is None):
        ids, rows = attribute_vectors(content.videos, attributes)
        coded = rows_at(rows, _find_unique(ids, videos, "VIDEOS.video_id"), count)
    return dense, coded


def embedding_rows(embeddings: pa.Table, videos: IdVocabulary, *, center: bool) -> Vectors:
    """Return the unit embeddings of a catalog's videos.

    Args:
        embeddings: EMBEDDINGS with one row per video, also of videos outside the catalog.
        videos: The catalog.
        center: Whether to subtract the mean of all rows first, if there is more than one.

    Returns:
        (videos, dim) float32, zeros for videos without an embedding or of length 0.

    Raises:
        SchemaError: The table is not EMBEDDINGS.
        FitError: A video has several rows, or a vector is not finite.
    """
    table = conform(embeddings, EMBEDDINGS, stage="embeddings")
    column = table.column("vector").combine_chunks()
    raw = np.asarray(column.flatten(), np.float64).reshape(len(column), column.type.list_size)
    ids = table.column("entity_id").to_pylist()
    columns = _find_unique(ids, videos, "EMBEDDINGS.entity_id")
    if bad := find_bad_rows(~np.isfinite(raw).all(axis=1)):
        raise FitError(
            f"EMBEDDINGS.vector is not finite in {bad.count:,} of {len(raw):,} rows, such as that of "
            f"{ids[bad.first]}",
            fix="embed these videos again",
        )
    # A single vector is its own mean: centering would make it zero.
    if center and len(raw) > 1:
        # Summed in the order of ids, so that the mean does not depend on the order of the rows.
        raw = raw - raw[np.argsort(columns, kind="stable")].mean(axis=0)
    lengths = np.linalg.norm(raw, axis=1, keepdims=True)
    rows = np.zeros((len(videos), raw.shape[1]), np.float32)
    unit = np.where(lengths > 1e-9, raw / np.maximum(lengths, 1e-9), 0)
    rows[columns[columns >= 0]] = unit[columns >= 0]
    return rows


def rows_at(rows: Matrix, indices: npt.NDArray[np.int64], count: int) -> Matrix:
    """Return a (count, columns) matrix with the given rows at their indices, and no entries elsewhere."""
    ones = np.ones(len(indices), np.float32)
    move = sparse.csr_matrix((ones, (indices, np.arange(len(indices)))), shape=(count, len(indices)))
    return sparse.csr_matrix(move @ rows)


def _find_unique(ids: list[str], videos: IdVocabulary, column: str) -> npt.NDArray[np.int64]:
    counts = pc.value_counts(pa.array(ids, pa.string()))
    repeated = counts.filter(pc.greater(counts.field("counts"), 1))
    if len(repeated):
        example = repeated[0]["values"].as_py()
        raise FitError(
            f"{column}: {len(repeated):,} videos have more than one row, such as {example}",
            fix="give one row per video, of one modality and one encoder",
        )
    return videos.find(ids)


def _decayed_weights(histories: InteractionMatrix, known: npt.NDArray[np.bool_], recency: float) -> Matrix:
    # The weights times recency ** (number of newer known videos), each row divided by its sum. Unknown videos
    # are treated as if they were not in the history.
    starts, videos = histories.by_time
    rows = np.repeat(np.arange(histories.users), np.diff(starts))
    rows, videos = rows[known[videos]], videos[known[videos]]
    counts = np.bincount(rows, minlength=histories.users)
    newer = np.repeat(np.cumsum(counts), counts) - 1 - np.arange(len(videos))
    shape = histories.weights.shape
    decay = sparse.csr_matrix((recency ** newer.astype(np.float64), (rows, videos)), shape=shape)
    weights = sparse.csr_matrix(decay.multiply(histories.weights.astype(np.float64)))
    sums = np.asarray(weights.sum(axis=1)).ravel()
    weights.data /= np.repeat(sums, np.diff(weights.indptr))
    return weights
