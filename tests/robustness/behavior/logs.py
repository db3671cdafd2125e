"""Logs of a small drawn shop with fake shoppers among the real ones."""

import numpy as np
import pyarrow as pa

from tests.robustness.shop import shop
from vrec.core.schema import EVENTS, conform

MINUTE_US = 60_000_000


def events_of(rows: list[tuple], prefix: str = "e") -> pa.Table:
    """Return EVENTS of rows of user, video, kind, value and µs."""
    users, videos, kinds, values, times = zip(*rows, strict=True)
    table = pa.table(
        {
            "event_id": [f"{prefix}{number}" for number in range(len(rows))],
            "user_id": pa.array(users, pa.string()),
            "video_id": pa.array(videos, pa.string()),
            "kind": pa.array(kinds, pa.string()),
            "value": pa.array(values, pa.float32()),
            "domain": ["shop"] * len(rows),
            "at": pa.array(times, pa.timestamp("us", tz="UTC")),
        }
    )
    return conform(table, EVENTS, stage="events_of")


def honest_log(seed: int = 0) -> pa.Table:
    """Return EVENTS of 240 shoppers who click and watch videos of their taste over twenty days."""
    rng, rows = np.random.default_rng(seed), []
    for row in shop(seed).to_pylist():
        at = round(row["at"].timestamp() * 1e6)
        rows.append((row["user_id"], row["video_id"], "click", None, at))
        if rng.random() < 0.8:
            seconds = float(rng.lognormal(3, 0.5))
            rows.append((row["user_id"], row["video_id"], "watch", seconds, at + round(seconds * 1e6)))
    return events_of(rows)


def ring(log: pa.Table, accounts: int = 12, seed: int = 1) -> pa.Table:
    """Return EVENTS of accounts that choose the same new videos, and three old ones each as camouflage."""
    rng, rows = np.random.default_rng(seed), []
    names = sorted(set(log["video_id"].to_pylist()))
    start = min(at.timestamp() for at in log["at"].to_pylist())
    for account in range(accounts):
        videos = [f"w{number}" for number in range(8) if rng.random() < 0.8]
        for video in [*videos, *rng.choice(names, 3, replace=False)]:
            at = round((start + rng.random() * 86_400 * 15) * 1e6)
            rows.append((f"u{900 + account}", str(video), "click", None, at))
    return events_of(rows, "ring")
