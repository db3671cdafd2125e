"""Tables in batches: what is read is what was written, in every format, and nothing half done is left."""

import gzip
import io
import json
import os

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vrec.core import table_batches
from vrec.core.errors import ConfigError, OutputError, SourceError
from vrec.core.table_batches import check_out, open_table, write_table

TABLE = pa.table({"id": ["007", "7", None, 'a "b", c\nd'], "n": ["1", "2", "3", "4"]})


def whole(uri: str) -> pa.Table:
    table = open_table(uri)
    return pa.Table.from_batches(list(table), table.schema)


def written(folder, name: str, table: pa.Table) -> str:
    out = str(folder / name)
    assert write_table(out, table.schema, iter(table.to_batches()), source="source.csv") == table.num_rows
    return out


@pytest.mark.parametrize("name", ["t.parquet", "t.csv", "t.tsv", "T.CSV", "deep/er/t.csv"])
def test_text_comes_back_as_it_was(tmp_path, name):
    out = written(tmp_path, name, TABLE)
    assert whole(out) == TABLE
    table = open_table(out)
    assert list(table) == list(table), "as often as asked"
    assert [file.name for file in (tmp_path / name).parent.iterdir()] == [os.path.basename(name)]


@given(texts=st.lists(st.text(st.characters(exclude_categories=("Cs", "Cc")), min_size=1), min_size=1))
def test_any_text_comes_back_from_csv(tmp_path_factory, texts):
    table = pa.table({"a": texts, "b": texts[::-1]})
    assert whole(written(tmp_path_factory.mktemp("csv"), "t.csv", table)) == table


def test_batches_have_bounded_rows_and_all_rows_in_order(tmp_path, monkeypatch):
    monkeypatch.setattr(table_batches, "BATCH_ROWS", 7)
    table = pa.table({"n": range(50)})
    pq.write_table(table, tmp_path / "t.parquet", row_group_size=20)
    batches = list(open_table(str(tmp_path / "t.parquet")))
    assert max(batch.num_rows for batch in batches) == 7
    assert pa.Table.from_batches(batches) == table


def test_text_is_parsed_in_blocks(tmp_path, monkeypatch):
    monkeypatch.setattr(table_batches, "BLOCK_BYTES", 64)
    table = pa.table({"n": [f"{n:05}" for n in range(200)]})
    out = written(tmp_path, "t.csv", table)
    assert len(list(open_table(out))) > 5
    assert whole(out) == table


def test_compressed_text_folders_and_json_lines_are_read(tmp_path):
    plain = written(tmp_path, "t.csv", TABLE)
    with open(plain, "rb") as file:
        (tmp_path / "t.csv.gz").write_bytes(gzip.compress(file.read()))
    assert whole(str(tmp_path / "t.csv.gz")) == TABLE
    (tmp_path / "parts").mkdir()
    for number in range(2):
        pq.write_table(TABLE, tmp_path / "parts" / f"{number}.parquet")
    assert whole(str(tmp_path / "parts")) == pa.concat_tables([TABLE, TABLE])
    rows = [{"id": "007", "tags": ["x"]}, {"id": "7", "tags": []}]
    (tmp_path / "t.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert whole(str(tmp_path / "t.jsonl")).to_pylist() == rows


def test_what_cannot_be_read_is_named(tmp_path):
    files = {
        "no.parquet": b"PAR1 and nothing more",
        "ragged.csv": b"a,b\n1\n",
        "twice.csv": b"a,a\n1,2\n",
        "later.jsonl": b'{"a": 1}\n' * (1 << 20) + b'{"a": 1, "b": 2}\n',
        "latin.csv": "a\nné\n".encode("latin-1"),
    }
    packed = io.BytesIO()
    pq.write_table(TABLE, packed)
    files["t.parquet.gz"] = gzip.compress(packed.getvalue())
    for name, data in files.items():
        (tmp_path / name).write_bytes(data)
        with pytest.raises(SourceError, match=name):
            whole(str(tmp_path / name))
    with pytest.raises(SourceError, match="more than one column is named a"):
        open_table(str(tmp_path / "twice.csv"))
    with pytest.raises(SourceError, match="inside gzip"):
        open_table(str(tmp_path / "t.parquet.gz"))
    with pytest.raises(SourceError, match="no such file"):
        open_table(str(tmp_path / "absent.csv"))


def test_a_table_that_fails_midway_leaves_the_old_one(tmp_path):
    out = written(tmp_path, "t.csv", TABLE)

    def rows():
        yield from TABLE.to_batches()
        raise SourceError("the rest is damaged")

    with pytest.raises(SourceError, match="the rest"):
        write_table(out, TABLE.schema, rows(), source="source.csv")
    assert whole(out) == TABLE
    assert os.listdir(tmp_path) == ["t.csv"]


def test_tables_that_cannot_be_written_are_refused_first(tmp_path):
    out, schema = written(tmp_path, "t.csv", TABLE), TABLE.schema
    (tmp_path / "link.csv").symlink_to(out)
    with pytest.raises(ConfigError, match="no ending of a table"):
        check_out("t.txt", schema, source=out)
    for same in (out, str(tmp_path / "." / "t.csv"), str(tmp_path / "link.csv")):
        with pytest.raises(ConfigError, match="is the table that is read"):
            check_out(same, schema, source=out)
    nested = pa.schema([("tags", pa.list_(pa.string()))])
    with pytest.raises(OutputError, match="cannot hold the lists of tags"):
        check_out("x.csv", nested, source=out)
    check_out("x.parquet", nested, source=out)
    with pytest.raises(OutputError, match="cannot be written"):
        write_table(f"{out}/below.csv", schema, iter(()), source="source.csv")
