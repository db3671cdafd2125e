"""`vrec check`: exit codes, reports, good days, and tables of every format and size."""

import json

import polars as pl
import pyarrow.parquet as pq
import pytest

from tests.robustness.gates.shops import GOOD, JUDGED, shop_days
from vrec.cli.main import run
from vrec.core import table_batches
from vrec.synthetic.faults.plant import FAULTS, plant_fault


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Tables of good and of clean later days, and the good days as saved."""
    made, days = tmp_path_factory.mktemp("check"), shop_days(0)
    pq.write_table(days.between(*GOOD).to_arrow(), made / "good.parquet")
    pq.write_table(days.between(*JUDGED).to_arrow(), made / "clean.parquet")
    pq.write_table(days.videos, made / "V.parquet")
    saved = ["--save", str(made / "good.json")]
    assert run(["check", str(made / "good.parquet"), "--videos", str(made / "V.parquet"), *saved]) == 0
    return made


def checked(capsys, *arguments):
    code = run(["check", *map(str, arguments), "--json"])
    return code, json.loads(capsys.readouterr().out)


def test_clean_days_are_clean_against_the_saved_ones_and_the_table(folder, capsys):
    base = (folder / "clean.parquet", "--videos", folder / "V.parquet", "--against")
    saved, table = (checked(capsys, *base, folder / name) for name in ("good.json", "good.parquet"))
    assert saved[0] == table[0] == 0
    assert saved[1]["good_days"] == 7
    one, other = ({k: v for k, v in report.items() if k != "seconds"} for _, report in (saved, table))
    assert one == other


@pytest.mark.parametrize(
    "name", ["negative_watch", "future_times", "kind_renamed", "null_users", "conflicting_ids"]
)
def test_faults_of_rows_are_named_with_their_rows(folder, tmp_path, capsys, name):
    days = shop_days(0)
    events, _ = plant_fault(name, days.between(*JUDGED), days.videos, day=9, strength=0.7, seed=0)
    pq.write_table(events.to_arrow(), tmp_path / "E.parquet")
    code, report = checked(capsys, tmp_path / "E.parquet", "--against", folder / "good.json")
    found = [one for one in report["findings"] if set(one["columns"]) & set(FAULTS[name][1]) and one["rows"]]
    assert code == 3
    first = {
        "negative_watch": events["value"] < 0,
        "future_times": events["at"].dt.year() > 2030,
        "kind_renamed": events["kind"] == "tap",
        "null_users": events["user_id"].is_null(),
    }
    if name in first:
        assert found[0]["rows"] == [row + 1 for row in first[name].fill_null(value=False).arg_true()[:3]]


def test_batches_of_text_give_the_same_report(folder, tmp_path, capsys, monkeypatch):
    events = pl.read_parquet(folder / "clean.parquet").with_columns(
        pl.col("at").dt.strftime("%Y-%m-%dT%H:%M:%S.%f%z")
    )
    events.write_csv(tmp_path / "E.csv")
    monkeypatch.setattr(table_batches, "BLOCK_BYTES", 1 << 16)
    whole = checked(capsys, folder / "clean.parquet", "--against", folder / "good.json")
    parts = checked(capsys, tmp_path / "E.csv", "--against", folder / "good.json")
    assert parts[0] == whole[0] == 0
    assert (parts[1]["rows"], parts[1]["tests"]) == (whole[1]["rows"], whole[1]["tests"])


def test_a_report_is_written_and_says_what_is_found(folder, tmp_path, capsys):
    days = shop_days(0)
    events, _ = plant_fault(
        "broken_encoding", days.between(*JUDGED), days.videos, day=9, strength=0.5, seed=0
    )
    pq.write_table(events.with_columns(pl.lit("<b>").alias("domain")).to_arrow(), tmp_path / "E.parquet")
    for name in ("r.html", "r.json"):
        assert run(["check", str(tmp_path / "E.parquet"), "--out", str(tmp_path / name)]) == 3
    said = capsys.readouterr().out
    assert "fault: broken_text: EVENTS user_id, video_id" in said
    page, report = (tmp_path / "r.html").read_text(), json.loads((tmp_path / "r.json").read_text())
    assert "ids in a broken encoding" in page
    assert "<b>" not in page
    assert report["findings"][0]["gate"] == "broken_text"


def test_faulty_days_are_not_saved_as_good_ones(tmp_path):
    days = shop_days(0)
    events, _ = plant_fault("one_video", days.between(*JUDGED), days.videos, day=9, strength=1, seed=0)
    pq.write_table(events.to_arrow(), tmp_path / "E.parquet")
    assert run(["check", str(tmp_path / "E.parquet"), "--save", str(tmp_path / "g.json")]) == 3
    assert not (tmp_path / "g.json").exists()


def test_links_are_checked(folder, tmp_path, capsys):
    (tmp_path / "L.csv").write_text(
        "user_id,other_user_id,other_domain,consented_at,revoked_at\n"
        + "".join(f"u{n},a,social,2025-01-01,\n" for n in range(7))
        + "u8,b,social,2025-01-02,2025-01-01\n"
    )
    code, report = checked(capsys, folder / "clean.parquet", "--links", tmp_path / "L.csv")
    gates = {
        one["gate"]: (one["count"], one["rows"]) for one in report["findings"] if one["table"] == "LINKS"
    }
    assert code == 3
    assert gates == {"shared_account": (7, [1, 2, 3]), "revoked_first": (1, [8])}


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["--against", "none.json"], 1, "none.json: no such file or folder"),
        (["--out", "report.txt"], 2, "no ending of a report"),
        (["--map", "user_id=nobody"], 1, "no column nobody for user_id"),
    ],
)
def test_what_cannot_be_done_is_told_in_a_line(folder, capsys, arguments, code, said):
    assert run(["check", str(folder / "clean.parquet"), *arguments]) == code
    assert said in capsys.readouterr().err
