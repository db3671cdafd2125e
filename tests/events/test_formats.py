"""Logs as shops export them: formats, compression, spellings of times and ids, refusals and warnings."""

import bz2
import datetime as dt
import gzip
import json
import warnings
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.events.rows import START, day
from vrec.core.errors import DataWarning, EventsError, SchemaError
from vrec.events.config import EventReadConfig
from vrec.events.read import ReadEvents, read_events

ROWS = [
    ("u1", "007", "2026-03-01 12:00:00 UTC", "1.5"),
    ("u2", "v, 2", "2026-03-02", ""),
    ("u1", "ü", "2026-03-03", "0"),
]
NAMES = ("user_id", "video_id", "at", "value")


def read(uri: Path, **options) -> ReadEvents:
    return read_events(str(uri), None, EventReadConfig(**options), now=day(30))


def delimited(separator: str) -> bytes:
    lines = [separator.join(NAMES)]
    lines += [separator.join(f'"{cell}"' if "," in cell else cell for cell in row) for row in ROWS]
    return "\n".join(lines).encode() + b"\n"


def json_lines() -> bytes:
    rows = [{n: v for n, v in zip(NAMES, row, strict=True) if v} for row in ROWS]
    rows[0]["value"] = 1.5
    return "\n\n".join(json.dumps(row, ensure_ascii=False) for row in rows).encode()


def parquet() -> bytes:
    sink = pa.BufferOutputStream()
    columns = [pa.array([v or None for v in column]) for column in zip(*ROWS, strict=True)]
    pq.write_table(pa.table(columns, NAMES), sink)
    return sink.getvalue().to_pybytes()


CONTENT = {
    "csv": delimited(","), "tsv": delimited("\t"), "semicolon.csv": delimited(";"), "bar.txt": delimited("|"),
    "jsonl": json_lines(), "ndjson": json_lines(), "parquet": parquet(),
}  # fmt: skip
COMPRESS = {
    "": bytes,
    ".gz": gzip.compress,
    ".bz2": bz2.compress,
    ".zst": lambda data: pa.compress(data, codec="zstd", asbytes=True),
}


@pytest.mark.parametrize("named", [True, False], ids=["named", "unnamed"])
@pytest.mark.parametrize("ending", COMPRESS)
@pytest.mark.parametrize("form", CONTENT)
def test_a_log_is_the_same_in_every_format_whatever_its_name(tmp_path, form, ending, named):
    path = tmp_path / (f"log.{form}{ending}" if named else "export")
    path.write_bytes(COMPRESS[ending](CONTENT[form]))
    got = read(path).events.to_pylist()
    assert [(r["user_id"], r["video_id"], r["value"]) for r in got] == [
        ("u1", "007", 1.5), ("u2", "v, 2", None), ("u1", "ü", 0.0),
    ]  # fmt: skip
    assert [r["at"] for r in got] == [START + dt.timedelta(hours=12), day(1), day(2)]


def test_numbers_in_json_lines_stay_as_they_are_written(tmp_path):
    path = tmp_path / "log.jsonl"
    path.write_text('{"user_id": 12345678901234567890, "video_id": 1.0, "at": 1772323200}\n')
    (row,) = read(path).events.to_pylist()
    assert (row["user_id"], row["video_id"], row["at"]) == ("12345678901234567890", "1", START)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"user_id": "u"}\n{"user_id"', r"not a JSON lines table \(line 2: "),
        ('{"user_id": {"id": 1}, "video_id": "v", "at": 1}', "user_id holds .*, want text or a number"),
        ('{"uid": "u", "video_id": "v", "at": 1}', "missing user_id; the table has uid, video_id, at"),
        ("[1]\n", "missing user_id"),
    ],
)
def test_json_lines_that_cannot_be_read_are_named(tmp_path, text, message):
    (tmp_path / "log.json").write_text(text)
    with pytest.raises((EventsError, SchemaError), match=message):
        read(tmp_path / "log.json")


NOON = dt.datetime(2026, 2, 28, 12, 34, 0, tzinfo=dt.UTC)


@pytest.mark.parametrize(
    "text",
    [
        "2026-02-28 12:34:00 UTC", "2026-02-28 12:34:00.000000 UTC", "2026-02-28T12:34:00Z",
        "2026-02-28 12:34 GMT", "2026-02-28 12:34:00 +0000 UTC", "2026-02-28 13:34:00+01:00",
        "2026/02/28 12:34:00", "2026-02-28 12:34:00,000", "2026-02-28  12:34:00", "202602281234",
        "20260228123400", "1772282040", "1772282040000", " 1772282040 ", "1772282040.0",
    ],
)  # fmt: skip
def test_every_usual_spelling_of_a_time_is_that_time(tmp_path, text):
    (tmp_path / "log.tsv").write_text(f"user_id\tvideo_id\tat\nu\tv\t{text}\n")
    assert read(tmp_path / "log.tsv").events["at"].to_pylist() == [NOON]


@given(st.lists(st.dates(dt.date(1970, 1, 1), dt.date(2026, 3, 30)), min_size=1, max_size=5), st.booleans())
def test_days_as_numbers_are_days_and_not_seconds_of_1970(tmp_path_factory, days, as_text):
    folder = tmp_path_factory.mktemp("days")
    numbers = [int(f"{d:%Y%m%d}") for d in days]
    at = pa.array([str(n) for n in numbers]) if as_text else pa.array(numbers)
    ids = [str(n) for n in range(len(days))]
    pq.write_table(pa.table({"user_id": ids, "video_id": ids, "at": at}), folder / "e.parquet")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DataWarning)
        got = read(folder / "e.parquet").events
    assert sorted(t.date() for t in got["at"].to_pylist()) == sorted(days)


