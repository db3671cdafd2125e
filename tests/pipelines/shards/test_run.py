"""Events in shards are, to the bit, the events of the files that they were made from."""

import datetime as dt
import json
import shutil
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.events.rows import START
from vrec.config.events import EventsConfig
from vrec.core.errors import ConfigError, EventsError, OutputError
from vrec.core.tables import StorageFolder
from vrec.events.read import ReadEvents, read_events
from vrec.events.shards import inputs as shard_inputs
from vrec.events.shards.hashing import shard_of
from vrec.events.shards.manifest import EventShards, open_shards
from vrec.pipelines.shards import run as shard_run
from vrec.pipelines.shards.run import shard_events

pytestmark = pytest.mark.filterwarnings("ignore::vrec.core.errors.DataWarning")
NOW = START + dt.timedelta(days=30)
ROW = st.fixed_dictionaries(
    {
        "event_id": st.sampled_from([f"e{n}" for n in range(12)]),
        "user_id": st.sampled_from(["ann", "bob", "cy", "dee"]),
        "video_id": st.sampled_from(["v1", "v2"]),
        "kind": st.sampled_from(["click", "watch", "impression"]),
        "value": st.sampled_from([None, 3.5]),
        "at": st.integers(0, 40).map(lambda n: START + dt.timedelta(days=n)),
    }
)
LOGS = st.lists(ROW, min_size=1, max_size=40)


def config(shards: int | None = None, **read) -> EventsConfig:
    return EventsConfig.model_validate({"shards": {"count": shards}, "read": read})


def write(path: Path, rows: list[dict], *, with_ids: bool = True, group_rows: int = 1000) -> Path:
    names = list(rows[0]) if with_ids else [name for name in rows[0] if name != "event_id"]
    types = {"value": pa.float32(), "at": pa.timestamp("us", tz="UTC")}
    columns = {n: pa.array([row[n] for row in rows], types.get(n, pa.string())) for n in names}
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.table(columns), path, row_group_size=group_rows)
    return path


def manifest(out: Path) -> EventShards:
    table = open_shards(str(out))
    assert table is not None
    return table


def read_shards(out: Path) -> ReadEvents:
    """The table of a folder with the counts in its manifest, as `read_events` has them of files."""
    table = manifest(out)
    return ReadEvents(read_events(str(out), now=NOW).events, table.duplicates, table.future, table.conflicts)


def same(one: ReadEvents, other: ReadEvents) -> bool:
    counts = [(r.duplicates, r.future, r.conflicts) for r in (one, other)]
    return one.events.equals(other.events) and counts[0] == counts[1]


@settings(max_examples=25)
@given(rows=LOGS, shards=st.sampled_from([1, 3, 16]), with_ids=st.booleans())
def test_any_number_of_shards_has_the_events_of_the_file(tmp_path_factory, rows, shards, with_ids):
    folder = tmp_path_factory.mktemp("log")
    rows[0]["at"] = START
    file = write(folder / "log.parquet", rows, with_ids=with_ids)
    shard_events([str(file)], str(folder / "out"), config(shards, future="drop"), now=NOW)
    alone = read_events(str(file), config=config(future="drop").read, now=NOW)
    assert same(read_shards(folder / "out"), alone)


@settings(max_examples=25)
@given(rows=LOGS, later=LOGS, shards=st.sampled_from([1, 16]))
def test_files_of_later_days_give_what_all_files_at_once_give(tmp_path_factory, rows, later, shards):
    """Also where an event was sent again, by another shopper and with another content."""
    folder = tmp_path_factory.mktemp("log")
    for row in (*rows, *later):
        row["at"] = min(row["at"], NOW)
    first, second = write(folder / "days" / "1.parquet", rows), write(folder / "days" / "2.parquet", later)
    shard_events([str(first)], str(folder / "grown"), config(shards), now=NOW)
    done = shard_events([str(second)], str(folder / "grown"), config(shards), now=NOW)
    shard_events([str(folder / "days")], str(folder / "whole"), config(shards), now=NOW)
    assert done["files_read"] == 1
    grown, whole = read_shards(folder / "grown"), read_shards(folder / "whole")
    assert grown.events.equals(whole.events)
    assert grown.duplicates == whole.duplicates
    assert grown.events.equals(read_events(str(folder / "days"), now=NOW).events)
    tables = [manifest(folder / name) for name in ("grown", "whole")]
    assert tables[0].files == tables[1].files
    assert tables[0].inputs == tables[1].inputs


