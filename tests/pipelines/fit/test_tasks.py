"""Fits and recommendations with tasks that run in this process: resources, shards, files and counts."""

import json
import signal
import subprocess
import sys

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from vrec.config.load import load_settings
from vrec.core.errors import ModelError
from vrec.core.tables import StorageFolder
from vrec.pipelines.fit import tasks
from vrec.pipelines.fit.run import fit, recommend_all
from vrec.retrieval.registry import load_recommender


@pytest.fixture
def model(shop, tmp_path, inline_ray) -> str:
    fit(shop.where, str(tmp_path / "model"), load_settings(), model="popular")
    inline_ray.clear()
    return str(tmp_path / "model")


def test_a_fit_has_the_resources_and_settings_that_are_given(shop, tmp_path, inline_ray):
    settings = load_settings(
        overrides=["fit.cpus=3", "fit.gpus=0.5", "retrieval.als={factors: 5, iterations: 1}"]
    )
    done = fit(shop.where, str(tmp_path / "m"), settings, model="als")
    (call,) = inline_ray
    assert (call["num_cpus"], call["num_gpus"], call["num_returns"]) == (3, 0.5, 2)
    assert load_recommender(str(tmp_path / "m")).item_factors.shape[1] == 5
    assert done["model"] == "als"
    assert done["events"] == shop.simulation.events.num_rows
    assert (done["duplicates"], done["future"]) == (0, 0)
    assert done["fit_s"] > 0


@pytest.mark.parametrize(
    ("blocks", "nodes", "expected"),
    [("threads", 2, False), ("tasks", 1, True), ("auto", 1, False), ("auto", 2, True)],
)
def test_blocks_are_tasks_where_it_is_set_or_the_cluster_has_several_nodes(
    shop, tmp_path, inline_ray, monkeypatch, blocks, nodes, expected
):
    monkeypatch.setattr("ray.nodes", lambda: [{"Alive": True}] * nodes)
    settings = load_settings(overrides=[f"fit.blocks={blocks}", "fit.local_interactions=0"])
    fit(shop.where, str(tmp_path / "m"), settings, model="item_knn")
    assert ("_apply" in [call["name"] for call in inline_ray]) is expected


def test_blocks_are_mapped_in_order(inline_ray):
    blocks = [range(3), range(3, 5)]
    assert list(tasks.map_blocks_on_ray(lambda shared, block: shared + sum(block), 100, blocks)) == [103, 107]
    assert [call["num_cpus"] for call in inline_ray] == [1, 1]


def test_each_shard_of_users_is_a_task_and_a_file(model, tmp_path, inline_ray):
    out = tmp_path / "out"
    users = load_recommender(model).users.ids.to_pylist()[:5]
    settings = load_settings(overrides=["fit.shard_users=2"])
    done = recommend_all(model, str(out), settings, k=3, users=[*users, users[0]])
    assert [call["name"] for call in inline_ray] == ["_write"] * 3
    assert done["files"] == [f"recommendations/{i:05}.parquet" for i in range(3)]
    tables = [pq.read_table(out / name) for name in done["files"]]
    assert [table["user_id"].unique().to_pylist() for table in tables] == [users[:2], users[2:4], users[4:]]
    assert (done["rows"], done["users"]) == (15, 5)
    manifest = json.loads((out / "manifest.json").read_text())
    assert (manifest["k"], manifest["rows"], manifest["model"]) == (3, 15, model)
    assert pa.concat_tables(tables).num_rows == 15
    fewer = recommend_all(model, str(out), settings, k=3, users=users[:1])
    assert len(inline_ray) == 3, "one shard is written without Ray"
    assert StorageFolder(str(out)).files("recommendations") == ["00000.parquet"]
    assert (fewer["rows"], fewer["users"]) == (3, 1)
    everyone = recommend_all(model, str(out), load_settings(), k=1)
    assert everyone["users"] == len(load_recommender(model).users.ids)


def test_recommending_to_nobody_is_an_error(model, tmp_path):
    with pytest.raises(ModelError, match="nobody to recommend to"):
        recommend_all(model, str(tmp_path / "out"), load_settings(), k=1, users=[])


def test_a_small_fit_needs_no_ray(shop, tmp_path, inline_ray):
    fit(shop.where, str(tmp_path / "m"), load_settings(), model="popular")
    assert not inline_ray
    rows = load_recommender(str(tmp_path / "m")).sizes["interactions"]
    for least, tasks_run in ((rows, 0), (rows - 1, 1)):
        settings = load_settings(overrides=[f"fit.local_interactions={least}"])
        fit(shop.where, str(tmp_path / "m"), settings, model="popular")
        assert len(inline_ray) == tasks_run


def test_a_choice_is_told_on_the_log_and_returned(shop, tmp_path, caplog):
    settings = load_settings(overrides=["retrieval.auto.members=[popular,item_knn]"])
    with caplog.at_level("INFO"):
        done = fit(shop.where, str(tmp_path / "m"), settings, model="auto")
    assert any(line.startswith("chosen: ") for line in caplog.messages)
    assert any(line.startswith("  item_knn") for line in caplog.messages)
    assert done["chosen"] == load_recommender(str(tmp_path / "m")).report
    assert done["chosen"]["data"]["users"] == done["users"]


@pytest.mark.slow
def test_a_killed_fit_continues_and_leaves_nothing_behind(shop, tmp_path):
    """The process dies in the fifth trial, as by `kill -9`; the same command then fits what is missing."""
    script = """
import os, signal, sys
from vrec.config.load import load_settings
from vrec.pipelines.fit.run import fit
from vrec.pipelines.inputs import InputPaths
from vrec.retrieval.models import auto

original, fits = auto.fit_member, []

def fit_member(kind, *rest, **options):
    fits.append(kind)
    if len(fits) == int(sys.argv[1]):
        os.kill(os.getpid(), signal.SIGKILL)
    return original(kind, *rest, **options)

auto.fit_member = fit_member
settings = load_settings(overrides=["retrieval.auto.members=[popular,item_knn,co_visitation,ease,content]"])
done = fit(InputPaths(sys.argv[3], videos=sys.argv[4]), sys.argv[2], settings, model="auto")
print(len(fits), done["chosen"]["chosen"])
"""

    def run(out: str, die_at: int) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-c", script, str(die_at), out, shop.where.events, shop.where.videos]
        return subprocess.run(command, check=False, capture_output=True, text=True, timeout=120)

    whole = run(str(tmp_path / "whole"), 0)
    killed = run(str(tmp_path / "m"), 5)
    assert killed.returncode == -signal.SIGKILL
    assert len(list((tmp_path / "m" / "trials").iterdir())) == 4
    resumed = run(str(tmp_path / "m"), 0)
    fits, chosen = whole.stdout.split(maxsplit=1)
    assert resumed.stdout.split(maxsplit=1) == [str(int(fits) - 4), chosen]
    assert not (tmp_path / "m" / "trials").exists()
    users = load_recommender(str(tmp_path / "m")).users.ids.to_pylist()
    first, second = (load_recommender(str(tmp_path / name)).recommend(users, 5) for name in ("whole", "m"))
    assert first.equals(second)
