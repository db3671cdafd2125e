"""The comparison against loops written out, its intervals against their nominal rate, and what it refuses."""

import json
from collections import Counter

import numpy as np
import pyarrow as pa
import pytest
from scipy import stats

from tests.evaluation.tables import drawn_shop, interactions, recommendations
from vrec.core.compute import pc
from vrec.core.errors import EvaluationError, SchemaError
from vrec.evaluation.offline.config import EvaluationConfig
from vrec.evaluation.offline.metrics import ACCURACY, RankedHits
from vrec.evaluation.offline.results import OfflineEvaluation
from vrec.evaluation.offline.run import evaluate_recommendations
from vrec.retrieval.models.popular import PopularRecommender

CONFIG = EvaluationConfig(ks=(3, 5), headline_k=5)
TRAIN = interactions([("u1", "a"), ("u1", "b"), ("u2", "a"), ("u3", "c")])
TEST = interactions([("u1", "c"), ("u1", "d"), ("u2", "b")])
GOOD = {"u1": ["c", "d"], "u2": ["b", "c", "d"]}


def random_lists(train: pa.Table, test: pa.Table, seed: int, most: int = 5) -> dict[str, list[str]]:
    rng = np.random.default_rng(seed)
    videos = sorted({*train["video_id"].to_pylist(), *test["video_id"].to_pylist()})
    seen = set(zip(train["user_id"].to_pylist(), train["video_id"].to_pylist(), strict=True))
    return {
        user: [v for v in rng.permutation(videos).tolist() if (user, v) not in seen][
            : rng.integers(0, most + 1)
        ]
        for user in sorted({*train["user_id"].to_pylist(), "a stranger"})
    }


@pytest.fixture(scope="module")
def shop() -> tuple[pa.Table, pa.Table]:
    return drawn_shop(3)


@pytest.fixture(scope="module")
def tables(shop: tuple[pa.Table, pa.Table]) -> dict[str, pa.Table]:
    train, test = shop
    users = sorted(set(train["user_id"].to_pylist()))
    popular = PopularRecommender().fit(train).recommend(users, 5)
    chance = recommendations(random_lists(train, test, 1))
    return {"popular": popular, "chance": chance, "twin": chance}


@pytest.fixture(scope="module")
def found(shop: tuple[pa.Table, pa.Table], tables: dict[str, pa.Table]) -> OfflineEvaluation:
    return evaluate_recommendations(tables, *shop, CONFIG)


def by_loop(
    table: pa.Table, test: pa.Table, metric: str, k: int, users=None, videos=None
) -> dict[str, float]:
    truth: dict[str, set[str]] = {}
    for row in test.to_pylist():
        if (users is None or row["user_id"] in users) and (videos is None or row["video_id"] in videos):
            truth.setdefault(row["user_id"], set()).add(row["video_id"])
    given = {(r["user_id"], r["rank"]): r["video_id"] for r in table.to_pylist()}
    return {
        user: float(
            ACCURACY[metric](
                RankedHits(
                    np.array([[given.get((user, rank)) in relevant for rank in range(1, k + 1)]]),
                    np.array([len(relevant)]),
                ),
                k,
            )[0]
        )
        for user, relevant in truth.items()
    }


@pytest.mark.parametrize("metric", ACCURACY)
@pytest.mark.parametrize("k", [3, 5])
def test_means_as_by_loop(shop, tables, found: OfflineEvaluation, metric: str, k: int) -> None:
    for model, table in tables.items():
        want = by_loop(table, shop[1], metric, k)
        estimate = found.overall.metrics[model][f"{metric}@{k}"]
        assert estimate.mean == pytest.approx(np.mean(list(want.values())), abs=1e-12)
        assert estimate.users == len(want) == 40
        assert estimate.low is not None
        assert estimate.high is not None
        assert estimate.low <= estimate.mean <= estimate.high


