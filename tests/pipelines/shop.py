"""A small simulated shop on disk."""

from dataclasses import dataclass
from pathlib import Path

import pyarrow.parquet as pq

from vrec.pipelines.inputs import InputPaths
from vrec.synthetic.shop.simulate import ShopSimulation, SimulationConfig, simulate

CONFIG = SimulationConfig(
    users=120, videos=60, categories=4, creators=8, days=20, requests_per_user=8, slots=4
)
RANKER_OVERRIDES = (
    "train.ranker.network={kind: din, width: 4, hidden: [8], attention: [4]}",
    "train.ranker.features={history: 5, min_count: 2}",
    "train.ranker.training={epochs: 2, batch_size: 256}",
    "train.ranker.labels={conversion_kinds: [cart], conversion_window_hours: 6}",
)
"""Settings of a ranker that is trained in a second."""


@dataclass(frozen=True)
class ShopOnDisk:
    """Its tables, and what was simulated."""

    where: InputPaths
    simulation: ShopSimulation


def write_shop(folder: Path) -> ShopOnDisk:
    """EVENTS and VIDEOS of a simulated shop in a folder."""
    shop = simulate(CONFIG)
    pq.write_table(shop.events, folder / "EVENTS.parquet")
    pq.write_table(shop.videos, folder / "VIDEOS.parquet")
    return ShopOnDisk(InputPaths(str(folder / "EVENTS.parquet"), videos=str(folder / "VIDEOS.parquet")), shop)
