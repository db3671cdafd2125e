"""Fitting and asking recommenders on a real Ray, against the same done without one."""

import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from vrec.config.load import load_settings
from vrec.core.errors import ConfigError, FitError, ModelError, OutputError, SourceError
from vrec.core.schema import RECOMMENDATIONS, conform
from vrec.events.interactions import aggregate_interactions, weigh_events
from vrec.pipelines.fit.run import fit, recommend_all, recommend_users
from vrec.pipelines.inputs import InputPaths, read_users
from vrec.retrieval.models.item_knn import ItemKnn
from vrec.retrieval.registry import build_recommender, load_recommender

SETTINGS = load_settings(
    overrides=["fit.shard_users=50", "retrieval.item_knn.neighbours=7", "fit.blocks=tasks"]
)


def test_what_ray_fits_and_writes_is_what_one_process_would(shop, ray_cluster, tmp_path):
    model, out = str(tmp_path / "model"), str(tmp_path / "out")
    done = fit(shop.where, model, SETTINGS, model="item_knn", address=ray_cluster.address)
    rows = aggregate_interactions(
        weigh_events(shop.simulation.events, SETTINGS.events.interest, shop.simulation.videos),
        SETTINGS.events.interest,
    )
    alone = ItemKnn(SETTINGS.retrieval.item_knn).fit(rows)
    users = alone.users.ids.to_pylist()
    assert done["interactions"] == rows.num_rows
    assert done["users"] == len(users)
    assert load_recommender(model).recommend(users, 9).equals(alone.recommend(users, 9))

    # Shards of 50 users each, and a stale file of a run with more of them.
    stale = tmp_path / "out" / "recommendations" / "00099.parquet"
    stale.parent.mkdir(parents=True)
    stale.touch()
    batch = recommend_all(model, out, SETTINGS, k=4, address=ray_cluster.address)
    manifest = json.loads((tmp_path / "out" / "manifest.json").read_text())
    assert not stale.exists()
    assert len(batch["files"]) == -(-len(users) // 50)
    assert manifest["files"] == batch["files"]
    found = pa.concat_tables([pq.read_table(tmp_path / "out" / name) for name in batch["files"]])
    assert conform(found, RECOMMENDATIONS, stage="test").equals(alone.recommend(users, 4))


def test_every_model_of_the_registry_is_built_by_its_name():
    from vrec.retrieval.config import RECOMMENDER_KINDS

    assert {build_recommender(kind, SETTINGS.retrieval).kind for kind in RECOMMENDER_KINDS} == set(
        RECOMMENDER_KINDS
    )


def test_a_model_can_be_asked_without_ray(shop, tmp_path):
    rows = aggregate_interactions(
        weigh_events(shop.simulation.events, SETTINGS.events.interest), SETTINGS.events.interest
    )
    build_recommender("popular", SETTINGS.retrieval).fit(rows).save(str(tmp_path / "m"))
    user = rows["user_id"][0].as_py()
    assert recommend_users(str(tmp_path / "m"), [user, "stranger"], 3).num_rows == 6
    assert len(recommend_users(str(tmp_path / "m"), None, 1)["user_id"].unique()) == len(
        rows["user_id"].unique()
    )


def test_what_cannot_be_fitted_is_told_before_ray_starts(shop, tmp_path):
    with pytest.raises(FitError, match=r"no recommender is called itemknn; did you mean item_knn\?"):
        fit(shop.where, str(tmp_path / "m"), SETTINGS, model="itemknn")
    with pytest.raises(ConfigError, match="movielens: there is no reader"):
        fit(InputPaths("/nowhere", dataset="movielens"), str(tmp_path / "m"), SETTINGS, model="popular")
    (tmp_path / "file").touch()
    with pytest.raises(OutputError):
        fit(shop.where, str(tmp_path / "file" / "m"), SETTINGS, model="popular")
    with pytest.raises(ModelError, match=r"no manifest\.json there"):
        recommend_users(str(tmp_path), ["u"], 3)


def test_users_are_read_from_whatever_lists_them(tmp_path):
    (tmp_path / "lines.txt").write_text("u1\n\n u2 \n")
    (tmp_path / "table.csv").write_text('age,user_id\n3, u1 \n4,"u,2"\n5,\n')
    pq.write_table(pa.table({"user_id": [" 7", "8 ", " ", None]}), tmp_path / "table.parquet")
    assert read_users(str(tmp_path / "lines.txt")) == ["u1", "u2"]
    assert read_users(str(tmp_path / "table.csv")) == ["u1", "u,2"]
    assert read_users(str(tmp_path / "table.parquet")) == ["7", "8"]
    (tmp_path / "other.csv").write_text("age\n3\n")
    for name, words in (("absent.txt", "no such file"), ("other.csv", "no column user_id")):
        with pytest.raises(SourceError, match=words):
            read_users(str(tmp_path / name))
