"""Baselines of `vrec embed`: a hand-tuned loop without Ray, and a simple Ray Data program."""

import io
import multiprocessing
import os
import time
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import ray

from vrec.core.types import Clip, VideoRef
from vrec.encoders.build import EncoderSet, build_encoders
from vrec.encoders.config import EmbedConfig
from vrec.media.decode import decode
from vrec.media.source import content_hash
from vrec.pipelines.embed.stages import warm_up

LANES = os.cpu_count() or 1


class Batch(NamedTuple):
    """Videos embedded by one worker, with start and end in seconds of Unix time."""

    worker: str
    began_at: float
    ended_at: float
    videos: int


def rate(batches: list[Batch], finish_s: float) -> float:
    """Return videos per second from the moment that every worker is at work until all is written.

    A batch that is under way at that moment counts by the share of it that is still to come;
    `finish_s` is what comes after the last batch.
    """
    first: dict[str, float] = {}
    for batch in batches:
        first[batch.worker] = min(batch.began_at, first.get(batch.worker, batch.began_at))
    start, end = max(first.values()), max(batch.ended_at for batch in batches)
    done = sum(
        b.videos * max(0.0, b.ended_at - max(start, b.began_at)) / (b.ended_at - b.began_at) for b in batches
    )
    return done / (end - start + finish_s)


_encoders: EncoderSet


def _load() -> None:
    global _encoders  # noqa: PLW0603
    import torch

    torch.set_num_threads(1)
    _encoders = build_encoders(EmbedConfig().encoders)
    warm_up(_encoders, EmbedConfig())


def _embed_one(path: str) -> tuple[Batch, dict[str, Any]]:
    began_at, config = time.time(), EmbedConfig()
    digest = content_hash(VideoRef(path, path), config.decode.max_bytes)
    decoded = decode(path, config.media())
    clip = Clip(path, decoded.frames, decoded.audio)
    vectors = {m: v[0] for m, v in _encoders.encode([clip]).items()}
    row = {"path": path, "hash": digest, "fingerprint": decoded.fingerprint, **vectors}
    return Batch(str(os.getpid()), began_at, time.time(), 1), row


def hand_tuned(paths: list[str], out: Path) -> float:
    """Return videos per second of a loop over a process pool that writes one Parquet file."""
    batches, rows = [], []
    with multiprocessing.get_context("spawn").Pool(LANES, _load) as pool:
        for batch, row in pool.imap_unordered(_embed_one, paths):
            batches.append(batch)
            rows.append(row)
        columns = {k: [r[k] for r in rows] for k in rows[0]}
        start = time.time()
        pq.write_table(pa.table({k: _column(v) for k, v in columns.items()}), out / "loop.parquet")
        return rate(batches, time.time() - start)


def _column(values: list[Any]) -> pa.Array:
    plain = [v.tolist() if isinstance(v, np.ndarray) else v for v in values]
    return pa.array(plain, pa.list_(pa.float32()) if any(isinstance(v, np.ndarray) for v in values) else None)


def _decode_all(row: dict[str, Any]) -> dict[str, Any]:
    import decord
    import torch

    reader = decord.VideoReader(io.BytesIO(row["bytes"]), ctx=decord.cpu(0), num_threads=1)
    frames = torch.from_numpy(reader.get_batch(range(len(reader))).asnumpy()).permute(0, 3, 1, 2)
    frames = torch.nn.functional.interpolate(frames.float(), (224, 224), mode="bilinear")
    return {"path": row["path"], "frames": frames.byte().permute(0, 2, 3, 1).numpy()}


class _EncodeAll:
    """vrec's network, run as its authors' example does: torch, eager."""

    def __init__(self, backend: str) -> None:
        import torch

        torch.set_num_threads(1)
        config = EmbedConfig().encoders
        assert config.frames is not None
        frames = config.frames.model_copy(update={"backend": backend})
        self.encoders = build_encoders(config.model_copy(update={"frames": frames, "audio": None}))

    def __call__(self, batch: dict[str, Any]) -> dict[str, Any]:
        clips = []
        for path, frames in zip(batch["path"], batch["frames"], strict=True):
            picked = np.linspace(0, len(frames) - 1, 8).round().astype(int)
            clips.append(Clip(str(path), np.ascontiguousarray(frames[picked])))
        return {"path": batch["path"], "vector": np.stack(self.encoders.encode(clips)["frames"])}  # type: ignore[arg-type]


def straightforward(paths: list[str], backend: str) -> float:
    """Return videos per second of read_binary_files → map → map_batches with an actor pool.

    What is decoded by then, while the actors still load, counts in its favour.
    """
    dataset = (
        ray.data.read_binary_files(paths, include_paths=True, override_num_blocks=max(1, len(paths) // 4))
        .map(_decode_all, num_cpus=0.5)
        .map_batches(
            _EncodeAll, fn_constructor_args=(backend,), batch_size=4, concurrency=LANES, num_cpus=0.5
        )
    )
    ends = [
        (time.time(), len(batch["path"]))
        for batch in dataset.iter_batches(batch_size=None, prefetch_batches=0)
    ]
    return sum(count for _, count in ends[1:]) / (ends[-1][0] - ends[0][0])
