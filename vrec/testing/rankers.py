"""Contract of `vrec.core.protocols.Ranker`, as checks that raise AssertionError.

A check takes `make`, which returns a ranker fitted on a `RankingShop`.
"""

import pickle
import tempfile
from collections.abc import Callable
from dataclasses import replace
from functools import cache, lru_cache
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from vrec.core.errors import ModelError, RankError, SchemaError
from vrec.core.protocols import Ranker
from vrec.core.schema import RANKED, RECOMMENDATIONS, conform
from vrec.profiles.profile import Profile
from vrec.ranking.features.arrays import RequestContext
from vrec.retrieval.models.popular import PopularRecommender
from vrec.testing.interactions import graded
from vrec.testing.ranking_shop import NOVELTY, STRANGER, RankingShop, ranking_shop

AnyRanker = Ranker[Profile, RequestContext]
Make = Callable[[RankingShop], AnyRanker]
CLOSE = 1e-5
"""Largest relative difference of a number between two companies: float32 sums round by the batch's shape."""
GIVEN = [column.name for column in RECOMMENDATIONS.columns]
NUMBERS = ("p_click", "watch_s", "p_conv", "utility")

SHOP = cache(ranking_shop)


@lru_cache(maxsize=4)
def _made(make: Make) -> AnyRanker:
    """Fitted once for all checks: none of them changes it."""
    return make(SHOP())


def _scored(ranker: AnyRanker, candidates: pa.Table | None = None) -> pa.Table:
    shop = SHOP()
    rows = shop.candidates if candidates is None else candidates
    return ranker.score(rows, shop.users, shop.videos, shop.context)


def _numbers(table: pa.Table) -> dict[str, np.ndarray]:
    return {name: np.asarray(table.column(name)) for name in NUMBERS}


def _alike(one: pa.Table, other: pa.Table) -> None:
    assert one.num_rows == other.num_rows
    for name, numbers in _numbers(one).items():
        assert np.allclose(numbers, _numbers(other)[name], rtol=CLOSE, atol=1e-6), name


def check_identity(make: Make) -> None:
    """Implement the protocol and return RANKED."""
    ranker = _made(make)
    assert isinstance(ranker, Ranker)
    assert isinstance(ranker.name, str)
    assert ranker.name
    found = _scored(ranker)
    assert conform(found, RANKED, stage="battery").schema.equals(RANKED.arrow())
    assert found.column("reasons").to_pylist() == [[]] * found.num_rows


def check_rows_stay_as_they_are(make: Make) -> None:
    """All rows, in their order, scores, ranks and sources as they were: also of one chunk of several."""
    rows = SHOP().candidates
    for candidates in (rows, pa.concat_tables([rows.slice(0, 7), rows.slice(7)]), rows.slice(11, 5)):
        assert _scored(_made(make), candidates).select(GIVEN).equals(candidates.cast(RECOMMENDATIONS.arrow()))


def check_probabilities(make: Make) -> None:
    """Predict probabilities in [0, 1]."""
    found = _numbers(_scored(_made(make)))
    for name in ("p_click", "p_conv"):
        assert ((found[name] >= 0) & (found[name] <= 1)).all(), name


def check_conversions_are_clicks(make: Make) -> None:
    """Predict no more purchases than clicks."""
    found = _numbers(_scored(_made(make)))
    assert (found["p_conv"] <= found["p_click"]).all()


def check_seconds(make: Make) -> None:
    """Predict finite seconds, at least 0."""
    found = _numbers(_scored(_made(make)))["watch_s"]
    assert (np.isfinite(found) & (found >= 0)).all()


def check_utility(make: Make) -> None:
    """A number, and for videos of equal price higher where all that is expected is."""
    found = _numbers(_scored(_made(make)))
    assert np.isfinite(found["utility"]).all()
    twice = [row for row, v in enumerate(SHOP().candidates["video_id"].to_pylist()) if v == NOVELTY]
    for a in twice:
        for b in twice:
            if all(found[name][a] >= found[name][b] for name in NUMBERS[:3]):
                assert found["utility"][a] >= found["utility"][b]


