"""Search for moments over the small shop: nothing that a list may not have, whatever was changed since."""

from dataclasses import replace
from functools import cache

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.bundles import shop
from tests.serving.recommend.engines import change, engine_of, now, query_of
from vrec.assistant.moments import clock_text
from vrec.bundle.bundle import ServingBundle
from vrec.bundle.moments import CatalogMoments
from vrec.encoders.vectors import unit_rows
from vrec.profiles.profile import Profile
from vrec.retrieval.index.moments import MomentIndex
from vrec.serving.messages import RequestFilters
from vrec.serving.moments.messages import MomentExample, MomentQuery, MomentsMissing
from vrec.serving.moments.search import MomentSearch, query_words, word_shares

IDS = sorted(shop().videos.column("video_id").to_pylist())
WORDS = ["the zip is here", "看 拉链 在这里", "a red collar", "nothing to see"]


@cache
def moments() -> CatalogMoments:
    """Three moments of each video but the last; the words go round."""
    from tests.retrieval.test_moment_index import table

    counts = [3] * (len(IDS) - 1)
    made = {}
    for modality, encoder in (("frames", "cnn@1"), ("text", "text@1")):
        texts = None if modality == "frames" else [WORDS[n % 4] for n in range(sum(counts))]
        rows = table(counts, 7, encoder, texts)
        index = MomentIndex.from_table(rows)
        # The names of that table are of its own.
        made[modality] = replace(index, ids=tuple(IDS[:-1]))
    return CatalogMoments(made)


@pytest.fixture(scope="module")
def engine(shop_bundle):
    return engine_of(replace(ServingBundle.load(shop_bundle.uri), moments=moments()))


def search_of(engine, filters=None):
    asked = query_of(filters=filters or RequestFilters(), surface="search")
    allowed = engine.allowed(asked, Profile("user", ""))
    return MomentSearch(engine.moments, engine.snapshot, 0.3), allowed


def example(seed: int = 0) -> MomentExample:
    vectors = unit_rows(np.random.default_rng(seed).normal(size=(2, 6)))
    return MomentExample({"frames": vectors}, {"frames": "cnn@1"})


def nearest(engine, k=400, filters=None, **more):
    search, allowed = search_of(engine, filters)
    asked = MomentQuery(k, now(), example=more.pop("example", example()), **more)
    return search.by_example(asked, allowed)


def test_an_example_finds_the_nearest_moments_exactly(engine):
    index = moments().indexes["frames"]
    scores = index.scores(example().vectors["frames"])
    _, allowed = search_of(engine)
    may = {name for name, ok in zip(engine.snapshot.catalog.video_ids, allowed, strict=True) if ok}
    wanted = sorted(
        ((float(scores[row]), name) for name in index.ids if name in may for row in index.rows_of(name)),
        reverse=True,
    )
    found = nearest(engine, per_video=3)
    assert len(found) == len(wanted) > 50
    np.testing.assert_allclose([one.score for one in found], [score for score, _ in wanted], atol=1e-5)
    assert {one.source for one in found} == {"picture"}


def test_no_score_is_above_1_whatever_rounding_does_to_a_vector(engine):
    index = moments().indexes["frames"]
    longer = 1.002 * index.vectors(index.rows_of(IDS[0])[:1])
    found = nearest(engine, example=MomentExample({"frames": longer}, example().encoders))
    assert max(one.score for one in found) == 1


def test_seconds_of_a_video_find_other_videos(engine):
    own = nearest(engine, example=None, like=(IDS[0], 0.0, 1.5))
    assert own
    assert IDS[0] not in {one.video_id for one in own}
    with pytest.raises(MomentsMissing, match="no moments between 50 and 60"):
        nearest(engine, example=None, like=(IDS[0], 50.0, 60.0))
    with pytest.raises(MomentsMissing, match="no moments of sound"):
        nearest(engine, example=None, like=(IDS[0], 0.0, 1.0), by="sound")


def test_vectors_of_another_encoder_are_not_compared(engine):
    other = MomentExample(example().vectors, {"frames": "cnn@2"})
    with pytest.raises(MomentsMissing):
        nearest(engine, example=other)


