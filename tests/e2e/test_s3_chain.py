"""Every command on a real S3 server that no environment names: endpoint and keys stand in each URI."""

import json
import urllib.request

import numpy as np
import pyarrow as pa
import pytest

from tests.e2e.conftest import QUICK
from tests.s3_bucket import SECRETS
from tests.web_files import free_port
from vrec.cli.main import run
from vrec.core.tables import StorageFolder, read_embeddings, read_failures, read_media
from vrec.events.videos import complete_videos
from vrec.synthetic.shop.config import SimulationConfig
from vrec.synthetic.shop.simulate import simulate

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

SHOP = SimulationConfig(
    users=60, categories=3, creators=6, days=20, requests_per_user=8, slots=4, click_rate=0.3
)


@pytest.fixture(scope="module")
def connected(ray_cluster):
    """Connection of this process to the tests' cluster, which all commands use."""
    from vrec.pipelines.cluster import connect_cluster

    with connect_cluster(ray_cluster.address):
        yield


@pytest.fixture
def vrec(connected, capfd, monkeypatch):
    """Run a command on the tests' cluster; gives its JSON. Nothing that it prints holds the secret."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)

    def call(*arguments, code=0):
        capfd.readouterr()
        got = run([*map(str, arguments), "--json"])
        said, complaints = capfd.readouterr()
        assert got == code, complaints
        assert not [secret for secret in SECRETS if secret in said + complaints]
        return json.loads(said.splitlines()[-1]) if said else complaints

    return call


@pytest.fixture(scope="module")
def catalog(bucket, many_clips):
    """A folder of clips in the bucket, one of them with an odd name, and a table beside them."""
    clips = sorted(many_clips.rglob("*.mp4"))[:10]
    folder = StorageFolder(bucket.uri("in/videos"))
    names = [f"{number}.mp4" for number in range(len(clips) - 1)] + ["a b%20?#é.mp4"]
    for name, clip in zip(names, clips, strict=True):
        folder.filesystem.create_dir(folder.path, recursive=True)
        with folder.filesystem.open_output_stream(folder.path_of(name)) as stream:
            stream.write(clip.read_bytes())
    return [name.removesuffix(".mp4") for name in names]


@pytest.fixture
def tables(bucket, catalog, vrec):
    """The catalog's embedding folder in the bucket."""
    embed = ["embed", "--videos", bucket.uri("in/videos"), "--out", bucket.uri("out/tables"), *QUICK]
    manifest = vrec(*embed, "--set", "embed.workers=1")
    assert (manifest["counts"]["embedded"], manifest["counts"]["failed"]) == (10, 0)
    assert manifest["videos"] == bucket.shown("in/videos")
    again = vrec(*embed)
    assert (again["counts"]["kept"], again["counts"]["new"]) == (10, 0)
    return bucket.uri("out/tables")


@pytest.fixture
def log(bucket, tables):
    """Options with a log about these videos, whose paths are relative to the table in the bucket."""
    fused = read_embeddings(tables, "fused")
    ids = fused["entity_id"].to_pylist()
    uris = [f"videos/{one}.mp4" for one in ids]
    videos = complete_videos(pa.table({"video_id": ids, "uri": uris, "price": [9.0] * len(ids)}), "test")
    shop = simulate(SHOP, videos, np.stack(fused["vector"].to_numpy(zero_copy_only=False)))
    events = bucket.write_table("in/EVENTS.parquet", shop.events)
    catalog = bucket.write_table("in/VIDEOS.parquet", shop.videos)
    return ["--events", events, "--videos", catalog, "--embeddings", tables]


def test_a_failed_video_is_named_without_the_secret(bucket, catalog, vrec):
    rows = pa.table({"video_id": ["gone", "0"], "uri": ["none.mp4", "videos/0.mp4"]})
    out = bucket.uri("out/partial")
    embed = ["embed", "--videos", bucket.write_table("in/short.parquet", rows), "--out", out, *QUICK]
    vrec(*embed, "--set", "embed.workers=1", code=3)
    (failed,) = read_failures(out).to_pylist()
    assert (failed["video_id"], failed["error"]) == ("gone", "VanishedVideo")
    assert failed["uri"] == bucket.shown("in/none.mp4")
    assert bucket.shown("in/none.mp4") in failed["message"]
    assert vrec("failures", out)["video_id"] == "gone"
    media = read_media(out).to_pylist()
    assert {row["uri"] for row in media} == {bucket.shown("in/none.mp4"), bucket.shown("in/videos/0.mp4")}


