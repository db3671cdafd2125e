"""`vrec robustness suspects` and `release`, and commands that leave out shoppers in quarantine."""

import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.robustness.behavior.logs import honest_log, ring
from vrec.cli.main import run
from vrec.core.compute import pc
from vrec.robustness.behavior.table import quarantined, read_suspects


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("log")
    honest = honest_log()
    pq.write_table(pa.concat_tables([honest, ring(honest)]), folder / "events.parquet")
    args = ["--events", str(folder / "events.parquet"), "--out", str(folder / "suspects.parquet")]
    assert run(["robustness", "suspects", *args]) == 0
    return folder


def fit(folder, out, *more):
    events = str(folder / "events.parquet")
    return run(["fit", "--events", events, "--model", "popular", "--out", str(out), "--json", *more])


def test_a_fit_is_as_if_shoppers_in_quarantine_were_not_there(folder, tmp_path, capsys):
    held = quarantined(read_suspects(str(folder / "suspects.parquet")))
    assert 8 <= len(held) <= 14
    quarantine = f"events.quarantine={folder / 'suspects.parquet'}"
    assert fit(folder, tmp_path / "model", "--set", quarantine) == 0
    done = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert done["quarantine"]["shoppers"] == len(held)
    events = pq.read_table(folder / "events.parquet")
    honest = events.filter(pc.invert(pc.is_in(events["user_id"], value_set=held)))
    assert done["quarantine"]["events"] == events.num_rows - honest.num_rows
    pq.write_table(honest, tmp_path / "events.parquet")
    assert fit(tmp_path, tmp_path / "without") == 0
    for name in ("videos.parquet", "arrays.npz"):
        files = [tmp_path / model / name for model in ("model", "without")]
        if files[0].exists():
            assert files[0].read_bytes() == files[1].read_bytes()


def test_a_shopper_is_released_by_hand_and_stays_so(folder, tmp_path, capsys):
    table = str(tmp_path / "suspects.parquet")
    (tmp_path / "suspects.parquet").write_bytes((folder / "suspects.parquet").read_bytes())
    first = quarantined(read_suspects(table))
    assert run(["robustness", "release", table, "--user", first[0].as_py(), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["released"] == 1
    args = ["--events", str(folder / "events.parquet"), "--out", table]
    assert run(["robustness", "suspects", *args, "--json"]) == 0
    done = json.loads(capsys.readouterr().out)
    assert (done["released"], done["suspects"]) == (1, len(first) - 1)
    assert first[0].as_py() not in quarantined(read_suspects(table)).to_pylist()


def test_a_wrong_table_or_shopper_ends_with_what_to_do(folder, tmp_path, capsys):
    assert run(["robustness", "release", str(folder / "suspects.parquet"), "--user", "nobody"]) != 0
    assert "nobody" in capsys.readouterr().err
    (tmp_path / "all.csv").write_text("user_id,weight\n" + "".join(f"u{n:03},0\n" for n in range(1000)))
    assert fit(folder, tmp_path / "none", "--set", f"events.quarantine={tmp_path / 'all.csv'}") == 1
    assert "every shopper" in capsys.readouterr().err
    assert fit(folder, tmp_path / "none", "--set", "events.quarantine=absent.parquet") == 1
    assert "absent.parquet" in capsys.readouterr().err
