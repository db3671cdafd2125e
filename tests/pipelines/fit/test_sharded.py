"""Fits on events in shards against fits on the file that they were made from, without Ray."""

import datetime as dt
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from vrec.config.load import load_settings
from vrec.config.settings import Settings
from vrec.core.artifact import read_artifact
from vrec.core.errors import EventsError, GateError
from vrec.events.shards.manifest import open_shards
from vrec.pipelines.fit.run import fit
from vrec.pipelines.fit.sharded import fit_with, large_shards
from vrec.pipelines.inputs import InputPaths, read_inputs
from vrec.pipelines.shards.run import shard_events
from vrec.pipelines.task_runner import LocalTasks

pytestmark = pytest.mark.filterwarnings("ignore::vrec.core.errors.DataWarning")


@pytest.fixture(scope="module")
def shards(shop, tmp_path_factory) -> dict[int, str]:
    """The events of the shop, by the number of shards."""
    made: dict[int, str] = {}
    for count in (1, 16):
        made[count] = str(tmp_path_factory.mktemp("shards") / str(count))
        settings = load_settings(overrides=[f"events.shards.count={count}"])
        shard_events([shop.where.events], made[count], settings.events)
    return made


def fit_sharded(paths: InputPaths, out: Path, settings: Settings, model: str) -> dict | None:
    table = open_shards(paths.events)
    assert table is not None
    return fit_with(LocalTasks(), table, paths, str(out), settings, model=model)


def same_model(one: Path, other: Path) -> bool:
    first, second = (read_artifact(str(folder)) for folder in (one, other))
    arrays = first.arrays.keys() == second.arrays.keys() and all(
        (array.dtype, array.tobytes()) == (second.arrays[name].dtype, second.arrays[name].tobytes())
        for name, array in first.arrays.items()
    )
    tables = {name: table.to_pydict() for name, table in first.tables.items()}
    return arrays and tables == {name: table.to_pydict() for name, table in second.tables.items()}


@pytest.mark.parametrize(
    "overrides",
    [[], ["events.interest.half_life_days=7"], ["events.of=creator"]],
    ids=["default", "decay", "creators"],
)
def test_a_fit_on_any_number_of_shards_is_that_on_the_file(shop, shards, tmp_path, overrides):
    settings = load_settings(overrides=overrides)
    alone = fit(shop.where, str(tmp_path / "alone"), settings, model="item_knn")
    for count, folder in shards.items():
        paths = InputPaths(folder, videos=shop.where.videos)
        done = fit_sharded(paths, tmp_path / f"shards{count}", settings, "item_knn")
        assert done is not None
        assert {**done, "out": "", "fit_s": 0, "save_s": 0} == {**alone, "out": "", "fit_s": 0, "save_s": 0}
        assert same_model(tmp_path / f"shards{count}", tmp_path / "alone")


def test_shoppers_without_consent_are_left_out_and_counted_alike(shop, shards, tmp_path):
    users = sorted(set(shop.simulation.events["user_id"].to_pylist()))
    rows = [*users[:9], "stranger"]
    consents = pa.table(
        {
            "user_id": rows,
            "purpose": ["train"] * 10,
            "given": ["no"] * 10,
            "at": [dt.datetime(2026, 1, 1)] * 10,
        }
    )
    consent = str(tmp_path / "CONSENTS.parquet")
    pq.write_table(consents, consent)
    alone = fit(
        InputPaths(shop.where.events, videos=shop.where.videos, consent=consent),
        str(tmp_path / "alone"),
        Settings(),
        model="popular",
    )
    paths = InputPaths(shards[16], videos=shop.where.videos, consent=consent)
    done = fit_sharded(paths, tmp_path / "shards", Settings(), "popular")
    assert done is not None
    assert done["consent"] == alone["consent"]
    assert done["consent"]["shoppers"] == 9
    assert same_model(tmp_path / "shards", tmp_path / "alone")
    refused = load_settings(overrides=["events.consent_default=refused"])
    with pytest.raises(EventsError, match="no shopper with events consents"):
        fit_sharded(paths, tmp_path / "none", refused, "popular")


def test_other_commands_read_from_shards_what_they_read_from_the_file(shop, shards):
    settings = Settings()
    alone = read_inputs(shop.where, settings.events, "fused")
    for folder in shards.values():
        read = read_inputs(InputPaths(folder, videos=shop.where.videos), settings.events, "fused")
        assert read.events.equals(alone.events)
        assert read.interactions.equals(alone.interactions)
        assert (read.duplicates, read.future_events) == (alone.duplicates, alone.future_events)


def test_few_events_and_those_that_need_all_rows_at_once_are_read_in_this_process(shop, shards):
    few = InputPaths(shards[16], videos=shop.where.videos)
    assert large_shards(few, Settings(), None) is None
    many = load_settings(overrides=["events.shards.local_events=100"])
    assert large_shards(few, many, None) is not None
    assert large_shards(few, Settings(), "auto") is not None
    assert large_shards(shop.where, many, None) is None
    assert large_shards(InputPaths(shards[16], links="LINKS"), many, None) is None
    defended = load_settings(
        overrides=["events.shards.local_events=100", "robustness.defence.drop_promoted=true"]
    )
    held = load_settings(overrides=["events.shards.local_events=100", "events.quarantine=SUSPECTS"])
    assert large_shards(few, defended, None) is large_shards(few, held, None) is None


def test_gates_stop_a_fit_on_shards_and_cuts_are_left_to_one_process(shop, tmp_path):
    events = shop.simulation.events
    # The catalog has none of the videos.
    broken = events.set_column(
        events.schema.get_field_index("video_id"), "video_id", pa.array(["lost"] * events.num_rows)
    )
    pq.write_table(broken, tmp_path / "broken.parquet")
    shard_events([str(tmp_path / "broken.parquet")], str(tmp_path / "shards"), Settings().events)
    paths = InputPaths(str(tmp_path / "shards"), videos=shop.where.videos)
    stop = load_settings(overrides=["events.gates.policy=stop"])
    with pytest.raises(GateError, match="data at fault"):
        fit_sharded(paths, tmp_path / "m", stop, "popular")
    cut = load_settings(overrides=["events.gates.policy=cut"])
    assert fit_sharded(paths, tmp_path / "m", cut, "popular") is None
    assert not (tmp_path / "m" / "manifest.json").exists()
