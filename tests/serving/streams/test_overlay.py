"""Vectors and counts of streams in the engine: what they show, their pins and their streamer."""

import numpy as np
import pytest

from tests.serving.recommend.engines import change, engine_of, ids, now, query_of
from vrec.bundle.bundle import ServingBundle
from vrec.config.streams import StreamsConfig
from vrec.profiles.profile import Profile
from vrec.ranking.features.video_counts import VIDEO_COUNT_KEYS
from vrec.serving.messages import RequestFilters
from vrec.serving.recommend.live import live_order
from vrec.serving.streams.overlay import StreamOverlay
from vrec.serving.streams.rows import PRIOR_IMPRESSIONS, StreamRows
from vrec.serving.streams.states import StreamBook, StreamState, StreamVector, pack_state, unpack_state

EXPIRY_US = 30_000_000
IMPRESSIONS, CLICKS = (VIDEO_COUNT_KEYS.index(name) for name in ("event:impression", "event:click"))


@pytest.fixture(scope="module")
def engine(shop_bundle):
    return engine_of(ServingBundle.load(shop_bundle.uri))


def state(name="s", streamer="nobody", **more):
    return StreamState(name, streamer, now(), now(), now() + EXPIRY_US, **more)


def stream(name="s", streamer="nobody", **more):
    return change(name, uri=f"stream://{name}", kind="live", creator_id=streamer, product_ids=[], **more)


def book(*states, vectors=None):
    return StreamBook(1, {one.stream_id: one for one in states}, 1, vectors or {})


def axis(number):
    vector = np.zeros(16, np.float32)
    vector[number] = 1
    return vector


def vector_of(engine, name):
    return engine.snapshot.catalog.vectors[engine.snapshot.catalog.row_by_id[name]]


def shown(engine, states, config=None, overlay=None, vectors=None):
    """Return the engine with the streams' vectors, the overlay, and the number of changes that it took."""
    overlay = overlay or StreamOverlay(config or StreamsConfig(), "simulated")
    overlay, changes = overlay.refreshed(book(*states, vectors=vectors), engine.snapshot)
    return engine.with_changes(changes), overlay, len(changes)


def test_what_a_stream_shows_now_its_pins_and_its_streamer_add_up(engine):
    engine = engine.with_changes(
        [
            change("shoe", vector=axis(1), product_ids=["p1"], creator_id="x"),
            change("own", vector=axis(2), product_ids=[], creator_id="ann"),
            stream("s", "ann"),
        ]
    )
    one = state("s", "ann", product_ids=("p1", "unknown"))
    config = StreamsConfig(content_share=1, pinned_share=0.5, streamer_share=0.25)
    made, overlay, changes = shown(engine, [one], config)
    assert changes == 1
    np.testing.assert_allclose(vector_of(made, "s"), (axis(1) * 2 + axis(2)) / 5**0.5, atol=1e-6)
    # Nothing has changed: nothing is made again.
    made, overlay, changes = shown(made, [one], overlay=overlay)
    assert changes == 0
    # The window of a follower replaces the words, unless it is of another encoder or of an earlier start.
    for encoder, at, content in (
        ("other", now(), 0.0), ("simulated", now() - 1, 0.0), ("simulated", now(), 1.0),
    ):  # fmt: skip
        seen = {"s": (at, StreamVector(encoder, at, axis(0)))}
        again, last, changes = shown(made, [one], overlay=overlay, vectors=seen)
        assert changes == 1
        assert (vector_of(again, "s")[0] > 0) == (content > 0)
    want = axis(0) + 0.5 * axis(1) + 0.25 * axis(2)
    np.testing.assert_allclose(vector_of(again, "s"), want / np.linalg.norm(want), atol=1e-6)
    # Without the pin, its share is gone.
    unpinned, last, _ = shown(again, [state("s", "ann")], overlay=last)
    assert vector_of(unpinned, "s")[1] == 0
    # What is over has the catalog's own vector again, and begins anew from it.
    ended, last, changes = shown(unpinned, [], overlay=last)
    assert changes == 1
    assert not vector_of(ended, "s").any()
    anew, _, _ = shown(ended, [state("s", "ann")], overlay=last)
    np.testing.assert_allclose(vector_of(anew, "s"), axis(2), atol=1e-6)


