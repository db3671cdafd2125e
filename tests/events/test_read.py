import datetime as dt
import hashlib
import math
from pathlib import Path
from typing import get_args

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.events.rows import START, day
from vrec.core.casts import is_placeholder
from vrec.core.errors import EventsError, SchemaError, SourceError
from vrec.core.schema import EVENT_KINDS, EVENTS, conform
from vrec.events.columns import as_time
from vrec.events.config import EventKind, EventReadConfig
from vrec.events.read import ReadEvents, read_events

NOW = day(30)


def csv(folder: Path, text: str, name: str = "events.csv") -> str:
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return str(path)


def parquet(folder: Path, name: str = "events.parquet", **columns) -> str:
    pq.write_table(pa.table(columns), folder / name)
    return str(folder / name)


def read(uri: str, mapping: dict[str, str] | None = None, **options) -> ReadEvents:
    return read_events(uri, mapping, EventReadConfig(**options), now=NOW)


def rows(log: ReadEvents, *names: str) -> list[tuple]:
    return [tuple(row[n] for n in names) for row in log.events.to_pylist()]


def test_a_whole_table_comes_back_as_it_is(tmp_path):
    table = pa.table(
        {
            "event_id": ["e1", "e2"],
            "user_id": ["u", "u"],
            "video_id": ["v", "w"],
            "kind": ["watch", "purchase"],
            "value": pa.array([3.5, 20], pa.float32()),
            "position": pa.array([0, None], pa.int16()),
            "request_id": ["r", None],
            "propensity": pa.array([0.25, None], pa.float32()),
            "domain": ["home", "live"],
            "at": pa.array([day(1), day(2)], pa.timestamp("us", tz="UTC")),
        }
    )
    pq.write_table(table, tmp_path / "events.parquet")
    log = read(str(tmp_path / "events.parquet"))
    assert log.events.equals(conform(table, EVENTS, stage="test"))
    assert (log.duplicates, log.future) == (0, 0)
    assert read((tmp_path / "events.parquet").as_uri()).events.equals(log.events), "a URI too"


def test_only_users_videos_and_times_are_needed(tmp_path):
    uri = csv(tmp_path, "user_id,video_id,at,colour\n7,007,2026-03-01,red\n")
    log = read(uri, kind="like", domain="live")
    assert rows(log, "user_id", "video_id", "kind", "domain", "at") == [("7", "007", "like", "live", START)]
    assert log.events["value"].null_count == 1
    conform(log.events, EVENTS, stage="test")


def test_columns_are_renamed_by_the_mapping_which_wins_over_names(tmp_path):
    uri = csv(tmp_path, "uid,user_id,item,ts,n\n1,wrong,x,1772323200,3\n")
    log = read(uri, {"user_id": "uid", "video_id": "item", "at": "ts", "position": "n"})
    assert rows(log, "user_id", "video_id", "at", "position") == [("1", "x", START, 3)]


@pytest.mark.parametrize(
    "column",
    [
        pa.array([7, 8], pa.int64()),
        pa.array([7, 8], pa.uint8()),
        pa.array(["7", "8"], pa.large_string()),
        pa.array(["7", "8"], pa.string_view()),
        pa.array(["7", "8"]).dictionary_encode(),
    ],
    ids=lambda column: str(column.type),
)
def test_ids_of_any_usual_type_are_text(tmp_path, column):
    uri = parquet(tmp_path, user_id=column, video_id=column, at=pa.array([day(0), day(1)]))
    assert rows(read(uri), "user_id", "video_id") == [("7", "7"), ("8", "8")]


STAMP = dt.datetime(2026, 3, 1, 12, 34, 56, 789_000, tzinfo=dt.UTC)
SECONDS = STAMP.timestamp()


