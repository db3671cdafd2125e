"""Shards by tasks on a real Ray, against the same made in one process."""

import datetime as dt
import filecmp

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import ray
import ray.exceptions

from tests.events.rows import START
from vrec.config.events import EventsConfig
from vrec.config.load import load_settings
from vrec.core.errors import EventsError
from vrec.pipelines.cluster import connect_cluster
from vrec.pipelines.fit.run import fit
from vrec.pipelines.inputs import InputPaths
from vrec.pipelines.ray_tasks import RayTasks
from vrec.pipelines.shards.run import shard_events
from vrec.pipelines.task_runner import TaskCall
from vrec.retrieval.registry import load_recommender

NOW = START + dt.timedelta(days=90)
CONFIG = EventsConfig.model_validate({"shards": {"count": 5}})


def test_ray_writes_what_one_process_writes(ray_cluster, tmp_path):
    for day in range(3):
        at = [START + dt.timedelta(days=day, seconds=n) for n in range(300)]
        ids = [f"e{(day * 200 + n) % 500}" for n in range(300)]
        users = [f"u{n % 41}" for n in range(300)]
        table = pa.table({"event_id": ids, "user_id": users, "video_id": ["v"] * 300, "at": at})
        (tmp_path / "days").mkdir(exist_ok=True)
        pq.write_table(table, tmp_path / "days" / f"{day}.parquet")
    days = [str(tmp_path / "days")]
    for out, address in (("alone", None), ("ray", ray_cluster.address)):
        shard_events([str(tmp_path / "days" / "0.parquet")], str(tmp_path / out), CONFIG, now=NOW)
        shard_events(days, str(tmp_path / out), CONFIG, now=NOW, address=address)
    compared = filecmp.dircmp(tmp_path / "alone", tmp_path / "ray", ignore=[".lock"])
    assert compared.diff_files == compared.left_only == compared.right_only == []
    files = compared.subdirs["shards"]
    assert files.same_files
    assert files.diff_files == files.left_only == files.right_only == []

    bad = pa.table({"user_id": ["u"], "video_id": ["v"], "kind": ["stare"], "at": [NOW]})
    pq.write_table(bad, tmp_path / "bad.parquet")
    with pytest.raises(EventsError, match=r"bad\.parquet: kind has 1 none of .*, such as 'stare' in row 1"):
        shard_events(
            [str(tmp_path / "bad.parquet")], str(tmp_path / "no"), CONFIG, address=ray_cluster.address
        )


def test_ray_fits_on_shards_what_one_process_fits_on_the_file(ray_cluster, shop, tmp_path):
    settings = load_settings(overrides=["events.shards.count=3", "events.interest.half_life_days=9"])
    shard_events([shop.where.events], str(tmp_path / "shards"), settings.events)
    fit(shop.where, str(tmp_path / "alone"), settings, model="item_knn")
    paths = InputPaths(str(tmp_path / "shards"), videos=shop.where.videos)
    fit(paths, str(tmp_path / "ray"), settings, model="item_knn", address=ray_cluster.address)
    alone, on_ray = (load_recommender(str(tmp_path / name)) for name in ("alone", "ray"))
    users = alone.users.ids.to_pylist()
    assert on_ray.recommend(users, 9).equals(alone.recommend(users, 9))
    assert on_ray.hides.equals(alone.hides)


def needs(memory: int) -> int:
    """Fail as a task that Ray kills for want of memory, unless it has asked for enough."""
    asked = int(ray.get_runtime_context().get_assigned_resources()["memory"])
    if asked < memory:
        raise ray.exceptions.OutOfMemoryError("the node ran low on memory")
    return asked


def test_a_task_that_runs_out_of_memory_asks_for_twice_as_much(ray_cluster):
    with connect_cluster(ray_cluster.address):
        tasks = RayTasks()
        done = tasks.run([TaskCall(needs, (50_000_000,), 30_000_000)])
        assert done == [(60_000_000, [])]
        with pytest.raises(ray.exceptions.RayTaskError, match="low on memory"):
            tasks.run([TaskCall(needs, (1 << 60,), 1 << 55)])
