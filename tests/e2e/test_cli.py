"""Commands as a person types them: exit codes, what is printed where, and never a traceback."""

import json
import shutil
from pathlib import Path

import pytest

from tests.e2e.conftest import ONE_WORKER, QUICK, vrec
from vrec.bundle.bundle import ServingBundle
from vrec.cli.main import run
from vrec.config.serve import ServeConfig
from vrec.events.config import EventReadConfig
from vrec.events.read import read_events
from vrec.serving.deploy import load_events


@pytest.fixture(scope="module")
def shop(few_clips, tmp_path_factory):
    """Three good clips and two bad ones."""
    folder = shutil.copytree(few_clips, tmp_path_factory.mktemp("shop") / "videos")
    (folder / "page.mp4").write_text("<!doctype html><title>Not found</title>")
    (folder / "nothing.mov").touch()
    (folder / "prices.csv").write_text("sku,price\n")
    return folder


def test_embed_lists_failures_and_exits_3_then_0_when_mended(shop, on_cluster, tmp_path, capfd):
    out = tmp_path / "tables"
    code, said, complaints = vrec(
        "embed", "--videos", shop, "--out", out, *QUICK, *ONE_WORKER, env=on_cluster
    )
    assert code == 3, complaints
    assert "embedded 3 of 5 videos" in said
    assert "1 file skipped" in said
    assert "page: WrongContainer: " in complaints
    assert "nothing: EmptyVideo: " in complaints
    assert "Fix: " in complaints
    assert "core_worker" not in complaints
    assert "Traceback" not in complaints

    code, listed, _ = vrec("failures", out, "--json")
    rows = [json.loads(line) for line in listed.splitlines()]
    assert code == 0
    assert {r["video_id"]: r["error"] for r in rows} == {"page": "WrongContainer", "nothing": "EmptyVideo"}
    assert all(r["fix"] for r in rows)

    again = ["embed", "--videos", shop, "--out", out, *QUICK, *ONE_WORKER]
    for tolerance, want in (("0", 3), ("1", 3), ("2", 0), ("39%", 3), ("40%", 0), ("100 %", 0), ("-1", 2)):
        assert run([str(a) for a in (*again, "--tolerate", tolerance)]) == want, tolerance

    (shop / "page.mp4").unlink()
    (shop / "nothing.mov").unlink()
    code, said, complaints = vrec(
        "embed", "--videos", shop, "--out", out, "--json", *QUICK, *ONE_WORKER, env=on_cluster
    )
    assert code == 0, complaints
    counts = json.loads(said)["counts"]
    assert (counts["embedded"], counts["kept"], counts["new"], counts["dropped"]) == (3, 3, 0, 2)
    capfd.readouterr()
    assert run(["failures", str(out)]) == 0
    assert capfd.readouterr().out == f"{out}: no video failed\n"

    # Too few for a shop: the demo shows them, from what is embedded already, and nothing more.
    arguments = ["demo", "--videos", shop, "--out", tmp_path, "--address", on_cluster["RAY_ADDRESS"]]
    assert run([str(a) for a in (*arguments, *QUICK, *ONE_WORKER)]) == 0
    said = capfd.readouterr().out
    assert "vrec serve" not in said
    assert not (tmp_path / "bundle").exists()
    assert f"open {tmp_path}/report.html" in said
    assert_page(tmp_path / "report.html")


def assert_page(report):
    """The demo's report has posters, and asks nothing of any other machine."""
    page = report.read_text()
    assert "data:image/jpeg" in page
    assert "https://" not in page.replace("http://www.w3.org", "")


EMBED = ["embed", "--videos", "SHOP", "--out", "OUT"]


def assert_one_line_with_its_mend(answer, code, words):
    got, said, complaints = answer
    assert got == code, complaints
    assert words in complaints
    assert not said
    assert "Traceback" not in complaints
    if code == 1:
        assert len(complaints.strip().splitlines()) == 1, complaints


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["embed", "--videos", "/absent", "--out", "OUT"], 1, "/absent: no such file or folder. Fix: "),
        ([*EMBED, "--set", "embed.batchsize=4"], 2, "did you mean embed.batch_size?"),
        ([*EMBED, "--config", "/absent.yaml"], 2, "/absent.yaml: no such file"),
        ([*EMBED[:-1], "/proc/vrec"], 1, "cannot write"),
        (["failures", "OUT"], 1, "run `vrec embed"),
        (["embed", "--out", "OUT"], 2, "--videos"),
        (["embed", "--video", "SHOP"], 2, "--video"),
        (["nonsense"], 2, "nonsense"),
    ],
)
def test_what_cannot_run_is_one_line_with_its_mend(shop, tmp_path, capfd, arguments, code, words):
    places = {"SHOP": str(shop), "OUT": str(tmp_path / "out")}
    got = run([places.get(a, a) for a in arguments])
    assert_one_line_with_its_mend((got, *capfd.readouterr()), code, words)


def test_an_address_without_a_ray_is_one_line_with_its_mend_too(shop, tmp_path, capfd, monkeypatch):
    # Other tests may have connected this process.
    monkeypatch.setattr("ray.is_initialized", lambda: False)
    got = run(["embed", "--videos", str(shop), "--out", str(tmp_path / "out"), "--address", "127.0.0.1:1"])
    assert_one_line_with_its_mend((got, *capfd.readouterr()), 1, "no Ray at 127.0.0.1:1")


def test_help_lists_the_commands():
    code, said, _ = vrec("--help")
    assert code == 0
    for command in ("demo", "embed", "failures"):
        assert command in said


SMALL_SHOP = [
    "demo.shop.users=80",
    "demo.shop.requests_per_user=6",
    "demo.shop.click_rate=0.3",
    "demo.ranker.epochs=1",
    "evaluate.models=[popular]",
]


@pytest.mark.timeout(300)
def test_the_demo_starts_ray_itself_and_the_command_that_it_prints_serves_what_it_leaves(
    many_clips, tmp_path
):
    chosen = [part for setting in SMALL_SHOP for part in ("--set", setting)]
    folder = shutil.copytree(many_clips, tmp_path / "clips")
    # The bundle takes the place of an earlier demo's.
    (tmp_path / "d" / "bundle").mkdir(parents=True)
    (tmp_path / "d" / "bundle" / "manifest.json").write_text("{}")
    arguments = ["--videos", folder, "--out", "d", *QUICK, *ONE_WORKER, *chosen]
    code, said, complaints = vrec("demo", *arguments, cwd=tmp_path, timeout=280)
    assert code == 0, complaints
    assert "open d/report.html" in said
    assert_page(tmp_path / "d" / "report.html")
    command = next(line for line in said.splitlines() if line.startswith("  vrec serve ")).split()
    options = dict(zip(command[2::2], command[3::2], strict=True))
    assert options.keys() == {"--bundle", "--data", "--events"}
    bundle = ServingBundle.load(str(tmp_path / options["--bundle"]))
    bundle.check()
    files = {Path(uri) for uri in bundle.videos.column("uri").to_pylist()}
    assert files == set(folder.rglob("*.mp4"))
    config = ServeConfig(bundle=bundle.uri, data=str(tmp_path / options["--data"]))
    events = read_events(str(tmp_path / options["--events"]), {}, EventReadConfig()).events
    assert load_events(config, events) == events.num_rows
    assert load_events(config, events) == 0