@pytest.mark.parametrize(
    ("column", "want"),
    [
        (pa.array([int(SECONDS)], pa.int64()), STAMP.replace(microsecond=0)),
        (pa.array([int(SECONDS)], pa.int32()), STAMP.replace(microsecond=0)),
        (pa.array([SECONDS], pa.float64()), STAMP),
        (pa.array([round(SECONDS * 1e3)], pa.int64()), STAMP),
        (pa.array([SECONDS * 1e3], pa.float64()), STAMP),
        (pa.array([round(SECONDS * 1e6)], pa.int64()), STAMP),
        (pa.array([STAMP.replace(tzinfo=None)], pa.timestamp("ns")), STAMP),
        (pa.array([STAMP.replace(tzinfo=None)], pa.timestamp("ms")), STAMP),
        (pa.array([STAMP], pa.timestamp("ms", tz="Asia/Shanghai")), STAMP),
        (pa.array([dt.date(2026, 3, 1)]), START),
        (pa.array(["2026-03-01T12:34:56.789Z"]), STAMP),
        (pa.array(["2026-03-01 12:34:56.789"]), STAMP),
        (pa.array(["2026-03-01 20:34:56.789000+08:00"]), STAMP),
        (pa.array(["2026-03-01T07:34:56.789-0500"]), STAMP),
        (pa.array([" 2026-03-01 14:34 +02 "]), STAMP.replace(second=0, microsecond=0)),
        (pa.array(["2026-03-01"]), START),
        (pa.array([f"{SECONDS}"]), STAMP),
        (pa.array([f" {round(SECONDS * 1e3)}"]), STAMP),
    ],
    ids=str,
)
def test_times_of_any_usual_form_are_microseconds_utc(tmp_path, column, want):
    uri = parquet(tmp_path, user_id=["u"], video_id=["v"], at=column)
    assert rows(read(uri), "at") == [(want,)]


@given(
    st.datetimes(dt.datetime(1974, 1, 1), dt.datetime(2100, 1, 1), timezones=st.just(dt.UTC)),
    st.sampled_from([1, 1_000, 1_000_000]),
)
def test_the_unit_of_numbers_is_told_by_their_size(at, per_second):
    number = (at - dt.datetime(1970, 1, 1, tzinfo=dt.UTC)) // dt.timedelta(
        microseconds=1_000_000 // per_second
    )
    got, wrong = as_time(pl.Series("at", [number]))
    assert wrong is None
    assert dt.timedelta(0) <= at - got[0] < dt.timedelta(microseconds=1_000_000 // per_second)


def test_seconds_since_1970_may_be_small(tmp_path):
    uri = parquet(tmp_path, user_id=["u", "u"], video_id=["v", "w"], at=[0, 1])
    assert [at.year for (at,) in rows(read(uri), "at")] == [1970, 1970]


@pytest.mark.parametrize(
    ("at", "message"),
    [
        (["noon", "2026-03-01"], r"at has 1 that cannot be read as a time of 2, such as 'noon' in row 1"),
        (["2026-03-01", "2026-02-30"], r"at has 1 .* such as '2026-02-30' in row 2"),
        (["2026-03-01", "1772323200"], r"at has 1 .* such as '1772323200' in row 2"),
        (["2026-03-01", ""], r"at has 1 .* such as '' in row 2"),
        ([1772323200, 1772323200000], r"at has 1 below 1e\+11, another unit than .*read as ms.* row 1"),
        ([1772323200, -5], r"at has 1 not a number from 0 .* such as -5 in row 2"),
        ([1772323200.0, math.nan], r"at has 1 not a number .* such as nan in row 2"),
        ([1772323200, None], r"at has 1 empty of 2, such as null in row 2"),
        ([10**18, 10**18], r"at has 2 not a number from 0 to 1e\+17"),
        ([True, False], "at is boolean, want times"),
    ],
    ids=str,
)
def test_times_that_cannot_be_read_are_named(tmp_path, at, message):
    uri = parquet(tmp_path, user_id=["u", "u"], video_id=["v", "w"], at=at)
    with pytest.raises(EventsError, match=message):
        read(uri)


GOOD = {"user_id": ["u", "u", "t"], "video_id": ["v", "w", "v"], "at": [1772323200 + n for n in range(3)]}


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"user_id": ["u", None, None]}, "user_id has 2 empty of 3, such as null in row 2"),
        ({"video_id": ["v", "w", ""]}, "video_id has 1 empty of 3, such as '' in row 3"),
        ({"user_id": [1.0, 2.5, 3.0]}, "user_id has 1 not a whole number of 3, such as 2.5 in row 2"),
        ({"user_id": [1.0, math.nan, 3.0]}, "user_id has 1 empty of 3, such as null in row 2"),
        ({"user_id": [True, False, True]}, "user_id is boolean, want text or whole numbers"),
        ({"event_id": ["a", None, "b"]}, "event_id has 1 empty of 3"),
        ({"domain": ["a", None, "b"]}, "domain has 1 empty of 3"),
        ({"kind": ["click", "klick", "click"]}, "kind has 1 none of impression, .* such as 'klick' in row 2"),
        ({"kind": ["click", None, "click"]}, "kind has 1 empty of 3"),
        ({"kind": [1, 2, 3]}, "kind has 3 none of impression"),
        ({"value": [1, math.nan, 2]}, "value has 1 not a number from 0 of 3, such as nan in row 2"),
        ({"value": [1, -2.5, -3]}, "value has 2 not a number from 0 of 3, such as -2.5 in row 2"),
        ({"value": [1, 1e300, 2]}, r"value has 1 .* such as 1e\+300"),
        ({"value": ["1", "x", "2"]}, "value has 1 not a number from 0 of 3, such as 'x' in row 2"),
        ({"value": [True, False, True]}, "value is boolean, want numbers"),
        ({"position": [0, 1, -1]}, "position has 1 not a number from 0 to 32767 of 3, such as -1 in row 3"),
        ({"position": [0, 1.5, 2]}, "position has 1 not a whole number of 3, such as 1.5 in row 2"),
        ({"position": [0, 1, 40000]}, "position has 1 not a number from 0 to 32767"),
        ({"propensity": [0.5, 0, 1]}, "propensity has 1 not a number above 0 to 1 of 3"),
        ({"propensity": [0.5, 1.5, 1]}, "propensity has 1 not a number above 0 to 1 of 3"),
    ],
    ids=str,
)
def test_values_that_cannot_be_are_named(tmp_path, columns, message):
    uri = parquet(tmp_path, **(GOOD | columns))
    with pytest.raises(EventsError, match=message) as caught:
        read(uri)
    assert str(caught.value).startswith(f"{uri}: ")