def check_predictions_differ(make: Make) -> None:
    """Neither all videos of a shopper nor all shoppers of a video have the same chance of a click."""
    found = _scored(_made(make)).to_pylist()
    for owner in ("user_id", "video_id"):
        chances: dict[str, set[float]] = {}
        for row in found:
            chances.setdefault(row[owner], set()).add(row["p_click"])
        assert np.median([len(some) for some in chances.values()]) >= 4


def check_batch_is_irrelevant(make: Make) -> None:
    """Score a candidate alone as in a batch."""
    together = _scored(_made(make))
    rows = SHOP().candidates
    alone = pa.concat_tables([_scored(_made(make), rows.slice(n, 1)) for n in range(rows.num_rows)])
    _alike(together, alone)
    halves = pa.concat_tables([_scored(_made(make), part) for part in (rows.slice(0, 31), rows.slice(31))])
    _alike(together, halves)


def check_order_is_irrelevant(make: Make) -> None:
    """Ignore the order of the rows."""
    order = pa.array(np.random.default_rng(5).permutation(SHOP().candidates.num_rows))
    _alike(_scored(_made(make)).take(order), _scored(_made(make), SHOP().candidates.take(order)))


def check_scores_are_irrelevant(make: Make) -> None:
    """Keep the scores of recommenders, and predict without them."""
    rows = SHOP().candidates
    count = rows.num_rows
    others = [pa.array(np.arange(count), pa.float32()), pa.array(np.arange(1, count + 1), pa.int32())]
    columns = [*rows.columns[:2], *others, pa.repeat("als", count)]
    changed = pa.Table.from_arrays(columns, schema=rows.schema)
    _alike(_scored(_made(make)), _scored(_made(make), changed))


def check_unknown_profiles_are_scored(make: Make) -> None:
    """Treat a missing profile as an empty one."""
    shop, ranker = SHOP(), _made(make)
    blank_user, blank_video = Profile("user", STRANGER), Profile("video", NOVELTY)
    found = ranker.score(
        shop.candidates,
        shop.users | {STRANGER: blank_user},
        shop.videos | {NOVELTY: blank_video},
        shop.context,
    )
    assert found.equals(_scored(ranker))
    nobody = ranker.score(shop.candidates, {}, {}, shop.context)
    assert nobody.num_rows == shop.candidates.num_rows
    assert all(np.isfinite(numbers).all() for numbers in _numbers(nobody).values())


def check_other_surfaces_are_scored(make: Make) -> None:
    """Score a surface and a time that training did not see."""
    shop = SHOP()
    elsewhere = replace(shop.context, surface="a surface that is new", at=0)
    found = _made(make).score(shop.candidates, shop.users, shop.videos, elsewhere)
    assert all(np.isfinite(numbers).all() for numbers in _numbers(found).values())


def check_no_candidates(make: Make) -> None:
    """Return a valid empty table for no candidates."""
    nothing = _scored(_made(make), SHOP().candidates.slice(0, 0))
    assert nothing.num_rows == 0
    conform(nothing, RANKED, stage="battery")


def check_bad_rows_are_refused(make: Make) -> None:
    """Refuse wrong types, missing columns and nulls."""
    rows = SHOP().candidates
    numbers = rows.set_column(0, "user_id", pa.array(range(rows.num_rows), pa.int64()))
    with pytest.raises(SchemaError, match="user_id is int64, want string"):
        _scored(_made(make), numbers)
    with pytest.raises(SchemaError, match="missing rank"):
        _scored(_made(make), rows.drop_columns(["rank"]))
    nobody = rows.set_column(1, "video_id", pa.array([None] * rows.num_rows, pa.string()))
    with pytest.raises(SchemaError, match="video_id has"):
        _scored(_made(make), nobody)


def check_bad_profiles_are_refused(make: Make) -> None:
    """Counts that are no numbers, and profiles of somebody else."""
    shop = SHOP()
    user, video = (shop.candidates[name][0].as_py() for name in ("user_id", "video_id"))
    for count in (float("nan"), float("inf")):
        sick = replace(shop.users[user], counts={"event:impression": count, "event:click": 1.0})
        with pytest.raises(RankError):
            _made(make).score(shop.candidates, shop.users | {user: sick}, shop.videos, shop.context)
        sick = replace(shop.videos[video], counts={"event:impression": 5.0, "event:click": count})
        with pytest.raises(RankError):
            _made(make).score(shop.candidates, shop.users, shop.videos | {video: sick}, shop.context)
    with pytest.raises(RankError, match=user):
        _made(make).score(
            shop.candidates, shop.users | {user: Profile("user", STRANGER)}, shop.videos, shop.context
        )