def test_slices_as_by_loop(shop, tables) -> None:
    test = shop[1]
    users, videos = {"u01", "u07", "u20", "nobody"}, {f"v{i:02}" for i in range(0, 30, 7)}
    found = evaluate_recommendations(
        tables,
        *shop,
        CONFIG,
        user_slices={"few": users, "none": []},
        video_slices={"some": videos, "no such": ["nothing"]},
    )
    few, none, some, no_such = found.slices
    assert [(s.name, s.side) for s in found.slices] == [
        ("few", "users"),
        ("none", "users"),
        ("some", "videos"),
        ("no such", "videos"),
    ]
    for part, want_users, want_videos in ((few, users, None), (some, None, videos)):
        for model, table in tables.items():
            want = by_loop(table, test, "ndcg", 5, want_users, want_videos)
            assert part.users == len(want) < 40
            assert part.metrics[model]["ndcg@5"].mean == pytest.approx(np.mean(list(want.values())))
    assert some.relevant == sum(v in videos for v in test["video_id"].to_pylist())
    for part in (none, no_such):
        assert part.users == part.relevant == 0
        assert part.metrics == {model: {} for model in found.models}
    assert json.dumps(found.to_json(), allow_nan=False)


def test_a_user_without_a_list_counts_as_zero() -> None:
    found = evaluate_recommendations({"popular": recommendations({"u2": ["b"]})}, TRAIN, TEST, CONFIG)
    assert found.overall.metrics["popular"]["recall@3"].mean == pytest.approx(1 / 2)
    assert found.lengths["popular"].served == 1
    assert found.lengths["popular"].full == {3: 0, 5: 0}


def test_differences_are_paired(shop, tables, found: OfflineEvaluation) -> None:
    popular, chance = (by_loop(tables[m], shop[1], "ndcg", 5) for m in ("popular", "chance"))
    gaps = np.array([chance[u] - popular[u] for u in popular])
    got = found.overall.against_popular["chance"]["ndcg@5"]
    assert got.mean == pytest.approx(gaps.mean())
    want = stats.bootstrap((gaps,), np.mean, method="BCa", n_resamples=4000, rng=0).confidence_interval
    width = want.high - want.low
    assert abs(got.low - want.low) < 0.12 * width
    assert abs(got.high - want.high) < 0.12 * width
    # As wide as an unpaired interval it would not be paired.
    alone = [found.overall.metrics[m]["ndcg@5"] for m in ("popular", "chance")]
    assert got.high - got.low != pytest.approx(sum(e.high - e.low for e in alone), rel=0.05)


def test_a_twin_differs_by_nothing(shop, tables, found: OfflineEvaluation) -> None:
    against = found.overall.against_popular
    assert against["chance"] == against["twin"]
    # No user says anything of how much the twins may differ elsewhere.
    renamed = {"popular": tables["chance"], "twin": tables["chance"], "other": tables["popular"]}
    twin = evaluate_recommendations(renamed, *shop, CONFIG).overall.against_popular["twin"]
    assert all(
        (d.mean, d.low, d.high, d.outcomes, d.is_significant) == (0, None, None, 0, False)
        for d in twin.values()
    )


def test_leaders_and_the_best_single_one() -> None:
    perfect, half = recommendations(GOOD), recommendations({"u1": ["d"]})
    tables = {"popular": recommendations({}), "half": half, "hybrid": perfect}
    found = evaluate_recommendations(tables, TRAIN, TEST, CONFIG)
    assert list(found.models) == ["hybrid", "half", "popular"]
    assert found.best_single == "half"
    leader = found.overall.leaders["recall@5"]
    assert (leader.model, leader.runner_up) == ("hybrid", "half")
    assert leader.lead is not None
    assert leader.lead.mean == pytest.approx(1 - 1 / 4)
    # Two users are too few for a significant lead.
    assert (leader.lead.low, leader.lead.outcomes, leader.lead.is_significant) == (None, 1, False)
    assert found.overall.too_few("recall@5") == {"hybrid": 0, "half": 1, "popular": 0}
    assert found.overall.against_best["hybrid"]["recall@5"] == leader.lead
    assert "half" not in found.overall.against_best
    assert evaluate_recommendations(tables, TRAIN, TEST, CONFIG, combined=()).best_single == "hybrid"


