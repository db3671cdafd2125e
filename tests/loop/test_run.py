"""Nights of a small shop, end to end: in this process, on a table of events, without a service."""

import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.pipelines.shop import CONFIG
from vrec.config.load import load_settings
from vrec.core.compute import pc
from vrec.loop.run import run_loop
from vrec.loop.sources import LoopSources
from vrec.synthetic.shop.simulate import simulate

DAY_US = 86_400_000_000
SETTINGS = [
    "loop.models=[item_knn]",
    "loop.ranker=false",
    "loop.embed=false",
    "loop.hold_out_hours=48",
    "loop.promotion.min_outcomes=5",
    "loop.gates=warn",
]


class Nights:
    """A shop whose log grows from night to night."""

    def __init__(self, folder):
        self.folder, self.out = folder, folder / "loop"
        self.shop = simulate(CONFIG.model_copy(update={"click_rate": 0.3}))
        pq.write_table(self.shop.videos, folder / "VIDEOS.parquet")
        self.sources = LoopSources(str(folder / "VIDEOS.parquet"), events=str(folder / "EVENTS.parquet"))
        self.settings = load_settings(overrides=SETTINGS)
        self.day = 0

    def write(self, day: int) -> None:
        """The log up to a day."""
        at = self.shop.events.column("at").cast(pa.int64())
        start = pc.min(at).as_py()
        pq.write_table(
            self.shop.events.filter(pc.less(at, start + day * DAY_US)), self.folder / "EVENTS.parquet"
        )
        self.day = day

    def run(self, *more: str, out=None, sources=None):
        settings = load_settings(overrides=[*SETTINGS, *more])
        begun = 1_760_000_000 + self.day * 86_400
        return run_loop(sources or self.sources, str(out or self.out), settings, now=lambda: begun)


@pytest.fixture
def nights(tmp_path) -> Nights:
    return Nights(tmp_path)


def test_nights(nights):
    nights.write(10)
    first = nights.run()
    assert first["outcome"] == "first"
    print(json.dumps(first, indent=1))
    nights.write(14)
    second = nights.run()
    print(json.dumps(second, indent=1))
    third = nights.run()
    print(json.dumps(third, indent=1))
