"""Contract of `vrec.core.protocols.Recommender`, as checks that raise AssertionError.

A check takes `make`, which returns an unfitted recommender, and fits it on the data it needs.
"""

import pickle
import tempfile
from collections.abc import Callable
from functools import cache, lru_cache
from itertools import pairwise

import numpy as np
import pyarrow as pa
import pytest

from vrec.core.errors import FitError, ModelError, SchemaError
from vrec.core.protocols import Recommender
from vrec.core.schema import RECOMMENDATIONS, TIMESTAMP, conform
from vrec.core.types import CatalogContent
from vrec.testing.interactions import START_US, World, graded, interactions, tied

Make = Callable[[], Recommender]
ALL = 1000
CLOSE = 1e-5

GRADED, TIED = cache(graded), cache(tied)


@lru_cache(maxsize=4)
def _fitted(make: Make, world: World) -> Recommender:
    """Fitted once for all checks: none of them changes it."""
    return make().fit(world.interactions, world.content)


def _lists(table: pa.Table) -> dict[str, list[str]]:
    lists: dict[str, list[str]] = {}
    for row in table.to_pylist():
        lists.setdefault(row["user_id"], []).append(row["video_id"])
    return lists


def _alike(one: pa.Table, other: pa.Table) -> None:
    """Same rows in the same order; scores may differ as float32 sums do."""
    names = [c.name for c in RECOMMENDATIONS.columns if c.name != "score"]
    assert one.select(names).equals(other.select(names))
    a, b = np.asarray(one.column("score")), np.asarray(other.column("score"))
    assert np.allclose(a, b, rtol=CLOSE, atol=CLOSE)


def check_identity(make: Make) -> None:
    """Implement the protocol and name itself as the source of its rows."""
    model = _fitted(make, GRADED())
    assert isinstance(model, Recommender)
    found = model.recommend(GRADED().users, 5)
    conform(found, RECOMMENDATIONS, stage="battery")
    assert set(found.column("source").to_pylist()) == {model.name}


def check_fit_returns_itself(make: Make) -> None:
    """Return self from `fit`."""
    model = make()
    assert model.fit(GRADED().interactions, GRADED().content) is model


def check_something_for_each_known_user(make: Make) -> None:
    """Users come in the order asked for, each once, none of them left without a video."""
    users = GRADED().users[::-1]
    found = _fitted(make, GRADED()).recommend([*users, users[0]], 3)
    runs = [
        u
        for n, u in enumerate(found["user_id"].to_pylist())
        if n == 0 or found["user_id"][n - 1].as_py() != u
    ]
    assert runs == users


def check_ranks(make: Make) -> None:
    """Number the ranks of each user from 1, at most k."""
    for k in (1, 4, ALL):
        found = _fitted(make, GRADED()).recommend(GRADED().users, k)
        ranks: dict[str, list[int]] = {}
        for row in found.to_pylist():
            ranks.setdefault(row["user_id"], []).append(row["rank"])
        assert all(row == list(range(1, len(row) + 1)) for row in ranks.values())
        assert all(len(row) <= k for row in ranks.values())


def check_scores_never_rise(make: Make) -> None:
    """Return finite scores in falling order per user."""
    for world in (GRADED(), TIED()):
        found = _fitted(make, world).recommend(world.users, ALL).to_pylist()
        for before, after in pairwise(found):
            assert np.isfinite(after["score"])
            if before["user_id"] == after["user_id"]:
                assert before["score"] >= after["score"]


def check_ties_go_by_id(make: Make) -> None:
    """Order ties by video id."""
    for world in (GRADED(), TIED()):
        found = _fitted(make, world).recommend(world.users, ALL).to_pylist()
        for before, after in pairwise(found):
            if before["user_id"] == after["user_id"] and before["score"] == after["score"]:
                assert before["video_id"] < after["video_id"]


def check_k_cuts_the_full_list(make: Make) -> None:
    """The first k of all, also where the cut goes through a tie."""
    for world in (GRADED(), TIED()):
        model = _fitted(make, world)
        everything = _lists(model.recommend(world.users, ALL))
        for k in (1, 2, 7, 63):
            assert _lists(model.recommend(world.users, k)) == {u: v[:k] for u, v in everything.items()}


def check_seen_never_appear(make: Make) -> None:
    """Recommend no watched video, and none twice."""
    for world in (GRADED(), TIED()):
        for user, videos in _lists(_fitted(make, world).recommend(world.users, ALL)).items():
            assert not world.seen(user) & set(videos)
            assert len(set(videos)) == len(videos)


