"""Snapshots of a small messy catalog, worked out by hand."""

import itertools
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.serving.catalog.small import (
    ENCODER,
    NOW,
    VECTORS,
    VIDEOS_ROWS,
    changed,
    names,
    removed,
    snapshot,
    video,
)
from vrec.core.errors import ServeError
from vrec.ranking.reranking.catalog import ShopperContext
from vrec.ranking.reranking.eligibility_rules import EligibilityRulesConfig
from vrec.serving.catalog import snapshot as snapshot_module
from vrec.serving.catalog.columns import CategoryCodes, OverlayMapping
from vrec.serving.messages import CatalogChange, RequestFilters


def matching(shown, **filters):
    """The ids that pass filters; None where nothing is filtered."""
    mask = shown.filter_mask(RequestFilters(**filters))
    return None if mask is None else set(names(shown.catalog, np.flatnonzero(mask)))


def eligible(shown, at=NOW, rules=None, **shopper):
    mask = shown.eligible_mask(ShopperContext(**shopper), rules or EligibilityRulesConfig(), at)
    return set(names(shown.catalog, np.flatnonzero(mask)))


@pytest.mark.parametrize(
    ("filters", "ids"),
    [
        ({}, None),
        ({"kinds": frozenset(), "tags": frozenset(), "exclude": frozenset({"a"})}, None),
        ({"kinds": frozenset({"product"})}, {"a"}),
        ({"categories": frozenset({"mugs"})}, {"a", "d"}),
        ({"categories": frozenset({"nowhere"})}, set()),
        ({"creators": frozenset({"bob", "nobody"})}, {"b"}),
        ({"tags": frozenset({" RED"})}, {"a", "d"}),
        ({"tags": frozenset({"sale", "adult"})}, {"a", "b"}),
        ({"languages": frozenset({"en"})}, {"a", "c", "d", "e"}),
        ({"most_price": 5.0}, {"a", "c", "d"}),
        ({"most_price": 0.0}, {"c", "d"}),
        ({"categories": frozenset({"mugs"}), "most_price": 5.0, "languages": frozenset({"zh"})}, {"d"}),
    ],
)
def test_filters_let_pass_what_they_name(filters, ids):
    assert matching(snapshot(), **filters) == ids


def test_filters_know_changed_videos_and_forget_what_they_were():
    base = snapshot()
    after = base.with_changes(
        [
            changed("a", category="hats", tags=["Blue"], language="fr", price=9.0),
            changed("n", kind="live", category="new", creator_id="eve", tags=["red"]),
            removed("d"),
        ]
    )
    assert matching(after, categories=frozenset({"mugs"})) == set()
    assert matching(after, categories=frozenset({"hats"})) == {"a", "b"}
    assert matching(after, categories=frozenset({"new"})) == {"n"}
    assert matching(after, tags=frozenset({"red"})) == {"n"}
    assert matching(after, tags=frozenset({"blue"})) == {"a"}
    assert matching(after, languages=frozenset({"en"})) == {"c", "e", "n"}
    assert matching(after, most_price=8.0) == {"c", "e", "n"}
    assert matching(after, kinds=frozenset({"live"})) == {"n"}
    assert matching(after, creators=frozenset({"eve"})) == {"n"}
    assert matching(base, categories=frozenset({"mugs"})) == {"a", "d"}


def test_rules_exclude_what_is_sold_out_unpublished_blocked_or_for_adults():
    shown = snapshot()
    assert eligible(shown) == {"a", "c"}
    assert eligible(shown, age=18) == {"a", "b", "c"}
    assert eligible(shown, age=17) == {"a", "c"}
    # A video is published at its very time.
    assert eligible(shown, at=NOW + 100) == {"a", "c", "d"}
    assert eligible(shown, at=NOW + 99) == {"a", "c"}
    assert eligible(shown, blocked_creators=frozenset({"c"}), age=20) == {"b"}
    assert eligible(shown, blocked_categories=frozenset({"mugs"})) == {"c"}
    assert eligible(shown, rules=EligibilityRulesConfig(kinds=frozenset({"product"}))) == {"a"}
    assert eligible(shown, rules=EligibilityRulesConfig(ages={"RED": 21})) == {"b", "c"}
    after = shown.with_changes([changed("c", tags=["Adult"]), removed("a")])
    assert eligible(after) == set()


def test_popular_videos_come_first_then_the_newest_then_those_without_a_date():
    shown = snapshot(popular=("b", "unknown", "a"))
    assert names(shown.catalog, shown.popular) == ["b", "a", "d", "e", "c"]
    # New videos come last, the last to arrive first, and equal times go by id.
    after = shown.with_changes(
        [changed("y", NOW + 1), changed("z", NOW + 2), changed("x", NOW + 1), removed("e"), changed("b", NOW)]
    )
    assert names(after.catalog, after.popular) == ["b", "a", "d", "c", "z", "x", "y"]
    assert names(shown.catalog, snapshot(popular=()).popular) == ["d", "b", "e", "a", "c"]


