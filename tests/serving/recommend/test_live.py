"""Lists of streams alone: by taste, interest in the streamer, viewers and utility, whatever the ranker."""

from dataclasses import replace
from itertools import combinations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.serving.recommend.engines import change, engine_of, ids, now, query_of
from vrec.config.serve import ServeConfig
from vrec.profiles.profile import Profile
from vrec.ranking.config import NeighborRankerConfig
from vrec.ranking.neighbor_ranker import NeighborRanker
from vrec.ranking.network_ranker import NetworkRanker
from vrec.serving.messages import RequestFilters
from vrec.serving.recommend.fallback import PopularFallback
from vrec.serving.streams.states import StreamBook, StreamState

ONLY = RequestFilters(streams="only")
PLAIN = {"rerank": {"default": {"diversity": {"kind": "off"}, "caps": {"slots": 0}}}}


def untrained(bundle):
    """Return the bundle as it is without a trained ranker."""
    ids, neighbors = bundle.content.videos.column("video_id").to_pylist(), bundle.neighbors
    ranker = NeighborRanker.from_neighbors(
        NeighborRankerConfig(), bundle.content, ids, indices=neighbors.indices, scores=neighbors.scores,
        popular=bundle.popular,
    )  # fmt: skip
    return replace(bundle, ranker=ranker)


@pytest.fixture(scope="module", params=["network", "neighbors"])
def engine(request, bundle):
    kind = bundle if request.param == "network" else untrained(bundle)
    return engine_of(kind, ServeConfig.model_validate(PLAIN))


def test_only_a_trained_ranker_predicts(engine, bundle):
    items = engine.recommend(query_of(10), Profile("user", "u")).items
    assert len({item.score for item in items}) > 1
    is_trained = isinstance(engine._bundle.ranker, NetworkRanker)
    assert {item.p_click > 0 for item in items} == {is_trained}


def axis(number):
    vector = np.zeros(16, np.float32)
    vector[number] = 1
    return vector


def stream(name, streamer, vector=None):
    return change(
        name, vector=vector, uri=f"stream://{name}", kind="live", creator_id=streamer, product_ids=[],
        category=None, price=None,
    )  # fmt: skip


def live(name, streamer, viewers=None, age_s=60):
    at = now() - age_s * 1_000_000
    return StreamState(name, streamer, at, now(), now() + 30_000_000, viewers=viewers)


def book(states):
    return StreamBook(1, {one.stream_id: one for one in states})


def test_the_stream_of_most_viewers_and_that_of_a_streamer_one_follows_come_first(engine):
    names = [f"s{number:03}" for number in range(120)]
    states = [live(name, f"streamer-{name}", viewers=number % 50) for number, name in enumerate(names)]
    # By id they are last. The streamer's stream is new, and nobody has counted its viewers yet.
    states += [live("x-big", "someone", viewers=50_000), live("y-new", "ann", age_s=1)]
    engine = engine.with_changes([stream(one.stream_id, one.streamer_id) for one in states])
    fan = Profile("user", "fan", counts={"creator:ann": 9.0})
    query = query_of(k=100, filters=ONLY)
    assert ids(engine.recommend(query, Profile("user", "u"), streams=book(states)))[0] == "x-big"
    assert ids(engine.recommend(query, fan, streams=book(states)))[0] == "y-new"
    popular = engine.recommend(replace(query, order="popular"), fan, streams=book(states))
    assert ids(popular)[0] == "x-big"


def test_without_ranking_streams_come_by_viewers(bundle):
    states = [live(f"s{number}", "x", viewers=number) for number in range(9)]
    fallback = PopularFallback(bundle, ServeConfig())
    fallback = fallback.with_changes([stream(one.stream_id, "x") for one in states])
    answer = fallback.answer(query_of(k=9, filters=ONLY), ("ranking",), streams=book(states))
    assert ids(answer) == [f"s{number}" for number in reversed(range(9))]


@settings(max_examples=40, deadline=None)
@given(
    shown=st.lists(
        st.tuples(st.integers(0, 3), st.sampled_from("abc"), st.none() | st.integers(0, 9)),
        min_size=2,
        max_size=12,
    ),
    interest=st.dictionaries(st.sampled_from("abc"), st.floats(0.1, 9)),
    has_taste=st.booleans(),
)
def test_a_stream_that_is_no_worse_in_anything_comes_before_a_worse_one(engine, shown, interest, has_taste):
    states = [live(f"s{n}", streamer, viewers) for n, (_, streamer, viewers) in enumerate(shown)]
    vectors = [axis(0) + number * axis(1) for number, _, _ in shown]
    vectors = {f"s{n}": one / np.linalg.norm(one) for n, one in enumerate(vectors)}
    engine = engine.with_changes(
        [stream(one.stream_id, one.streamer_id, vectors[one.stream_id]) for one in states]
    )
    counts = {f"creator:{name}": weight for name, weight in interest.items()}
    taste = {"counts": counts | {"taste_weight": 3.0}, "vector": axis(1)} if has_taste else {"counts": counts}
    answer = engine.recommend(
        query_of(k=12, filters=ONLY), Profile("user", "u", **taste), streams=book(states)
    )
    assert len(answer.items) == len(states)
    by_id = {one.stream_id: one for one in states}

    def signals(item):
        state = by_id[item.video_id]
        cosine = float(vectors[item.video_id] @ axis(1)) if has_taste else 0.0
        return interest.get(state.streamer_id, 0.0), state.viewers or 0, cosine, item.utility

    for before, after in combinations(answer.items, 2):
        better, worse = signals(after), signals(before)
        assert not (better != worse and all(b >= w for b, w in zip(better, worse, strict=True)))


@settings(max_examples=25, deadline=None)
@given(
    most=st.sampled_from([0, 1, 5, 30]),
    count=st.integers(0, 60),
    order=st.sampled_from(["ranked", "popular"]),
    seeds=st.sampled_from([(), ("video-01",)]),
    has_taste=st.booleans(),
)
def test_ordinary_lists_have_few_streams_whatever_finds_them(bundle, most, count, order, seeds, has_taste):
    """Streams are new, popular (those that the bundle lacks come last) and like the taste."""
    config = ServeConfig.model_validate(PLAIN | {"candidates": {"live": most}})
    states = [live(f"s{number}", f"x{number}", viewers=number) for number in range(count)]
    changes = [stream(one.stream_id, one.streamer_id, axis(1)) for one in states]
    counts = {"taste_weight": 3.0} if has_taste else {}
    user = Profile("user", "u", counts=counts, vector=axis(1) if has_taste else None)
    query = query_of(k=200, order=order, seeds=seeds)
    fallback = PopularFallback(bundle, config).with_changes(changes)
    answers = [
        engine_of(bundle, config).with_changes(changes).recommend(query, user, streams=book(states)),
        fallback.answer(query, ("ranking",), streams=book(states)),
    ]
    for answer in answers:
        streams = [name for name in ids(answer) if name.startswith("s")]
        assert len(streams) == min(most, count)
        assert len(answer.items) - len(streams) >= 90  # no other video has made room
    # A request that names its candidates has all of them.
    named = replace(query, candidates=tuple(one.stream_id for one in states), seeds=())
    engine = engine_of(bundle, config).with_changes(changes)
    assert len(engine.recommend(named, user, streams=book(states)).items) == count
