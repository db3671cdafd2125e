"""Propensities are the frequencies over request ids, and equal requests get equal lists."""

import itertools
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tests.serving.recommend.engines import (
    DAY_US,
    engine_of,
    ids,
    now,
    profiles,
    query_of,
    shoppers,
)
from vrec.config.serve import ServeConfig
from vrec.profiles.profile import Profile
from vrec.ranking.features.video_counts import profile_counts
from vrec.serving.recommend import candidates
from vrec.serving.recommend.draws import candidate_rng, exploration_rng

sys.path.append(str(Path(__file__).resolve().parents[3] / "benchmarks"))
from propensities import answers_of, compare, drawn_anew

ABOVE = {"most": 24, "content": 6, "popular": 6, "new": 6}
"""Far fewer candidates than the shop's 100 videos."""
BELOW = {"most": 300}
"""More than there are; still some videos are candidates by chance."""
PASSED = ABOVE | {"new": 2, "ranked": 8}
"""Of which a first pass leaves a third."""
REQUESTS = 800
MINUTE_US = 60_000_000


def engine_with(bundle, candidates_config, *, kind="dpp", **exploration):
    default = {"exploration": exploration, "diversity": {"kind": kind}}
    values = {"candidates": candidates_config, "rerank": {"default": default}}
    return engine_of(bundle, ServeConfig.model_validate(values))


EXPLORATIONS = {
    "off": {"scale": 0.0},
    "on": {"scale": 3.0},
    "slots": {"scale": 10.0, "slots": [0, 2], "kind": "mmr"},
}
CELLS = [
    *itertools.product(("off", "on"), ("known", "cold"), ("above", "below")),
    ("slots", "known", "above"),
    ("slots", "cold", "below"),
    ("on", "known", "passed"),
]


@pytest.mark.parametrize(("exploration", "shopper", "size"), CELLS)
def test_stated_propensities_are_the_frequencies(bundle, exploration, shopper, size):
    """The sweep of 50,000 requests a setting is benchmarks/propensities.py."""
    engine = engine_with(
        bundle, {"above": ABOVE, "below": BELOW, "passed": PASSED}[size], **EXPLORATIONS[exploration]
    )
    user = shoppers()[4] if shopper == "known" else Profile("user", "nobody")
    # Without exploration every list is the same, which fewer requests show as well.
    requests = REQUESTS // 4 if exploration == "off" else REQUESTS
    report = compare(answers_of(engine, query_of(3, user.entity_id), user, requests))
    assert report.holds, report
    assert (report.lists > 1) == (exploration != "off")


@pytest.mark.parametrize("size", [ABOVE, BELOW], ids=["above", "below"])
def test_candidates_drawn_for_each_request_are_found_out(bundle, size, monkeypatch):
    """As vrec drew them before: propensities said 1, and the frequency was a tenth of it."""
    monkeypatch.setattr(candidates, "candidate_rng", drawn_anew)
    engine, user = engine_with(bundle, size, scale=0.0), Profile("user", "nobody")
    answers = answers_of(engine, query_of(10, user.entity_id), user, 300)
    assert {stated for items in answers for _, stated in items} == {1.0}
    report = compare(answers)
    assert report.lists > 1
    assert not report.holds


def test_a_propensity_that_is_a_tenth_too_large_is_found_out(bundle):
    engine, user = engine_with(bundle, ABOVE, scale=3.0), shoppers()[4]
    answers = answers_of(engine, query_of(2, user.entity_id), user, 1_500)
    assert compare(answers).holds
    assert not compare([[(name, 1.1 * stated) for name, stated in items] for items in answers]).holds


@pytest.mark.parametrize("scale", [0.0, 1.0, 5.0])
def test_the_same_request_has_the_same_list_in_any_process(bundle, scale):
    engines = [engine_with(bundle, ABOVE, scale=scale) for _ in range(2)]
    for number, user in enumerate([*shoppers()[:20], Profile("user", "nobody")]):
        query = query_of(8, user.entity_id, request_id=f"r{number}")
        first, again, elsewhere = (one.recommend(query, user) for one in (engines[0], *engines))
        assert first.items == again.items == elsewhere.items
        # Asked again after a moment, as a client does after a timeout.
        later = engines[1].recommend(replace(query, at=query.at + 2_000_000), user)
        assert ids(later) == ids(first)


def test_another_request_id_changes_draws_and_never_candidates(bundle):
    engine, user = engine_with(bundle, ABOVE, scale=5.0), shoppers()[4]
    lists = {tuple(ids(engine.recommend(query_of(24, request_id=f"r{n}"), user))) for n in range(50)}
    assert len(lists) == 50
    assert len({frozenset(names) for names in lists}) == 1


def test_hardly_shown_candidates_change_with_the_period_and_the_shopper(bundle):
    engine = engine_with(bundle, ABOVE | {"rotation_minutes": 30}, scale=0.0)
    start = now() // (30 * MINUTE_US) * 30 * MINUTE_US + 30 * MINUTE_US

    def chosen(at, name="nobody"):
        query = query_of(24, name, at=at)
        return frozenset(ids(engine.recommend(query, Profile("user", name))))

    assert chosen(start) == chosen(start + 29 * MINUTE_US)
    periods = [chosen(start + n * 30 * MINUTE_US) for n in range(12)]
    assert len(set(periods)) > 6
    assert len({chosen(start, f"u{n}") for n in range(12)}) > 6
    # In the long run each of the least shown videos has its turn.
    shown = {name: profile_counts(profiles().get(("video", name)))[0] for name in engine.video_ids}
    least = sorted((name for name in shown if engine.card(name)["available"]), key=shown.__getitem__)[:15]
    assert set(least) <= frozenset().union(*(chosen(start + DAY_US, f"u{n}") for n in range(150)))


def test_seeds_keep_shoppers_surfaces_and_ids_apart():
    def first(rng):
        return int(rng.integers(2**62))

    base = query_of(user="a", surface="bc", request_id="d")
    others = [
        query_of(user="ab", surface="c", request_id="d"),
        query_of(user="a", surface="b", request_id="cd"),
        query_of(user="\ud800", surface="bc", request_id="d"),
        query_of(user="a", surface="bc", request_id="e"),
    ]
    assert len({first(exploration_rng(query)) for query in [base, *others]}) == 5
    assert first(exploration_rng(base)) == first(exploration_rng(replace(base, k=99, at=base.at + DAY_US)))
    assert first(candidate_rng(base, 60)) == first(candidate_rng(replace(base, request_id="x", k=3), 60))
    assert first(candidate_rng(base, 60)) != first(exploration_rng(base))
    draws = np.array([exploration_rng(replace(base, request_id=f"r{n}")).random() for n in range(2_000)])
    assert np.abs(np.sort(draws) - np.arange(2_000) / 2_000).max() < 0.04