def test_published_videos_are_the_newest_first_up_to_a_time():
    shown = snapshot()
    assert names(shown.catalog, shown.published_rows(NOW)) == ["b", "e", "a"]
    assert names(shown.catalog, shown.published_rows(NOW - 100)) == ["b", "e", "a"]
    assert names(shown.catalog, shown.published_rows(NOW - 101)) == ["e", "a"]
    assert names(shown.catalog, shown.published_rows(NOW - 301)) == []
    after = shown.with_changes(
        [
            changed("n", NOW - 150),
            changed("m", NOW, published_at=NOW - 250),
            changed("c", NOW - 50),
            changed("a", NOW, published_at=NOW - 10),
            removed("e"),
        ]
    )
    # A new video without a date has that of its arrival, one of the bundle has none.
    assert names(after.catalog, after.published_rows(NOW)) == ["a", "b", "n", "m"]
    assert names(after.catalog, after.published_rows(NOW - 200)) == ["m"]


@pytest.mark.parametrize("spare", [0, 1, 2, 1024])
def test_counts_and_vectors_go_along_with_a_video(monkeypatch, spare):
    monkeypatch.setattr(snapshot_module, "INITIAL_SPARE_ROWS", spare)
    shown = snapshot()
    rows = shown.catalog.find(["a", "c"])
    shown.video_counts[rows] = [[3.0] * 11, [4.0] * 11]
    shown = shown.with_changes([changed("a", NOW), changed("n", NOW, vector=[0.0, 2.0])])
    shown.video_counts[shown.catalog.find(["n"])] = 7.0
    shown = shown.with_changes([changed("c", NOW + 1), removed("a", NOW + 2)])
    shown = shown.with_changes([changed("a", NOW + 3), changed("m", NOW + 3, vector=[1, 0], encoder="other")])
    counts = {name: shown.video_counts[shown.catalog.row_by_id[name], 0] for name in shown.video_ids}
    assert counts == {"a": 3.0, "b": 0.0, "c": 4.0, "d": 0.0, "e": 0.0, "n": 7.0, "m": 0.0}
    vectors = {name: shown.catalog.vectors[shown.catalog.row_by_id[name]].tolist() for name in counts}
    expected = {name: np.float32(VECTORS.get(name, [0, 0])).tolist() for name in counts}
    assert vectors == expected | {"n": [0.0, 1.0], "m": [0.0, 0.0]}
    assert len(shown) == 7


@pytest.mark.parametrize("vector", [[1.0, 2.0, 3.0], [np.nan, 1.0], [0.0, 0.0]])
def test_a_vector_that_does_not_fit_leaves_the_bundle_s(vector):
    after = snapshot().with_changes([changed("b", vector=vector)])
    assert after.catalog.vectors[after.catalog.row_by_id["b"]].tolist() == pytest.approx([0.6, 0.8])


def test_a_catalog_of_one_video_without_vectors_can_lose_it_and_get_it_back():
    shown = snapshot([video("only")], {}, ())
    gone = shown.with_changes([removed("only")])
    assert (len(shown), len(gone), gone.video_ids, gone.popular.tolist()) == (1, 0, [], [])
    assert (gone.card("only"), gone.published_rows(NOW).tolist()) == (None, [])
    back = gone.with_changes([changed("only", NOW + 1, vector=[1.0], encoder=ENCODER, title="again")])
    assert back.video_ids == ["only"]
    assert back.card("only")["title"] == "again"
    assert back.catalog.vectors.shape == (2, 0)


def test_cards_are_rows_of_videos_by_column():
    shown = snapshot().with_changes([changed("c", title="new"), removed("d")])
    assert shown.card("a")["tags"] == ["Red ", "sale"]
    assert shown.card("a")["published_at"].timestamp() * 1e6 == pytest.approx(NOW - 300)
    assert (shown.card("c")["title"], shown.card("b")["title"]) == ("new", None)
    assert (shown.card("d"), shown.card("nobody")) == (None, None)


def test_the_last_change_of_a_video_counts_and_no_change_gives_the_same_snapshot():
    shown = snapshot().with_changes([changed("a", NOW, title="first")])
    assert shown.with_changes([]) is shown
    after = shown.with_changes([removed("a"), changed("a", NOW - 1, title="last")])
    assert (shown.card("a")["title"], after.card("a")["title"]) == ("first", "last")


