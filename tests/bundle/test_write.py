"""Writing a bundle: units, the list of popular videos, and every setting."""

import time
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest

from tests.bundles import shop_parts
from tests.events.rows import day, interactions, videos
from vrec.bundle.bundle import ServingBundle
from vrec.bundle.catalog import BundleCatalog, bundle_errors, bundle_version, component_digest
from vrec.bundle.config import BundleConfig
from vrec.bundle.models import bundled_embed_config, replace_model_folders
from vrec.bundle.write import popular_videos, write_bundle
from vrec.core.errors import BundleError, StoreError
from vrec.encoders.backbone import COMPRESSED_PREFIX
from vrec.encoders.config import EmbedConfig
from vrec.profiles.profile import Profile
from vrec.profiles.update import embedding_matrix
from vrec.ranking.features.arrays import RankingRequest, RequestContext
from vrec.ranking.features.video_counts import VIDEO_COUNT_KEYS
from vrec.retrieval.config import HybridConfig, PopularConfig
from vrec.retrieval.models.hybrid import HybridRecommender
from vrec.retrieval.models.popular import PopularRecommender


def with_columns(table: pa.Table, **columns) -> pa.Table:
    for name, values in columns.items():
        place, field = table.column_names.index(name), table.schema.field(name)
        table = table.set_column(place, field, pa.array(values, field.type))
    return table


WATCHED = interactions(
    ("u", "a", 1, 0), ("w", "a", 1, 0), ("x", "a", 1, 0), ("u", "c", 1, 9), ("w", "c", 9, 9),
    ("u", "b", 1, 9), ("w", "b", 1, 9), ("u", "gone", 1, 9),
)  # fmt: skip


def test_the_popular_come_by_users_then_id_without_what_nobody_watched():
    table = videos(d=None, c=None, b=None, a=None)
    assert popular_videos(table, WATCHED, BundleConfig()) == ["a", "b", "c"]
    assert popular_videos(table, WATCHED, BundleConfig(popular=2)) == ["a", "b"]
    recent = BundleConfig(popularity=PopularConfig(half_life_days=1))
    assert popular_videos(table, WATCHED, recent) == ["b", "c", "a"]
    shut = with_columns(table, available=[True, True, False, True])
    assert popular_videos(shut, WATCHED, BundleConfig()) == ["a", "c"]


def test_without_interactions_the_newest_come_first_and_those_without_a_date_last():
    table = with_columns(
        videos(none=None, old=None, b=None, a=None, shut=None),
        published_at=[None, day(0), day(1), day(1), day(2)],
        available=[True, True, True, True, False],
    )
    assert popular_videos(table, None, BundleConfig()) == ["a", "b", "old", "none"]
    assert popular_videos(table, None, BundleConfig(popular=3)) == ["a", "b", "old"]


def test_every_setting_shapes_the_bundle_which_was_made_now_in_microseconds(tmp_path):
    config = BundleConfig(
        neighbours=3, popular=4, smoke_requests=5, popularity=PopularConfig(half_life_days=0.5)
    )
    before = time.time_ns() // 1000
    parts = shop_parts()
    version = write_bundle(str(tmp_path), parts, config)
    after = time.time_ns() // 1000
    bundle, catalog = ServingBundle.load(str(tmp_path)), BundleCatalog.load(str(tmp_path))
    assert before <= bundle.made_at <= after
    assert bundle.made_at == catalog.made_at
    assert bundle.version == catalog.version == version
    assert bundle.uri == str(tmp_path)
    assert bundle.neighbors.indices.shape == (100, 3)
    assert bundle.popular == tuple(popular_videos(parts.videos, parts.interactions, config))
    assert len(bundle.popular) == 4
    assert bundle.popular != tuple(popular_videos(parts.videos, parts.interactions, BundleConfig(popular=4)))
    assert len(set(bundle.smoke_answers.column("of").to_pylist())) == 5
    assert (catalog.popular, catalog.encoder, catalog.texts.num_rows) == (bundle.popular, "simulated", 99)


