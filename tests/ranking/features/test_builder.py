"""Features: what they are by hand, the same alone or among others, and nothing that is not finite."""

from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.ranking.logs import CONFIG, builder_for, requests_of, same_features, shop, shop_builder, some_log
from vrec.core.artifact import ModelArtifact, read_artifact, write_artifact
from vrec.core.compute import pc
from vrec.core.errors import ModelError, RankError
from vrec.core.types import CatalogContent
from vrec.events.interactions import DAY_US
from vrec.profiles.profile import EventRecord, InterestEvent, Profile
from vrec.profiles.update import apply_event, video_metadata
from vrec.profiles.user import HOUR_US, taste_vector
from vrec.ranking.features.arrays import RankingRequest, RequestContext
from vrec.ranking.features.builder import FeatureBuilder
from vrec.ranking.features.catalog import CatalogFeatures, unit_vectors
from vrec.ranking.features.fit import fit_space
from vrec.ranking.features.space import BLOCKS, FIELDS, FeatureSpace, RankerFeaturesConfig
from vrec.ranking.features.video_counts import RATES, VIDEO_COUNT_KEYS, profile_counts

DAWN = 20_000 * DAY_US


def request_of(user=None, videos=("video-00",), at=DAWN, states=None, **more):
    user = user or Profile("user", "u")
    return RankingRequest(user, RequestContext(at, "shop"), tuple(videos), _states(states, videos), **more)


def _states(states, videos):
    return np.zeros((len(videos), len(VIDEO_COUNT_KEYS))) if states is None else np.array(states, float)


def raw(request, builder=None):
    """The numbers of a single candidate before scaling, by block and name."""
    blocks = (builder or shop_builder()).raw([request]).blocks
    return {
        f"{b}.{n}": v
        for b, names in BLOCKS.items()
        if b in blocks
        for n, v in zip(names, blocks[b].T, strict=True)
    }


def changed(table, column, row, value):
    """The table with one value of a column replaced."""
    values = table.column(column).to_pylist()
    values[row] = value
    place = table.column_names.index(column)
    field = table.schema.field(column)
    return table.set_column(place, field, pa.array(values, field.type))


@settings(max_examples=40, deadline=None)
@given(some_log(), st.data())
def test_a_candidate_s_features_are_the_same_alone_and_among_others(log, data):
    requests = requests_of(log, shop()[1])
    if not requests:
        return
    together = shop_builder().build(requests)
    pick = data.draw(st.integers(0, len(together) - 1))
    request = requests[together.request[pick]]
    at = pick - int(np.flatnonzero(together.request == together.request[pick])[0])
    states, positions = request.video_counts[at : at + 1], request.positions[at : at + 1]
    alone = replace(
        request, video_ids=request.video_ids[at : at + 1], video_counts=states, positions=positions
    )
    assert same_features(shop_builder().build([alone]), together.take(np.array([pick])))


def test_the_shop_s_candidates_are_the_same_alone_and_among_others():
    log, content = shop()
    requests = requests_of(log, content)[-40:]
    ids = tuple(content.videos.column("video_id").to_pylist())
    wide = [
        replace(r, video_ids=ids, video_counts=r.video_counts[[0] * len(ids)], positions=None)
        for r in requests
    ]
    together = shop_builder().build(wide)
    for n, request in enumerate(wide[::13]):
        for at in range(len(ids)):
            alone = replace(request, video_ids=ids[at : at + 1], video_counts=request.video_counts[:1])
            row = np.array([13 * n * len(ids) + at])
            assert same_features(shop_builder().build([alone]), together.take(row))
    assert len(shop_builder().build([])) == 0


def test_the_shapes_are_those_announced():
    log, content = shop()
    features, space = shop_builder().build(requests_of(log, content)), shop_builder().space
    shape, arrays = features.shape, features.catalog
    n, r = len(features), len(features.user)
    assert n == pc.sum(pc.equal(log.column("kind"), "impression")).as_py()
    assert (features.candidate.shape, features.user.shape) == ((n, shape.candidate), (r, shape.user))
    assert features.history.shape == (r, space.config.history)
    assert features.history_dense.shape == (r, space.config.history, shape.history)
    assert features.context.shape == (r, len(shape.context))
    assert (features.context.max(axis=0) < shape.context).all()
    assert (arrays.fields.max(axis=0) < shape.fields).all()
    assert arrays.tags.max() < shape.tags
    assert features.position.max() < shape.positions
    assert arrays.vectors.shape == (len(arrays.fields), shape.dim)
    for name in ("candidate", "user", "history_dense"):
        found = getattr(features, name)
        assert found.dtype == np.float32
        assert np.isfinite(found).all()
        flat = found.reshape(-1, found.shape[-1]) if name != "history_dense" else found[features.history > 0]
        assert np.abs(flat.mean(axis=0)).max() < 0.6
    assert not features.history_dense[features.history == 0].any()
    assert (
        len(space.columns) == len(FIELDS) + 1 + 3 + shape.video + shape.user + shape.candidate + shape.history
    )