def test_all_commands_on_s3(bucket, tables, log, vrec, tmp_path):
    settings = "train: {ranker: {training: {epochs: 2}}}\nevaluate: {models: [item_knn]}\ntune: {trials: 2}\n"
    bucket.write("in/settings.yaml", settings.encode())
    bucket.write("in/space.yaml", b"retrieval.item_knn.shrink: {uniform: [0, 9]}\n")
    config = ["--config", bucket.uri("in/settings.yaml")]

    model, ranker = bucket.uri("out/model"), bucket.uri("out/ranker")
    assert vrec("fit", *log, "--model", "item_knn", "--out", model)["events"] > 1000
    bucket.write("in/users.csv", b"user_id\nshopper-1\nshopper-2\nnobody\n")
    some = ["--users", bucket.uri("in/users.csv"), "--out", bucket.uri("out/lists"), "--k", "2"]
    assert vrec("recommend", "--model", model, *some)["users"] == 3
    report = vrec("evaluate", *log, *config, "--out", bucket.uri("out/evaluation"))["report"]
    assert report.startswith("s3://KEY:***@shop/out/evaluation/report.html?endpoint_override=")
    trained = vrec("train", "ranker", *log, *config, "--out", ranker)
    assert trained["epochs"] == 2
    best = vrec("tune", "cf", *log, *config, "--model", "item_knn", "--space", bucket.uri("in/space.yaml"),
                "--out", bucket.uri("out/tuned"))  # fmt: skip
    assert best["trials"] == 2
    small = ["--set", "train.encoder.training.epochs=1", "--set", "train.encoder.learned.kind=gru", *QUICK]
    vrec("train", "encoder", "--videos", bucket.uri("in/videos"), *small, "--out", bucket.uri("out/encoder"))
    bundle = bucket.uri("out/bundle")
    made = vrec("bundle", *log, "--recommender", model, "--ranker", ranker, "--out", bundle)
    assert (made["videos"], made["vectors"]) == (10, 10)
    serve(bucket, vrec, bundle, log[1], made["version"], tmp_path)
    wanted = ["tables/manifest.json", "model/manifest.json", "lists/manifest.json", "evaluation/metrics.json",
              "ranker/manifest.json", "ranker/test.json", "tuned/best.yaml", "tuned/report.html",
              "encoder/manifest.json", "encoder/features/manifest.json", "bundle/manifest.json",
              "bundle/ranker/manifest.json"]  # fmt: skip
    bucket.assert_clean(*(f"out/{name}" for name in wanted))
    checkpoints = [name for name in bucket.names() if "/checkpoints" in name]
    assert not checkpoints, "removed after the training"


def test_compress_on_s3(bucket, catalog, vrec):
    names = [f"{video}.mp4,{number % 2},shop" for number, video in enumerate(catalog)]
    bucket.write("in/videos/labels.csv", "\n".join(["file,label,source", *names]).encode())
    small = [*QUICK, "--set", "embed.decode.frame_px=64", "--set", "embed.encoders.frames.frame_px=64"]
    quick = ["compress.methods=[static]", "compress.quantize.pictures=4", "compress.frames=2",
             "compress.rounds=2", "compress.max_accuracy_loss=1", "compress.min_recall=0",
             f"compress.labels={bucket.uri('in/videos/labels.csv')}"]  # fmt: skip
    chosen = [part for setting in quick for part in ("--set", setting)]
    out = bucket.uri("out/small")
    made = vrec("compress", "--videos", bucket.uri("in/videos"), *small, *chosen, "--out", out)
    assert (made["videos"], made["labelled"], made["chosen"]) == (10, 10, "static")
    config = ["--config", bucket.uri("out/small/embed.yaml")]
    tables = bucket.uri("out/small-tables")
    manifest = vrec("embed", "--videos", bucket.uri("in/videos"), "--out", tables, *config,
                    "--set", "embed.workers=1")  # fmt: skip
    assert (manifest["counts"]["embedded"], manifest["counts"]["failed"]) == (10, 0)
    bucket.assert_clean("out/small/manifest.json")


def serve(bucket, vrec, bundle, events, version, tmp_path):
    import ray

    from vrec.config.serve import ServeConfig
    from vrec.serving.deploy import stop_service

    port = free_port()
    sets = [f"serve.port={port}", f"serve.store.path={tmp_path}/store.db", "serve.replicas.encoder=0"]
    chosen = [part for setting in sets for part in ("--set", setting)]
    try:
        vrec("serve", "--bundle", bundle, "--data", bucket.uri("out/data"), "--events", events, *chosen,
             "--address", ray.get_runtime_context().gcs_address)  # fmt: skip
        body = json.dumps({"user_id": "shopper-1", "k": 2}).encode()
        request = urllib.request.Request(
            f"http://127.0.0.1:{port}/v1/recommend", body, {"Content-Type": "application/json"}
        )
        with urllib.request.urlopen(request, timeout=60) as answer:
            said = json.load(answer)
        assert (said["bundle"], said["degraded"], len(said["items"])) == (version, False, 2)
    finally:
        stop_service(ServeConfig(data=bucket.uri("out/data")))