def test_seeds_are_averaged_and_their_spread_told() -> None:
    perfect, nothing = recommendations(GOOD), recommendations({"u1": ["d"]})
    found = evaluate_recommendations({"popular": nothing, "m": [perfect, nothing]}, TRAIN, TEST, CONFIG)
    got = found.overall.metrics["m"]["recall@5"]
    assert got.mean == pytest.approx((1 + 1 / 4) / 2)
    assert got.seeds_sd == pytest.approx(np.std([1, 1 / 4], ddof=1))
    assert found.lengths["m"].seeds == 2
    assert found.overall.metrics["popular"]["recall@5"].seeds_sd is None
    coverage = found.beyond["m"]["coverage@5"]
    assert coverage.mean == pytest.approx((3 / 4 + 1 / 4) / 2)
    assert coverage.seeds_sd == pytest.approx(np.std([3 / 4, 1 / 4], ddof=1))


def test_beyond_accuracy(shop, tables) -> None:
    train, test = shop
    rng = np.random.default_rng(0)
    ids = sorted(set(test["video_id"].to_pylist()))[:-3]
    vectors = rng.normal(size=(len(ids), 6))
    found = evaluate_recommendations(
        tables, train, test, CONFIG, vectors=([*ids, "not in the shop"], np.vstack([vectors, vectors[:1]]))
    )
    got = found.beyond["chance"]
    users = set(test["user_id"].to_pylist())
    rows = [r for r in tables["chance"].to_pylist() if r["user_id"] in users and r["rank"] <= 3]
    assert got["coverage@3"].mean == pytest.approx(len({r["video_id"] for r in rows}) / found.facts.catalogue)
    assert got["coverage@3"].low is None
    watched = Counter(v for _, v in {(r["user_id"], r["video_id"]) for r in train.to_pylist()})
    bits: dict[str, list[float]] = {}
    for row in rows:
        share = (watched[row["video_id"]] + 1) / (found.facts.train_users + 1)
        bits.setdefault(row["user_id"], []).append(-np.log2(share))
    novelty = got["novelty@3"]
    assert novelty.mean == pytest.approx(np.mean([np.mean(b) for b in bits.values()]))
    assert novelty.users == len(bits) < found.facts.test_users
    assert novelty.low is not None
    assert novelty.low < novelty.mean
    unit = dict(zip(ids, vectors / np.linalg.norm(vectors, axis=1, keepdims=True), strict=True))
    spread = []
    for user in bits:
        known = [unit[r["video_id"]] for r in rows if r["user_id"] == user and r["video_id"] in unit]
        if len(known) > 1:
            cosines = np.array(known) @ np.array(known).T
            spread.append(1 - cosines[np.triu_indices(len(known), 1)].mean())
    assert got["diversity@3"].mean == pytest.approx(np.mean(spread), abs=1e-6)
    assert got["diversity@3"].users == len(spread) < len(bits)
    assert "diversity@3" not in evaluate_recommendations(tables, train, test, CONFIG).beyond["chance"]


def test_order_of_rows_and_repeats_are_of_no_consequence(shop, tables, found: OfflineEvaluation) -> None:
    rng = np.random.default_rng(1)

    def shuffled(table: pa.Table) -> pa.Table:
        return table.take(pa.array(rng.permutation(table.num_rows)))

    train, test = shop
    again = evaluate_recommendations(
        {model: shuffled(table) for model, table in tables.items()},
        shuffled(pa.concat_tables([train, train])),
        shuffled(pa.concat_tables([test, test])),
        CONFIG,
    )
    assert again.to_json() == found.to_json()
    reseeded = evaluate_recommendations(tables, train, test, CONFIG.model_copy(update={"seed": 1}))
    assert reseeded.overall == found.overall
    assert reseeded.overall.metrics["chance"]["ndcg@5"].mean == found.overall.metrics["chance"]["ndcg@5"].mean


