"""The neighborhood model over domains against dense arithmetic, and what it must not do."""

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.retrieval.catalogues import interactions, videos
from tests.retrieval.dense_similarity import PLAIN
from tests.retrieval.matrices import dense_scores, ids, matrices, random_matrix, to_interactions
from vrec.core.errors import FitError
from vrec.core.types import CatalogContent
from vrec.retrieval.config import CrossDomainConfig, ItemKnnConfig
from vrec.retrieval.domain_weights import POPULARITIES, WEIGHTS
from vrec.retrieval.models.cross_domain import CrossDomain
from vrec.retrieval.models.item_knn import ItemKnn


def content_of(domains: list[str | None]) -> CatalogContent:
    """Return VIDEOS of the videos v0, v1, … that have a domain."""
    names = zip(ids("v", len(domains)), domains, strict=True)
    return CatalogContent(videos(**{name: {"domain": domain} for name, domain in names if domain}))


@given(
    matrices(), st.integers(0, 2**16), st.sampled_from([0.0, 0.3, 1.0, 2.0]), st.sampled_from([0.0, 0.5, 2.0])
)
@settings(deadline=None, max_examples=60)
def test_scores_are_sums_over_the_histories_of_all_domains(matrix, seed, weight, popularity):
    rng = np.random.default_rng(seed)
    domains = rng.choice(np.array(["shop", "social", None], object), matrix.shape[1])
    own, other = matrix * (domains == "shop"), matrix * (domains == "social")
    if not own.any():
        return
    options = {**PLAIN, "neighbours": 500, "newcomer_popularity": popularity}
    config = CrossDomainConfig(target="shop", weight=weight, **options)
    model = CrossDomain(config).fit(to_interactions(matrix), content_of(list(domains)))
    found = dense_scores(model.recommend(ids("u", len(matrix)), 500), matrix.shape)
    shoppers = own.any(axis=1)
    lengths = np.linalg.norm(own, axis=0), np.linalg.norm(other[shoppers], axis=0)
    with np.errstate(invalid="ignore", divide="ignore"):
        near = np.nan_to_num(own.T @ own / lengths[0][:, None] / lengths[0])
        across = np.nan_to_num(other[shoppers].T @ own[shoppers] / lengths[1][:, None] / lengths[0])
    np.fill_diagonal(near, 0)
    want = own @ near + weight * (other @ across)
    newcomers = ~shoppers & (want > 0).any(axis=1)
    if newcomers.any():
        users = np.count_nonzero(own, axis=0)
        shares = popularity * users / users.max()
        want[newcomers] = want[newcomers] / want[newcomers].max(axis=1, keepdims=True) + shares
    want[(matrix > 0) | (want <= 0)] = -np.inf
    np.testing.assert_allclose(found, want, rtol=1e-4)


@given(matrices(), st.integers(0, 2**16), st.sampled_from([{}, PLAIN]))
@settings(deadline=None, max_examples=60)
def test_users_of_one_domain_get_the_lists_of_item_knn_to_the_bit(matrix, seed, options):
    rng = np.random.default_rng(seed)
    domains = rng.choice(np.array(["shop", "social"], object), matrix.shape[1])
    table = to_interactions(matrix)
    inside = np.isin(
        table.column("video_id").to_pylist(), np.array(ids("v", len(domains)))[domains == "shop"]
    )
    alone = table.filter(pa.array(inside))
    if not alone.num_rows:
        return
    model = CrossDomain(CrossDomainConfig(target="shop", **options)).fit(table, content_of(list(domains)))
    plain = ItemKnn(ItemKnnConfig(**options)).fit(alone)
    elsewhere = set(table.filter(pa.array(~inside)).column("user_id").to_pylist())
    users = [user for user in ids("u", len(matrix)) if user not in elsewhere]
    ours, theirs = (one.recommend(users, 50).drop_columns(["source"]) for one in (model, plain))
    assert ours.equals(theirs)


def shared_tastes(users: int, seed: int) -> tuple[np.ndarray, list[str]]:
    """Return (users, 80) weights whose two halves follow one taste of each user's, and the domains."""
    rng = np.random.default_rng(seed)
    taste = rng.integers(0, 4, users)
    likes = np.where(np.arange(40) % 4 == taste[:, None], 0.5, 0.03)
    matrix = (rng.random((users, 80)) < np.hstack([likes, likes])).astype(np.float32)
    return matrix, ["shop"] * 40 + ["social"] * 40


def hit_rate(model: CrossDomain, matrix: np.ndarray, cold: np.ndarray, wanted: np.ndarray) -> float:
    found = model.recommend(list(np.array(ids("u", len(matrix)))[cold]), 10)
    hits = [
        wanted[int(user[1:]), int(video[1:])] > 0
        for user, video in zip(found["user_id"].to_pylist(), found["video_id"].to_pylist(), strict=True)
    ]
    return float(np.mean(hits))


def fit_shop(matrix: np.ndarray, domains: list[str | None], **options) -> CrossDomain:
    """Return the model of the domain shop."""
    return CrossDomain(CrossDomainConfig(target="shop", **options)).fit(
        to_interactions(matrix), content_of(domains)
    )