def check_repeatable(make: Make) -> None:
    """Predict the same twice, and after a second fit."""
    assert _scored(_made(make)).equals(_scored(_made(make)))
    _alike(_scored(_made(make)), _scored(make(SHOP())))


def check_inputs_stay_as_they_are(make: Make) -> None:
    """Leave profiles and candidates unchanged."""
    shop = SHOP()
    before = pickle.dumps((shop.users, shop.videos))
    users, videos = pickle.loads(before)
    rows = pa.Table.from_pylist(shop.candidates.to_pylist(), shop.candidates.schema)
    _made(make).score(rows, users, videos, shop.context)
    assert (users, videos) == (shop.users, shop.videos)
    assert rows.equals(shop.candidates)


def check_saved_and_loaded_is_the_same(make: Make) -> None:
    """Predict the same after saving and loading, also twice."""
    ranker = _made(make)
    with tempfile.TemporaryDirectory() as folder:
        ranker.save(folder)
        ranker.save(folder)
        loaded = type(ranker).load(folder)
        assert loaded.name == ranker.name
        assert _scored(loaded).equals(_scored(ranker))
        loaded.save(f"{folder}/again")
        assert _scored(type(ranker).load(f"{folder}/again")).equals(_scored(ranker))


def check_damaged_folders_are_refused(make: Make) -> None:
    """Refuse a folder with a missing or changed file."""
    ranker = _made(make)
    with tempfile.TemporaryDirectory() as folder:
        with pytest.raises(ModelError, match=folder):
            type(ranker).load(folder)
        ranker.save(folder)
        files = sorted(Path(folder).iterdir())
        assert len(files) > 1
        for file in files:
            sound = file.read_bytes()
            middle = len(sound) // 2
            file.write_bytes(sound[:middle] + bytes([sound[middle] ^ 1]) + sound[middle + 1 :])
            if file.suffix != ".json":
                with pytest.raises(ModelError, match="digest"):
                    type(ranker).load(folder)
            file.unlink()
            with pytest.raises(ModelError, match=folder):
                type(ranker).load(folder)
            file.write_bytes(sound)
        type(ranker).load(folder)


def check_other_kinds_are_refused(make: Make) -> None:
    """Refuse the folder of another kind of model."""
    with tempfile.TemporaryDirectory() as folder:
        PopularRecommender().fit(graded().interactions).save(folder)
        with pytest.raises(ModelError, match="popular"):
            type(_made(make)).load(folder)


def check_travels_to_another_process(make: Make) -> None:
    """Out of an object store, as tasks get it, arrays are views of memory that cannot be written."""
    shop = SHOP()
    buffers: list[pickle.PickleBuffer] = []
    given = (_made(make), shop.candidates, shop.users, shop.videos)
    stream = pickle.dumps(given, protocol=5, buffer_callback=buffers.append)
    ranker, *rest = pickle.loads(stream, buffers=[bytes(buffer.raw()) for buffer in buffers])
    _alike(ranker.score(*rest, shop.context), _scored(_made(make)))


CHECKS: tuple[Callable[[Make], None], ...] = (
    check_identity,
    check_rows_stay_as_they_are,
    check_probabilities,
    check_conversions_are_clicks,
    check_seconds,
    check_utility,
    check_predictions_differ,
    check_batch_is_irrelevant,
    check_order_is_irrelevant,
    check_scores_are_irrelevant,
    check_unknown_profiles_are_scored,
    check_other_surfaces_are_scored,
    check_no_candidates,
    check_bad_rows_are_refused,
    check_bad_profiles_are_refused,
    check_repeatable,
    check_inputs_stay_as_they_are,
    check_saved_and_loaded_is_the_same,
    check_damaged_folders_are_refused,
    check_other_kinds_are_refused,
    check_travels_to_another_process,
)
