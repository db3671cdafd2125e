"""`vrec robustness content` over an embedding folder."""

import json
from datetime import UTC, datetime

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.bundles import embeddings_of
from tests.events.rows import videos
from vrec.cli.main import run
from vrec.core.schema import MEDIA
from vrec.core.tables import MANIFEST, TABLE_FORMAT, StorageFolder

IDS = [f"v{number:02}" for number in range(40)]


def unit(groups, seed):
    rows = np.repeat(np.eye(4), 10, axis=0)[groups] + 0.2 * np.random.default_rng(seed).normal(size=(40, 4))
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


@pytest.fixture
def folder(tmp_path):
    """Videos of four groups; the look of v07 is that of another group than its title."""
    looks = np.arange(40)
    looks[7] = 25
    tables = {"frames": unit(looks, 0), "text": unit(np.arange(40), 1)}
    storage, files = StorageFolder(str(tmp_path / "tables")), {}
    for modality, vectors in tables.items():
        files[f"embeddings/{modality}"] = [name := f"embeddings/{modality}-1.parquet"]
        storage.write_parquet(name, embeddings_of(pa.array(IDS), modality, "e@1", vectors))
    files["media"] = ["media/part-1.parquet"]
    plain = {"uri": "u", "text_hash": "t", "recipe": "r", "frames": 1, "has_audio": False}
    rows = [plain | {"video_id": name, "decode_s": 0.1, "encode_s": 0.1} for name in IDS]
    storage.write_parquet(files["media"][0], pa.Table.from_pylist(rows, MEDIA.arrow()))
    found = {"near_duplicates": [["v03", "v04"]], "suspicious": {"v09": "views disagree"}}
    counts = {"counts": {"embedded": 40}}
    about = {"kind": "embeddings", "format": TABLE_FORMAT, "files": files, **counts, **found}
    storage.write_json(MANIFEST, about)
    return tmp_path


def test_copies_doubts_and_disagreement_are_listed(folder, capsys):
    assert run(["robustness", "content", "--embeddings", str(folder / "tables"), "--json"]) == 0
    done = json.loads(capsys.readouterr().out)
    assert (done["videos"], done["copies"]) == (40, {"v04": "v03"})
    assert done["suspicious"] == {"v09": "views disagree"}
    least = {(row["by"], row["compared"]): row["video_id"] for row in reversed(done["agreement"])}
    assert least["frames", "text"] == "v07"
    assert set(least) == {("frames", "text"), ("text", "frames")}
    assert run(["robustness", "content", "--embeddings", str(folder / "tables")]) == 0
    told = capsys.readouterr().out
    assert "v04: a copy of v03" in told
    assert "v09: views disagree" in told


def test_publishing_dates_say_who_was_first(folder, capsys):
    table = videos(**dict.fromkeys(IDS))
    field = table.schema.field("published_at")
    dates = [datetime(2026, 1, 28 - number % 20, tzinfo=UTC) for number in range(40)]
    place = table.column_names.index("published_at")
    pq.write_table(table.set_column(place, field, pa.array(dates, field.type)), folder / "VIDEOS.parquet")
    more = ["--videos", str(folder / "VIDEOS.parquet"), "--json"]
    assert run(["robustness", "content", "--embeddings", str(folder / "tables"), *more]) == 0
    assert json.loads(capsys.readouterr().out)["copies"] == {"v03": "v04"}


def test_a_folder_without_embeddings_is_named(tmp_path, capsys):
    assert run(["robustness", "content", "--embeddings", str(tmp_path)]) == 1
    assert "no embeddings there" in capsys.readouterr().err
