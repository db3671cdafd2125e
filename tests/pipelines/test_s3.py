"""Commands on a real S3 server whose endpoint stands in each URI; without a cluster."""

import json

import pytest

from tests.s3_bucket import SECRETS
from vrec.bundle.bundle import ServingBundle
from vrec.cli.main import run
from vrec.config.load import load_settings
from vrec.config.serve import ServeConfig
from vrec.core.errors import OutputError, SourceError
from vrec.core.tables import StorageFolder
from vrec.core.uris import join_uri
from vrec.media.catalog import open_source
from vrec.pipelines.inputs import InputPaths, read_inputs
from vrec.pipelines.train.data_parallel import train_in_process
from vrec.pipelines.train.ranker import train_on_inputs
from vrec.serving.catalog.uploads import UploadStore
from vrec.serving.deploy import load_events
from vrec.synthetic.shop.config import SimulationConfig
from vrec.synthetic.shop.simulate import simulate

SHOP = SimulationConfig(
    users=60, videos=20, categories=3, creators=6, days=20, requests_per_user=8, slots=4, click_rate=0.3
)
SETTINGS = b"""
train: {ranker: {training: {epochs: 1}}}
evaluate: {models: [item_knn]}
"""


def test_results_of_each_command_on_s3_are_inputs_of_the_next(bucket, inline_ray, tmp_path, capfd):
    shop = simulate(SHOP)
    events, videos = (
        bucket.write_table(f"in/{name}.parquet", table)
        for name, table in (("EVENTS", shop.events), ("VIDEOS", shop.videos))
    )
    log, config = ["--events", events, "--videos", videos], bucket.write("in/settings.yaml", SETTINGS)
    users = bucket.write("in/users.csv", b"user_id\nshopper-1\nshopper-2\nnobody\n")
    out = {name: bucket.uri(f"out/{name}") for name in ("model", "lists", "evaluation", "ranker", "bundle")}

    def vrec(*arguments):
        capfd.readouterr()
        code = run([*map(str, arguments), "--json"])
        said, complaints = capfd.readouterr()
        assert code == 0, complaints
        assert not [secret for secret in SECRETS if secret in said + complaints]
        return json.loads(said.splitlines()[-1])

    assert vrec("fit", *log, "--model", "item_knn", "--out", out["model"])["events"] == shop.events.num_rows
    some = ["--users", users, "--k", "2", "--out", out["lists"]]
    assert vrec("recommend", "--model", out["model"], *some)["users"] == 3
    done = vrec("evaluate", *log, "--config", config, "--out", out["evaluation"])
    assert done["report"] == bucket.shown("out/evaluation/report.html")
    settings = load_settings(config)
    data = read_inputs(InputPaths(events, videos=videos), settings.events, "fused")
    train_on_inputs(data, out["ranker"], settings.train.ranker, train=train_in_process)
    made = vrec(
        "bundle", *log, "--recommender", out["model"], "--ranker", out["ranker"], "--out", out["bundle"]
    )
    assert made["out"] == bucket.shown("out/bundle")
    ServingBundle.load(out["bundle"]).check()
    store = {"kind": "sqlite", "path": str(tmp_path / "store.db")}
    serve = {"bundle": out["bundle"], "data": bucket.uri("out/data"), "store": store}
    assert load_events(ServeConfig.model_validate(serve), shop.events) == shop.events.num_rows
    bucket.assert_clean(
        *(f"out/{name}/manifest.json" for name in ("model", "lists", "ranker", "bundle", "bundle/ranker")),
        *(f"out/evaluation/{name}" for name in ("report.html", "metrics.json")),
        "out/ranker/test.json",
    )


def test_a_catalog_of_odd_names_is_listed_and_read(bucket):
    names = ["1.mp4", "a b%20?#é.mp4", "c/d+&=.mp4"]
    for name in names:
        StorageFolder(bucket.uri("in/videos")).write(name, name.encode())
    for uri in (bucket.uri("in/videos"), bucket.uri("in/videos/")):
        source = open_source(uri)
        refs = list(source.refs())
        assert [ref.video_id for ref in refs] == sorted(name.removesuffix(".mp4") for name in names)
        assert [source.read(ref).decode() for ref in refs] == sorted(names)
        assert all(ref.uri.endswith(f"?{bucket.query}") for ref in refs)


def test_uploads_lie_below_the_data_folder_and_are_removed(bucket):
    uploads = UploadStore(bucket.uri("data"), 10**6)
    incoming = uploads.begin()
    incoming.write(b"\0\0\0\x18ftypisom" + bytes(10_000))
    uri = incoming.commit()
    folder = StorageFolder(bucket.uri("data/uploads"))
    (name,) = folder.files()
    assert uri == join_uri(folder.uri, name)
    uploads.delete(uri)
    assert folder.files() == []


def test_a_bucket_that_is_not_there_is_told_from_a_server_that_is_not(bucket):
    absent = bucket.uri("x").replace("@shop/", "@absent/")
    with pytest.raises(SourceError, match="no such folder"):
        open_source(absent)
    with pytest.raises(OutputError, match="Bucket 'absent' not found"):
        StorageFolder(absent).check_writable()
    dead = "s3://KEY:secret@shop/x?endpoint_override=http%3A%2F%2F127.0.0.1%3A1&region=x"
    with pytest.raises(SourceError, match=r"s3://KEY:\*\*\*@shop/x/manifest.json\?.*: cannot connect"):
        StorageFolder(dead).exists("manifest.json")
