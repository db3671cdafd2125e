"""EVENTS, INTERACTIONS and RECOMMENDATIONS written short, for the tests of evaluation."""

from collections.abc import Iterable, Mapping, Sequence

import numpy as np
import pyarrow as pa

from vrec.core.schema import EVENTS, INTERACTIONS, RECOMMENDATIONS, TIMESTAMP


def interactions(pairs: Iterable[tuple[str, str]]) -> pa.Table:
    """INTERACTIONS of weight 1, a second apart."""
    rows = list(pairs)
    columns = [
        pa.array([user for user, _ in rows], pa.string()),
        pa.array([video for _, video in rows], pa.string()),
        pa.array(np.ones(len(rows), np.float32)),
        pa.array(np.arange(len(rows)) * 1_000_000, pa.int64()).cast(TIMESTAMP),
    ]
    return pa.Table.from_arrays(columns, schema=INTERACTIONS.arrow())


def recommendations(lists: Mapping[str, Sequence[str]], source: str = "m") -> pa.Table:
    """RECOMMENDATIONS of one list a user, best first."""
    rows = [(user, video, rank) for user, row in lists.items() for rank, video in enumerate(row, 1)]
    columns = [
        pa.array([user for user, _, _ in rows], pa.string()),
        pa.array([video for _, video, _ in rows], pa.string()),
        pa.array([-float(rank) for _, _, rank in rows], pa.float32()),
        pa.array([rank for _, _, rank in rows], pa.int32()),
        pa.array([source] * len(rows), pa.string()),
    ]
    return pa.Table.from_arrays(columns, schema=RECOMMENDATIONS.arrow())


def drawn_shop(seed: int, users: int = 40, videos: int = 30) -> tuple[pa.Table, pa.Table]:
    """Train and test of a small shop whose users keep to the videos near their own taste."""
    rng = np.random.default_rng(seed)
    train, test = [], []
    for user in range(users):
        taste = rng.integers(videos)
        near = np.argsort(np.abs(np.arange(videos) - taste) + rng.exponential(4, videos))
        watched = near[: rng.integers(4, 9)]
        cut = rng.integers(1, len(watched))
        train += [(f"u{user:02}", f"v{v:02}") for v in watched[:cut]]
        test += [(f"u{user:02}", f"v{v:02}") for v in watched[cut:]]
    return interactions(train), interactions(test)


def events(rows: Iterable[Mapping[str, object]]) -> pa.Table:
    """EVENTS written short: user_id, video_id, kind, `hours` since 1970, and whatever else a row gives."""
    filled = []
    for number, row in enumerate(rows):
        other = {name: value for name, value in row.items() if name != "hours"}
        at = round(float(str(row.get("hours", 0))) * 3_600_000_000)
        filled.append({"event_id": f"e{number}", "domain": "shop", "at": at, **other})
    schema = EVENTS.arrow()
    columns = [pa.array([row.get(f.name) for row in filled]).cast(f.type) for f in schema]
    return pa.Table.from_arrays(columns, schema=schema)
