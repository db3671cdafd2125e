"""VIDEOS as pandas and others write them: lossless types are cast, absent columns have their defaults."""

import datetime as dt
import itertools
from decimal import Decimal

import pyarrow as pa
import pytest

from vrec.core.errors import SchemaError
from vrec.core.schema import VIDEOS, conform
from vrec.events.videos import VIDEO_DEFAULTS, complete_videos

UTC = dt.UTC
DAY = dt.datetime(2026, 3, 1, tzinfo=UTC)
WHOLE = {
    "video_id": ["a", "b"], "uri": ["/a.mp4", ""], "kind": ["clip", "live"], "product_ids": [["p"], []],
    "creator_id": ["c", "d"], "domain": ["x", "y"], "category": ["k", None], "tags": [["t", "u"], []],
    "title": ["T", None], "language": ["en", None], "price": [1.5, None], "duration_s": [2.0, None],
    "published_at": [DAY, None], "expires_at": [None, DAY], "available": [True, False],
}  # fmt: skip
TABLE = pa.table({f.name: pa.array(WHOLE[f.name], f.type) for f in VIDEOS.arrow()})
TEXTS = [pa.string(), pa.large_string(), pa.string_view(), pa.dictionary(pa.int32(), pa.string())]
LISTS = [
    pa.list_(pa.string()),
    pa.list_(pa.large_string()),
    pa.large_list(pa.large_string()),
    pa.list_(pa.string_view()),
]
NUMBERS = [pa.float32(), pa.float64(), pa.decimal128(9, 2)]
ZONES = ("UTC", "Asia/Shanghai")
TIMES = [pa.timestamp(unit, tz=zone) for unit in ("s", "ms", "us", "ns") for zone in ZONES]
TYPES = {
    **dict.fromkeys(("video_id", "uri", "kind", "creator_id", "domain", "category", "title"), TEXTS),
    **{"language": TEXTS, "product_ids": LISTS, "tags": LISTS, "price": NUMBERS, "duration_s": NUMBERS},
    "published_at": [*TIMES, pa.date32()],
    "expires_at": [*TIMES, pa.date32()],
    "available": [pa.bool_(), pa.int64(), pa.uint8(), pa.float64()],
}


def with_column(name: str, kind: pa.DataType) -> pa.Table:
    values = WHOLE[name]
    if pa.types.is_decimal(kind):
        values = [None if v is None else Decimal(str(v)) for v in values]
    if name == "available" and not pa.types.is_boolean(kind):
        values = [int(v) for v in values]
    column = pa.array(values).dictionary_encode() if pa.types.is_dictionary(kind) else pa.array(values, kind)
    return TABLE.set_column(TABLE.schema.get_field_index(name), name, column)


@pytest.mark.parametrize(
    ("name", "kind"), [(name, kind) for name, kinds in TYPES.items() for kind in kinds], ids=str
)
def test_every_lossless_type_of_a_column_gives_the_same_videos(name, kind):
    assert complete_videos(with_column(name, kind), "test").equals(conform(TABLE, VIDEOS, stage="test"))


def test_all_columns_of_pandas_at_once_give_the_same_videos():
    wide = TABLE
    for name in TABLE.column_names:
        index = wide.schema.get_field_index(name)
        wide = wide.set_column(index, name, with_column(name, TYPES[name][1]).column(name))
    assert complete_videos(wide, "test").equals(conform(TABLE, VIDEOS, stage="test"))


def test_a_frame_of_pandas_that_went_through_parquet_is_read(tmp_path):
    pandas = pytest.importorskip("pandas")
    from vrec.pipelines.inputs import read_videos

    frame = pandas.DataFrame(
        {"video_id": [1, 2], "title": ["a", None], "price": [1.0, None], "published_at": [DAY, None]}
    )
    frame.to_parquet(tmp_path / "v.parquet")
    rows = read_videos(str(tmp_path / "v.parquet")).to_pylist()
    assert [(r["video_id"], r["title"], r["price"], r["published_at"]) for r in rows] == [
        ("1", "a", 1.0, DAY), ("2", None, None, None),
    ]  # fmt: skip


@pytest.mark.parametrize(
    "absent", [set(s) for n in (1, 2) for s in itertools.combinations(VIDEO_DEFAULTS, n)]
)
@pytest.mark.parametrize("as_nulls", [False, True], ids=["absent", "null"])
def test_absent_columns_and_nulls_have_their_defaults(absent, as_nulls):
    table = TABLE.drop_columns(list(absent))
    if as_nulls:
        for name in absent:
            table = table.append_column(name, pa.nulls(2, VIDEOS.arrow().field(name).type))
    got = complete_videos(table, "test").to_pylist()
    assert got == [row | {name: VIDEO_DEFAULTS[name] for name in absent} for row in TABLE.to_pylist()]


def test_an_id_is_all_that_is_needed():
    (row,) = complete_videos(pa.table({"video_id": ["a"]}), "test").to_pylist()
    assert row == {name: VIDEO_DEFAULTS.get(name) for name in VIDEOS.arrow().names} | {"video_id": "a"}


def test_nulls_within_lists_and_spaces_around_ids_do_not_count():
    table = pa.table({"video_id": [" a ", "b"], "tags": [["x", None], None], "price": [float("nan"), 2.0]})
    table = table.append_column("creator_id", pa.array([" ann ", None]))
    got = complete_videos(table, "test").select(["video_id", "tags", "price", "creator_id"]).to_pylist()
    assert got == [
        {"video_id": "a", "tags": ["x"], "price": None, "creator_id": "ann"},
        {"video_id": "b", "tags": [], "price": 2.0, "creator_id": ""},
    ]


def test_all_that_cannot_be_cast_is_named_at_once():
    table = pa.table(
        {
            "title": [0.5], "tags": ["red"], "price": ["cheap"], "available": [2],
            "published_at": ["yesterday"], "product_ids": [[0.5]],
        }
    )  # fmt: skip
    with pytest.raises(SchemaError) as caught:
        complete_videos(table, "videos v.parquet")
    for part in (
        "videos v.parquet: missing video_id", "title is double, want string", "tags is string, want list",
        "price is string, want double", "available is int64, want bool",
        "published_at is string, want timestamp",
        "product_ids is list",
    ):  # fmt: skip
        assert part in str(caught.value)
    with pytest.raises(SchemaError, match="video_id has 2 of 3 naming no video, such as null in row 2"):
        complete_videos(pa.table({"video_id": ["a", None, "NaN"]}), "videos")