def row(event: str, user: str, day: int, video: str = "v") -> dict:
    return {"event_id": event, "user_id": user, "video_id": video, "at": START + dt.timedelta(days=day)}


def test_a_new_file_touches_only_the_shards_of_its_shoppers(tmp_path):
    days = tmp_path / "days"
    users = [f"u{n}" for n in range(40)]
    write(days / "1.parquet", [row(f"1{u}", u, 1) for u in users])
    shard_events([str(days)], str(tmp_path / "out"), config(8), now=NOW)
    before = manifest(tmp_path / "out")
    stats = {f.name: (tmp_path / "out" / f.name).stat().st_mtime_ns for f in before.files}
    write(days / "2.parquet", [row("2a", "u1", 2), row("2b", "u1", 2)])
    done = shard_events([str(days)], str(tmp_path / "out"), config(8), now=NOW)
    after = manifest(tmp_path / "out")
    own = int(shard_of(pa.array(["u1"]), 8)[0])
    assert [f.number for f in after.files if f not in before.files] == [own]
    assert (done["shards_written"], done["files_read"], done["files_unchanged"]) == (1, 1, 1)
    unchanged = [f.name for f in after.files if f.number != own]
    assert all((tmp_path / "out" / name).stat().st_mtime_ns == stats[name] for name in unchanged)
    assert {f"shards/{p.name}" for p in (tmp_path / "out" / "shards").iterdir()} == {
        f.name for f in after.files
    }

    again = shard_events([str(days)], str(tmp_path / "out"), config(8), now=NOW)
    assert (again["files_read"], again["files_unchanged"], again["events"]) == (0, 2, 42)
    # Touched and the same is unchanged; shards are sorted.
    (days / "2.parquet").touch()
    assert shard_events([str(days)], str(tmp_path / "out"), config(8), now=NOW)["files_read"] == 0
    table = pq.read_table(tmp_path / "out" / after.files[0].name)
    assert table.equals(table.sort_by([(n, "ascending") for n in ("user_id", "at", "event_id")]))


def test_a_run_that_is_killed_at_any_step_leaves_a_whole_table_and_can_be_repeated(tmp_path, monkeypatch):
    days, out = tmp_path / "days", tmp_path / "out"
    write(days / "1.parquet", [row(f"1{n}", f"u{n}", 1) for n in range(20)])
    shard_events([str(days)], str(out), config(4), now=NOW)
    old = read_shards(out)
    write(days / "2.parquet", [row(f"2{n}", f"u{n}", 2) for n in range(9)] + [row("11", "u7", 0)])
    shutil.copytree(out, tmp_path / "whole")
    shard_events([str(days)], str(tmp_path / "whole"), config(4), now=NOW)
    write_file, removed, count = StorageFolder.write, StorageFolder.remove, 0

    def killed(step, original):
        def call(*arguments):
            nonlocal count
            count += 1
            if count == step:
                raise KeyboardInterrupt
            return original(*arguments)

        return call

    step = 0
    for step in range(1, 40):
        count = 0
        with monkeypatch.context() as patch:
            patch.setattr(StorageFolder, "write", killed(step, write_file))
            patch.setattr(StorageFolder, "remove", killed(step, removed))
            try:
                shard_events([str(days)], str(out), config(4), now=NOW)
            except KeyboardInterrupt:
                assert same(read_shards(out), old) or same(read_shards(out), read_shards(tmp_path / "whole"))
                continue
        break
    assert 3 < step < 39
    shard_events([str(days)], str(out), config(4), now=NOW)
    whole = tmp_path / "whole"
    assert (out / "manifest.json").read_bytes() == (whole / "manifest.json").read_bytes()
    names = [{p.relative_to(f) for p in f.rglob("*.parquet")} for f in (out, whole)]
    assert names[0] >= names[1]


