"""Profiles and events of fake shoppers."""

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.robustness.shop import shop
from vrec.core.compute import pc
from vrec.core.schema import EVENTS, conform
from vrec.events.config import InterestConfig
from vrec.events.interactions import weigh_events
from vrec.robustness.attacks.events import attack_events, history_poisoning
from vrec.robustness.attacks.model_aware import ATTACKS, plan_attack
from vrec.robustness.attacks.profiles import AttackPlan
from vrec.robustness.watched import WatchedVideos

LOG = WatchedVideos.from_interactions(shop())


def plan(target="v07", accounts=6, seed=0):
    return AttackPlan(LOG, target, accounts, np.random.default_rng(seed))


@settings(max_examples=10)
@pytest.mark.parametrize("attack", ATTACKS)
@given(seed=st.integers(0, 1000), accounts=st.integers(1, 9), new=st.booleans())
def test_an_attack_is_a_table_of_events_that_the_shop_can_read(attack, seed, accounts, new):
    target = "new-video" if new else "v07"
    profiles = plan_attack(attack, plan(target, accounts, seed))
    assert len(profiles.fillers) == accounts
    for fillers in profiles.fillers:
        assert len(set(fillers.tolist())) == len(fillers)
        assert target not in LOG.videos.take(pa.array(fillers)).to_pylist()
    events = attack_events(profiles, LOG, np.random.default_rng(seed))
    conform(events, EVENTS, stage="test")
    assert len(pc.unique(events["event_id"])) == events.num_rows
    at = np.asarray(events["at"].cast(pa.int64()))
    assert at.min() >= LOG.first
    assert pc.count_distinct(events["user_id"]).as_py() == accounts
    watched = events.filter(pc.equal(events["kind"], "watch"))["value"]
    assert all(1 <= seconds <= 600 for seconds in watched.to_pylist())
    weighed = weigh_events(events, InterestConfig())
    fans = weighed.filter(pc.equal(weighed["video_id"], target))["user_id"]
    assert pc.count_distinct(fans).as_py() == (accounts if profiles.promotes else 0)


@pytest.mark.parametrize("attack", ATTACKS)
def test_an_attack_is_the_same_for_a_seed(attack):
    first, second = (plan_attack(attack, plan()) for _ in range(2))
    assert all((a == b).all() for a, b in zip(first.fillers, second.fillers, strict=True))


def test_fillers_are_those_of_the_attack():
    popular = set(np.argsort(-LOG.counts, kind="stable")[:3].tolist())
    bandwagon = plan_attack("bandwagon", plan())
    target = LOG.column("v07")
    assert all(popular - {target} <= set(fillers.tolist()) for fillers in bandwagon.fillers)
    assert all(len(fillers) == 0 for fillers in plan_attack("click_farm", plan()).fillers)
    means = {
        name: np.mean(np.concatenate([LOG.counts[f] for f in plan_attack(name, plan(accounts=60)).fillers]))
        for name in ("random", "average", "reverse")
    }
    assert means["reverse"] < means["random"] < means["average"]
    segment = np.concatenate(plan_attack("segment", plan(accounts=60)).fillers)
    share = np.bincount(segment % 2, minlength=2) / len(segment)
    assert share.max() > 0.7, "most of a segment is of one taste"


def test_a_poisoned_history_comes_after_the_log():
    events = history_poisoning("u001", ["v01", "v02", "v03"], LOG, np.random.default_rng(0))
    conform(events, EVENTS, stage="test")
    assert events["user_id"].to_pylist() == ["u001"] * 3
    at = np.asarray(events["at"].cast(pa.int64()))
    assert (np.diff(at) > 0).all()
    assert at.min() > LOG.last
