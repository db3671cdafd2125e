"""Events of a few shops on disk, and clients that hold them."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from vrec.config.load import load_settings
from vrec.config.settings import Settings
from vrec.core.uris import absolute_uri
from vrec.pipelines.federated.sources import RecommenderSource
from vrec.pipelines.inputs import InputPaths
from vrec.retrieval.federated.build import recommender_task
from vrec.retrieval.federated.sums import RecommenderTask
from vrec.retrieval.interaction_matrix import IdVocabulary

VIDEOS = [f"v{number:02}" for number in range(15)]
IDS = IdVocabulary(pa.array(VIDEOS))
OVERRIDES = (
    "retrieval.als={factors: 4, iterations: 3}",
    "retrieval.ease.regularization=5",
    "federated.deadline_s=120",
)


def settings(*more: str) -> Settings:
    return load_settings(overrides=[*OVERRIDES, *more])


def write_logs(folder: Path, clients: int = 5, shoppers: int = 12) -> dict[str, str]:
    """Write the EVENTS of each client and VIDEOS, and return the paths of the events by client."""
    rng = np.random.default_rng(0)
    paths = {}
    folder.mkdir(parents=True, exist_ok=True)
    for client in range(clients):
        rows = []
        for shopper in range(shoppers):
            for video in rng.choice(15, size=int(rng.integers(2, 7)), replace=False):
                rows.append((f"{client}-u{shopper}", VIDEOS[video]))
        users, videos = zip(*rows, strict=True)
        at = pa.array([1_700_000_000_000_000 + n for n in range(len(rows))], pa.timestamp("us", "UTC"))
        path = folder / f"shop{client}.parquet"
        pq.write_table(pa.table({"user_id": users, "video_id": videos, "at": at}), path)
        paths[path.stem] = absolute_uri(str(path))
    pq.write_table(pa.table({"video_id": VIDEOS}), folder / "VIDEOS.parquet")
    return paths


def sources(paths: dict[str, str], config: Settings, kind: str = "als") -> dict[str, RecommenderSource]:
    return {name: RecommenderSource(InputPaths(path), config, kind, IDS.ids) for name, path in paths.items()}


def task(config: Settings, kind: str = "als") -> RecommenderTask:
    return recommender_task(kind, config.retrieval, IDS)
