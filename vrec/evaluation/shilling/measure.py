"""Changes that an attack makes in the lists of honest shoppers."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from vrec.evaluation.offline.metrics import RankedLists, ndcg
from vrec.evaluation.shilling.shop import AttackedShop
from vrec.retrieval.base import MatrixRecommender
from vrec.retrieval.config import RetrievalConfig
from vrec.retrieval.interaction_matrix import IdVocabulary, InteractionMatrix, build_interaction_matrix
from vrec.retrieval.models.als import Als
from vrec.retrieval.models.ease import Ease
from vrec.retrieval.models.item_knn import ItemKnn, video_similarity_task
from vrec.retrieval.registry import build_recommender
from vrec.retrieval.similarity import SimilarityFormula
from vrec.retrieval.topk import Scores

LIST_LENGTH = 10
BENCH_MODELS = ("popular", "item_knn", "ease", "als")
"""Recommenders that the bench attacks."""


@dataclass(frozen=True)
class TargetShare:
    """Place of one video in the lists of honest shoppers."""

    hit_rate: float
    """Share of the shoppers, of those who have not watched it, with the video in their first ten."""
    exposure: float
    """Its share of all places, each counted as 1 / log2(1 + rank)."""
    place: float
    """Mean share of the other videos that a shopper has not watched with a higher score: 0 is first, 1
    last."""


@dataclass(frozen=True)
class HonestLists:
    """Lists of ten for every honest shopper of the test."""

    lists: RankedLists
    videos: IdVocabulary
    ndcg: npt.NDArray[np.float64]
    """(U,) NDCG@10 of each shopper of the test."""
    catalog: IdVocabulary
    """The M videos of the model."""
    scores: Scores
    """(S, M) scores for each shopper of the log, −inf for no opinion, NaN for videos that the shopper has
    watched."""

    def share_of(self, target: str, seen_by: int) -> TargetShare:
        """Return the place of a video that some of the shoppers have watched."""
        column = int(self.videos.find([target])[0])
        gains = 1 / np.log2(1 + self.lists.rank)
        own = self.lists.video == column
        hits = float(own.sum() / max(self.lists.users - seen_by, 1))
        return TargetShare(hits, float(gains[own].sum() / gains.sum()), self._place(target))

    def _place(self, target: str) -> float:
        column = int(self.catalog.find([target])[0])
        if column < 0:
            return 1.0
        own = self.scores[:, column]
        scores, own = self.scores[~np.isnan(own)], own[~np.isnan(own), None]
        others = np.maximum((~np.isnan(scores)).sum(axis=1) - 1, 1)
        # Half of those with an equal score are before it.
        before = (scores > own).sum(axis=1) + ((scores == own).sum(axis=1) - 1) / 2
        return float((before / others).mean())

    def exposure_of(self, columns: npt.NDArray[np.int64]) -> float:
        """Return the share of all places that some videos of the catalog have together."""
        gains = 1 / np.log2(1 + self.lists.rank)
        return float(gains[np.isin(self.lists.video, columns)].sum() / gains.sum())


def make_lists(model: MatrixRecommender, shop: AttackedShop) -> HonestLists:
    """Return the lists of all honest shoppers, each from the shopper's own history."""
    found = model.recommend_from(shop.train, LIST_LENGTH)
    truth = shop.truth
    lists = truth.index_lists(found, model.kind)
    hits = truth.score_lists(truth.hits(lists), LIST_LENGTH, truth.population())
    users = IdVocabulary(shop.log.shoppers)
    histories = build_interaction_matrix(shop.train, users, model.videos)
    scores = model.score_block(histories, np.full(len(users), -1))
    scores[histories.weights.nonzero()] = np.nan
    return HonestLists(lists, truth.videos, ndcg(hits, LIST_LENGTH), model.videos, scores)


def fixed_settings(kind: str, config: RetrievalConfig, shop: AttackedShop) -> RetrievalConfig:
    """Return the settings of a recommender with what is `auto` as chosen on the shop without an attack.

    So that a bench compares fits of the same settings, and does not choose them again for each.
    """
    model = build_recommender(kind, config).fit(shop.train)
    if isinstance(model, Ease):
        own = model.config.model_copy(update={"regularization": model.report["regularization"]})
    elif isinstance(model, Als):
        own = model.config.model_copy(update={"alpha": model.report["alpha"]})
    elif isinstance(model, ItemKnn):
        formula = SimilarityFormula(**model.report)
        task = video_similarity_task(model.histories.weights, formula)
        update = {"popularity_penalty": formula.popularity_penalty, "weighting": formula.weighting}
        own = model.config.model_copy(update=update | {"shrink": float(task.shrink)})
    else:
        own = model.config
    return config.model_copy(update={kind: own})


def poisoned_share(
    model: MatrixRecommender, shop: AttackedShop, victims: pa.Array, poison: list[str], target: str
) -> float:
    """Return the share of victims with the target in their first ten, after videos are added to their
    histories.

    The fit stays as it is: a stolen session changes one shopper's own history.
    """
    rows = shop.log.shoppers
    histories = build_interaction_matrix(shop.train, IdVocabulary(rows), model.videos)
    some = histories.rows(IdVocabulary(rows).find(victims))
    dense = some.weights.toarray()
    columns = model.videos.find(poison)
    dense[:, columns[columns >= 0]] = np.maximum(
        dense[:, columns[columns >= 0]], np.median(some.weights.data)
    )
    matrix = type(some.weights)(dense)
    scores = model.score_block(
        InteractionMatrix(matrix, np.full(matrix.nnz, shop.log.last)), np.full(len(victims), -1)
    )
    scores[dense > 0] = -np.inf
    own = scores[:, int(model.videos.find([target])[0])]
    return float(((scores > own[:, None]).sum(axis=1) < LIST_LENGTH)[np.isfinite(own)].sum() / len(victims))