def test_a_large_file_is_read_in_parts_and_whole_where_a_part_does_not_tell(tmp_path, monkeypatch):
    monkeypatch.setattr(shard_inputs, "PART_ROWS", 4)
    rows = [row(f"e{n}", f"{n}.0" if n < 8 else "ann", n) for n in range(16)]
    for name, log in (("plain", rows[8:]), ("mixed", rows), ("floats", rows[:8])):
        file = write(tmp_path / f"{name}.parquet", log, group_rows=2)
        listed = shard_inputs.list_inputs([str(file)])[0]
        assert len(shard_inputs.plan_parts(listed, {})) == len(log) // 4
        shard_events([str(file)], str(tmp_path / name), config(3), now=NOW)
        assert same(read_shards(tmp_path / name), read_events(str(file), now=NOW))
    assert "0" in read_events(str(tmp_path / "floats.parquet"), now=NOW).events["user_id"].to_pylist()
    write(tmp_path / "bad.parquet", [*rows[8:], row("x", "ann", 999)], group_rows=2)
    with pytest.raises(EventsError, match=r"bad\.parquet: at has 1 later than the present.* in row 9"):
        shard_events([str(tmp_path / "bad.parquet")], str(tmp_path / "bad"), config(3), now=NOW)
    assert not (tmp_path / "bad").exists()


def test_changed_inputs_and_settings_write_the_table_again_or_say_what_is_missing(tmp_path):
    days, out = tmp_path / "days", tmp_path / "out"
    write(days / "1.parquet", [row("a", "ann", 1)])
    write(days / "2.parquet", [row("b", "bob", 2)])
    shard_events([str(days)], str(out), config(2), now=NOW)
    write(days / "2.parquet", [row("c", "bob", 2), row("d", "bob", 2)])
    with pytest.raises(ConfigError, match=r"2.parquet has changed, .* without .*1.parquet"):
        shard_events([str(days / "2.parquet")], str(out), config(2), now=NOW)
    assert shard_events([str(days)], str(out), config(2), now=NOW)["events"] == 3
    assert same(read_shards(out), read_events(str(days), now=NOW))
    assert shard_events([str(days)], str(out), config(5), now=NOW)["shards"] == 5
    assert same(read_shards(out), read_events(str(days), now=NOW))
    # Without a number the table stays as it is.
    assert shard_events([str(days)], str(out), config(), now=NOW)["files_read"] == 0


def test_folders_that_are_not_what_was_meant_are_refused_by_name(tmp_path):
    write(tmp_path / "days" / "1.parquet", [row("a", "ann", 1)])
    out = str(tmp_path / "out")
    shard_events([str(tmp_path / "days")], out, config(2), now=NOW)
    with pytest.raises(EventsError, match="holds shards already"):
        shard_events([out], str(tmp_path / "other"), config(2), now=NOW)
    with pytest.raises(EventsError, match="no such file or folder"):
        shard_events([str(tmp_path / "absent")], out, config(2), now=NOW)
    (tmp_path / "empty").mkdir()
    with pytest.raises(EventsError, match="holds no files of events"):
        shard_events([str(tmp_path / "empty")], out, config(2), now=NOW)
    file = tmp_path / "out" / "manifest.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {"format": 9}))
    with pytest.raises(EventsError, match="shards of format 9"):
        read_events(out)
    file.write_text('{"kind": "embeddings"}')
    with pytest.raises(OutputError, match=r"manifest\.json is not of shards"):
        shard_events([str(tmp_path / "days")], out, config(2), now=NOW)


def test_a_new_table_has_a_shard_for_each_million_events(tmp_path, monkeypatch):
    monkeypatch.setattr(shard_run, "SHARD_ROWS", 2)
    file = write(tmp_path / "log.parquet", [row(f"e{n}", f"u{n}", 1) for n in range(70)])
    assert shard_events([str(file)], str(tmp_path / "out"), config(), now=NOW)["shards"] == 64
