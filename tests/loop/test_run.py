"""Nights of a small shop, end to end, in this process: real fits, bundles, tests and moves."""

import json
import shutil
import time
from copy import copy
from dataclasses import replace

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.loop.shop_service import LoopService
from vrec.bundle.bundle import ServingBundle
from vrec.config.load import load_settings
from vrec.config.loop import LoopConfig
from vrec.core.compute import pc
from vrec.core.errors import ConfigError, GateError
from vrec.core.tables import StorageFolder
from vrec.loop.commands import roll_back
from vrec.loop.journal import LoopJournal
from vrec.loop.promotions import PromotionHistory
from vrec.loop.run import run_loop
from vrec.loop.service import ServiceClient
from vrec.loop.sources import LoopSources
from vrec.synthetic.shop.simulate import SimulationConfig, simulate

DAY_US = 86_400_000_000
SHOP = SimulationConfig(
    users=100,
    videos=60,
    categories=8,
    creators=8,
    days=20,
    requests_per_user=24,
    slots=4,
    click_rate=0.25,
    category_weight=5.0,
    popularity_skew=0.3,
    activity_spread=0.3,
)
SETTINGS = [
    "loop.ranker=false",
    "loop.embed=false",
    "loop.hold_out_hours=48",
    "loop.promotion.guards.latency=10",
    "loop.watch.min_users=10",
    "loop.watch.poll_s=1",
]
SPARSE = SHOP.model_copy(
    update={
        "users": 120,
        "videos": 300,
        "requests_per_user": 16,
        "popularity_skew": 0.0,
        "category_weight": 4.0,
        "categories": 6,
    }
)
"""A shop in which to know what is watched next is worth much."""
POPULAR, KNN = "loop.models=[popular]", "loop.models=[item_knn]"
TONIGHT = "loop.promotion.confirm=false"


class Killed(BaseException):
    """End of a process."""


class Nights:
    """A loop on a shop whose log grows from night to night."""

    def __init__(self, folder, simulation):
        self.folder, self.out, self.events = folder, folder / "loop", simulation.events
        pq.write_table(simulation.videos, folder / "VIDEOS.parquet")
        self.sources = LoopSources(str(folder / "VIDEOS.parquet"), events=str(folder / "EVENTS.parquet"))
        self.day = 0

    def until(self, day: int) -> pa.Table:
        """The events of the first days."""
        at = self.events.column("at").cast(pa.int64())
        return self.events.filter(pc.less(at, pc.min(at).as_py() + day * DAY_US))

    def write(self, day: int, *more: pa.Table) -> None:
        """Write the log of the first days, and other events."""
        pq.write_table(pa.concat_tables([self.until(day), *more]), self.folder / "EVENTS.parquet")
        self.day = day

    def run(self, *more: str, out=None, now=None, sleep=lambda _: None, **sources):
        settings = load_settings(overrides=[*SETTINGS, *more])
        begun = 1_760_000_000 + self.day * 86_400
        given = replace(self.sources, **sources)
        return run_loop(given, str(out or self.out), settings, now=now or (lambda: begun), sleep=sleep)

    def history(self):
        entries = PromotionHistory(str(self.out / "bundles")).entries()
        return [(entry.kind, entry.bundle, entry.previous) for entry in entries]


@pytest.fixture(scope="module")
def begun(tmp_path_factory):
    """A folder with the first night, of which popular videos are the bundle, and the shop."""
    made = Nights(tmp_path_factory.mktemp("begun"), simulate(SHOP))
    made.write(6)
    assert made.run(POPULAR)["outcome"] == "first"
    return made


@pytest.fixture
def nights(tmp_path, begun) -> Nights:
    """A copy of it."""
    shutil.copytree(begun.folder, tmp_path / "shop")
    made = copy(begun)
    made.folder, made.out = tmp_path / "shop", tmp_path / "shop" / "loop"
    paths = (str(made.folder / "VIDEOS.parquet"), str(made.folder / "EVENTS.parquet"))
    made.sources = LoopSources(paths[0], events=paths[1])
    return made


