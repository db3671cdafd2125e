"""Every kind of input from a real web server: what is there is read, and what is not says why."""

import gzip
from collections.abc import Callable

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.web_files import free_port, web_files
from vrec.config.events import EventsConfig
from vrec.config.load import load_settings
from vrec.config.settings import Settings
from vrec.core.errors import VrecError
from vrec.core.tables import StorageFolder
from vrec.events.read import EventReadConfig, read_events
from vrec.media.catalog import open_source
from vrec.pipelines.compress.dataset import read_labels
from vrec.pipelines.inputs import InputPaths, read_inputs, read_users, read_videos
from vrec.pipelines.tune.space import read_search_space
from vrec.retrieval.models.popular import PopularRecommender
from vrec.retrieval.registry import load_recommender
from vrec.testing.interactions import interactions

EVENTS = b"event_id,user_id,video_id,kind,at\n1,u,v,click,2026-01-01\n2,u,w,click,2026-01-02\n"


def parquet(**columns) -> bytes:
    sink = pa.BufferOutputStream()
    pq.write_table(pa.table(columns), sink)
    return sink.getvalue().to_pybytes()


FILES = {
    "events.csv": EVENTS,
    "events.csv.gz": gzip.compress(EVENTS),
    "events.parquet": parquet(
        event_id=["1"], user_id=["u"], video_id=["v"], kind=["click"], at=["2026-01-01"]
    ),
    "videos.parquet": parquet(video_id=["v"], uri=["a.mp4"]),
    "users.csv": b"user_id\nu\n",
    "users.txt": b"u\n",
    "users.parquet": parquet(user_id=["u"]),
    "labels.csv": b"video_id,label\nv,dress\n",
    "settings.yaml": b"embed: {batch_size: 5}\n",
    "space.yaml": b"retrieval.als.factors: {int: [8, 16]}\n",
    "ml100k/ml-100k.inter": b"user_id:token\titem_id:token\ttimestamp:float\nu\tv\t881250949\n",
    "ml100k/ml-100k.item": b"item_id:token\tmovie_title:token_seq\tclass:token_seq\nv\tA\tDrama\n",
}
READERS: dict[str, Callable[[str], object]] = {
    "events.csv": lambda uri: read_events(uri, None, EventReadConfig()).events.num_rows == 2,
    "events.csv.gz": lambda uri: read_events(uri, None, EventReadConfig()).events.num_rows == 2,
    "events.parquet": lambda uri: read_events(uri, None, EventReadConfig()).events.num_rows == 1,
    "videos.parquet": lambda uri: read_videos(uri).num_rows == 1 == len(list(open_source(uri).refs())),
    "users.csv": lambda uri: read_users(uri) == ["u"],
    "users.txt": lambda uri: read_users(uri) == ["u"],
    "users.parquet": lambda uri: read_users(uri) == ["u"],
    "labels.csv": lambda uri: read_labels(uri, ["v"]).labels == ("dress",),
    "settings.yaml": lambda uri: load_settings(uri).embed.batch_size == 5,
    "space.yaml": lambda uri: len(read_search_space(uri, Settings(), ["retrieval"]).dimensions) == 1,
}


@pytest.fixture(scope="module")
def web():
    with web_files(dict(FILES)) as server:
        yield server


@pytest.mark.parametrize("name", READERS)
@pytest.mark.parametrize("route", ["ok", "redirect", "no-length", "error-once"])
def test_every_input_is_read_from_the_web(web, name, route):
    assert READERS[name](f"{web.root}/{route}/{name}?v=1")


WRONG = {"absent": "", "forbidden": "HTTP 403 Forbidden", "dead": "cannot connect to 127.0.0.1"}
# Each attempt to reach a dead host takes its time.
CASES = [(name, "dead") for name in ("events.csv", "videos.parquet", "users.csv", "settings.yaml")]
CASES += [(name, route) for name in READERS for route in ("absent", "forbidden")]


@pytest.mark.parametrize(("name", "route"), CASES)
def test_an_input_that_is_not_there_says_why_and_shows_no_signature(web, name, route):
    root = f"http://127.0.0.1:{free_port()}" if route == "dead" else web.root
    place = f"absent-{name}" if route == "absent" else name
    with pytest.raises(VrecError) as caught:
        READERS[name](f"{root}/{route}/{place}?sig=secret")
    assert f"{place}?sig=***: {WRONG[route]}" in str(caught.value)
    assert ("no such file" in str(caught.value)) == (route == "absent")
    assert "secret" not in str(caught.value) + caught.value.fix


def test_a_public_data_set_and_a_model_are_read_from_the_web(web, tmp_path):
    inputs = read_inputs(InputPaths(f"{web.root}/ok", "movielens_100k"), EventsConfig(), "fused")
    assert inputs.events.num_rows == 1
    model = PopularRecommender().fit(interactions([("u", "v", 1.0, 0)]))
    model.save(str(tmp_path))
    for name in StorageFolder(str(tmp_path)).files():
        web.files[f"model/{name}"] = (tmp_path / name).read_bytes()
    assert load_recommender(f"{web.root}/ok/model?v=1").users.ids.to_pylist() == ["u"]
