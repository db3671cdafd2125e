"""Fits with differential privacy: noised counts and Gram matrices in the place of histories.

A private model holds no history and no id of a shopper. A shopper's list depends on the model and on the
shopper's own history, which is given when the list is made: whatever all others get is then as private as the
model (the billboard lemma of Hsu et al. 2016, "Private matchings and allocations").
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from scipy import sparse

from vrec.core.compute import pc
from vrec.core.errors import ConfigError
from vrec.privacy.accounting import MechanismCost, check_private, gaussian_multiplier, split_multiplier
from vrec.privacy.config import PrivacyConfig
from vrec.privacy.denoise import noise_edge, repaired_factors, repaired_gram
from vrec.privacy.mechanisms import NoisedGram, noised_counts, noised_gram, noised_keys, watched_rows
from vrec.privacy.noise import NormalSource, system_normals
from vrec.retrieval.base import MatrixRecommender
from vrec.retrieval.config import RetrievalConfig
from vrec.retrieval.interaction_matrix import IdVocabulary
from vrec.retrieval.models.als import USUAL_CONFIDENCE, Als
from vrec.retrieval.models.ease import Ease
from vrec.retrieval.models.item_knn import ItemKnn
from vrec.retrieval.models.popular import PopularRecommender
from vrec.retrieval.similarity import stack_nearest
from vrec.retrieval.topk import topk_dense

Floats = npt.NDArray[np.float64]


COSINE_RIDGE = 3.0
"""Shrinkage of squared lengths in the cosines of `item_knn`, in standard deviations of the noise; chosen on
one split of MovieLens."""


@dataclass(frozen=True)
class ReleasedStatistics:
    """All that a private model is made of."""

    videos: IdVocabulary
    """The public catalog."""
    counts: Floats
    """(videos,) noised counts."""
    chosen: npt.NDArray[np.int64]
    """(N,) videos of the Gram matrix, those with the highest noised counts, in ascending order."""
    gram: NoisedGram
    """Of the chosen videos."""


PRIVATE_KINDS = ("popular", "item_knn", "ease", "als")
"""Recommenders that have a private form."""


def check_private_fit(
    kind: str, config: RetrievalConfig, privacy: PrivacyConfig, videos: Sequence[str] | None
) -> None:
    """Check that a recommender can be fitted privately; nothing is spent yet.

    Args:
        kind: Name of the recommender.
        config: Settings of all recommenders.
        privacy: Settings with ε.
        videos: Ids of the public catalog, None where it is not known.

    Raises:
        ConfigError: It has no private form, or not with these settings, or needs the catalog.
        FitError: ε or δ is out of range, or the catalog is too large for the model.
    """
    if kind not in PRIVATE_KINDS:
        raise ConfigError(
            f"{kind} has no private form, and privacy.epsilon is {privacy.epsilon}",
            fix=f"give --model one of {', '.join(PRIVATE_KINDS)}, or leave privacy.epsilon out",
        )
    check_private(privacy.epsilon or 0.0, privacy.delta)
    if kind == "popular":
        if config.popular.half_life_days is not None:
            raise ConfigError(
                "popular with privacy.epsilon counts each shopper once, whenever that was",
                fix="leave retrieval.popular.half_life_days out",
            )
    elif not videos:
        raise ConfigError(
            f"{kind} with privacy.epsilon needs the catalog: the list of videos in the events is private",
            fix="give --videos a VIDEOS table, or fit popular",
        )
    if kind == "ease":
        Ease(config.ease).check_size(len(videos or ()))


def private_costs(kind: str, privacy: PrivacyConfig, *, public_catalog: bool) -> tuple[MechanismCost, ...]:
    """Return the mechanisms of a private fit; they depend on the settings alone, never on the events."""
    assert privacy.epsilon is not None
    if not public_catalog:
        # Half of δ for the noise, half for videos of one shopper that pass the threshold.
        half = privacy.delta / 2
        return (MechanismCost(gaussian_multiplier(privacy.epsilon, half), extra_delta=half),)
    multiplier = gaussian_multiplier(privacy.epsilon, privacy.delta)
    if kind == "popular":
        return (MechanismCost(multiplier),)
    shares = (privacy.count_share, 1 - privacy.count_share)
    return tuple(MechanismCost(split_multiplier(multiplier, share)) for share in shares)


def fit_private(
    kind: str,
    config: RetrievalConfig,
    privacy: PrivacyConfig,
    interactions: pa.Table,
    videos: Sequence[str] | None,
    *,
    normals: NormalSource = system_normals,
) -> MatrixRecommender:
    """Fit a recommender with the noise of `private_costs`, which must have been charged to the ledger.

    That a shopper watched a video counts, once; weights and times do not.

    Args:
        kind: One of PRIVATE_KINDS.
        config: Settings of all recommenders.
        privacy: Settings with ε.
        interactions: INTERACTIONS, as weighed and not aggregated: a decay would depend on others' events.
        videos: Ids of the public catalog. Without it, `popular` releases videos that pass a threshold.
        normals: Source of the noise.

    Raises:
        ConfigError, FitError: as `check_private_fit`.
    """
    check_private_fit(kind, config, privacy, videos)
    costs = private_costs(kind, privacy, public_catalog=bool(videos))
    names = pa.array(videos, pa.string()) if videos else interactions.column("video_id")
    vocabulary = IdVocabulary.from_columns(names)
    columns = vocabulary.find(interactions.column("video_id"))
    shoppers = pc.dictionary_encode(interactions.column("user_id").combine_chunks())
    rows = np.asarray(shoppers.indices).astype(np.int64) if len(interactions) else np.empty(0, np.int64)
    known = columns >= 0
    watched = watched_rows(rows[known], columns[known], len(vocabulary))
    if not videos:
        found, counts = noised_keys(
            watched, int(privacy.count_videos), costs[0].noise_multiplier, costs[0].extra_delta, normals
        )
        return popular_of_counts(config, IdVocabulary(vocabulary.names(found)), counts.astype(np.float64))
    counts = noised_counts(watched, privacy.count_videos, costs[0].noise_multiplier, normals)
    if kind == "popular":
        return popular_of_counts(config, vocabulary, counts)
    chosen = choose_videos(counts, privacy)
    gram = noised_gram(watched[:, chosen], privacy.pair_videos, costs[1].noise_multiplier, normals)
    released = ReleasedStatistics(vocabulary, counts, chosen, gram)
    return released_model(kind, config, privacy, released)


def choose_videos(counts: Floats, privacy: PrivacyConfig) -> npt.NDArray[np.int64]:
    """Return the videos of the Gram matrix by their noised counts, in ascending order."""
    return np.sort(np.argsort(-counts, kind="stable")[: privacy.gram_videos])


def released_model(
    kind: str, config: RetrievalConfig, privacy: PrivacyConfig, released: ReleasedStatistics
) -> MatrixRecommender:
    """Return the recommender of released statistics: one of PRIVATE_KINDS that has a Gram matrix."""
    build = {"ease": _ease, "item_knn": _item_knn, "als": _als}[kind]
    return build(config, privacy, released)


def popular_of_counts(config: RetrievalConfig, videos: IdVocabulary, counts: Floats) -> PopularRecommender:
    """Return `popular` by the noised counts of a catalog."""
    model = PopularRecommender(config.popular)
    model.hold_no_histories(videos, counts)
    model.popularity = counts.astype(np.float32)
    return model


def _ease(
    config: RetrievalConfig,
    privacy: PrivacyConfig,
    released: ReleasedStatistics,
) -> Ease:
    model = Ease(config.ease)
    videos, counts, chosen, gram = released.videos, released.counts, released.chosen, released.gram
    model.hold_no_histories(videos, counts)
    ridge = privacy.ridge * noise_edge(gram)
    inverse = np.linalg.inv(repaired_gram(gram) + ridge * np.eye(len(chosen)))
    weights = inverse / -inverse.diagonal()
    popular = np.maximum(counts, 0)
    model.weights = np.empty((len(videos), len(videos)), np.float32)
    model.weights[:] = privacy.popularity * popular / max(popular.max(), 1.0)
    model.weights[np.ix_(chosen, chosen)] += weights.astype(np.float32)
    np.fill_diagonal(model.weights, 0)
    model.report = {"regularization": ridge}
    return model


def _item_knn(
    config: RetrievalConfig,
    privacy: PrivacyConfig,
    released: ReleasedStatistics,
) -> ItemKnn:
    model = ItemKnn(config.item_knn)
    videos, counts, chosen, gram = released.videos, released.counts, released.chosen, released.gram
    model.hold_no_histories(videos, counts)
    products = repaired_gram(gram)
    # Videos of which little stands out of the noise have short vectors, whose cosine would be arbitrary.
    lengths = np.sqrt(products.diagonal() + COSINE_RIDGE * gram.noise)
    similarities = (products / lengths[:, None] / lengths).astype(np.float32)
    np.fill_diagonal(similarities, -np.inf)
    neighbours = min(config.item_knn.neighbours, len(chosen) - 1)
    near, scores = topk_dense(similarities, neighbours)
    positive = scores > 0
    rows = np.repeat(chosen, positive.sum(axis=1))
    shape = (len(videos), len(videos))
    found = sparse.csr_matrix(
        (scores[positive], (rows, chosen[near[positive]])), shape=shape, dtype=np.float32
    )
    model.similarities = stack_nearest([found], shape, neighbours)
    model.report = {"similarity": "cosine", "neighbours": neighbours}
    return model


def _als(
    config: RetrievalConfig,
    privacy: PrivacyConfig,
    released: ReleasedStatistics,
) -> Als:
    # Without noise and weights, the best factors of given rank of XᵀX are those of X (Eckart and Young 1936).
    model = Als(config.als)
    videos, counts, chosen, gram = released.videos, released.counts, released.chosen, released.gram
    model.hold_no_histories(videos, counts)
    values, vectors = repaired_factors(gram)
    rank = min(len(values), config.als.factors)
    factors = np.zeros((len(videos), config.als.factors), np.float32)
    factors[chosen, :rank] = vectors[:, :rank] * np.sqrt(values[:rank])
    alpha = config.als.alpha
    model.report = {"alpha": USUAL_CONFIDENCE if alpha == "auto" else alpha, "rank": rank}
    model.use_item_factors(factors)
    return model