def test_a_better_bundle_is_promoted_once_later_events_confirm_it(nights):
    ((_, first, _),) = nights.history()
    nights.write(12)
    waits = nights.run(KNN)
    assert (waits["outcome"], waits["tests"]["test item_knn"]["verdict"]) == ("waits", "better")
    assert [one[1] for one in nights.history()] == [first]
    # Nothing new: nothing is done, and it goes on waiting.
    same = nights.run(KNN)
    assert (same["outcome"], same["tests"]["confirm"]["verdict"]) == ("waits", "too few")
    assert set(same["steps"]["done"]) <= {"in service", "export", "confirm"}
    nights.write(16)
    promoted = nights.run(KNN)
    assert promoted["outcome"] == "promoted", promoted["tests"]
    assert promoted["tests"]["confirm"]["verdict"] == "better"
    assert not promoted["tests"]["confirm"]["leak_suspected"]
    assert nights.history()[-1] == ("promotion", waits["bundle"], first)
    # What tonight's is tested against is the bundle that has just been promoted.
    assert promoted["tests"]["test item_knn"]["verdict"] != "worse"
    ServingBundle.load(str(nights.out / "bundles" / waits["bundle"])).check()
    written = json.loads((nights.out / "history" / f"{promoted['run']}.json").read_text())
    assert (written["outcome"], written["bundle"]) == ("promoted", waits["bundle"])


def twins(events: pa.Table, start: int) -> pa.Table:
    """What shoppers did, two more times: under other ids, and dated four days earlier.

    Each twin tells what its shopper watches next."""
    kept = events.filter(pc.is_in(events.column("kind"), value_set=pa.array(["click", "watch"])))
    at = pc.max_element_wise(pc.subtract(kept.column("at").cast(pa.int64()), 4 * DAY_US), start)
    tables = []
    for number in range(2):
        table = kept.set_column(
            kept.column_names.index("at"), kept.schema.field("at"), at.cast(events.schema.field("at").type)
        )
        for name in ("event_id", "user_id"):
            values = pc.binary_join_element_wise(f"twin {number}", table.column(name), "-")
            table = table.set_column(table.column_names.index(name), table.schema.field(name), values)
        tables.append(table)
    return pa.concat_tables(tables)


def test_a_leak_wins_on_what_it_may_have_seen_and_is_caught_on_later_events(tmp_path):
    nights = Nights(tmp_path, simulate(SPARSE))
    settings = [KNN, "loop.gates=skip", "retrieval.item_knn.weighting=none"]
    nights.write(12)
    nights.run(*settings)
    start = pc.min(nights.events.column("at").cast(pa.int64())).as_py()
    leaked = twins(nights.until(16), start)
    nights.write(16, leaked)
    leaky = nights.run(*settings)
    assert (leaky["outcome"], leaky["tests"]["test item_knn"]["verdict"]) == ("waits", "better")
    nights.write(20, leaked)
    caught = nights.run(*settings)
    assert caught["outcome"] == "leak", caught["tests"]
    assert "is gone" in caught["tests"]["confirm"]["leak"]
    assert len(nights.history()) == 1


def test_killed_at_any_write_and_run_again_is_as_never_interrupted(nights, monkeypatch):
    shutil.copytree(nights.out, nights.folder / "other")
    nights.write(12)
    whole = nights.run(KNN, TONIGHT)
    assert whole["outcome"] == "promoted"
    real, left = StorageFolder._write_local, [0]

    def write(self, path, data):
        if not left[0]:
            raise Killed
        left[0] -= 1
        real(self, path, data)

    monkeypatch.setattr(StorageFolder, "_write_local", write)
    attempts = 0
    while True:
        attempts += 1
        left[0] = 3 * attempts
        try:
            done = nights.run(KNN, TONIGHT, out=nights.folder / "other")
            break
        except Killed:
            continue
    assert attempts > 5
    for key in ("outcome", "bundle", "run", "log"):
        assert done[key] == whole[key], key
    gains = [one["tests"]["test item_knn"]["gain"] for one in (done, whole)]
    assert gains[0] == gains[1]
    versions = [
        [(one.kind, one.bundle, one.version) for one in PromotionHistory(str(folder / "bundles")).entries()]
        for folder in (nights.out, nights.folder / "other")
    ]
    assert versions[0] == versions[1]
    states = [
        LoopJournal(StorageFolder(str(folder))).state for folder in (nights.out, nights.folder / "other")
    ]
    assert states[0].run is states[1].run is None
    assert {n: s.fingerprint for n, s in states[0].steps.items() if n != "test item_knn"} == {
        n: s.fingerprint for n, s in states[1].steps.items() if n != "test item_knn"
    }