def test_a_version_is_of_the_files_and_the_components():
    manifest = {"files": {"a": "1"}, "data": {"parts": {"ranker": "2"}, "made_at": 3}, "config": {}}
    version = bundle_version(manifest)
    assert len(version) == 12
    assert int(version, 16) >= 0
    assert bundle_version(manifest | {"config": {"x": 1}}) == version
    assert bundle_version(manifest | {"data": manifest["data"] | {"made_at": 4}}) == version
    assert bundle_version(manifest | {"files": {"a": "9"}}) != version
    assert bundle_version(manifest | {"data": {"parts": {"ranker": "9"}}}) != version


def test_a_component_without_a_manifest_is_named(tmp_path):
    with pytest.raises(BundleError, match=r"ranker/manifest\.json is missing"):
        component_digest(str(tmp_path), "ranker")


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (StoreError("no"), "^here: no$"),
        (KeyError("embed"), "^here is the bundle of another version of vrec: 'embed'$"),
        (ValueError("two\n lines"), "another version of vrec: two lines$"),
        (BundleError("as it is"), "^as it is$"),
    ],
)
def test_errors_in_the_files_are_the_bundle_s(error, message):
    with pytest.raises(BundleError, match=message), bundle_errors("here"):
        raise error


def test_other_errors_pass():
    with pytest.raises(ZeroDivisionError), bundle_errors("here"):
        raise ZeroDivisionError


def test_a_bundle_of_one_video_has_no_neighbors_and_answers(tmp_path):
    parts = shop_parts()
    name = parts.recommender.videos.ids[0].as_py()
    one = parts.videos.filter(np.asarray(parts.videos.column("video_id")) == name)
    write_bundle(str(tmp_path), replace(parts, videos=one, texts=None), BundleConfig())
    bundle = ServingBundle.load(str(tmp_path))
    assert bundle.neighbors.find(name, 5) == []
    assert set(bundle.smoke_answers.column("of").to_pylist()) == {name}
    assert embedding_matrix(bundle.content.embeddings).shape == (1, 16)
    bundle.check()


def test_folders_of_models_are_replaced_where_an_encoder_has_one():
    plain = EmbedConfig().model_dump(mode="json")
    assert replace_model_folders(plain, {"efficientnet_lite0": "no folder"}) == plain
    encoders = plain["encoders"]
    learned = plain | {
        "encoders": encoders
        | {
            "frames": encoders["frames"] | {"weights": f"{COMPRESSED_PREFIX}/old/net"},
            "fusion": {"kind": "learned", "model": "/old/head"},
        }
    }
    moved = replace_model_folders(learned, {"/old/net": "/new/net", "/old/head": "encoder-fusion"})[
        "encoders"
    ]
    assert moved["frames"]["weights"] == f"{COMPRESSED_PREFIX}/new/net"
    assert moved["fusion"]["model"] == "encoder-fusion"
    assert moved["audio"] == encoders["audio"]
    assert learned["encoders"]["fusion"]["model"] == "/old/head", "the config given stays as it is"
    assert replace_model_folders(learned, {}) == learned
    silent = plain | {"encoders": encoders | {"frames": None, "fusion": {"kind": "learned", "model": "in"}}}
    config = bundled_embed_config(silent, "/bundle", {"in": "digest"})
    assert config.encoders.fusion.model == "/bundle/in"
    assert config.encoders.frames is None


@pytest.mark.parametrize("hybrid", [False, True])
def test_without_a_ranker_a_popular_recommender_makes_a_bundle_in_the_order_of_popularity(tmp_path, hybrid):
    """`vrec fit` may choose the popular list, alone or as the only member of a hybrid."""
    parts = shop_parts()
    popular = PopularRecommender().fit(parts.interactions)
    if hybrid:
        popular = HybridRecommender(HybridConfig(members=("popular",))).fit(parts.interactions)
    with pytest.raises(BundleError, match="gives everyone the same videos"):
        write_bundle(str(tmp_path / "ranked"), replace(parts, recommender=popular), BundleConfig())
    write_bundle(str(tmp_path / "b"), replace(parts, recommender=popular, ranker=None), BundleConfig())
    bundle = ServingBundle.load(str(tmp_path / "b"))
    assert (bundle.neighbors.indices >= 0).sum() == 0
    counts = np.zeros((len(bundle.popular), len(VIDEO_COUNT_KEYS)))
    request = RankingRequest(Profile("user", "u"), RequestContext(0, "feed"), bundle.popular, counts)
    assert (np.diff(bundle.ranker.predict_requests([request]).p_click) < 0).all()
