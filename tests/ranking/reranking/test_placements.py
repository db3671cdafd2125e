"""Slots that rules give away: pins, shares of campaigns, and what is left to the scores."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vrec.ranking.reranking.placements import CampaignShare, Placements, SlotPlacer, place_in_order


@st.composite
def lists(draw, pins=None):
    """Candidates, with campaigns whose shares add up to at most 1, and pins."""
    size = draw(st.integers(1, 60))
    shares = draw(st.lists(st.integers(1, 60), max_size=3))
    total = max(sum(shares), draw(st.integers(1, 120)))
    members = [draw(st.lists(st.booleans(), min_size=size, max_size=size)) for _ in shares]
    campaigns = [
        CampaignShare(f"c{n}", share / total, np.array(mask, np.bool_))
        for n, (share, mask) in enumerate(zip(shares, members, strict=True))
    ]
    pinned = draw(st.permutations(range(size)))[: draw(pins) if pins is not None else 0]
    positions = draw(st.permutations(range(70)))
    return size, campaigns, {at: (one, f"p{one}") for at, one in zip(positions, pinned, strict=False)}


@given(lists(), st.integers(1, 70))
@settings(max_examples=100)
def test_each_beginning_of_a_list_has_the_share_of_a_campaign(given_list, slots):
    size, campaigns, _ = given_list
    rows, rules = place_in_order(Placements({}, campaigns), size, slots)
    assert len(rows) == len(set(rows)) == min(slots, size)
    # Videos of several campaigns count for each: then a share is at least as easy to keep.
    apart = not any((a.members & b.members).any() for a in campaigns for b in campaigns if a is not b)
    for campaign in campaigns:
        for end in range(1, len(rows) + 1):
            have = sum(bool(campaign.members[row]) for row in rows[:end])
            owed = min(math.floor(campaign.share * end + 1e-9), int(campaign.members.sum()))
            assert have >= owed or not apart, (campaign, rows)
    for row, rule in zip(rows, rules, strict=True):
        assert rule is None or campaigns[int(rule[1:])].members[row]


@given(lists(), st.integers(1, 20), st.integers(2, 5))
@settings(max_examples=100)
def test_pages_are_the_list_cut_up(given_list, size_of_page, pages):
    """What is left to later pages is in the order, so that nothing but the slots differs."""
    size, campaigns, _ = given_list
    whole, _ = place_in_order(Placements({}, campaigns), size, size_of_page * pages)
    shown: list[int] = []
    for _ in range(pages):
        rest = [row for row in range(size) if row not in shown]
        left = [
            CampaignShare(
                one.rule, one.share, one.members[rest], sum(bool(one.members[row]) for row in shown)
            )
            for one in campaigns
        ]
        rows, _ = place_in_order(Placements({}, left, first=len(shown)), len(rest), size_of_page)
        shown += [rest[row] for row in rows]
    assert shown == whole


@given(lists(st.integers(0, 8)), st.integers(1, 70))
@settings(max_examples=100)
def test_pins_are_at_their_positions_or_at_the_end_of_a_list_too_short(given_list, slots):
    size, campaigns, pins = given_list
    rows, rules = place_in_order(Placements(pins, campaigns), size, slots)
    assert len(rows) == len(set(rows)) == min(slots, size)
    organic = size - len(pins)
    for at, (candidate, rule) in pins.items():
        if at < len(rows) and at < organic:
            assert (rows[at], rules[at]) == (candidate, rule)
        elif candidate in rows:
            assert rules[rows.index(candidate)] == rule
            assert rows.index(candidate) <= at
    held = {candidate for at, (candidate, _) in pins.items() if at >= slots}
    if organic >= slots:
        assert not held & set(rows)


def test_a_campaign_takes_slots_only_when_its_share_would_be_missed():
    members = np.zeros(20, np.bool_)
    members[[10, 11, 12, 13, 14]] = True
    rows, rules = place_in_order(Placements({}, [CampaignShare("sale", 0.25, members)]), 20, 8)
    assert rows == [0, 1, 2, 10, 3, 4, 5, 11]
    assert [rule for rule in rules if rule] == ["sale", "sale"]


def test_two_halves_alternate():
    even = np.arange(12) % 2 == 0
    order = Placements({}, [CampaignShare("even", 0.5, even), CampaignShare("odd", 0.5, ~even)])
    rows, _ = place_in_order(order, 12, 12)
    for end in range(2, 13, 2):
        assert sum(row % 2 for row in rows[:end]) == end // 2


@pytest.mark.parametrize("slots", [1, 3, 9])
def test_pins_that_crowd_a_campaign_out_leave_it_what_is_left(slots):
    members = np.arange(10) >= 8
    pins = {0: (0, "a"), 1: (1, "b"), 2: (2, "c")}
    rows, rules = place_in_order(Placements(pins, [CampaignShare("all", 1.0, members)]), 10, slots)
    assert rows[:3] == [0, 1, 2][:slots]
    assert rows[3:5] == [8, 9][: max(0, slots - 3)]
    assert rules[3:5] == ["all", "all"][: max(0, slots - 3)]


def test_a_pin_that_is_taken_already_gives_its_slot_to_the_others():
    placer = SlotPlacer(Placements({1: (0, "a")}), 3)
    left = np.array([False, True, True])
    assert placer.next_slot(left)[1] is None
    placer.take_slot(1)
    allowed, rule = placer.next_slot(np.array([False, False, True]))
    assert (allowed.tolist(), rule) == ([False, False, True], None)