def check_excluded_never_appear(make: Make) -> None:
    """They are left out, the others keep their order, and other users are not touched."""
    world, model = GRADED(), _fitted(make, GRADED())
    before = _lists(model.recommend(world.users, ALL))
    user = world.users[4]
    gone = [*before[user][:2], "nobody-has-it"]
    after = _lists(model.recommend(world.users, ALL, exclude={user: gone, "stranger": before[user]}))
    assert after.pop(user, []) == [video for video in before.pop(user) if video not in gone]
    assert after == before


def check_only_candidates_appear(make: Make) -> None:
    """Recommend among candidates only, in the order of the full list."""
    world, model = GRADED(), _fitted(make, GRADED())
    before = _lists(model.recommend(world.users, ALL))
    some = [*world.videos[::2], "nobody-has-it"]
    for k in (2, ALL):
        after = _lists(model.recommend(world.users, k, candidates=some))
        want = {user: [video for video in videos if video in some][:k] for user, videos in before.items()}
        assert after == {user: videos for user, videos in want.items() if videos}
    assert model.recommend(world.users, 3, candidates=[]).num_rows == 0


def check_unknown_users_get_nothing(make: Make) -> None:
    """Return no rows for unknown users, and a valid table for none."""
    world, model = GRADED(), _fitted(make, GRADED())
    user = world.users[2]
    _alike(model.recommend(["stranger", user, ""], 5), model.recommend([user], 5))
    nothing = model.recommend(["stranger"], 5)
    assert nothing.num_rows == 0
    conform(nothing, RECOMMENDATIONS, stage="battery")
    conform(model.recommend([], 5), RECOMMENDATIONS, stage="battery")


def check_batch_is_irrelevant(make: Make) -> None:
    """Answer a user alone as in a batch."""
    world, model = GRADED(), _fitted(make, GRADED())
    together = model.recommend(world.users, 6)
    alone = pa.concat_tables([model.recommend([user], 6) for user in world.users])
    _alike(together, alone)


def check_row_order_is_irrelevant(make: Make) -> None:
    """Fit the same model on the same rows in another order and chunking."""
    world = GRADED()
    rows = world.interactions.num_rows
    mixed = world.interactions.take(np.random.default_rng(5).permutation(rows))
    chunks = pa.concat_tables([mixed.slice(0, 7), mixed.slice(7)])
    _alike(
        _fitted(make, world).recommend(world.users, 8),
        make().fit(chunks, world.content).recommend(world.users, 8),
    )


def check_split_rows_add_up(make: Make) -> None:
    """Two rows of half the weight are one row."""
    world = GRADED()
    halves = world.interactions.set_column(
        2, "weight", pa.array(np.asarray(world.interactions["weight"]) / np.float32(2), pa.float32())
    )
    doubled = pa.concat_tables([halves, halves]).cast(world.interactions.schema)
    _alike(
        _fitted(make, world).recommend(world.users, 8),
        make().fit(doubled, world.content).recommend(world.users, 8),
    )


def check_second_fit_forgets_the_first(make: Make) -> None:
    """Forget the first fit in a second one."""
    world = GRADED()
    twice = make().fit(TIED().interactions, TIED().content).fit(world.interactions, world.content)
    _alike(twice.recommend(world.users, 6), _fitted(make, world).recommend(world.users, 6))


def check_saved_and_loaded_is_the_same(make: Make) -> None:
    """Answer the same after saving and loading, and refuse an empty folder."""
    world, model = GRADED(), _fitted(make, GRADED())
    with tempfile.TemporaryDirectory() as folder:
        _fitted(make, TIED()).save(folder)
        model.save(folder)
        loaded = type(model).load(folder)
        assert loaded.recommend(world.users, 8).equals(model.recommend(world.users, 8))
        users, some = world.users[:5], world.videos[:9]
        assert loaded.recommend(users, 8, candidates=some).equals(model.recommend(users, 8, candidates=some))
    with tempfile.TemporaryDirectory() as folder, pytest.raises(ModelError, match=folder):
        type(model).load(folder)


def check_travels_to_another_process(make: Make) -> None:
    """Out of an object store, as tasks get it, arrays are views of memory that cannot be written."""
    world, model = GRADED(), _fitted(make, GRADED())
    buffers: list[pickle.PickleBuffer] = []
    stream = pickle.dumps(model, protocol=5, buffer_callback=buffers.append)
    arrived = pickle.loads(stream, buffers=[bytes(buffer.raw()) for buffer in buffers])
    _alike(arrived.recommend(world.users, 8), model.recommend(world.users, 8))


