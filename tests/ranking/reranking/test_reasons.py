import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.ranking.reranking.shop import DAY_US, NOW, catalog_of
from vrec.core.errors import RankError
from vrec.ranking.reranking.catalog import ShopperContext
from vrec.ranking.reranking.popularity import Popularity
from vrec.ranking.reranking.reasons import REASONS, ReasonsConfig, find_reasons, reason_text, reason_video

IDS = [f"v{i}" for i in range(6)]


POPULAR = Popularity.from_order(IDS, [9] * 6, 6)


def after_watches(**history):
    """A shopper who watched videos at times."""
    return ShopperContext(history=history, kinds=dict.fromkeys(history, frozenset({"watch"})))


def reasons(catalog, ids, shopper, *, source="als", explored=False, popularity=POPULAR, **config):
    return find_reasons(
        catalog.find(ids),
        catalog,
        shopper,
        ReasonsConfig(**({"popular_share": 1.0} | config)),
        sources=[source] * len(ids),
        explored=np.full(len(ids), explored),
        at=NOW,
        popularity=popularity,
    )


def test_the_most_alike_of_the_watched_is_named():
    vectors = {"v0": [1, 0], "v1": [0.9, 0.1], "v2": [0.7, 0.7], "v3": [0, 1], "v4": [0.9, 0.1]}
    catalog = catalog_of([{"video_id": v} for v in IDS], vectors)
    watched = after_watches(v1=5, v2=9, v5=9, gone=9)
    assert reasons(catalog, ["v0"], watched) == [["watched:v1"]]
    # Of equals the later one; of equally late ones the first by id.
    assert reasons(catalog, ["v0"], after_watches(v1=5, v4=6)) == [["watched:v4"]]
    assert reasons(catalog, ["v0"], after_watches(v4=5, v1=5)) == [["watched:v1"]]
    # Too different, or without a vector, or itself.
    assert reasons(catalog, ["v3"], after_watches(v0=5)) == [[]]
    assert reasons(catalog, ["v5"], watched) == [[]]
    assert reasons(catalog, ["v0"], after_watches(v0=5)) == [[]]


def test_the_other_reasons_by_hand():
    catalog = catalog_of(
        [
            {"video_id": "v0", "creator_id": "ann", "category": "mugs", "published_at": NOW - 3 * DAY_US},
            {"video_id": "v1", "creator_id": "bob", "category": None, "published_at": NOW - 30 * DAY_US},
            {"video_id": "v2", "creator_id": "bob", "category": None, "published_at": NOW + 1},
        ]
    )
    nobody = catalog_of([{"video_id": "v0", "creator_id": "", "category": ""}, {"video_id": "v1"}])
    everything = ShopperContext(counts={"creator:": 9, "creator:ann": 9, "category:": 9, "category:mugs": 9})
    assert reasons(nobody, ["v0", "v1"], everything) == [[], ["creator:ann", "category:mugs"]]
    liked = ShopperContext(counts={"creator:ann": 3, "category:mugs": 5, "creator:bob": 2, "category:": 9})
    every = [["creator:ann", "category:mugs", "new", "popular"], ["popular"], ["popular"]]
    assert reasons(catalog, ["v0", "v1", "v2"], liked, source="popular") == every
    assert reasons(catalog, ["v1"], liked, explored=True) == [["exploration"]]
    assert reasons(catalog, [], liked) == []


@given(st.integers(0, 10**6))
@settings(max_examples=100, deadline=None)
def test_no_reason_is_given_that_does_not_hold(seed):
    rng = np.random.default_rng(seed)
    rows = [
        {
            "video_id": v,
            "creator_id": f"c{rng.integers(3)}",
            "category": None if rng.random() < 0.3 else f"k{rng.integers(3)}",
            "published_at": None if rng.random() < 0.3 else int(NOW + rng.integers(-40, 10) * DAY_US),
        }
        for v in IDS
    ]
    vectors = {v: rng.normal(size=2) for v in IDS if rng.random() < 0.8}
    catalog = catalog_of(rows, vectors or None)
    history = {v: int(rng.integers(9)) for v in [*IDS, "gone"] if rng.random() < 0.5}
    kinds = {v: frozenset({"watch"}) for v in history}
    counts = {f"{what}{i}": float(rng.integers(8)) for i in range(3) for what in ("creator:c", "category:k")}
    config = ReasonsConfig()
    for row, found in zip(
        rows, reasons(catalog, IDS, ShopperContext(history=history, kinds=kinds, counts=counts)), strict=True
    ):
        for reason in found:
            code, _, what = reason.partition(":")
            if code == "watched":
                assert what in history
                assert what != row["video_id"]
                one, other = np.array(vectors[row["video_id"]]), np.array(vectors[what])
                cosine = one @ other / np.linalg.norm(one) / np.linalg.norm(other)
                assert cosine >= config.watched_cosine - 1e-6
            elif code in ("creator", "category"):
                assert what == row["creator_id" if code == "creator" else "category"]
                assert counts[reason] >= getattr(config, f"{code}_events")
            else:
                assert code == "new"
                assert 0 <= (NOW - row["published_at"]) / DAY_US <= config.new_days