@pytest.mark.parametrize("number", [20240230, 20241301, 19691231, 21000101, 20240102.5, 123456])
def test_numbers_that_are_no_days_are_seconds_and_warned_of(tmp_path, number):
    pq.write_table(pa.table({"user_id": ["u"], "video_id": ["v"], "at": [number]}), tmp_path / "e.parquet")
    with pytest.warns(DataWarning, match="1 of 1 events are before 2000, the first on 1970-"):
        (at,) = read(tmp_path / "e.parquet").events["at"].to_pylist()
    assert at == dt.datetime.fromtimestamp(number, dt.UTC)


@pytest.mark.parametrize(
    "text", ["01/02/2024 10:00", "Jan 2, 2024", "02.01.2024", "2024-01-02 10:00 CET", "10:00"]
)
def test_times_that_could_mean_two_things_are_refused_with_the_cast(tmp_path, text):
    (tmp_path / "log.tsv").write_text(f"user_id\tvideo_id\tat\nu\tv\t{text}\n")
    with pytest.raises(EventsError, match="at has 1 that cannot be read as a time") as caught:
        read(tmp_path / "log.tsv")
    assert "pandas.to_datetime" in caught.value.fix


def test_a_log_of_one_instant_is_warned_of_and_a_usual_one_is_not(tmp_path):
    (tmp_path / "log.csv").write_text("user_id,video_id,at\nu,v,2026-03-01\nu,w,2026-03-01\n")
    with pytest.warns(DataWarning, match="all 2 events are at one instant, 2026-03-01 00:00:00"):
        read(tmp_path / "log.csv")
    (tmp_path / "log.csv").write_text("user_id,video_id,at\nu,v,2026-03-01\nu,w,2026-03-02\n")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        read(tmp_path / "log.csv")


@pytest.mark.parametrize("spelling", ["u1", " u1", "u1 ", "\u00a0u1", "\tu1\t"])
def test_spaces_around_an_id_do_not_count(tmp_path, spelling):
    (tmp_path / "log.csv").write_text(
        f'user_id,video_id,at\n"{spelling}","v ",2026-03-01\n', encoding="utf-8"
    )
    (row,) = read(tmp_path / "log.csv").events.to_pylist()
    assert (row["user_id"], row["video_id"]) == ("u1", "v")


@pytest.mark.parametrize(
    ("column", "ids"),
    [
        (pa.array([1.0, 20.0]), ["1", "20"]),
        (pa.array([1.0, 20.0], pa.float32()), ["1", "20"]),
        (pa.array(["1.0", "20.0"]), ["1", "20"]),
        (pa.array(["1.0", "2.5"]), ["1.0", "2.5"]),
        (pa.array(["1.0", "a"]), ["1.0", "a"]),
        (pa.array(["007", "7"]), ["007", "7"]),
        (pa.array(["1.10", "1.1"]), ["1.10", "1.1"]),
    ],
    ids=str,
)
def test_ids_that_pandas_made_floats_are_whole_numbers_again(tmp_path, column, ids):
    table = {"user_id": column, "video_id": ["v", "v"], "at": [day(0), day(1)]}
    pq.write_table(pa.table(table), tmp_path / "e.parquet")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DataWarning)
        assert read(tmp_path / "e.parquet").events["user_id"].to_pylist() == ids


PLACEHOLDERS = [
    "NULL",
    "null",
    "NaN",
    "nan",
    "None",
    "<NA>",
    "NA",
    "\\N",
    "undefined",
    "(null)",
    "N/A",
    " NaN ",
]


@pytest.mark.parametrize("column", ["user_id", "video_id"])
@pytest.mark.parametrize("text", PLACEHOLDERS)
def test_placeholders_are_no_shoppers_and_no_videos(tmp_path, text, column):
    columns = {"user_id": ["a", "b"], "video_id": ["v", "w"], "at": [day(0), day(1)]}
    columns[column] = [columns[column][0], text]
    pq.write_table(pa.table(columns), tmp_path / "e.parquet")
    with pytest.raises(EventsError, match=f"{column} has 1 that stand for a missing id of 2") as caught:
        read(tmp_path / "e.parquet")
    assert "events.read.missing_ids=drop" in caught.value.fix
    with pytest.warns(DataWarning, match="1 of 2 rows without a user or video are left out"):
        assert read(tmp_path / "e.parquet", missing_ids="drop").events["user_id"].to_pylist() == ["a"]
    assert read(tmp_path / "e.parquet", missing_ids="keep").events[column].to_pylist()[1] == text.strip()


@pytest.mark.parametrize("name", ["Nanette", "nullable", "na", "Nan Goldin", "0", "-"])
def test_names_that_only_look_like_placeholders_are_ids(tmp_path, name):
    (tmp_path / "log.csv").write_text(f"user_id,video_id,at\n{name},v,2026-03-01\n")
    assert read(tmp_path / "log.csv").events["user_id"].to_pylist() == [name]


def test_rows_without_ids_can_be_left_out_and_never_all_of_them(tmp_path):
    (tmp_path / "log.csv").write_text("user_id,video_id,at\n,v,2026-03-01\nu,,2026-03-02\nu,v,2026-03-03\n")
    with pytest.raises(EventsError, match="user_id has 1 empty of 3"):
        read(tmp_path / "log.csv")
    with pytest.warns(DataWarning, match="2 of 3 rows"):
        assert read(tmp_path / "log.csv", missing_ids="drop").events.num_rows == 1
    (tmp_path / "log.csv").write_text("user_id,video_id,at\n,v,2026-03-01\n")
    with pytest.raises(EventsError, match="none of 1 rows names a user and a video"):
        read(tmp_path / "log.csv", missing_ids="drop")
