"""One test video among random ones: who is drawn, where it stands, and that it is never taken for more."""

import json

import numpy as np
import pytest

from tests.evaluation.tables import drawn_shop, interactions, recommendations
from vrec.core.errors import EvaluationError
from vrec.evaluation.offline.config import EvaluationConfig, SampledConfig
from vrec.evaluation.offline.ground_truth import GroundTruth
from vrec.evaluation.offline.sampled import draw_negatives, evaluate_sampled
from vrec.retrieval.models.popular import PopularRecommender

CONFIG = EvaluationConfig()


def leave_one_out(seed: int = 0, videos: int = 60):
    train, test = drawn_shop(seed, users=40, videos=videos)
    rows = dict(zip(test["user_id"].to_pylist(), test["video_id"].to_pylist(), strict=True))
    return train, interactions(rows.items())


def test_negatives_are_nobodys_own_and_the_same_each_time() -> None:
    train, test = leave_one_out()
    truth = GroundTruth(train, test)
    config = SampledConfig(negatives=30)
    drawn = draw_negatives(truth, config)
    assert drawn.shape == (len(truth.users), 30)
    names = truth.videos.ids.to_pylist()
    own: dict[str, set[str]] = {}
    for table in (train, test):
        for row in table.to_pylist():
            own.setdefault(row["user_id"], set()).add(row["video_id"])
    for user, row in zip(truth.users.ids.to_pylist(), drawn, strict=True):
        assert len(set(row)) == 30
        assert not {names[v] for v in row} & own[user]
    np.testing.assert_array_equal(drawn, draw_negatives(truth, config))
    assert (drawn != draw_negatives(truth, SampledConfig(negatives=30, seed=1))).any()


def test_negatives_are_drawn_evenly() -> None:
    """200 seeds: each video that a user may get comes up as often as any other, within chance."""
    train, test = leave_one_out()
    truth = GroundTruth(train, test)
    counts = np.zeros(len(truth.videos))
    for seed in range(200):
        drawn = draw_negatives(truth, SampledConfig(negatives=10, seed=seed))[0]
        counts[drawn] += 1
    own = np.flatnonzero(counts == 0)
    free = len(counts) - len(own)
    assert len(own) == len(truth.seen[truth.seen < len(truth.videos)]) + 1
    expected = 200 * 10 / free
    spread = ((counts[counts > 0] - expected) ** 2 / expected).sum()
    assert spread < 1.6 * free


def test_places_by_hand() -> None:
    train = interactions([("u1", "seen"), ("u2", "seen"), ("u3", "seen"), ("u4", "seen")])
    test = interactions([("u1", "own"), ("u2", "own"), ("u3", "own"), ("u4", "own")])
    catalogue = ["seen", "own", "a", "b", "c"]
    tables = {
        "m": recommendations({"u1": ["a", "own", "b", "c"], "u2": ["own"], "u3": ["a"]}),
        "parts": [
            recommendations({"u1": ["a", "own", "b", "c"]}),
            recommendations({"u2": ["own"], "u3": ["a"]}),
        ],
    }
    found = evaluate_sampled(
        tables, train, test, SampledConfig(negatives=3, ks=(1, 2, 4)), CONFIG, catalog=catalogue
    )
    got = found.metrics["m"]
    # Places: second; first; missing, hence last of 4; no list at all, hence last.
    assert got["hit_rate@1"].mean == pytest.approx(1 / 4)
    assert got["hit_rate@2"].mean == pytest.approx(2 / 4)
    assert got["hit_rate@4"].mean == pytest.approx(1)
    assert got["ndcg@2"].mean == pytest.approx((1 + 1 / np.log2(3)) / 4)
    assert got["ndcg@4"].mean == pytest.approx((1 + 1 / np.log2(3) + 2 / np.log2(5)) / 4)
    assert found.metrics["parts"] == got
    assert (found.users, found.catalogue) == (4, 5)
    told = found.to_json()
    assert told["sampled"] is True
    assert "Krichene and Rendle" in told["warning"]
    assert json.dumps(told, allow_nan=False)


def test_chance_is_chance_and_more_negatives_are_harder() -> None:
    train, test = leave_one_out(videos=60)
    users = test["user_id"].to_pylist()
    full = PopularRecommender().fit(train).recommend(users, 60)
    few, many = (
        evaluate_sampled({"popular": full}, train, test, SampledConfig(negatives=n), CONFIG) for n in (5, 40)
    )
    assert many.metrics["popular"]["ndcg@10"].mean < few.metrics["popular"]["ndcg@10"].mean
    assert few.metrics["popular"]["hit_rate@10"].mean == 1
    rng = np.random.default_rng(0)
    names = sorted({*train["video_id"].to_pylist(), *test["video_id"].to_pylist()})
    seen = set(zip(train["user_id"].to_pylist(), train["video_id"].to_pylist(), strict=True))
    shares = []
    for _ in range(30):
        lists = {u: [v for v in rng.permutation(names).tolist() if (u, v) not in seen] for u in users}
        chance = evaluate_sampled(
            {"chance": recommendations(lists)}, train, test, SampledConfig(negatives=39), CONFIG
        )
        shares.append(chance.metrics["chance"]["hit_rate@10"].mean)
    assert abs(np.mean(shares) - 10 / 40) < 4 * np.sqrt(0.25 * 0.75 / (30 * len(users)))


def test_what_cannot_be_sampled() -> None:
    train, test = drawn_shop(0)
    with pytest.raises(EvaluationError, match="users have more than one video, such as user u") as caught:
        evaluate_sampled({}, train, test, SampledConfig(), CONFIG)
    assert "last_n=1" in caught.value.fix
    train, test = leave_one_out()
    with pytest.raises(EvaluationError, match="negatives: 1000 wanted, but user u00"):
        evaluate_sampled({}, train, test, SampledConfig(negatives=1000), CONFIG)
    part = recommendations({"u00": [test["video_id"][0].as_py()]})
    with pytest.raises(EvaluationError, match="user u00 is in more than one table"):
        evaluate_sampled({"m": [part, part]}, train, test, SampledConfig(negatives=5), CONFIG)
