import numpy as np
import pytest

from tests.ranking.reranking.shop import catalog_of, config_of, ids, plain, ranked_of, run
from vrec.ranking.reranking.exploration import win_chances


def test_propensities_are_the_chances_given_the_slots_before():
    chances = {"a": 0.5, "b": 0.4, "c": 0.3, "d": 0.1}
    names, p = list(chances), np.array(list(chances.values()), np.float32).astype(float)
    config = config_of(exploration={"scale": 2.0})
    deviations = p * (1 - p) * 0.5 * 2.0
    seen = set()
    for seed in range(40):
        found = run(ranked_of(chances), plain(*names), config, spread=0.5, seed=seed)
        left = list(range(4))
        for slot, name in enumerate(ids(found)):
            expected = win_chances(p[left], deviations[left])
            best, place = names[left[0]], left.index(names.index(name))
            assert found.propensities[slot] == pytest.approx(expected[place], rel=1e-4)
            said = found.table.column("reasons").to_pylist()[slot]
            assert ("exploration" in said) == (name != best)
            left.pop(place)
        seen.add(tuple(ids(found)))
    assert len(seen) > 5


def test_exploration_stays_in_its_slots():
    chances = {v: 0.5 - 0.01 * i for i, v in enumerate("abcdef")}
    config = config_of(exploration={"scale": 5.0, "slots": [2]})
    for seed in range(10):
        found = run(ranked_of(chances), plain(*chances), config, spread=1.0, seed=seed)
        assert ids(found)[:2] == ["a", "b"]
        assert (found.propensities != 1).tolist() == [False, False, True, False, False, False]
        rest = [v for v in "cdef" if v != ids(found)[2]]
        assert ids(found)[3:] == rest


def test_equal_seeds_give_equal_lists():
    chances, config = dict.fromkeys("abcdef", 0.5), config_of(exploration={"scale": 1.0})
    runs = [ids(run(ranked_of(chances), plain(*chances), config, spread=1.0, seed=s)) for s in (1, 1, 2)]
    assert runs[0] == runs[1] != runs[2]


@pytest.mark.parametrize("kind", ["mmr", "dpp"])
def test_draws_are_about_what_is_left_after_likeness_and_freshness(kind):
    catalog = catalog_of([{"video_id": v} for v in "abc"], {"a": [1, 0], "b": [1, 0], "c": [-1, 0]})
    config = config_of(diversity={"kind": kind, "relevance": 0.2}, exploration={"scale": 1.0})
    # So little noise that each slot goes to the best after its costs, all but surely.
    found = run(ranked_of({"a": 0.9, "b": 0.8, "c": 0.5}), catalog, config, spread=1e-3)
    assert ids(found) == ["a", "c", "b"]
    assert found.propensities == pytest.approx([1, 1, 1])


def test_draws_are_among_what_the_caps_leave():
    catalog = catalog_of([{"video_id": v} for v in "abc"] + [{"video_id": "d", "creator_id": "bob"}])
    config = config_of(caps={"creator": 1}, exploration={"scale": 1.0})
    for seed in range(5):
        found = run(
            ranked_of({"a": 0.5, "b": 0.5, "c": 0.5, "d": 0.1}), catalog, config, spread=0.1, seed=seed
        )
        assert (ids(found)[1], found.propensities[1]) == ("d", 1.0)
        assert found.propensities[[0, 2]] == pytest.approx([1 / 3, 1 / 2], abs=1e-4)
