"""Videos that are like those a user has watched: the one recommender that knows a video nobody has seen."""

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from pydantic import Field
from scipy import sparse

from vrec.core.artifact import Arrays
from vrec.core.compute import pc
from vrec.core.config import BaseConfig
from vrec.core.errors import FitError
from vrec.core.schema import EMBEDDINGS, VIDEOS, conform
from vrec.core.types import CatalogContent, Vectors
from vrec.retrieval.attributes import AttributesConfig, attribute_vectors
from vrec.retrieval.base import MatrixRecommender
from vrec.retrieval.interaction_matrix import IdVocabulary, InteractionMatrix, Matrix, csr_arrays, restore_csr
from vrec.retrieval.topk import Scores

BLOCK_ROWS = 8192
"""Videos whose vectors are held in float64 at once."""


class ContentConfig(BaseConfig):
    """What makes two videos alike, and how fast a taste changes."""

    recency: float = Field(default=0.8, gt=0, le=1)
    """What each step back in a user's history multiplies a video's weight by; 1 forgets nothing."""
    centre: bool = True
    """Whether the catalogue's mean embedding is subtracted first, which all videos share and which hides what
    they do not."""
    attributes_share: float = Field(default=0.5, ge=0, le=1)
    """Share of the catalogue's attributes in the likeness, where a video has an embedding too."""
    attributes: AttributesConfig = Field(default_factory=AttributesConfig)
    """How much each attribute counts."""


class ContentRecommender(MatrixRecommender[ContentConfig]):
    """Ranks videos by the cosine of their content with a user's taste; the catalogue is all with content.

    A video is one unit vector: its embedding, centred, beside its attributes. A taste is the mean of a user's
    videos by weight and recency (Pazzani and Billsus, "Content-Based Recommendation Systems", 2007). A video
    without content, and a user whose videos have none, get no opinion. `_fit` raises FitError where there is
    no content, or none of it belongs to a video that was watched.
    """

    kind = "content"
    Config = ContentConfig

    def _catalogue(self, interactions: pa.Table, content: CatalogContent | None) -> IdVocabulary:
        if content is None:
            return super()._catalogue(interactions, content)
        for table, schema in ((content.videos, VIDEOS), (content.embeddings, EMBEDDINGS)):
            if table is not None:
                conform(table, schema, stage="ContentBased.fit")
        return IdVocabulary.from_columns(interactions.column("video_id"), *content.video_id_columns)

    def _fit(self, histories: InteractionMatrix, content: CatalogContent | None) -> None:
        if content is None or not content.video_id_columns:
            raise FitError("ContentBased.fit: there is no content", fix="give --videos, --embeddings or both")
        count, share = len(self.videos), self.config.attributes_share
        dense = np.zeros((count, 0), np.float32)
        coded: Matrix = sparse.csr_matrix(np.zeros((count, 0), np.float32))
        if content.embeddings is not None and (share < 1 or content.videos is None):
            dense = embedding_rows(content.embeddings, self.videos, center=self.config.centre)
        if content.videos is not None and (share > 0 or content.embeddings is None):
            ids, rows = attribute_vectors(content.videos, self.config.attributes)
            coded = rows_at(rows, _places(ids, self.videos, "VIDEOS.video_id"), count)
        self._join(dense, coded, share)
        watched = np.unique(histories.weights.indices)
        if not self.known[watched].any():
            raise FitError(
                f"ContentBased.fit: none of the {len(watched):,} videos that were watched, such as "
                f"{self.videos.ids[int(watched[0])]}, has content",
                fix="give the content of these videos, under the same ids",
            )

    def _join(self, dense: Vectors, coded: Matrix, share: float) -> None:
        has_dense = (dense != 0).any(axis=1)
        has_coded = np.diff(coded.indptr) > 0
        # A part alone is all that is known of a video: it then counts in full.
        dense_part = np.where(has_coded, 1 - share, 1.0) * has_dense
        coded_part = np.where(has_dense, share, 1.0) * has_coded
        self.dense = dense * np.sqrt(dense_part).astype(np.float32)[:, None]
        data = coded.data * np.repeat(np.sqrt(coded_part), np.diff(coded.indptr))
        self.coded = sparse.csr_matrix((data.astype(np.float32), coded.indices, coded.indptr), coded.shape)
        self.known = has_dense | has_coded

    def _scores(self, histories: InteractionMatrix, users: npt.NDArray[np.int64]) -> Scores:
        del users
        weights = _recent(histories, self.known, self.config.recency)
        scores = self._similarities(weights)
        scores[:, ~self.known] = -np.inf
        scores[np.diff(weights.indptr) == 0] = -np.inf
        return scores

    def _similarities(self, weights: Matrix) -> Scores:
        dense, coded = weights @ self.dense, sparse.csr_matrix(weights @ self.coded)
        squares = (dense**2).sum(axis=1) + np.asarray(coded.multiply(coded).sum(axis=1)).ravel()
        # Videos that cancel each other out leave nothing to compare with, but rounding: no likeness.
        lengths = np.sqrt(np.where(squares > 1e-12, squares, np.inf))[:, None]
        return (self._products(dense, coded) / lengths).astype(np.float32)

    def _products(self, dense: npt.NDArray[np.float64], coded: Matrix) -> npt.NDArray[np.float64]:
        # In float64, so that videos of equal content have equal scores wherever they stand.
        found = np.zeros((dense.shape[0], len(self.known)))
        for start in range(0, len(self.known), BLOCK_ROWS):
            rows = slice(start, start + BLOCK_ROWS)
            if dense.shape[1]:
                found[:, rows] = dense @ self.dense[rows].astype(np.float64).T
            if coded.nnz:
                found[:, rows] += (coded.astype(np.float64) @ self.coded[rows].T).toarray()
        return found

    def _arrays(self) -> Arrays:
        own = {"dense": self.dense, "known": self.known, "coded.shape": np.array(self.coded.shape)}
        return own | csr_arrays("coded.", self.coded)

    def _restore(self, arrays: Arrays) -> None:
        self.dense, self.known = arrays["dense"], arrays["known"]
        self.coded = restore_csr(arrays, "coded.", tuple(arrays["coded.shape"]))


