import pyarrow as pa
import pytest

from vrec.core.errors import SchemaError, VideoError, video_errors
from vrec.core.schema import EMBEDDINGS, FAILURES, MEDIA, VIDEOS, TableColumn, TableSchema, conform

SMALL = TableSchema(
    "SMALL",
    (
        TableColumn("video_id", pa.string()),
        TableColumn("weight", pa.float32()),
        TableColumn("at", pa.timestamp("us", tz="UTC")),
        TableColumn("title", pa.string(), nullable=True),
    ),
)


def test_conform_names_everything_wrong_at_once():
    table = pa.table({"video_id": [1], "weight": pa.array([None], pa.float32()), "colour": ["red"]})
    with pytest.raises(SchemaError) as caught:
        conform(table, SMALL, stage="ItemKnn.fit")
    assert str(caught.value) == (
        "ItemKnn.fit: video_id is int64, want string; weight has 1 null of 1; missing at; unknown colour"
    )


def test_conform_orders_columns_and_adds_absent_nullable_ones():
    table = pa.table(
        {
            "weight": pa.array([1.5], pa.float32()),
            "at": pa.array([0], pa.timestamp("us", tz="UTC")),
            "video_id": ["a"],
        }
    )
    got = conform(table, SMALL, stage="here")
    assert got.column_names == ["video_id", "weight", "at", "title"]
    assert got["title"].null_count == 1
    assert got.column("weight").type == pa.float32()


def test_conform_casts_nothing():
    table = pa.table({"video_id": ["a"], "weight": [1.0], "at": pa.array([0], pa.timestamp("us", tz="UTC"))})
    with pytest.raises(SchemaError, match="weight is double, want float"):
        conform(table, SMALL, stage="here")


def test_conform_drops_further_columns_only_when_told():
    table = SMALL.arrow().empty_table().append_column("colour", pa.array([], pa.string()))
    with pytest.raises(SchemaError, match="unknown colour"):
        conform(table, SMALL, stage="here")
    assert "colour" not in conform(table, SMALL, stage="here", extra=True).column_names


def test_vectors_must_be_float32_of_one_length():
    ragged = EMBEDDINGS.arrow(2).empty_table()
    place = ragged.column_names.index("vector")
    lists = ragged.set_column(place, "vector", pa.array([], pa.list_(pa.float32())))
    with pytest.raises(SchemaError, match="want fixed_size_list<float>"):
        conform(lists, EMBEDDINGS, stage="index")
    doubles = ragged.set_column(place, "vector", pa.array([], pa.list_(pa.float64(), 2)))
    with pytest.raises(SchemaError, match="want fixed_size_list<float>"):
        conform(doubles, EMBEDDINGS, stage="index")
    assert conform(ragged, EMBEDDINGS, stage="index").num_rows == 0


@pytest.mark.parametrize("schema", [VIDEOS, FAILURES, MEDIA])
def test_an_empty_table_of_the_schema_conforms(schema):
    assert conform(schema.arrow().empty_table(), schema, stage="x").schema.names == schema.arrow().names


def test_every_video_error_says_how_to_mend_it():
    kinds = video_errors()
    assert len(kinds) > 10
    for name, kind in kinds.items():
        if kind is not VideoError:
            assert kind.fix != VideoError.fix, name
        assert str(kind("what happened")) == "what happened"