def test_everything_wrong_is_told_at_once(tmp_path):
    uri = csv(tmp_path, "user_id,video_id,at,kind,value\n,v,noon,wink,nan\n1,v,2026-03-01,click,1\n")
    with pytest.raises(EventsError) as caught:
        read(uri)
    for part in ("user_id has 1", "at has 1", "kind has 1", "value has 1 not a number"):
        assert part in str(caught.value)


def test_nulls_may_stand_where_they_mean_nothing(tmp_path):
    uri = csv(tmp_path, "user_id,video_id,at,value,position,propensity\nu,v,2026-03-01,,,\n")
    assert rows(read(uri), "user_id", "video_id", "value", "position") == [("u", "v", None, None)]
    uri = parquet(tmp_path, **GOOD, position=[0.0, None, 2.0], request_id=pa.nulls(3), value=pa.nulls(3))
    assert rows(read(uri), "position", "request_id", "value") == [
        (0, None, None), (None, None, None), (2, None, None)
    ]  # fmt: skip


def test_a_mapping_that_fits_nothing_is_explained(tmp_path):
    uri = csv(tmp_path, "uid,item,time\n1,2,3\n")
    with pytest.raises(EventsError) as caught:
        read(uri, {"user_idd": "uid", "video_id": "itemm", "at": "time"})
    assert str(caught.value) == (
        f"{uri}: map: EVENTS has no user_idd; did you mean user_id?; "
        "map: no column itemm for video_id; did you mean item?"
    )
    with pytest.raises(SchemaError) as caught:
        read(uri, {"at": "time"})
    assert str(caught.value) == f"{uri}: missing user_id, video_id; the table has uid, item, time"
    assert "--map user_id=" in caught.value.fix


def test_a_column_that_is_there_twice_is_refused(tmp_path):
    uri = csv(tmp_path, "user_id,video_id,at,at\n1,2,3,4\n")
    with pytest.raises(EventsError, match="the column at appears 2 times"):
        read(uri)


def test_one_event_id_is_one_event_and_the_earliest_stays(tmp_path):
    uri = csv(
        tmp_path,
        "event_id,user_id,video_id,at\ne,u,late,1772323300\ne,u,early,1772323200\nf,u,v,1772323201\n",
    )
    log = read(uri)
    assert rows(log, "event_id", "video_id") == [("e", "early"), ("f", "v")]
    assert log.duplicates == 1


def test_without_event_ids_the_same_content_is_one_event(tmp_path):
    text = (
        "user_id,video_id,at,value\nu,v,1772323200,1\nu,v,1772323200,1.0\nu,v,1772323200,2\nu,v,1772323200,\n"
    )
    log = read(csv(tmp_path, text))
    assert log.duplicates == 1
    assert len(set(log.events["event_id"].to_pylist())) == log.events.num_rows == 3


def test_a_made_event_id_is_the_digest_of_its_content_and_never_changes(tmp_path):
    uri = csv(tmp_path, "user_id,video_id,at,value,position\nzoë,v 1,1772323200,1.5,3\n")
    got = read(uri).events["event_id"].to_pylist()
    # 1.5 as a float32 has the bits 0x3FC00000; zoë has four bytes.
    content = f"4:zoë 3:v 1 5:click - 4:shop {0x3FC00000} - 3 1772323200000000"
    assert got == [hashlib.blake2b(content.encode(), digest_size=12).hexdigest()]