def test_a_loop_with_differential_privacy_is_refused_before_anything_is_written(tmp_path, begun):
    with pytest.raises(ConfigError, match=r"`vrec loop` has no private form, and privacy\.epsilon is 4"):
        begun.run(POPULAR, "privacy.epsilon=4", out=tmp_path / "loop")
    assert not list(tmp_path.iterdir())


def test_a_log_at_fault_stops_the_run_and_the_next_one_begins_anew(nights):
    nights.write(12)
    table = pq.read_table(nights.folder / "EVENTS.parquet")
    value = table.column_names.index("value")
    at = table.column("at").cast(pa.int64())
    late = pc.and_(pc.greater(at, pc.max(at).as_py() - DAY_US), pc.equal(table.column("kind"), "watch"))
    broken = pc.if_else(late, pc.multiply(table.column("value"), 1000.0), table.column("value"))
    fault = table.set_column(value, table.schema.field("value"), broken.cast(pa.float32()))
    pq.write_table(fault, nights.folder / "EVENTS.parquet")
    with pytest.raises(GateError, match="data at fault"):
        nights.run(KNN)
    records = sorted((nights.out / "history").iterdir())
    assert json.loads(records[-1].read_text())["outcome"] == "failed"
    assert LoopJournal(StorageFolder(str(nights.out))).state.run is None
    nights.write(12)
    assert nights.run(KNN)["outcome"] == "waits"


@pytest.fixture
def service(nights):
    made = LoopService(nights.folder / "service", nights.out / "bundles")
    made.bundles.place(nights.history()[0][1])
    made.add(nights.until(12))
    made.count(0, 0)
    nights.day = 12
    yield made
    made.close()


def test_the_running_service_is_moved_watched_and_not_moved_again_to_what_was_rolled_back(nights, service):
    settings = [KNN, TONIGHT, "loop.watch.minutes=0.001"]
    done = nights.run(*settings, service=service.url, events=None, now=time.time)
    assert (done["outcome"], service.bundles.moves) == ("promoted", [done["bundle"]])
    assert done["watch"]["ended"] == "its time is over"
    assert done["log"]["events"] == nights.until(12).num_rows
    back = roll_back(str(nights.out / "bundles"), ServiceClient(service.url), LoopConfig())
    assert service.bundles.moves[-1] == back["bundle"] == nights.history()[0][1]
    again = nights.run(*settings, service=service.url, events=None, now=time.time)
    assert (again["outcome"], again["tests"]) == ("kept", {})


def test_a_service_that_falls_is_rolled_back(nights, service):
    done = nights.run(
        KNN,
        TONIGHT,
        service=service.url,
        events=None,
        now=time.time,
        sleep=lambda _: service.count(500, 100),
    )
    first = nights.history()[0][1]
    assert (done["outcome"], service.bundles.moves) == ("rolled back", [done["bundle"], first])
    assert "100 of 500 responses are errors" in done["watch"]["fallen"]
    assert nights.history()[-1] == ("rollback", first, done["bundle"])


def test_a_night_on_s3_leaves_no_secret_in_its_files(begun, bucket):
    videos = bucket.write_table("in/VIDEOS.parquet", pq.read_table(begun.folder / "VIDEOS.parquet"))
    events = bucket.write_table("in/EVENTS.parquet", begun.until(6))
    out = bucket.uri("out/loop")
    done = begun.run(POPULAR, out=out, videos=videos, events=events)
    assert done["outcome"] == "first"
    again = begun.run(POPULAR, out=out, videos=videos, events=events)
    assert (again["outcome"], again["bundle"]) == ("kept", None)
    bucket.assert_clean(
        "out/loop/loop.json",
        f"out/loop/history/{done['run']}.json",
        f"out/loop/bundles/{done['bundle']}/manifest.json",
        "out/loop/bundles/promotions.json",
    )
