"""What vrec is measured against: a hand-tuned loop without Ray, and what one writes first with it."""

import io
import multiprocessing
import os
import time
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import ray

from vrec.core.protocols import Clip, VideoRef
from vrec.encoders.build import EncoderSet, build_encoders
from vrec.media.decode import decode
from vrec.media.source import content_hash
from vrec.settings import EmbedConfig

LANES = os.cpu_count() or 1
Event = tuple[float, int]
"""(when, how many videos were finished then)."""

_encoders: EncoderSet


def _load() -> None:
    global _encoders  # noqa: PLW0603
    import torch

    torch.set_num_threads(1)
    _encoders = build_encoders(EmbedConfig().encoders)


def _embed_batch(paths: list[str]) -> dict[str, Any]:
    config = EmbedConfig()
    media, rows = config.media(), []
    for path in paths:
        digest = content_hash(VideoRef(path, path), config.decode.max_bytes)
        decoded = decode(path, media)
        clip = Clip(path, decoded.frames, decoded.audio)
        vectors = {m: v[0] for m, v in _encoders.encode([clip]).items()}
        rows.append({"path": path, "hash": digest, "phash": decoded.phash, **vectors})
    return {"rows": rows}


def hand_tuned(paths: list[str], out: Path) -> list[Event]:
    """Events of a loop over a process pool that writes one Parquet file."""
    size = max(1, min(8, len(paths) // (LANES * 16)))
    batches = [paths[i : i + size] for i in range(0, len(paths), size)]
    events: list[Event] = []
    rows: list[dict[str, Any]] = []
    with multiprocessing.get_context("spawn").Pool(LANES, _load) as pool:
        for answer in pool.imap_unordered(_embed_batch, batches):
            rows.extend(answer["rows"])
            events.append((time.perf_counter(), len(answer["rows"])))
        columns = {k: [r[k] for r in rows] for k in rows[0]}
        pq.write_table(pa.table({k: _column(v) for k, v in columns.items()}), out / "loop.parquet")
        events[-1] = (time.perf_counter(), events[-1][1])
    return events


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
    """The same network as vrec's, run as its authors' example does: torch, eager."""

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


def straightforward(paths: list[str], backend: str) -> list[Event]:
    """Events of read_binary_files → map → map_batches with an actor pool."""
    dataset = (
        ray.data.read_binary_files(paths, include_paths=True, override_num_blocks=max(1, len(paths) // 4))
        .map(_decode_all, num_cpus=0.5)
        .map_batches(
            _EncodeAll, fn_constructor_args=(backend,), batch_size=4, concurrency=LANES, num_cpus=0.5
        )
    )
    events: list[Event] = []
    for batch in dataset.iter_batches(batch_size=None, prefetch_batches=0):
        events.append((time.perf_counter(), len(batch["path"])))
    return events
