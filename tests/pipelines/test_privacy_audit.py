"""`vrec privacy audit` on a small log, beside what each attack finds on its own."""

import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from vrec.cli.main import run


@pytest.fixture(scope="module")
def log(tmp_path_factory):
    folder = tmp_path_factory.mktemp("log")
    rng = np.random.default_rng(0)
    pairs = [(user, video) for user in range(80) for video in rng.choice(40, 12, replace=False)]
    at = [1_700_000_000_000_000 + number for number in range(len(pairs))]
    columns = {
        "event_id": [str(number) for number in range(len(pairs))],
        "user_id": [f"u{user}" for user, _ in pairs],
        "video_id": [f"v{video:02}" for _, video in pairs],
        "kind": ["click"] * len(pairs),
        "at": pa.array(at, pa.timestamp("us", "UTC")),
    }
    pq.write_table(pa.table(columns), folder / "events.parquet")
    users = [f"u{user}" for user in range(80)]
    even = ["f" if user % 2 else "m" for user in range(80)]
    pq.write_table(pa.table({"user_id": users, "gender": even}), folder / "attributes.parquet")
    pq.write_table(pa.table({"user_id": users, "age": users}), folder / "many.parquet")
    (folder / "many.csv").write_text("user_id,age\n" + "".join(f"{user},{user}\n" for user in users))
    return folder


def audit(log, *more, model="ease"):
    settings = ["models=6", "targets=20", "canaries=15"]
    sets = [part for name in settings for part in ("--set", f"privacy.audit.{name}")]
    return run(["privacy", "audit", "--events", str(log / "events.parquet"), "--model", model, *sets, *more])


def test_an_audit_shows_both_sides_and_spends_nothing(log, capsys):
    attributes = ["--attributes", str(log / "attributes.parquet")]
    assert audit(log, *attributes, "--privacy.epsilon", "1", "--json") == 0
    done = json.loads(capsys.readouterr().out)
    assert (done["shoppers"], done["videos"], done["epsilon"]) == (80, 40, 1.0)
    names = [[row["name"] for row in done["attacks"][side]["results"]] for side in ("without", "with")]
    assert names[0] == names[1]
    assert names[0][-1] == "attribute gender"
    ordinary, private = (
        {row["name"]: row for row in done["attacks"][side]["results"]} for side in ("without", "with")
    )
    reconstruction = "reconstruction from neighbor changes"
    assert ordinary[reconstruction]["auc"] > 0.7 > private[reconstruction]["auc"]
    assert done["attacks"]["with"]["canaries"]["epsilon"] <= 1.0
    assert list(log.glob("*.jsonl*")) == []


def test_an_audit_without_epsilon_is_printed_with_one_side(log, capsys):
    assert audit(log) == 0
    text = capsys.readouterr().out
    assert "without privacy" in text
    assert "ε = " not in text


@pytest.mark.parametrize(
    ("more", "reason"),
    [
        (["--model", "auto"], "the model is auto"),
        (["--privacy.epsilon", "0"], r"privacy.epsilon: input should be greater than 0"),
        (["--attributes", "many.parquet"], "the attribute age has 80 values"),
        (["--attributes", "many.csv"], "the attribute age has 80 values"),
        (["--attributes", "events.parquet"], "values, want two"),
    ],
)
def test_bad_input_is_named(log, more, reason, capsys):
    more = [str(log / part) if part.endswith((".parquet", ".csv")) else part for part in more]
    assert audit(log, *more) == 2
    assert reason in capsys.readouterr().err