def test_shoppers_without_a_history_are_known_by_another_domain_and_shuffled_links_are_worth_nothing():
    matrix, domains = shared_tastes(400, 0)
    cold, wanted = np.arange(60), matrix.copy()
    matrix[:60, :40] = 0
    model = fit_shop(matrix, domains)
    assert hit_rate(model, matrix, cold, wanted) > 2 * wanted[:60, :40].mean()
    assert model.report["weights"]["social"] > 0
    lead, error = model.report["leads"]["social"]["newcomers"]
    assert lead > error > 0
    shuffled = matrix.copy()
    shuffled[:, 40:] = matrix[np.random.default_rng(1).permutation(400), 40:]
    assert (
        hit_rate(fit_shop(shuffled, domains, weight=1.0), shuffled, cold, wanted)
        < 1.4 * wanted[:60, :40].mean()
    )


def test_the_weight_of_a_domain_that_does_not_pay_is_0_and_leaves_item_knn():
    zeros = 0
    for seed in range(10):
        matrix, domains = shared_tastes(400, seed)
        matrix[:60, :40] = 0
        matrix[:, 40:] = matrix[np.random.default_rng(seed).permutation(400), 40:]
        model = fit_shop(matrix, domains)
        if model.report["weights"]["social"]:
            continue
        zeros += 1
        alone = to_interactions(np.where(np.arange(80) < 40, matrix, 0))
        plain = ItemKnn(ItemKnnConfig()).fit(alone)
        ours, theirs = (one.recommend(ids("u", 400), 20).drop_columns(["source"]) for one in (model, plain))
        assert ours.equals(theirs)
        assert model.history_factors() == {"social": 0.0}
        leads = model.report["leads"]["social"].values()
        assert all(mean <= error for mean, error in leads) or any(mean < -error for mean, error in leads)
    # By luck, a domain that says nothing leads by more than a standard error now and then.
    assert zeros >= 6


def test_the_factor_on_histories_is_the_ratio_of_the_best_similarities():
    matrix, domains = shared_tastes(300, 2)
    model = fit_shop(matrix, domains, weight=0.5)
    best = model.similarities.toarray().max(axis=1)
    want = best[40:][best[40:] > 0].mean() / best[:40][best[:40] > 0].mean()
    assert model.history_factors() == {"social": pytest.approx(want, rel=1e-6)}
    double = fit_shop(matrix, domains, weight=1.0).history_factors()["social"]
    assert double == pytest.approx(2 * want, rel=1e-5)
    assert model.videos_of("social").tolist() == [False] * 40 + [True] * 40


def test_a_domain_that_tells_something_weighs_more_than_noise():
    chosen: dict[bool, list[float]] = {False: [], True: []}
    for noise, weights in chosen.items():
        for seed in range(6):
            matrix, domains = shared_tastes(600, seed)
            rng = np.random.default_rng(seed)
            # Short histories in the shop leave something to learn.
            matrix[:, :40] *= rng.random((600, 40)) < 0.3
            if noise:
                matrix[:, 40:] = rng.random((600, 40)) < 0.15
            model = CrossDomain(CrossDomainConfig(target="shop"))
            model.fit(to_interactions(matrix), content_of(domains))
            weights.append(model.report["weights"]["social"])
    assert set(chosen[False]) | set(chosen[True]) <= {*WEIGHTS, 0.0}
    assert np.median(chosen[False]) >= 0.3
    assert np.median(chosen[True]) <= 0.1


def test_popularity_counts_for_newcomers_as_far_as_the_other_domain_tells_nothing():
    chosen: dict[bool, list[float]] = {False: [], True: []}
    for noise, weights in chosen.items():
        for seed in range(4):
            matrix, domains = shared_tastes(600, seed)
            rng = np.random.default_rng(seed)
            matrix[:, :4] = rng.random((600, 4)) < 0.25
            if noise:
                matrix[:, 40:] = rng.random((600, 40)) < 0.15
            model = CrossDomain(CrossDomainConfig(target="shop"))
            model.fit(to_interactions(matrix), content_of(domains))
            weights.append(model.report["newcomer_popularity"])
            assert model.newcomer_popularity == weights[-1]
    assert set(chosen[False]) | set(chosen[True]) <= set(POPULARITIES)
    assert max(chosen[False]) <= 1
    assert np.median(chosen[True]) >= 1


def test_only_videos_of_the_target_are_recommended_by_default_of_the_largest_domain():
    matrix, domains = shared_tastes(100, 5)
    for target, first, last in (("shop", 0, 39), ("social", 40, 79)):
        model = CrossDomain(CrossDomainConfig(target=target)).fit(
            to_interactions(matrix), content_of(domains)
        )
        found = {int(name[1:]) for name in model.recommend(ids("u", 100), 80)["video_id"].to_pylist()}
        assert found <= set(range(first, last + 1))
        assert len(found) > 20
    matrix[:, :5] = 1
    model = CrossDomain().fit(to_interactions(matrix), content_of(domains))
    assert model.report["target"] == "shop"


def test_without_domains_it_is_item_knn():
    table = to_interactions(random_matrix(3, 40, 20))
    ours = CrossDomain().fit(table).recommend(ids("u", 40), 9).drop_columns(["source"])
    assert ours.equals(ItemKnn().fit(table).recommend(ids("u", 40), 9).drop_columns(["source"]))


def test_unknown_targets_and_videos_without_a_domain_are_named():
    table = interactions(("ann", "v00000", 1, 0), ("bo", "v00001", 1, 1))
    with pytest.raises(FitError, match=r"nothing was watched of the domain mall; VIDEOS has shop"):
        CrossDomain(CrossDomainConfig(target="mall")).fit(table, content_of(["shop", "shop"]))
    with pytest.raises(FitError, match="nothing was watched of a domain of the shop"):
        CrossDomain().fit(table, content_of([None, None, "shop"]))