def test_phrases():
    titles = {"v1": "Blue mug: the film", "ann": "Ann"}
    assert reason_text("watched:v1", titles) == "because you watched Blue mug: the film"
    assert reason_text("watched:v2", titles) == "because of a video that you watched"
    assert reason_text("creator:ann", titles) == "because you like videos by Ann"
    assert reason_text("creator:bob", titles) == "because you like this creator's videos"
    assert reason_text("category:mugs: blue", titles) == "because you like mugs: blue"
    said = {reason_text(code, titles) for code in ("popular", "new", "exploration")}
    assert len(said) == 3
    for wrong in ("", "watched:", "hated:v1", "popular:v1"):
        with pytest.raises(RankError, match="is not a reason"):
            reason_text(wrong, titles)


@pytest.mark.parametrize(
    ("kinds", "code"),
    [
        (["watch"], "watched"), (["purchase"], "bought"), (["like"], "liked"), (["share"], "shared"),
        (["cart"], "carted"), (["follow"], "followed"), (["click"], "opened"), (["impression"], None),
        (["like", "click"], "liked"), (["click", "watch"], "watched"), (["cart", "like", "click"], "liked"),
    ],
)  # fmt: skip
def test_a_video_is_named_with_what_the_shopper_did(kinds, code):
    catalog = catalog_of([{"video_id": v} for v in IDS], {"v0": [1, 0], "v1": [1, 0]})
    shopper = ShopperContext(history={"v1": 5}, kinds={"v1": frozenset(kinds)})
    (found,) = reasons(catalog, ["v0"], shopper)
    assert found == ([] if code is None else [f"{code}:v1"])
    assert [reason_video(reason) for reason in found] == ["v1"] * len(found)
    for reason in found:
        assert reason_text(reason, {"v1": "Blue mug"}).count("Blue mug") == 1
        assert "v1" not in reason_text(reason, {})


def test_popular_is_what_many_shoppers_chose():
    catalog = catalog_of([{"video_id": v} for v in IDS])

    def popular(order, users, watched, **config):
        order = Popularity.from_order(order, users, watched)
        found = reasons(catalog, IDS, ShopperContext(), source="popular", popularity=order, **config)
        return [name for name, codes in zip(IDS, found, strict=True) if codes]

    assert popular(["v3", "v0", "v1"], [9, 5, 4], 3) == ["v0", "v3"]
    assert popular(["v3", "v0", "v1"], [9, 5, 4], 3, popular_users=4) == ["v0", "v1", "v3"]
    # A fifth of the videos that anyone chose.
    assert popular(IDS, [9] * 6, 6, popular_share=0.2) == ["v0", "v1"]
    assert popular(IDS, [9] * 6, 5, popular_share=0.2) == ["v0"]
    # A bundle without interactions has the newest videos in the place of popular ones.
    assert popular(IDS, [0] * 6, 0) == []
    assert popular([], [], 0) == []


def test_every_reason_has_a_predicate_and_a_text():
    for code, rule in REASONS.items():
        reason = f"{code}:x" if "{}" in rule.text else code
        assert reason_text(reason, {})
        assert (rule.kind is not None) == (reason_video(reason) == "x")
    texts = [rule.text for rule in REASONS.values()]
    assert len(set(texts)) == len(texts)


def test_thresholds_hold_at_their_values():
    catalog = catalog_of(
        [{"video_id": "v0", "creator_id": "ann", "category": "mugs", "published_at": NOW - 14 * DAY_US}],
        {"v0": [1.0, 0.0]},
    )
    counts = {"creator:ann": 3.0, "category:mugs": 5.0}
    assert reasons(catalog, ["v0"], ShopperContext(counts=counts)) == [
        ["creator:ann", "category:mugs", "new"]
    ]
    less = {name: value - 0.01 for name, value in counts.items()}
    assert reasons(catalog, ["v0"], ShopperContext(counts=less), new_days=13.99) == [[]]


def test_every_threshold_is_a_setting():
    rows = [{"video_id": v, "creator_id": "ann", "category": "mugs"} for v in ("v0", "v1")]
    rows[0]["published_at"] = NOW - 2 * DAY_US
    catalog = catalog_of(rows, {"v0": [1.0, 0.0], "v1": [0.6, 0.8]})
    counts = {"creator:ann": 4.0, "category:mugs": 4.0}
    shopper = ShopperContext(history={"v1": 5}, kinds={"v1": frozenset({"watch"})}, counts=counts)

    def found(**config):
        plain = {"watched_cosine": 0.7, "creator_events": 9, "category_events": 9, "new_days": 1}
        return reasons(catalog, ["v0"], shopper, **(plain | config))[0]

    assert found() == []
    assert found(watched_cosine=0.59) == ["watched:v1"]
    assert found(creator_events=4) == ["creator:ann"]
    assert found(category_events=4) == ["category:mugs"]
    assert found(new_days=2) == ["new"]
    assert found(popular_sources=frozenset({"als"})) == ["popular"]


def test_sources_and_exploration_are_those_of_the_row():
    catalog = catalog_of([{"video_id": "v0"}, {"video_id": "v1"}])
    found = find_reasons(
        catalog.find(["v1", "v0"]), catalog, ShopperContext(), ReasonsConfig(),
        sources=["popular", "als"], explored=np.array([False, True]), at=NOW,
        popularity=Popularity.from_order(["v1", "v0"], [9, 9], 10),
    )  # fmt: skip
    assert found == [["popular"], ["exploration"]]
