"""Data gates of commands: what stops, what is cut, and what is saved for the next fit."""

import json

import polars as pl
import pyarrow.parquet as pq
import pytest

from tests.robustness.gates.shops import GOOD, JUDGED, shop_days
from vrec.cli.main import run
from vrec.robustness.gates.profile import GOOD_DAYS
from vrec.synthetic.faults.plant import plant_fault

FIT = ["--model", "popular"]
STOP = "--set=events.gates.policy=stop"


def write(folder, events, videos):
    pq.write_table(events.to_arrow(), folder / "E.parquet")
    pq.write_table(videos, folder / "V.parquet")
    return [
        f"--events={folder / 'E.parquet'}",
        f"--videos={folder / 'V.parquet'}",
        f"--out={folder / 'model'}",
    ]


@pytest.fixture
def fitted(tmp_path):
    """The folder of a model of good days, and options that fit on later ones."""
    days = shop_days(0)
    options = write(tmp_path, days.between(*GOOD), days.videos)
    assert run(["fit", *FIT, *options]) == 0
    assert (tmp_path / "model" / GOOD_DAYS).exists()
    return tmp_path


def plant(folder, name, strength=0.7, first=GOOD[0]):
    days = shop_days(0)
    events = days.between(first, JUDGED[1])
    return write(folder, *plant_fault(name, events, days.videos, day=9, strength=strength, seed=0))


def files(folder):
    return {path.name: path.read_bytes() for path in (folder / "model").rglob("*") if path.is_file()}


def test_a_fault_stops_the_fit_and_the_model_stays(fitted, capsys):
    before = files(fitted)
    for name in ("positions_from_one", "prices_zero", "conflicting_ids"):
        assert run(["fit", *FIT, *plant(fitted, name), STOP]) == 1
        said = capsys.readouterr().err.splitlines()[-1]
        assert "data at fault, nothing is fitted" in said
        assert "Fix: correct the data" in said
    # What no reader takes stops as well.
    assert run(["fit", *FIT, *plant(fitted, "negative_watch"), STOP]) == 1
    # What is not in single rows or hours cannot be cut.
    assert run(["fit", *FIT, *plant(fitted, "prices_zero"), "--set=events.gates.policy=cut"]) == 1
    assert "beyond single hours and rows" in capsys.readouterr().err
    assert files(fitted) == before


def test_a_change_that_is_meant_is_taken_by_one_run_that_warns(fitted, capsys):
    options = plant(fitted, "positions_from_one")
    assert run(["fit", *FIT, *options]) == 0
    assert "warning: data at fault: EVENTS position" in capsys.readouterr().err
    # The same days, and no new ones.
    assert run(["fit", *FIT, *options, STOP]) == 0


def test_bad_hours_are_cut_and_counted(fitted, capsys):
    options = plant(fitted, "null_values", strength=0.05)
    assert run(["fit", *FIT, *options, "--set=events.gates.policy=cut", "--json"]) == 0
    done = json.loads(capsys.readouterr().out)
    events = pl.read_parquet(fitted / "E.parquet")
    hour = events.filter((events["kind"] == "watch") & events["value"].is_null())["at"].dt.truncate("1h")
    bad = int((events["at"].dt.truncate("1h") == hour[0]).sum())
    assert done["gates"]["cut"] == bad
    assert done["events"] == events.height - bad
    manifest = json.loads((fitted / "model" / "manifest.json").read_text())
    assert manifest["metrics"]["gates"]["findings"][0]["gate"] == "null_watch"


def test_an_evaluation_warns_only(tmp_path, capsys):
    options = plant(tmp_path, "one_video", strength=1, first=JUDGED[0])
    options[-1] = f"--out={tmp_path / 'evaluation'}"
    assert run(["evaluate", "--models=popular", *options]) == 0
    assert "data at fault: EVENTS video_id: the video" in capsys.readouterr().err