def test_rates_and_affinities_are_their_formulas():
    space = shop_builder().space
    state = dict.fromkeys(VIDEO_COUNT_KEYS, 0.0) | {
        "event:impression": 20.0,
        "event:click": 3.0,
        "event:watch": 4.0,
        "watch_s": 30.0,
    }
    user = Profile("user", "u", None, {"category:x": 0.0, "interests": 6.0}, ((DAWN - HOUR_US, "e"),))
    _, content = shop()
    category = content.videos.column("category")[0].as_py()
    user.counts[f"category:{category}"] = 2.0  # type: ignore[index]
    found = raw(request_of(user, states=[list(state.values())]))
    rate, strength = space.priors[[r.name for r in RATES].index("click")]
    p = (3 + strength * rate) / (20 + strength)
    assert found["candidate.click_rate"] == pytest.approx(np.log(p / (1 - p)))
    seconds = (30 + 10 * space.seconds[0]) / (4 + 10)
    assert found["candidate.log_watch_s"] == pytest.approx(np.log1p(seconds))
    share = space.shares["category"][1 + space.vocabularies["category"].index(category)]
    assert found["candidate.category_affinity"] == pytest.approx(np.log((2 + 5 * share) / (11 * share)))
    assert found["user.log_idle_hours"] == pytest.approx(np.log(2))
    published = content.videos.column("published_at").cast(pa.int64())[0].as_py()
    assert found["candidate.log_age_hours"] == pytest.approx(np.log1p((DAWN - published) / HOUR_US))


def test_affinity_is_level_without_a_history_and_shares_are_those_of_impressions():
    log, content = shop()
    assert raw(request_of())["candidate.category_affinity"] == pytest.approx(0)
    space = shop_builder().space
    shown = log.filter(pc.equal(log.column("kind"), "impression"))
    ids, categories = (content.videos.column(n).to_pylist() for n in ("video_id", "category"))
    of = dict(zip(ids, categories, strict=True))
    seen = [of[v] for v in shown.column("video_id").to_pylist()]
    for place, category in enumerate(space.vocabularies["category"], start=1):
        expected = (seen.count(category) + 1) / (len(seen) + len(space.vocabularies["category"]) + 1)
        assert space.shares["category"][place] == pytest.approx(expected)


def test_cosines_are_those_of_centred_vectors():
    log, content = shop()
    space, facts = shop_builder().space, video_metadata(content)
    ids = content.videos.column("video_id").to_pylist()
    profile = Profile("user", "u")
    for n, video in enumerate(ids[:3]):
        event = EventRecord(f"e{n}", "u", video, "click", None, "shop", DAWN - (3 - n) * HOUR_US)
        profile = apply_event(profile, event, facts[video], CONFIG)
    found = raw(request_of(profile, [ids[5]]))
    centred = {v: facts[v].vector.astype(float) - space.mean for v in ids}
    directions = {v: c / np.linalg.norm(c) for v, c in centred.items()}
    cosines = [directions[ids[5]] @ directions[v] for v in ids[:3]]
    assert found["candidate.liked_cosine_max"] == pytest.approx(max(cosines), abs=1e-5)
    assert found["candidate.liked_cosine_mean"] == pytest.approx(np.mean(cosines), abs=1e-5)
    # One click after another within hours hardly fades: the taste is about the sum of what was clicked.
    summed = sum(centred[v] for v in ids[:3])
    assert found["candidate.taste_cosine"] == pytest.approx(
        directions[ids[5]] @ summed / np.linalg.norm(summed), abs=0.01
    )
    assert taste_vector(profile) is not None
    mean = np.mean([facts[v].vector for v in set(log.column("video_id").to_pylist())], axis=0)
    np.testing.assert_allclose(space.mean, mean, atol=1e-6)


