"""`vrec embed` of a table whose videos lie on a real web server with every fault of one."""

import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.e2e.conftest import QUICK
from tests.web_files import SIGNATURE, free_port, web_files
from vrec.cli.main import run
from vrec.core.tables import read_failures, read_media

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

GOOD = ("ok", "redirect", "busy-once", "busy-until-a-date", "error-once", "no-length", "chunked", "reset",
        "reset-first", "reset-twice", "short", "slow")  # fmt: skip
BAD = {
    "absent": ("VanishedVideo", "HTTP 404 Not Found: there is no such file"),
    "forbidden": (
        "UnreachableVideo",
        "HTTP 403 Forbidden: access is refused; a presigned URL may have expired",
    ),
    "error-for-ever": (
        "UnreachableVideo",
        "HTTP 500 Internal Server Error: the server fails, after 5 attempts",
    ),
    "dead": ("UnreachableVideo", "cannot connect to 127.0.0.1:{port}: connection refused"),
    "page": ("WrongContainer", "HTML"),
}


def test_videos_on_the_web_are_embedded_and_their_faults_told_apart(few_clips, ray_cluster, tmp_path, capfd):
    clip = (few_clips / "0.mp4").read_bytes()
    page = b"<!doctype html><title>Log in</title>"
    port = free_port()
    with web_files({"a b.mp4": clip, "page": page}) as web:
        uris = {route: f"{web.root}/{route}/a b.mp4?v=1" for route in (*GOOD, *BAD)}
        uris |= {
            "signed": f"{web.root}/signed/a%20b.mp4?X-Amz-Signature={SIGNATURE}",
            "expired": f"{web.root}/signed/a b.mp4?X-Amz-Signature=old-{SIGNATURE}",
            "absent": f"{web.root}/ok/none.mp4?sig={SIGNATURE}",
            "dead": f"http://127.0.0.1:{port}/a.mp4?sig={SIGNATURE}",
            "page": f"{web.root}/ok/page",
        }
        sink = pa.BufferOutputStream()
        # The table lies on the web as well, behind a signature that videos without one of their own need too.
        names = pa.array([*uris, "relative"])
        pq.write_table(pa.table({"video_id": names, "uri": [*uris.values(), "a b.mp4"]}), sink)
        web.files["VIDEOS.parquet"] = sink.getvalue().to_pybytes()
        table = f"{web.root}/signed/VIDEOS.parquet?X-Amz-Signature={SIGNATURE}"
        out = tmp_path / "out"
        embed = ["embed", "--videos", table, "--out", out, *QUICK, "--address", ray_cluster.address, "--json"]
        assert run([*map(str, embed), "--set", "embed.workers=1"]) == 3
        said, complaints = capfd.readouterr()
        counts = json.loads(said)["counts"]
        assert (counts["embedded"], counts["failed"]) == (len(GOOD) + 2, len(BAD) + 1)

        failed = {row["video_id"]: row for row in read_failures(str(out)).to_pylist()}
        wanted = BAD | {"expired": BAD["forbidden"]}
        assert {name: row["error"] for name, row in failed.items()} == {n: e for n, (e, _) in wanted.items()}
        for name, (_, message) in wanted.items():
            assert message.format(port=port) in failed[name]["message"], name

        media = {row["video_id"]: row for row in read_media(str(out)).to_pylist()}
        good = {*GOOD, "signed", "relative"}
        assert {name for name, row in media.items() if row["error"] is None} == good
        assert len({media[name]["content_hash"] for name in good}) == 1, "the same bytes from every route"
        assert media["signed"]["uri"] == f"{web.root}/signed/a%20b.mp4?X-Amz-Signature=***"

        assert run([*map(str, embed)]) == 3, "a second run hashes what is there, and embeds nothing anew"
        again, later = capfd.readouterr()
        assert json.loads(again)["counts"]["new"] == len(BAD)
    files = [file.read_bytes() for file in out.rglob("*") if file.is_file()]
    shown = [said, complaints, again, later, str(failed), str(media), (out / "manifest.json").read_text()]
    assert not [text for text in shown if SIGNATURE in text]
    assert not [data for data in files if SIGNATURE.encode() in data]


@pytest.mark.parametrize(
    ("videos", "words"),
    [
        ("/ok/", "folders cannot be listed over HTTP. Fix: give a VIDEOS table"),
        ("/ok/none.parquet", "no such file"),
        ("/forbidden/t.parquet?sig=1", "HTTP 403 Forbidden: access is refused"),
        ("/ok/t.parquet", "not a Parquet table"),
    ],
)
def test_a_catalog_on_the_web_that_cannot_be_read_says_why(tmp_path, capfd, videos, words):
    with web_files({"t.parquet": b"no table"}) as web:
        assert run(["embed", "--videos", f"{web.root}{videos}", "--out", str(tmp_path / "out")]) == 1
    complaints = capfd.readouterr().err
    assert words in complaints
    assert "Traceback" not in complaints
    assert "sig=1" not in complaints
