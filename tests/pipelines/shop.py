"""A small simulated shop on disk."""

from dataclasses import dataclass
from pathlib import Path

import pyarrow.parquet as pq

from vrec.pipelines.inputs import InputPaths
from vrec.synthetic.shop.simulate import ShopSimulation, SimulationConfig, simulate

CONFIG = SimulationConfig(
    users=120, videos=60, categories=4, creators=8, days=20, requests_per_user=8, slots=4
)


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