@settings(deadline=None)
@given(st.integers(0, 1000), st.integers(1, 40), st.integers(1, 300))
def test_unit_rows_multiply_without_error_in_any_order(seed, count, dim):
    rng = np.random.default_rng(seed)
    rows = unit_vectors(rng.normal(size=(count, dim)) * 10.0 ** rng.integers(-30, 30))
    np.testing.assert_allclose(np.linalg.norm(rows, axis=1), 1, atol=1e-4)
    order = rng.permutation(dim)
    together = rows @ rows.T
    assert (together == rows[:, order] @ rows[:, order].T).all()
    assert together[0, -1] == sum((rows[0, order] * rows[-1, order]).tolist())
    assert (unit_vectors(rows[:1] * 0) == 0).all()


def test_the_history_is_what_was_liked_last_once_a_video_and_only_before_the_moment():
    entries = [
        (3, "video-00", 5.0),
        (5, "video-01", 1.0),
        (6, "video-00", 2.0),
        (7, "gone", 1.0),
        (9, "video-02", 1.0),
    ]
    history = tuple(InterestEvent(DAWN + at * HOUR_US, f"e{at}", v, w, "watch") for at, v, w in entries)
    builder, user = shop_builder(), Profile("user", "u", history=history)
    request = request_of(user, ["video-00", "video-02"], DAWN + 9 * HOUR_US)
    features, rows = builder.build([request]), builder.catalog.rows
    assert features.history.tolist() == [[0, rows["video-00"], rows["video-01"], 0, 0]]
    found = raw(request)
    np.testing.assert_allclose(found["history.log_age_hours"], np.log1p([2, 3, 4]))
    np.testing.assert_allclose(found["history.log_weight"], np.log1p([1.0, 5.0, 1.0]))
    assert found["candidate.liked"].tolist() == [1, 0]
    assert found["candidate.log_liked_hours"][0] == pytest.approx(np.log1p(3))
    later = replace(
        user, history=(*history, InterestEvent(DAWN + 99 * HOUR_US, "x", "video-03", 1.0, "watch"))
    )
    assert same_features(builder.build([replace(request, user=later)]), features)
    before = replace(user, history=history[:-1])
    assert same_features(builder.build([replace(request, user=before)]), features)
    many = replace(
        user,
        history=tuple(InterestEvent(DAWN + n, f"e{n:03}", f"video-{n:02}", 1.0, "watch") for n in range(20)),
    )
    newest = [rows[f"video-{n:02}"] for n in range(19, 14, -1)]
    assert builder.build([replace(request, user=many)]).history.tolist() == [newest]


def test_tags_affinity_is_the_mean_share_of_the_history_with_each_tag():
    _, content = shop()
    space, rows = shop_builder().space, content.videos.select(["video_id", "tags"]).to_pylist()
    tags = {r["video_id"]: set(r["tags"]) & set(space.vocabularies["tags"]) for r in rows}
    liked = [rows[n]["video_id"] for n in (0, 1, 19, 27)]
    user = Profile(
        "user",
        "u",
        history=tuple(InterestEvent(DAWN - 9 + n, f"e{n}", v, 1.0, "watch") for n, v in enumerate(liked)),
    )
    found = raw(request_of(user, list(tags)))["candidate.tags_affinity"]
    for video, affinity in zip(tags, found, strict=True):
        shares = [sum(tag in tags[v] for v in liked) / 4 for tag in tags[video]]
        assert affinity == pytest.approx(np.mean(shares) if shares else 0.0)


def test_context_and_positions_have_places():
    builder = shop_builder()
    monday = 4 * DAY_US  # 5 January 1970
    slots = np.array([-1, 0, 3, 400], np.int16)
    features = builder.build([request_of(videos=["video-00"] * 4, at=monday + 13 * HOUR_US, positions=slots)])
    assert features.context.tolist() == [[1, 14, 1]]
    assert features.position.tolist() == [0, 1, 4, builder.space.config.positions]
    sunday = replace(request_of(), context=RequestContext(monday - 1, "elsewhere"))
    assert builder.build([sunday]).context.tolist() == [[0, 24, 7]]
    assert builder.build([sunday]).position.tolist() == [0]


