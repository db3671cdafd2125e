"""Clipping, and what a fit with defences leaves out."""

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.events.rows import some_interactions
from tests.robustness.shop import SHOPPERS, shop
from vrec.core.compute import pc
from vrec.events.config import InterestConfig
from vrec.events.interactions import aggregate_interactions, weigh_events
from vrec.robustness.attacks.events import attack_events
from vrec.robustness.attacks.model_aware import plan_attack
from vrec.robustness.attacks.profiles import AttackPlan
from vrec.robustness.config import DefenceConfig, PromotedConfig
from vrec.robustness.defences.fit import clipped_weights, defend
from vrec.robustness.defences.promoted import find_promoted
from vrec.robustness.defences.video_statistics import standardize_by_count
from vrec.robustness.watched import WatchedVideos

INTEREST = InterestConfig(half_life_days=None)


def attacked(attack, accounts=24, target="new-video", seed=0):
    honest = aggregate_interactions(shop(seed), INTEREST)
    log = WatchedVideos.from_interactions(honest)
    plan = AttackPlan(log, target, accounts, np.random.default_rng(seed))
    events = attack_events(plan_attack(attack, plan), log, plan.rng)
    return honest, pa.concat_tables(
        [honest, aggregate_interactions(weigh_events(events, INTEREST), INTEREST)]
    )


@given(some_interactions(), st.floats(0.1, 5))
def test_no_shopper_adds_more_than_the_limit(table, limit):
    table = aggregate_interactions(table, INTEREST)
    weights = clipped_weights(table, limit)
    lengths = dict(table.group_by("user_id").aggregate([("video_id", "count")]).to_pydict().items())
    counts = dict(zip(lengths["user_id"], lengths["video_id_count"], strict=True))
    for row in weights.to_pylist():
        assert row["weight"] * counts[row["user_id"]] <= limit + 1e-9
        assert row["weight"] <= 1
        assert row["weight"] == pytest.approx(min(1, limit / counts[row["user_id"]]))


def test_clipping_keeps_lower_weights_that_were_given():
    table = aggregate_interactions(shop(), INTEREST)
    given_weights = pa.table({"user_id": ["u000", "u001"], "weight": [0.0, 0.01]})
    found = clipped_weights(table, 3.0, given_weights)
    by_user = dict(zip(found["user_id"].to_pylist(), found["weight"].to_pylist(), strict=True))
    assert (by_user["u000"], by_user["u001"]) == (0.0, 0.01)
    assert len(by_user) == SHOPPERS


def test_without_a_defence_nothing_changes():
    table = shop()
    found = defend(table, DefenceConfig())
    assert found.interactions is table
    assert (found.weights, found.report, found.left_out.num_rows) == (None, {}, 0)


@pytest.mark.parametrize("attack", ["random", "average", "bandwagon", "click_farm"])
def test_a_new_video_that_fakes_promote_is_found(attack):
    _, table = attacked(attack)
    config = DefenceConfig(drop_promoted=True, promoted=PromotedConfig(most_share=0.5))
    found = defend(table, config)
    first = [row["video_id"] for row in found.report["promoted"]["first"]]
    assert "new-video" in first
    left = found.interactions.filter(pc.equal(found.interactions["video_id"], "new-video"))
    assert left.num_rows <= 24 * 0.2
    assert found.interactions.num_rows + found.left_out.num_rows == table.num_rows
    assert found.left_out.num_rows == found.report["promoted"]["interactions"]


@pytest.mark.parametrize(
    ("share", "sure", "is_kept"),
    [(0.4, 99.0, True), (0.2, 99.0, False), (0.2, -99.0, True), (None, 99.0, False)],
)
def test_a_promoted_video_that_lists_hardly_show_is_left_alone_unless_it_is_sure(share, sure, is_kept):
    _, table = attacked("random")
    # 24 of 264 shoppers have it: 3.5 times as many lists are .318 of all.
    promoted = PromotedConfig(most_share=0.5, least_shown=3.5, sure_score=sure)
    config = DefenceConfig(drop_promoted=True, promoted=promoted)
    found = defend(table, config, shown=lambda: {} if share is None else {"new-video": share})
    report = found.report["promoted"]
    assert ("new-video" in [row["video_id"] for row in report["first"]]) == is_kept
    dropped = pc.sum(pc.equal(found.left_out["video_id"], "new-video")).as_py() or 0
    assert (dropped > 0) == is_kept
    everything = defend(table, config)
    assert report["videos"] + report["left_alone"] == everything.report["promoted"]["videos"]
    assert everything.report["promoted"]["left_alone"] == 0


def test_lists_are_not_made_where_no_video_looks_promoted():
    def unused():
        raise AssertionError

    config = DefenceConfig(drop_promoted=True, promoted=PromotedConfig(score=99.0))
    assert defend(shop(), config, shown=unused).left_out.num_rows == 0


def test_what_is_found_does_not_depend_on_the_order_of_the_rows():
    _, table = attacked("random")
    order = np.random.default_rng(0).permutation(table.num_rows)
    first, second = (find_promoted(rows, PromotedConfig()) for rows in (table, table.take(pa.array(order))))
    assert first.found["video_id"].to_pylist() == second.found["video_id"].to_pylist()
    assert first.pairs.to_pydict() == second.pairs.to_pydict()


@pytest.mark.parametrize("rows", [0, 1, 3])
def test_tiny_logs_have_no_promoted_videos(rows):
    assert find_promoted(shop().slice(0, rows), PromotedConfig()).found.num_rows == 0


def test_statistics_are_compared_with_videos_of_similar_counts():
    counts = np.repeat([5, 500], 40)
    values = np.where(counts == 5, 0.0, 100.0)[:, None] + np.tile([-2.0, 2.0], 40)[:, None]
    values[3] = 40.0
    found = standardize_by_count(values, counts, window=20)[:, 0]
    assert found[3] == found.max() > 7
    assert np.abs(np.delete(found, 3)).max() < 2