texts = st.text(st.characters(codec="utf-8", exclude_characters="\x00"), min_size=1, max_size=3)
# Spaces around ids do not count, and some texts are placeholders for none.
texts = texts.filter(
    lambda t: t == t.strip() and not is_placeholder(t) and pl.Series([t]).str.strip_chars()[0] == t
)


@settings(max_examples=40)
@given(st.lists(st.tuples(texts, texts, st.integers(0, 3)), min_size=1, max_size=8), st.randoms())
def test_order_and_form_of_the_file_are_of_no_consequence(tmp_path_factory, found, random):
    folder = tmp_path_factory.mktemp("events")
    mixed = random.sample(found, len(found))
    one = read(parquet(folder, user_id=[r[0] for r in found], video_id=[r[1] for r in found],
                       at=[r[2] for r in found]))  # fmt: skip
    other = read(parquet(folder, user_id=[r[0] for r in mixed], video_id=[r[1] for r in mixed],
                         at=[str(r[2]) for r in mixed]))  # fmt: skip
    assert one.events.equals(other.events)
    assert one.events.num_rows == len(set(found))
    assert one.duplicates == len(found) - len(set(found))
    assert len(set(one.events["event_id"].to_pylist())) == len(set(found))


def test_events_from_the_future_are_refused_or_dropped(tmp_path):
    ahead = [NOW + dt.timedelta(seconds=s) for s in (-1, 300, 301)]
    uri = parquet(tmp_path, user_id=["a", "b", "c"], video_id=["v"] * 3, at=pa.array(ahead))
    with pytest.raises(
        EventsError, match=r"at has 1 later than the present, .* of 3, such as 2026-03-31 00:05:01"
    ):
        read(uri)
    log = read(uri, future="drop")
    assert rows(log, "user_id") == [("a",), ("b",)]
    assert log.future == 1
    assert read(uri, future_tolerance_s=301).future == 0
    assert read_events(uri, config=EventReadConfig(future="drop"), now=NOW.replace(tzinfo=None)).future == 1
    with pytest.raises(EventsError, match="every event lies in the future, 3 of 3"):
        read_events(uri, config=EventReadConfig(future="drop"), now=START)


def test_the_present_is_now_by_default(tmp_path):
    present = dt.datetime.now(dt.UTC)
    uri = parquet(tmp_path, user_id=["u"], video_id=["v"], at=pa.array([present - dt.timedelta(hours=1)]))
    assert read_events(uri).events.num_rows == 1
    uri = parquet(tmp_path, user_id=["u"], video_id=["v"], at=pa.array([present + dt.timedelta(hours=1)]))
    with pytest.raises(EventsError, match="later than the present"):
        read_events(uri)


def test_a_folder_of_parts_is_one_table(tmp_path):
    parquet(tmp_path, "a.parquet", **GOOD)
    parquet(tmp_path, "b.parquet", user_id=["x"], video_id=["y"], at=[1772323300])
    assert read(str(tmp_path)).events.num_rows == 4


def test_csv_as_others_write_it(tmp_path):
    text = '\ufeffuser_id,video_id,at,note\r\n"a, b","v ""1""",2026-03-01,"two\r\nlines"\r\n'
    assert rows(read(csv(tmp_path, text)), "user_id", "video_id") == [("a, b", 'v "1"')]
    with pa.CompressedOutputStream(str(tmp_path / "e.csv.gz"), "gzip") as out:
        out.write(b"user_id,video_id,at\nu,v,2026-03-01\n")
    assert read(str(tmp_path / "e.csv.gz")).events.num_rows == 1


def test_lines_within_a_value_are_no_rows_in_a_long_file_either(tmp_path):
    # Longer than the blocks of 1 MB that a reader takes at once, and most of its ends of line are quoted.
    note = '"' + "\n" * 5_000 + '"'
    lines = [f"u{n},v,2026-03-01,{note}\n" for n in range(400)]
    assert read(csv(tmp_path, "user_id,video_id,at,note\n" + "".join(lines))).events.num_rows == 400


def test_any_kind_of_event_may_be_the_default():
    assert get_args(EventKind) == EVENT_KINDS