def embedding_rows(embeddings: pa.Table, videos: IdVocabulary, *, center: bool) -> Vectors:
    """The (videos, dim) float32 unit embeddings of a catalogue, zeros where there is none.

    With `centre`, the embeddings' mean is subtracted before they are brought to length 1. Raises SchemaError
    for a table that is not EMBEDDINGS, and FitError for a video that comes twice or is not finite.
    """
    table = conform(embeddings, EMBEDDINGS, stage="embeddings")
    column = table.column("vector").combine_chunks()
    raw = np.asarray(column.flatten(), np.float64).reshape(len(column), column.type.list_size)
    ids = table.column("entity_id").to_pylist()
    places = _places(ids, videos, "EMBEDDINGS.entity_id")
    bad = np.flatnonzero(~np.isfinite(raw).all(axis=1))
    if len(bad):
        raise FitError(
            f"EMBEDDINGS.vector is not finite in {len(bad):,} of {len(raw):,} rows, such as that of "
            f"{ids[int(bad[0])]}",
            fix="embed these videos again",
        )
    # One video alone is its own mean: there is nothing to tell it from.
    if center and len(raw) > 1:
        # In the order of ids, so that the sum does not depend on that of the rows.
        raw = raw - raw[np.argsort(places, kind="stable")].mean(axis=0)
    lengths = np.linalg.norm(raw, axis=1, keepdims=True)
    rows = np.zeros((len(videos), raw.shape[1]), np.float32)
    unit = np.where(lengths > 1e-9, raw / np.maximum(lengths, 1e-9), 0)
    rows[places[places >= 0]] = unit[places >= 0]
    return rows


def rows_at(rows: Matrix, places: npt.NDArray[np.int64], count: int) -> Matrix:
    """A (count, columns) matrix with the given rows at their places, and no entries elsewhere."""
    ones = np.ones(len(places), np.float32)
    move = sparse.csr_matrix((ones, (places, np.arange(len(places)))), shape=(count, len(places)))
    return sparse.csr_matrix(move @ rows)


def _places(ids: list[str], videos: IdVocabulary, column: str) -> npt.NDArray[np.int64]:
    counts = pc.value_counts(pa.array(ids, pa.string()))
    twice = counts.filter(pc.greater(counts.field("counts"), 1))
    if len(twice):
        raise FitError(
            f"{column}: {len(twice):,} videos have more than one row, such as {twice[0]['values'].as_py()}",
            fix="give one row a video, of one modality and one encoder",
        )
    return videos.find(ids)


def _recent(histories: InteractionMatrix, known: npt.NDArray[np.bool_], recency: float) -> Matrix:
    # The weights times recency to the number of known videos watched since, each row divided by its sum.
    # What is not known takes no part: it is as if it were not in the history.
    starts, videos = histories.by_time
    rows = np.repeat(np.arange(histories.users), np.diff(starts))
    rows, videos = rows[known[videos]], videos[known[videos]]
    counts = np.bincount(rows, minlength=histories.users)
    since = np.repeat(np.cumsum(counts), counts) - 1 - np.arange(len(videos))
    shape = histories.weights.shape
    decay = sparse.csr_matrix((recency ** since.astype(np.float64), (rows, videos)), shape=shape)
    weights = sparse.csr_matrix(decay.multiply(histories.weights.astype(np.float64)))
    sums = np.asarray(weights.sum(axis=1)).ravel()
    weights.data /= np.repeat(sums, np.diff(weights.indptr))
    return weights