CHANGES = st.lists(
    st.tuples(
        st.integers(0, len(IDS) - 1),
        st.sampled_from(["gone", "unavailable", "expired", "other file", "new price"]),
    ),
    min_size=1,
    max_size=8,
)


@settings(max_examples=40)
@given(changes=CHANGES, excluded=st.sets(st.sampled_from(IDS), max_size=5))
def test_what_no_list_may_have_is_in_no_answer(engine, changes, excluded):
    made = {}
    for place, kind in changes:
        name = IDS[place]
        made[name] = {
            "gone": lambda name=name: replace(change(name), row=None),
            "unavailable": lambda name=name: change(name, available=False),
            "expired": lambda name=name: change(
                name, expires_at=pa.scalar(1, pa.timestamp("us", "UTC")).as_py()
            ),
            "other file": lambda name=name: change(name, uri="/new.mp4"),
            "new price": lambda name=name: change(name, price=1.0),
        }[kind]()
    changed = engine.with_changes(list(made.values()))
    barred = {IDS[place] for place, kind in changes if kind != "new price"} & set(made)
    last = {IDS[place]: kind for place, kind in changes}
    barred = {name for name in barred if last[name] != "new price"}
    filters = RequestFilters(exclude=frozenset(excluded))
    found = {one.video_id for one in nearest(changed, filters=filters)}
    before = {one.video_id for one in nearest(engine)}
    assert found == before - barred - excluded
    search, allowed = search_of(changed, filters)
    said = search.by_words(
        MomentQuery(900, now(), text="zip collar", video_ids=tuple(IDS)), None, None, allowed
    )
    assert {one.video_id for one in said} <= before - barred - excluded


def test_words_find_what_is_said(engine):
    search, allowed = search_of(engine)
    asked = MomentQuery(900, now(), text="where does she show the zip?", video_ids=tuple(IDS), per_video=9)
    found = search.by_words(asked, None, None, allowed)
    assert found
    assert {one.text for one in found} == {"the zip is here"}
    asked = replace(asked, text="拉链在哪里")
    assert {one.text for one in search.by_words(asked, None, None, allowed)} == {"看 拉链 在这里"}
    asked = replace(asked, text="qqq")
    assert search.by_words(asked, None, None, allowed) == []


def test_meaning_finds_what_no_word_does(engine):
    search, allowed = search_of(engine)
    index = moments().indexes["text"]
    name = next(name for name in IDS[:-1] if allowed[engine.snapshot.catalog.row_by_id[name]])
    row = index.rows_of(name)[1]
    asked = MomentQuery(1, now(), text="qqq", video_ids=(name,))
    (best,) = search.by_words(asked, index.vectors(np.array([row]))[0], None, allowed)
    assert (best.source, best.start_s) == ("meaning", float(index.spans[row, 0]))
    assert search.by_words(asked, np.full(3, 0.5, np.float32), None, allowed) == []


def test_without_words_the_picture_that_the_text_is_like_is_shown(engine):
    search, allowed = search_of(engine)
    index = moments().indexes["frames"]
    name = next(name for name in IDS[:-1] if allowed[engine.snapshot.catalog.row_by_id[name]])
    row = index.rows_of(name)[2]
    asked = MomentQuery(1, now(), text="qqq", video_ids=(name,))
    (best,) = search.by_words(asked, None, index.vectors(np.array([row]))[0], allowed)
    assert (best.source, best.start_s) == ("picture", float(index.spans[row, 0]))


@given(texts=st.lists(st.text(max_size=20), max_size=6), text=st.text(max_size=20))
def test_shares_of_words_lie_between_0_and_1(texts, text):
    words = query_words(text)
    shares = word_shares([*texts, text], words)
    assert all(-1e-9 <= share <= 1 + 1e-9 for share in shares)
    assert not words or shares[-1] >= max(shares) - 1e-9 or len(text) > 0


@pytest.mark.parametrize(
    ("seconds", "text"), [(0, "0:00"), (41.9, "0:41"), (605, "10:05"), (3723, "1:02:03")]
)
def test_times_as_people_write_them(seconds, text):
    assert clock_text(seconds) == text
