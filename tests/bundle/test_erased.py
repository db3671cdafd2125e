"""Bundles that may hold erased shoppers: by the end of their logs, and by the ids that they have."""

import json

import pyarrow as pa
import pytest

from vrec.bundle.catalog import CREATOR_MODEL, FORMAT, KIND
from vrec.bundle.erased import ERASURES, bundles_with_erased, read_erasures
from vrec.cli.main import run
from vrec.core.artifact import ModelArtifact, write_artifact
from vrec.core.errors import EventsError

DAY = 86_400_000_000
NOW = 2_000 * DAY


def write(folder, name, made_at, log_end, users=None):
    parts = {}
    if users is not None:
        table = pa.table({"user_id": users})
        write_artifact(
            str(folder / name / CREATOR_MODEL), ModelArtifact("creators", {}, {}, {"users": table})
        )
        parts = {CREATOR_MODEL: "digest"}
    data = {
        "format": FORMAT,
        "made_at": made_at,
        "videos": 1,
        "encoder": None,
        "log_end": log_end,
        "parts": parts,
    }
    (folder / name).mkdir(parents=True, exist_ok=True)
    manifest = {"kind": KIND, "data": data, "metrics": {}, "files": {}}
    (folder / name / "manifest.json").write_text(json.dumps(manifest))


def erasures(**at):
    rows = [{"user_id": user, "at": day * DAY} for user, day in at.items()]
    return pa.Table.from_pylist(rows, ERASURES.arrow())


@pytest.fixture
def folder(tmp_path):
    write(tmp_path, "old", 1_900 * DAY, 1_890 * DAY)
    write(tmp_path, "older-log", 1_960 * DAY, 1_880 * DAY)
    write(tmp_path, "young", 1_990 * DAY, 1_890 * DAY)
    write(tmp_path, "silent", 1_910 * DAY, None)
    write(tmp_path, "named", 1_950 * DAY, 1_949 * DAY, ["ann", "eve"])
    (tmp_path / "broken").mkdir()
    return tmp_path


def test_a_bundle_is_listed_if_its_log_ended_before_the_erasure(folder):
    found = bundles_with_erased(str(folder), erasures(ann=1_895, bob=1_885, cid=1_905), 30, NOW)
    assert {one.name: (one.erased, one.named) for one in found} == {
        "old": (2, 0), "older-log": (3, 0), "named": (0, 1),
    }  # fmt: skip
    everywhere = bundles_with_erased(str(folder), erasures(dan=1_995), 5, NOW)
    assert {one.name for one in everywhere} == {"old", "older-log", "young", "silent", "named"}
    assert next(one for one in everywhere if one.name == "silent").log_end == 1_910 * DAY
    assert bundles_with_erased(str(folder), erasures(), 0, NOW) == []


def test_the_command_lists_them(folder, tmp_path, capsys):
    path = tmp_path / "erased.csv"
    path.write_text("user_id,at\nann,2030-01-01\n")
    assert run(["privacy", "bundles", "--bundles", str(folder), "--erasures", str(path), "--days", "30"]) == 0
    assert "older-log, made on 1975-05-15: up to 1 erased shoppers" in capsys.readouterr().out
    path.write_text("user_id,at\nnobody,1970-01-02\n")
    assert run(["privacy", "bundles", "--bundles", str(folder), "--erasures", str(path)]) == 0
    assert "no bundle older than 30 days" in capsys.readouterr().out


def test_what_cannot_be_read_is_named(tmp_path):
    path = tmp_path / "erased.csv"
    path.write_text("user_id,when\nann,2030-01-01\n")
    with pytest.raises(EventsError, match="no column at"):
        read_erasures(str(path))
    assert run(["privacy", "bundles", "--bundles", str(tmp_path / "none"), "--erasures", str(path)]) == 1
