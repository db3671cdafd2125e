"""`vrec fit --privacy.epsilon`, from events to a ledger, a model and a bundle."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from vrec.cli.main import run
from vrec.core.errors import ModelError
from vrec.pipelines.fit.run import recommend_users
from vrec.privacy.ledger import PrivacyLedger


@pytest.fixture
def log(tmp_path):
    rng = np.random.default_rng(0)
    rows = [
        (f"secret-{user}", f"v{video:02}")
        for user in range(300)
        for video in rng.choice(20, 5, replace=False)
    ]
    users, videos = zip(*rows, strict=True)
    columns = {
        "event_id": [str(number) for number in range(len(rows))],
        "user_id": users,
        "video_id": videos,
        "kind": ["click"] * len(rows),
        "at": pa.array(
            [1_700_000_000_000_000 + number for number in range(len(rows))], pa.timestamp("us", "UTC")
        ),
    }
    pq.write_table(pa.table(columns), tmp_path / "events.parquet")
    catalog = [f"v{video:02}" for video in range(25)]
    pq.write_table(pa.table({"video_id": catalog, "uri": catalog}), tmp_path / "videos.parquet")
    return tmp_path


def arguments(log, out, *more, model="ease"):
    where = ["--events", str(log / "events.parquet"), "--videos", str(log / "videos.parquet")]
    return ["fit", "--model", model, *where, "--out", str(log / out), *more]


def test_fits_are_charged_until_the_budget_is_spent(log, capsys):
    for number, model in enumerate(("popular", "als"), 1):
        assert (
            run(arguments(log, model, "--privacy.epsilon", "2", "--set", "privacy.budget=3", model=model))
            == 0
        )
        manifest = json.loads((log / model / "manifest.json").read_text())
        promise = manifest["metrics"]["privacy"]
        assert (promise["epsilon"], promise["ledger"]["entry"]) == (2, number)
    assert run(arguments(log, "third", "--privacy.epsilon", "2")) == 1
    assert "the budget is 3" in capsys.readouterr().err
    assert not (log / "third" / "manifest.json").exists()
    ledger = str(log / "events.parquet.privacy.jsonl")
    report = ["privacy", "report", "--ledger", ledger, "--json", "--model", str(log / "als")]
    assert run(report) == 0
    done = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert (len(done["fits"]), done["models"][0]["entry"], done["budget"]) == (2, 2, 3)
    assert done["spent"] == pytest.approx(promise["ledger"]["spent"])

    # The last fit taken out: whole lines, so that only the model knows.
    lines = Path(ledger).read_bytes().splitlines(keepends=True)
    Path(ledger).write_bytes(b"".join(lines[:-1]))
    assert run(report) == 1
    assert "is not in the ledger" in capsys.readouterr().err


def test_bundle_of_a_private_model_has_no_exact_count(log, capsys):
    assert run(arguments(log, "model", "--privacy.epsilon", "4")) == 0
    bundle = ["bundle", *arguments(log, "bundle")[3:], "--recommender", str(log / "model")]
    assert run(bundle) == 0
    manifest = json.loads((log / "bundle" / "manifest.json").read_text())
    assert manifest["data"]["privacy"]["ledger"]["entry"] == 1
    assert manifest["data"]["privacy"]["not_covered"] == []
    with np.load(next((log / "model").glob("arrays-*.npz"))) as arrays:
        counts = arrays["released_counts"]
    popular = pq.read_table(next((log / "bundle").glob("popular-*.parquet"))).to_pylist()
    assert {row["video_id"]: row["users"] for row in popular} == {
        f"v{number:02}": np.rint(count) for number, count in enumerate(counts) if count > 0
    }
    for file in (log / "bundle").rglob("*"):
        assert file.is_dir() or b"secret-" not in file.read_bytes()


def test_a_private_model_recommends_from_events_only(log):
    assert run(arguments(log, "model", "--privacy.epsilon", "4")) == 0
    with pytest.raises(ModelError, match="holds no histories"):
        recommend_users(str(log / "model"), ["secret-1"], 3)
    out = str(log / "lists")
    given = ["--events", str(log / "events.parquet"), "--out", out]
    assert run(["recommend", "--model", str(log / "model"), "--k", "3", *given]) == 0
    assert pq.read_table(f"{out}/recommendations").num_rows == 900


@pytest.mark.parametrize("epsilon", ["0", "-1", "nan", "inf", "many"])
def test_other_numbers_are_refused_and_spend_nothing(log, epsilon, capsys):
    assert run(arguments(log, "model", "--privacy.epsilon", epsilon)) == 2
    assert "privacy.epsilon" in capsys.readouterr().err
    assert not list(log.glob("*.jsonl"))


@pytest.mark.parametrize(
    "setting",
    [
        "robustness.defence.drop_promoted=true",
        "robustness.defence.clip_videos=20",
        "robustness.defence.shopper_weights=w.parquet",
        "retrieval.ease.median_groups=5",
        "events.quarantine=w.parquet",
        "events.gates.policy=cut",
    ],
)
def test_defences_that_depend_on_all_shoppers_are_refused_with_epsilon(log, setting, capsys):
    fit = arguments(log, "model", "--privacy.epsilon", "4", "--set", setting)
    for command in (fit, ["train", "ranker", *fit[3:]], ["privacy", "audit", *fit[1:7], *fit[9:]]):
        assert run(command) == 2
        error = capsys.readouterr().err
        name = setting if "gates" in setting else setting.split("=")[0]
        assert "privacy.epsilon is 4" in error
        assert f"leave {name} out" in error
    assert not list(log.glob("*.jsonl"))
    assert not (log / "model").exists()


@pytest.mark.parametrize("command", [["train", "encoder"], ["evaluate"]])
def test_commands_without_a_private_form_refuse_epsilon(log, command, capsys):
    options = ["--events", str(log / "events.parquet"), "--out", str(log / "x")]
    assert run([*command, *options, "--set", "privacy.epsilon=3"]) == 2
    assert "has no private form" in capsys.readouterr().err


@pytest.mark.slow
def test_a_killed_fit_has_spent(log):
    process = subprocess.Popen([sys.executable, "-m", "vrec", *arguments(log, "m", "--privacy.epsilon", "1")])
    ledger = log / "events.parquet.privacy.jsonl"
    while not ledger.exists() and process.poll() is None:
        time.sleep(0.001)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    assert len(PrivacyLedger(str(ledger)).read().entries) == 1
