"""The sample of served lists."""

from collections import Counter
from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st

from vrec.serving.health.lists import ListSample, ServedList, pack_lists, served_list, unpack_lists
from vrec.serving.messages import ListResult, unranked_item


def one(name):
    return ServedList(name, 5, "b", {"v": 0.25})


@settings(max_examples=50)
@given(st.lists(st.text(max_size=3)), st.integers(0, 5))
def test_a_sample_is_the_same_in_whatever_order_lists_come(names, most):
    samples = []
    for order in (names, list(reversed(names))):
        sample = ListSample(most)
        for name in order:
            sample.add(one(name))
        samples.append({chosen.request_id for chosen in sample.take()})
        assert sample.take() == []
    assert samples[0] == samples[1]
    assert len(samples[0]) == min(most, len(set(names)))


def test_each_list_has_an_equal_chance():
    drawn = Counter()
    for run in range(400):
        sample = ListSample(5)
        for number in range(20):
            sample.add(one(f"{run}-{number}"))
        drawn.update(int(chosen.request_id.partition("-")[2]) for chosen in sample.take())
    # 100 of 400 each; five standard deviations are 43.
    assert all(57 < drawn[number] < 143 for number in range(20))


def test_records_keep_lists():
    lists = [one("a"), replace(one("b"), p_click={})]
    assert unpack_lists(pack_lists(lists)) == lists


def test_only_lists_that_the_ranker_made_alone_are_taken():
    item = replace(unranked_item("v", 1.0, "cf"), p_click=0.5)
    result = ListResult((item, unranked_item("w", 1.0, "popular")), "b")
    assert served_list("r", 1, result) == ServedList("r", 1, "b", {"v": 0.5})
    assert served_list("r", 1, replace(result, degraded=("profiles",))) is None
    assert served_list("r", 1, replace(result, items=result.items[1:])) is None