def check_bad_rows_are_refused(make: Make) -> None:
    """Refuse wrong types, missing columns, nulls, weights that are not positive and no rows."""
    good = GRADED().interactions
    numbers = good.set_column(0, "user_id", pa.array(range(good.num_rows), pa.int64()))
    with pytest.raises(SchemaError, match="user_id is int64, want string"):
        make().fit(numbers, GRADED().content)
    with pytest.raises(SchemaError, match="missing at"):
        make().fit(good.drop_columns(["at"]), GRADED().content)
    nothing = pa.array([None] * good.num_rows, pa.string())
    with pytest.raises(SchemaError, match="video_id has"):
        make().fit(good.set_column(1, "video_id", nothing), GRADED().content)
    for bad in (float("nan"), float("inf"), 0.0, -1.0):
        with pytest.raises(FitError, match="1 of 2"):
            make().fit(interactions([("u", "a", 1.0, 0), ("u", "b", bad, 0)]), GRADED().content)
    with pytest.raises(FitError, match="no interactions"):
        make().fit(good.slice(0, 0), GRADED().content)


def check_bad_queries_are_refused(make: Make) -> None:
    """Refuse k < 1 and an unfitted model."""
    model = _fitted(make, GRADED())
    for k in (0, -1):
        with pytest.raises(FitError, match=f"k is {k}"):
            model.recommend(GRADED().users, k)
    with pytest.raises(FitError, match="not fitted"):
        make().recommend(GRADED().users, 3)


def check_smallest_data(make: Make) -> None:
    """One user with one event: nothing is left to recommend but what content knows of."""
    only = interactions([("u", "a", 1.0, 0)])
    found = make().fit(only, GRADED().content).recommend(["u"], 5)
    assert "a" not in found.column("video_id").to_pylist()


def _degenerate_logs() -> dict[str, tuple[pa.Table, CatalogContent]]:
    """Logs and content with nothing to tell apart."""
    rows, content = GRADED().interactions, GRADED().content
    moment = pa.array([START_US] * rows.num_rows, pa.int64()).cast(TIMESTAMP)
    embeddings = content.embeddings
    assert embeddings is not None
    field = embeddings.schema.field("vector")
    zeros = pa.array(np.zeros(len(embeddings) * field.type.list_size), pa.float32())
    blank = embeddings.set_column(
        embeddings.schema.get_field_index("vector"),
        field,
        pa.FixedSizeListArray.from_arrays(zeros, type=field.type),
    )
    return {
        "one video": (interactions([(f"u{n}", "a", 1.0, n) for n in range(40)]), content),
        "one user": (interactions([("u", video, 1.0, n) for n, video in enumerate("abcdef")]), content),
        "all alike": (interactions([(f"u{n}", v, 1.0, 3) for n in range(40) for v in "abc"]), content),
        "one moment": (rows.set_column(3, rows.schema.field(3), moment), content),
        "vectors of zeros": (rows, CatalogContent(content.videos, blank)),
        "strangers": (interactions([(f"u{n}", f"x{n}", 1.0, n) for n in range(40)]), content),
    }


def check_degenerate_logs(make: Make) -> None:
    """Answer soundly, or refuse in words, where users, videos, times or vectors are all the same."""
    for name, (rows, known) in _degenerate_logs().items():
        users = sorted(set(rows.column("user_id").to_pylist()))
        try:
            found = make().fit(rows, known).recommend(users, 5)
        except FitError:
            continue
        conform(found, RECOMMENDATIONS, stage=name)
        assert np.isfinite(np.asarray(found.column("score"))).all(), name
        seen = set(zip(rows.column(0).to_pylist(), rows.column(1).to_pylist(), strict=True))
        pairs = zip(found.column("user_id").to_pylist(), found.column("video_id").to_pylist(), strict=True)
        assert seen.isdisjoint(pairs), name


CHECKS: tuple[Callable[[Make], None], ...] = (
    check_identity,
    check_fit_returns_itself,
    check_something_for_each_known_user,
    check_ranks,
    check_scores_never_rise,
    check_ties_go_by_id,
    check_k_cuts_the_full_list,
    check_seen_never_appear,
    check_excluded_never_appear,
    check_only_candidates_appear,
    check_unknown_users_get_nothing,
    check_batch_is_irrelevant,
    check_row_order_is_irrelevant,
    check_split_rows_add_up,
    check_second_fit_forgets_the_first,
    check_saved_and_loaded_is_the_same,
    check_travels_to_another_process,
    check_bad_rows_are_refused,
    check_bad_queries_are_refused,
    check_smallest_data,
    check_degenerate_logs,
)
