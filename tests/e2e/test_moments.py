"""Moments from files to answers on a real Ray, with a joint encoder; a killed embedding of them resumes."""

import json
import signal
import urllib.parse
import urllib.request
from dataclasses import replace

import pyarrow.parquet as pq
import pytest

from tests.e2e.conftest import QUICK, served, service_config, start, vrec
from tests.e2e.test_kill import finished, wait_for_parts, wait_until_gone
from tests.encoders.moments.joint_checkpoint import write_joint_checkpoint
from tests.events.rows import events
from vrec.bundle.bundle import ServingBundle
from vrec.core.tables import read_manifest, read_moments
from vrec.encoders.moments.config import JointEncoderConfig
from vrec.encoders.moments.joint import JointEncoder
from vrec.synthetic.videos import SyntheticVideosConfig, plan_catalog, videos_table

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]
FEW = 6
DRAWN = SyntheticVideosConfig(
    videos=FEW, near_duplicates=0, broken=0, seconds=1.5, fps=8, width=160, height=160
)
SRT = "1\n00:00:00,500 --> 00:00:01,200\nlook how the zip opens\n"


@pytest.fixture(scope="module")
def films(tmp_path_factory):
    """Folder of drawn videos, one of which has subtitles, and the table with their rows."""
    from vrec.synthetic.videos import draw_video

    folder = tmp_path_factory.mktemp("films")
    plan = [replace(drawn, video_id=drawn.file.removesuffix(".mp4")) for drawn in plan_catalog(DRAWN)]
    for drawn in plan:
        draw_video(drawn, folder / "videos")
    (folder / "videos" / plan[0].file).with_suffix(".srt").write_text(SRT)
    table = folder / "VIDEOS.parquet"
    pq.write_table(videos_table(plan, folder / "videos"), table)
    return folder / "videos", table, plan


@pytest.fixture(scope="module")
def joint(tmp_path_factory):
    return write_joint_checkpoint(tmp_path_factory.mktemp("joint"))


@pytest.fixture(scope="module")
def settings(joint):
    return [*QUICK, "--set", f"embed.moments.joint.model={joint}", "--set", "embed.batch_size=1"]


@pytest.fixture(scope="module")
def embedded(films, settings, on_cluster, tmp_path_factory):
    """Tables of an undisturbed run, made by the command."""
    out = tmp_path_factory.mktemp("embedded")
    videos = films[0]
    code, said, complaints = vrec(
        "embed", "--videos", videos, "--out", out, "--moments", *settings, env=on_cluster
    )
    assert code == 0, said + complaints
    return out


def test_a_killed_embedding_resumes_with_the_same_moments(films, settings, embedded, on_cluster, tmp_path):
    arguments = ["embed", "--videos", films[0], "--out", tmp_path, "--moments", *settings]
    process = start(*arguments, env=on_cluster)
    wait_for_parts(tmp_path, 2, process)
    process.send_signal(signal.SIGKILL)
    process.wait()
    wait_until_gone("FusedEmbedder")
    finished(start(*arguments, env=on_cluster))
    counts = read_manifest(str(tmp_path))["counts"]
    assert counts["kept"] >= 2
    assert counts["kept"] + counts["new"] == FEW
    for modality in ("frames", "text"):
        assert read_moments(str(tmp_path), modality).equals(read_moments(str(embedded), modality)), modality


def ask(url, path, body=None):
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(url + path, data, {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=60) as answer:
        return json.load(answer)


@pytest.fixture(scope="module")
def bundle(films, embedded, tmp_path_factory):
    out = tmp_path_factory.mktemp("bundle") / "1"
    log = events(
        *(
            {"user_id": user, "video_id": drawn.video_id, "kind": "click"}
            for user in ("bo", "cy")
            for drawn in films[2]
        )
    )
    pq.write_table(log, out.parent / "EVENTS.parquet")
    arguments = ["--events", out.parent / "EVENTS.parquet", "--videos", films[1], "--embeddings", embedded]
    code, said, complaints = vrec("bundle", *arguments, "--out", out)
    assert code == 0, said + complaints
    return str(out)


@pytest.fixture(scope="module")
def url(ray_cluster, bundle, tmp_path_factory):
    folder = tmp_path_factory.mktemp("service")
    config = service_config(folder, bundle, ranking_timeout_s=60)
    with served(config, ray_cluster) as url:
        yield url


def test_moments_are_found_by_words_in_a_search_and_by_the_assistant(url, films, bundle, joint):
    said, other = (drawn.video_id for drawn in films[2][:2])
    path = f"/v1/videos/{urllib.parse.quote(said, safe='')}/moments?q="
    (moment,) = ask(url, f"{path}zip")["moments"]
    assert (moment["source"], moment["text"]) == ("words", "look how the zip opens")
    assert (moment["start_s"], moment["end_s"]) == (0.5, pytest.approx(1.2))

    title = films[2][0].title
    items = ask(url, "/v1/search", {"text": f"{title} zip", "k": FEW, "moments": True})["items"]
    (found,) = (item for item in items if item["video_id"] == said)
    assert found["moments"][0]["text"] == "look how the zip opens"

    # Nothing is said in this one: its pictures are compared with the words, in the joint encoder's space.
    path = f"/v1/videos/{urllib.parse.quote(other, safe='')}/moments?q="
    moments = ask(url, f"{path}red+zip&k=20")["moments"]
    assert {one["source"] for one in moments} == {"picture"}
    index = ServingBundle.load(bundle).moments.indexes["frames"]
    word = JointEncoder(JointEncoderConfig(model=joint)).texts(["red zip"])
    want = sorted(index.scores(word, index.rows_of(other)).tolist(), reverse=True)
    assert [one["score"] for one in moments] == pytest.approx(want, abs=1e-4)

    shown = ask(url, "/v1/assistant", {"user_id": "ann", "message": title})
    place = [card["video_id"] for card in shown["cards"]].index(said) + 1
    number = ("first", "second", "third", "fourth", "fifth", "sixth")[place - 1]
    answer = ask(
        url, "/v1/assistant", {"user_id": "ann", "message": f"where does the {number} show the zip?"}
    )
    assert answer["kind"] == "moment", answer
    assert answer["cards"][0]["moments"][0]["start_s"] == 0.5
    assert "0:00 to 0:02" in answer["text"]
