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
from vrec.privacy.denoise import noise_edge, noise_share, powered_gram, repaired_factors, repaired_gram
from vrec.privacy.mechanisms import (
    NoisedGram,
    length_quantile,
    noised_counts,
    noised_gram,
    noised_keys,
    noised_lengths,
    watched_rows,
)
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


SPECTRUM_POWER = 0.3
"""Power of the eigenvalues in the similarities of `item_knn`. These constants were chosen on one split of
MovieLens and on one sparse set."""
NEIGHBOR_POWER, HISTORY_POWER = 0.3, 0.5
"""Powers of squared lengths by which similarities are divided: of the neighbor, and of the watched video."""
EASE_POWER = 0.25
"""The same of the recommended video in `ease`."""
USUAL_COUNT_VIDEOS = 100.0
"""`count_videos` where it is `auto` and the catalog is not public."""


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
    """Return the mechanisms of a private fit; they depend on the settings alone, never on the events.

    They are those of the histogram of lengths, if `count_videos` is `auto`, of the counts, and of the Gram
    matrix, which `popular` lacks.
    """
    assert privacy.epsilon is not None
    if not public_catalog:
        # Half of δ for the noise, half for videos of one shopper that pass the threshold.
        half = privacy.delta / 2
        return (MechanismCost(gaussian_multiplier(privacy.epsilon, half), extra_delta=half),)
    multiplier = gaussian_multiplier(privacy.epsilon, privacy.delta)
    lengths = (privacy.length_share,) if privacy.count_videos == "auto" else ()
    rest = 1 - sum(lengths)
    counted = (rest,) if kind == "popular" else (rest * privacy.count_share, rest * (1 - privacy.count_share))
    return tuple(MechanismCost(split_multiplier(multiplier, share)) for share in (*lengths, *counted))


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
        limit = int(USUAL_COUNT_VIDEOS if privacy.count_videos == "auto" else privacy.count_videos)
        found, counts = noised_keys(watched, limit, costs[0].noise_multiplier, costs[0].extra_delta, normals)
        return popular_of_counts(config, IdVocabulary(vocabulary.names(found)), counts.astype(np.float64))
    left = iter(costs)
    limit = privacy.count_videos
    if limit == "auto":
        limit = length_quantile(noised_lengths(watched, next(left).noise_multiplier, normals))
    counts = noised_counts(watched, limit, next(left).noise_multiplier, normals)
    if kind == "popular":
        return popular_of_counts(config, vocabulary, counts)
    chosen = choose_videos(counts, privacy)
    gram = noised_gram(watched[:, chosen], privacy.pair_videos, next(left).noise_multiplier, normals)
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
    products, ridge = repaired_gram(gram), privacy.ridge * noise_edge(gram)
    squares = products.diagonal() + max(float(products.diagonal().mean()), 1e-12)
    # Videos that are watched more have more to lose by a ridge.
    inverse = np.linalg.inv(products + np.diag(ridge * squares / squares.mean()))
    weights = -inverse / inverse.diagonal() / (squares / squares.mean()) ** EASE_POWER
    np.fill_diagonal(weights, 0)
    model.weights = np.empty((len(videos), len(videos)), np.float32)
    model.weights[:] = _backing(privacy, released, float(weights.max(initial=0.0)))
    model.weights[np.ix_(chosen, chosen)] += weights.astype(np.float32)
    np.fill_diagonal(model.weights, 0)
    model.report = {"regularization": ridge}
    return model


def _item_knn(
    config: RetrievalConfig,
    privacy: PrivacyConfig,
    released: ReleasedStatistics,
) -> ItemKnn:
    # Powers of eigenvalues and lengths: Nikolakopoulos et al. 2019, "EigenRec".
    model = ItemKnn(config.item_knn)
    videos, counts, chosen, gram = released.videos, released.counts, released.chosen, released.gram
    model.hold_no_histories(videos, counts)
    products = powered_gram(gram, SPECTRUM_POWER)
    # Videos of which little stands out of the noise have short vectors, whose similarity would be arbitrary.
    squares = products.diagonal() + max(float(products.diagonal().mean()), 1e-12)
    similarities = products / squares**NEIGHBOR_POWER / squares[:, None] ** HISTORY_POWER
    similarities = similarities.astype(np.float32)
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
    model.backing = _backing(privacy, released, float(scores.max(initial=0.0)))
    model.report = {"similarity": "cosine", "neighbours": neighbours}
    return model


def _backing(
    privacy: PrivacyConfig, released: ReleasedStatistics, greatest: float
) -> npt.NDArray[np.float32]:
    """Return the (videos,) weights of popularity beside similarities of which the greatest is given."""
    popular = np.maximum(released.counts, 0)
    weight = privacy.popularity * noise_share(released.gram) * (greatest or 1.0)
    return (weight * popular / max(popular.max(), 1.0)).astype(np.float32)


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