def test_an_edit_of_the_catalog_keeps_the_vector_of_a_stream(engine):
    engine = engine.with_changes([change("own", vector=axis(2), creator_id="ann"), stream("s", "ann")])
    made, overlay, _ = shown(engine, [state("s", "ann")])
    overlay, changes = overlay.over([stream("s", "ann", title="Another"), change("own", title="x")])
    made = made.with_changes(changes)
    assert made.card("s")["title"] == "Another"
    np.testing.assert_allclose(vector_of(made, "s"), axis(2), atol=1e-6)


def test_a_stream_that_shows_what_a_shopper_likes_moves_up(engine):
    engine = engine.with_changes([stream("s1"), stream("s2"), stream("s3")])
    states = [state("s1"), state("s2"), state("s3")]
    taste = Profile("user", "u", counts={"taste_weight": 3.0}, vector=axis(4))

    def order(shoes):
        vectors = {
            one.stream_id: (1, StreamVector("simulated", now(), axis(4 if one.stream_id == shoes else 9)))
            for one in states
        }
        made, _, _ = shown(engine, states, vectors=vectors)
        query = query_of(filters=RequestFilters(streams="only"))
        rows = StreamRows(book(*states), made.snapshot).live(query.at)
        found = [made.snapshot.catalog.video_ids[row] for row in live_order(made.snapshot, rows, taste)]
        assert set(ids(made.recommend(query, taste, streams=book(*states)))) == {"s1", "s2", "s3"}
        return found

    assert [order(name)[0] for name in ("s1", "s2", "s3")] == ["s1", "s2", "s3"]


def test_a_new_stream_has_its_streamer_s_rates_until_it_has_its_own(engine):
    engine = engine.with_changes(
        [change("a", creator_id="ann"), change("b", creator_id="ann"), stream("s", "ann")]
    )
    counts = np.zeros((2, len(VIDEO_COUNT_KEYS)))
    counts[:, IMPRESSIONS], counts[:, CLICKS] = 1_000, [300, 100]
    engine.set_video_counts(["a", "b"], counts)
    rows = StreamRows(book(state("s", "ann")), engine.snapshot)
    at = engine.snapshot.catalog.find(["a", "s"])
    prior = rows.with_priors(at, engine.snapshot.video_counts[at])
    assert prior[0].tolist() == counts[0].tolist()
    assert prior[1][[IMPRESSIONS, CLICKS]].tolist() == [PRIOR_IMPRESSIONS, 0.2 * PRIOR_IMPRESSIONS]
    for own, share in ((PRIOR_IMPRESSIONS / 2, 0.5), (PRIOR_IMPRESSIONS * 3, 0)):
        given = np.zeros((1, len(VIDEO_COUNT_KEYS)))
        given[0, IMPRESSIONS] = own
        found = rows.with_priors(at[1:], given)
        assert found[0, IMPRESSIONS] == own + share * PRIOR_IMPRESSIONS
    assert given[0, CLICKS] == 0  # the counts that were given are not changed


def test_only_what_is_live_at_the_moment_of_the_request_is_in_a_list(engine):
    engine = engine.with_changes([stream("s1"), stream("s2"), stream("s3"), change("file", kind="live")])
    ended = StreamState("s2", "nobody", now(), now(), now() + 9, ended_at=now() + 5)
    streams = book(state("s1"), ended)
    only, user = RequestFilters(streams="only"), Profile("user", "u")

    def listed(at, **filters):
        query = query_of(k=200, at=at, filters=RequestFilters(**filters))
        return {name for name in ids(engine.recommend(query, user, streams=streams)) if name[0] in "sf"}

    assert listed(now(), kinds=frozenset({"live"})) >= {"s1", "file"}
    assert set(ids(engine.recommend(query_of(filters=only), user, streams=streams))) == {"s1"}
    late = query_of(at=now() + EXPIRY_US, filters=only)
    assert ids(engine.recommend(late, user, streams=streams)) == []
    assert "s1" not in listed(now() + EXPIRY_US)
    assert not {"s1", "s2", "s3"} & listed(now(), streams="none")
    # A process that has not read the states has no stream.
    assert ids(engine.recommend(query_of(filters=only), user)) == []


def test_a_state_of_another_version_is_left_out(caplog):
    one = state("s", product_ids=("p",), viewers=3)
    assert unpack_state("s", pack_state(one)) == one
    for record in (b"", b"x", pack_state(one).replace(b"viewers", b"viewerz")):
        assert unpack_state("s", record) is None
    assert len(caplog.records) == 3