def test_a_new_video_has_its_creator_tags_numbers_and_vector():
    log, content = shop()
    old = content.videos.slice(0, 20)
    ids = set(old.column("video_id").to_pylist())
    known = log.filter(pc.is_in(log.column("video_id"), value_set=pa.array(ids)))
    vectors = content.embeddings
    first = CatalogContent(old, vectors.slice(0, 20))
    builder = builder_for(known, first)
    added = builder.catalog.with_videos(CatalogContent(content.videos.slice(20), vectors.slice(20)))
    whole = CatalogFeatures.from_content(content, builder.space)
    assert added.rows == whole.rows
    for name in ("fields", "tags", "dense", "vectors"):
        assert (getattr(added.arrays, name) == getattr(whole.arrays, name)).all()
    assert len(builder.catalog) < len(added)
    row = added.rows["video-25"]
    assert added.arrays.fields[row, 0] == 0
    creator = content.videos.column("creator_id")[25].as_py()
    assert builder.space.vocabularies["creator_id"][added.arrays.fields[row, 1] - 1] == creator
    assert np.linalg.norm(added.arrays.vectors[row]) == pytest.approx(1, abs=1e-5)
    moved = content.videos.slice(0, 1)
    renamed = changed(changed(moved, "category", 0, "never heard of"), "duration_s", 0, None)
    tag = builder.space.vocabularies["tags"][3]
    renamed = changed(renamed, "tags", 0, ["never heard of", tag])
    later = added.with_videos(CatalogContent(renamed))
    assert later.arrays.tags[later.rows["video-00"]].tolist() == [4, *[0] * 7]
    assert later.arrays.fields[later.rows["video-00"], 2] == 0
    assert later.arrays.dense[later.rows["video-00"], :2].tolist() == [0, 1]
    assert (later.arrays.vectors == added.arrays.vectors).all()
    assert added.arrays.fields[added.rows["video-00"], 2] > 0


def test_what_is_missing_is_nought_beside_its_indicator():
    log, content = shop()
    videos = content.videos
    for column, value in (
        ("duration_s", float("nan")),
        ("price", None),
        ("published_at", None),
        ("category", None),
    ):
        videos = changed(videos, column, 0, value)
    builder = shop_builder()
    bare = FeatureBuilder(builder.space, CatalogFeatures.from_content(CatalogContent(videos), builder.space))
    features = bare.build([request_of(videos=["video-00", "never seen"])])
    assert bare.catalog.arrays.vectors.shape[1] == builder.space.dim
    assert not bare.catalog.arrays.vectors.any()
    assert bare.catalog.arrays.dense[bare.catalog.rows["video-00"]].tolist() == [0, 1, 0, 1, 1]
    assert not bare.catalog.arrays.dense[0].any()
    found = dict(zip(BLOCKS["candidate"], features.candidate[0].tolist(), strict=True))
    missing = (
        "log_age_hours",
        "taste_cosine",
        "liked_cosine_max",
        "liked_cosine_mean",
        "liked",
        "log_liked_hours",
    )
    assert [found[name] for name in missing] == [0] * 6
    assert found["no_age"] == 1
    user = dict(zip(BLOCKS["user"], features.user[0].tolist(), strict=True))
    assert [user[name] for name in BLOCKS["user"] if name.startswith("no_")] == [1] * 4
    assert user["log_idle_hours"] == 0
    assert features.video[1] == 0
    assert np.isfinite(features.candidate).all()
    nothing = FeatureBuilder(builder.space, CatalogFeatures.from_content(CatalogContent(), builder.space))
    assert len(nothing.build(requests_of(log, content))) > 0


@pytest.mark.parametrize("value", [float("nan"), -1.0, float("inf")])
def test_numbers_that_are_not_are_refused_by_name(value):
    state = np.zeros((1, len(VIDEO_COUNT_KEYS)))
    state[0, 1] = value
    with pytest.raises(RankError, match=r"event:click of video video-00 is \S+; 1 counts"):
        shop_builder().build([request_of(states=state)])
    with pytest.raises(RankError, match="event:click of user u is"):
        shop_builder().build([request_of(Profile("user", "u", None, {"event:click": value}))])