def test_facts() -> None:
    found = evaluate_recommendations(
        {"popular": recommendations(GOOD)},
        TRAIN,
        interactions([("u1", "c"), ("u1", "d"), ("u2", "b"), ("u9", "e")]),
        CONFIG,
        catalog=["a", "b", "c", "d", "e", "f"],
    )
    facts = found.facts
    assert (facts.test_users, facts.test_pairs, facts.train_users, facts.train_pairs) == (3, 4, 3, 4)
    assert (facts.catalogue, facts.new_users, facts.new_videos) == (6, 1, 2)


def bad_rank() -> pa.Table:
    table = recommendations(GOOD)
    return table.filter(pc.not_equal(table["rank"], 2))


@pytest.mark.parametrize(
    ("tables", "message"),
    [
        ({"m": recommendations(GOOD)}, "popular is missing among m"),
        (
            {"popular": recommendations({"u1": ["c", "c"]})},
            "1 pairs occur more than once.*user u1, video c",
        ),
        (
            {"popular": recommendations({"u1": ["c", "a"]})},
            "1 pairs are in train as well .leakage..*user u1, video a",
        ),
        ({"popular": recommendations({"u1": ["c", "zzz"]})}, "video_id: 1 of 2 rows.*such as zzz"),
        ({"popular": bad_rank()}, "rank: 1 of 3 rows.*such as 3 in place of 2, user u2"),
        ({"popular": []}, "popular: no recommendations"),
    ],
)
def test_lists_that_are_wrong(tables, message: str) -> None:
    with pytest.raises(EvaluationError, match=message) as caught:
        evaluate_recommendations(tables, TRAIN, TEST, CONFIG)
    assert caught.value.fix


def test_nothing_to_test_on() -> None:
    tables = {"popular": recommendations(GOOD)}
    with pytest.raises(EvaluationError, match=r"test has no rows \(train has 4\)"):
        evaluate_recommendations(tables, TRAIN, TEST.slice(0, 0), CONFIG)
    with pytest.raises(EvaluationError, match=r"test: .*1 pairs are in train as well.*user u1, video a"):
        evaluate_recommendations(tables, TRAIN, pa.concat_tables([TEST, TRAIN.slice(0, 1)]), CONFIG)
    with pytest.raises(EvaluationError, match=r"test: video_id: 1 of 3 rows.*such as c"):
        evaluate_recommendations(tables, TRAIN, TEST, CONFIG, catalog=["a", "b", "d"])
    with pytest.raises(EvaluationError, match="vectors: 1 ids"):
        evaluate_recommendations(tables, TRAIN, TEST, CONFIG, vectors=(["a"], np.ones((2, 2))))
    with pytest.raises(SchemaError, match="evaluate: test: missing user_id"):
        evaluate_recommendations(tables, TRAIN, TEST.drop_columns("user_id"), CONFIG)


def test_everyone_new_and_nothing_in_train() -> None:
    empty = TRAIN.slice(0, 0)
    found = evaluate_recommendations({"popular": recommendations({})}, empty, TEST, CONFIG)
    assert found.facts.new_users == 2
    assert found.overall.metrics["popular"]["ndcg@5"].mean == 0
    assert json.dumps(found.to_json(), allow_nan=False)


def test_config_refuses_a_headline_that_is_not_judged() -> None:
    with pytest.raises(ValueError, match="headline_k is 10"):
        EvaluationConfig(ks=(3, 5))
    with pytest.raises(ValueError, match="different lengths"):
        EvaluationConfig(ks=(10, 10))
