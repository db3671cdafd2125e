"""Settings of the engine by surface, and limits of its answers."""

import numpy as np
import pytest

from tests.serving.recommend.engines import change, engine_of, ids, now, query_of, shoppers
from vrec.config.serve import ServeConfig
from vrec.serving.messages import RequestFilters

NOTHING = RequestFilters()


@pytest.fixture(scope="module")
def by_surface(bundle):
    """An engine with a kind of its own for each operation."""
    kinds = {"shop": "live", "similar": "clip", "search": "product"}
    rules = {name: {"rules": {"kinds": [kind]}} for name, kind in kinds.items()}
    rules["all"] = {"rules": {"bought_days": 0}}
    engine = engine_of(bundle, ServeConfig.model_validate({"rerank": {"surfaces": rules}}))
    return engine.with_changes([change(f"video-{n}", kind="clip") for n in range(11, 60)])


def kinds(engine, answer):
    return {engine.card(name)["kind"] for name in ids(answer)}


def test_each_operation_has_the_rules_of_its_surface(by_surface):
    user = shoppers()[0]
    assert kinds(by_surface, by_surface.similar("video-10", 99, NOTHING, now())) == {"clip"}
    assert kinds(by_surface, by_surface.search("category tag", np.ones(8), 99, NOTHING, now())) == {"product"}
    assert ids(by_surface.recommend(query_of(99), user)) == []
    everything = by_surface.recommend(query_of(99, surface="all"), user)
    assert kinds(by_surface, everything) == {"clip", "product"}


def test_exclusions_are_counted_by_rule_in_every_operation(by_surface):
    similar = by_surface.similar("video-10", 99, NOTHING, now())
    searched = by_surface.search("category tag", np.ones(8), 99, NOTHING, now())
    for answer in (similar, searched):
        assert answer.excluded_by_rule["kind"] > 0
        assert answer.candidates == len(answer.items)
    assert by_surface.recommend(query_of(), shoppers()[0]).excluded_by_rule["kind"] > 0


def test_the_popular_order_is_cut_at_the_candidates_that_are_ranked(bundle):
    few = engine_of(bundle, ServeConfig.model_validate({"candidates": {"most": 5}}))
    answer = few.recommend(query_of(50, order="popular"), shoppers()[0])
    assert len(answer.items) == answer.candidates == 5


def test_a_search_is_as_deep_as_its_list_and_finds_each_changed_video_once(bundle):
    engine = engine_of(bundle).with_changes(
        [change(f"new-{n:02}", title="Zanzibar", tags=[]) for n in range(70)]
        + [change("video-20", title="Zanzibar")]
    )
    found = ids(engine.search("zanzibar", None, 60, NOTHING, now()))
    assert len(found) == len(set(found)) == 60
    assert len(ids(engine.search("zanzibar", None, 99, NOTHING, now()))) == 71
    assert len(ids(engine.search("zanzibar", None, 1, NOTHING, now()))) == 1


def test_a_search_goes_on_until_enough_words_pass_the_filters(bundle):
    engine = engine_of(bundle)
    names = [name for name in engine.video_ids if engine.card(name)["available"]]
    common = engine.search("category", None, 99, NOTHING, now())
    wanted = frozenset(set(names) - set(ids(common)[-2:]))
    few = engine.search("category", None, 99, RequestFilters(exclude=wanted), now())
    assert set(ids(few)) == set(ids(common)[-2:])


def test_stages_are_timed_in_milliseconds(bundle):
    answer = engine_of(bundle).recommend(query_of(), shoppers()[0])
    assert list(answer.spent_ms) == ["candidates", "features", "ranker", "rerank"]
    assert 0 < sum(answer.spent_ms.values()) < 10_000