def test_requests_that_do_not_fit_are_refused():
    builder, log = shop_builder(), shop()[0]
    with pytest.raises(RankError, match=r"video_counts of shape \(1, 3\), want \(1, 11\)"):
        builder.build([request_of(states=np.zeros((1, 3)))])
    with pytest.raises(RankError, match="1 candidates and 2 positions"):
        builder.build([request_of(positions=np.zeros(2, np.int16))])
    lost = Profile("user", "u", None, {"interests": float("nan")})
    with pytest.raises(RankError, match=r"candidate\.category_affinity is nan for video-00"):
        builder.build([request_of(lost)])
    for vector in (np.ones(3, np.float32), np.full(6, np.nan, np.float32)):
        with pytest.raises(RankError, match="the taste of user u is"):
            builder.build([request_of(Profile("user", "u", vector, {"taste_weight": 1.0}))])
    heavy = Profile("user", "u", history=(InterestEvent(1, "e", "video-00", float("nan"), "watch"),))
    with pytest.raises(RankError, match=r"history\.log_weight is nan for user u"):
        builder.build([request_of(heavy)])
    other = builder_for(log, shop()[1], RankerFeaturesConfig(history=3))
    with pytest.raises(RankError, match="the catalog is of space"):
        FeatureBuilder(builder.space, other.catalog)


def test_embeddings_that_do_not_fit_are_refused():
    log, content = shop()
    space = shop_builder().space
    other = changed(content.embeddings, "encoder", 0, "other")
    with pytest.raises(RankError, match=r"EMBEDDINGS\.encoder has 2 values, such as other and simulated"):
        CatalogFeatures.from_content(CatalogContent(content.videos, other), space)
    with pytest.raises(
        RankError, match=r"are of other \(6 long\), the ranker was trained with those of simulated"
    ):
        CatalogFeatures.from_content(CatalogContent(content.videos, other.slice(0, 1)), space)
    broken = changed(content.embeddings, "vector", 4, [float("nan")] * 6)
    for use in (
        lambda c: CatalogFeatures.from_content(c, space),
        lambda c: fit_space(log, requests_of(log, content), c, space.config),
    ):
        with pytest.raises(
            RankError, match=r"EMBEDDINGS\.vector is not finite in 1 of 30 rows, such as video-04"
        ):
            use(CatalogContent(content.videos, broken))


def test_a_space_fitted_without_vectors_passes_over_them():
    log, content = shop()
    builder = builder_for(log, CatalogContent(content.videos))
    assert (builder.space.dim, builder.space.encoder) == (0, None)
    with_vectors = FeatureBuilder(builder.space, CatalogFeatures.from_content(content, builder.space))
    requests = requests_of(log, content)
    assert same_features(with_vectors.build(requests), builder.build(requests))
    with pytest.raises(RankError, match="0 videos with impressions and 0 requests"):
        fit_space(log.slice(0, 0), [], content, RankerFeaturesConfig())


def test_a_space_knows_nothing_of_what_is_not_in_its_part():
    log, content = shop()
    half = log.slice(0, log.num_rows // 2)
    requests = requests_of(half, content)
    shown = set(half.filter(pc.equal(half.column("kind"), "impression")).column("video_id").to_pylist())
    mask = pc.is_in(content.videos.column("video_id"), value_set=pa.array(sorted(shown)))
    few = CatalogContent(content.videos.filter(mask), content.embeddings.filter(mask))
    assert len(shown) < content.videos.num_rows
    assert (
        fit_space(half, requests, few, RankerFeaturesConfig()).digest
        == fit_space(half, requests, content, RankerFeaturesConfig()).digest
    )


def test_a_stored_space_is_the_same_and_another_s_columns_are_refused(tmp_path):
    space = shop_builder().space
    record, arrays, tables = space.store()
    write_artifact(
        str(tmp_path), ModelArtifact("test", {"space": record}, arrays | {"weights": np.ones(2)}, tables)
    )
    read = read_artifact(str(tmp_path), "test")
    found = FeatureSpace.restore(read.config["space"], read.arrays, read.tables)
    assert found.digest == space.digest
    log, content = shop()
    again = FeatureBuilder(found, CatalogFeatures.from_content(content, found))
    requests = requests_of(log, content)
    assert same_features(again.build(requests), shop_builder().build(requests))
    columns = [c for c in record["columns"] if c != "user.no_taste"] + ["user.height"]
    with pytest.raises(ModelError, match=r"no longer has user\.height; adds user\.no_taste"):
        FeatureSpace.restore(record | {"columns": columns}, arrays, tables)
    with pytest.raises(ModelError, match="in another order"):
        FeatureSpace.restore(record | {"columns": record["columns"][::-1]}, arrays, tables)
    with pytest.raises(ModelError, match="was changed: digest"):
        FeatureSpace.restore(record, arrays | {"space_seconds": arrays["space_seconds"] + 1}, tables)
    with pytest.raises(ModelError, match="incomplete"):
        FeatureSpace.restore(record, {}, tables)
    assert profile_counts(None).shape == (len(VIDEO_COUNT_KEYS),)