def test_a_row_of_another_video_is_refused_with_what_to_do():
    with pytest.raises(ServeError, match=r"video a has rows of \['b'\]") as error:
        snapshot().with_changes([CatalogChange("a", NOW, changed("b").row)])
    assert error.value.fix == "send one VIDEOS row, of the changed video"


def test_codes_of_new_names_are_appended_and_none_stays_none():
    codes = CategoryCodes(["x", "y"])
    assert codes.recode(np.array([0, -1, 1, 2]), ["y", "z", "x"]).tolist() == [1, -1, 2, 0]
    assert (codes.names, codes.codes) == (["x", "y", "z"], {"x": 0, "y": 1, "z": 2})
    assert codes.recode(np.array([-1]), []).tolist() == [-1]


def test_an_overlay_hides_and_replaces_rows_of_its_base():
    rows = OverlayMapping({"a": 0, "b": 1, "c": 2}, {"b": 7, "c": -1, "n": 8, "m": -1})
    assert dict(rows) == {"a": 0, "b": 7, "n": 8}
    assert len(rows) == 3
    assert (rows.get("c"), rows.get("c", -1), rows.get("m", 5), rows.get("z", 6)) == (None, -1, 5, 6)
    assert "c" not in rows
    with pytest.raises(KeyError):
        rows["m"]


def test_a_view_lists_rows_by_tag():
    view = snapshot().view
    assert {tag: rows.tolist() for tag, rows in view.rows_by_tag.items()} == {
        "red": [0, 3],
        "sale": [0],
        "adult": [1],
    }
    assert len(VIDEOS_ROWS) == view.videos.num_rows


def test_a_new_vector_replaces_the_bundle_s_as_a_unit_vector():
    after = snapshot().with_changes([changed("a", vector=[3.0, 4.0]), changed("c", vector=[0.0, 5.0])])
    rows = after.catalog.find(["a", "c"])
    assert after.catalog.vectors[rows].tolist() == [pytest.approx([0.6, 0.8]), [0.0, 1.0]]


def in_one_table(changes):
    """The same changes with the rows of all in one table, as those that are read from the journal."""
    present = [change for change in changes if change.row is not None]
    if not present:
        return changes
    table = pa.concat_tables([change.row for change in reversed(present)])
    place = {change.video_id: number for number, change in enumerate(reversed(present))}
    return [
        one if one.row is None else replace(one, row=table, number=place[one.video_id]) for one in changes
    ]


CHANGE = st.tuples(
    st.sampled_from(["a", "b", "c", "new-1", "new-2", "new-3", "new-4"]),
    st.integers(0, 3),
    st.sampled_from([None, *itertools.product([[], ["red"], ["adult", "red"]], [None, NOW - 150, NOW + 5])]),
)


@settings(deadline=None)
@given(
    st.lists(st.lists(CHANGE, max_size=5, unique_by=lambda change: change[0]), max_size=8),
    st.sampled_from([0, 1, 1024]),
)
def test_a_snapshot_after_many_changes_is_one_after_all_of_them_at_once(batches, spare):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(snapshot_module, "INITIAL_SPARE_ROWS", spare)
        step, latest = snapshot(), {}

    def shown(one, ids):
        everybody, child = ShopperContext(), ShopperContext(age=7)
        masks = {
            "listed": one.listed,
            "red": one.filter_mask(RequestFilters(tags=("red",))),
            "for everybody": one.eligible_mask(everybody, EligibilityRulesConfig(), NOW),
            "for a child": one.eligible_mask(child, EligibilityRulesConfig(), NOW),
        }
        # Of those of one date the row decides, which batches do.
        masks["published"] = one.published_rows(NOW)
        orders = {"popular": one.popular, "arrived": one.arrived}
        current = [-1 if row < 0 else one.catalog.video_ids[row] for row in one.current_rows.tolist()]
        return (
            {name: set(names(one.catalog, np.arange(one.count)[mask])) for name, mask in masks.items()},
            {name: names(one.catalog, rows) for name, rows in orders.items()},
            current,
            {name: one.card(name) for name in ids},
        )

    for batch in batches:
        made = [
            removed(name, NOW + at) if fields is None
            else changed(name, NOW + at, tags=fields[0], published_at=fields[1])
            for name, at, fields in batch
        ]  # fmt: skip
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(snapshot_module, "INITIAL_SPARE_ROWS", spare)
            step = step.with_changes(in_one_table(made))
        latest |= {change.video_id: change for change in made}
        whole = snapshot().with_changes(list(latest.values()))
        assert shown(step, latest) == shown(whole, latest)
        assert step.changed.tolist() == sorted(step.changed.tolist())