@pytest.mark.parametrize(
    ("name", "data", "message"),
    [
        ("absent.parquet", None, "no such file"),
        ("absent.csv", None, "no such file"),
        ("e.parquet", b"user_id,video_id,at\n", "not a Parquet table"),
        ("e.parquet", b"", "not a Parquet table"),
        ("e.csv", b"", "not a CSV table"),
        ("e.csv", b"user_id,video_id,at\n", "the table has no rows"),
        ("e.csv", b"user_id,video_id,at\n1,2\n", "not a CSV table"),
        ("e.csv", b"user_id,video_id,at\n\xff\xfe,2,3\n", "not a CSV table"),
        ("e.csv", b"PAR1\x00\x01", "not a Parquet table"),
    ],
)
def test_a_file_that_holds_no_events_is_refused(tmp_path, name, data, message):
    if data is not None:
        (tmp_path / name).write_bytes(data)
    with pytest.raises((EventsError, SchemaError), match=message):
        read(str(tmp_path / name))


@pytest.mark.parametrize(
    ("name", "data", "fix"),
    [
        ("e.csv", b"user_id,video_id,at\n1,2\n", "give every row the columns of the header"),
        ("e.csv", b"user_id,video_id,at\n\xff\xfe,2,3\n", "save the file as UTF-8"),
        ("e.csv", "user_id,video_id,at\n1,2,3\n".encode("utf-16"), "save the file as UTF-8"),
        ("e.jsonl", b'{"user_id": "\xff"}\n', "save the file as UTF-8"),
    ],
)
def test_the_mend_of_a_damaged_file_is_its_own(tmp_path, name, data, fix):
    (tmp_path / name).write_bytes(data)
    with pytest.raises(EventsError) as caught:
        read(str(tmp_path / name))
    assert caught.value.fix.startswith(fix)


def test_a_scheme_that_nothing_knows_is_refused():
    with pytest.raises(SourceError):
        read("nowhere://events.csv")


def test_rows_come_by_time_and_of_one_time_by_event_id(tmp_path):
    text = "event_id,user_id,video_id,at\nb,u,v,1772323201\na,u,v,1772323201\nz,u,v,1772323200\n"
    assert rows(read(csv(tmp_path, text)), "event_id") == [("z",), ("a",), ("b",)]


def test_of_one_event_id_and_time_the_same_row_stays_in_any_order(tmp_path):
    lines = ["e,u,w,1772323200", "e,u,v,1772323200", "e,t,z,1772323201"]
    for order in (lines, lines[::-1]):
        log = read(csv(tmp_path, "event_id,user_id,video_id,at\n" + "\n".join(order)))
        assert rows(log, "video_id") == [("v",)]
        assert log.duplicates == 2


def test_every_column_is_part_of_a_made_event_id(tmp_path):
    first = {"user_id": ["u"], "video_id": ["v"], "at": [1772323200], "kind": ["watch"], "value": [1.0]}
    first |= {"position": [0], "request_id": ["r"], "propensity": [0.5], "domain": ["home"]}
    other = {"user_id": ["w"], "video_id": ["x"], "at": [1772323201], "kind": ["purchase"], "value": [2.0]}
    other |= {"position": [1], "request_id": ["s"], "propensity": [0.25], "domain": ["live"]}
    tables = [first, *(first | {name: other[name]} for name in first)]
    ids = [read(parquet(tmp_path, **table)).events["event_id"][0].as_py() for table in tables]
    assert len(set(ids)) == len(tables)
    content = f"1:u 1:v 5:watch 1:r 4:home {0x3F800000} {0x3F000000} 0 1772323200000000"
    assert ids[0] == hashlib.blake2b(content.encode(), digest_size=12).hexdigest()


def test_zero_has_one_id_whatever_its_sign(tmp_path):
    ids = {
        read(csv(tmp_path, f"user_id,video_id,at,value\nu,v,1772323200,{zero}\n"))
        .events["event_id"][0]
        .as_py()
        for zero in ("0", "-0.0")
    }
    assert len(ids) == 1


def test_ids_and_text_that_only_differ_in_where_they_part_are_two_events(tmp_path):
    log = read(csv(tmp_path, "user_id,video_id,at\nab,c,1772323200\na,bc,1772323200\n"))
    assert log.duplicates == 0
    assert len(set(log.events["event_id"].to_pylist())) == 2


def test_the_largest_valid_values_are_read(tmp_path):
    log = read(
        parquet(tmp_path, **GOOD, position=[0, 1, 32767], propensity=[1.0, 0.5, 1e-6], value=[0.0, 1.0, 1e30])
    )
    assert rows(log, "position") == [(0,), (1,), (32767,)]
    assert rows(log, "value")[0] == (0.0,)
    assert rows(log, "propensity")[0] == (1.0,)
