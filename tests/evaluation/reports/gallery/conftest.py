"""One small run's tables, of drawn frames; vectors are pixels and spectra, so that look-alikes are real."""

import datetime
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from vrec.core.schema import EMBEDDINGS, FAILURES, MEDIA
from vrec.core.types import Modality
from vrec.evaluation.reports.gallery.build import build_gallery
from vrec.evaluation.reports.gallery.report import GalleryConfig, GalleryReport
from vrec.media.posters import PosterConfig, poster
from vrec.synthetic.videos import SyntheticVideosConfig, plan_catalog, videos_table
from vrec.synthetic.videos.audio import synthesize_audio
from vrec.synthetic.videos.scene import render_frames


@dataclass(frozen=True)
class Run:
    videos: pa.Table | None
    embeddings: Mapping[Modality, pa.Table]
    media: pa.Table
    failures: pa.Table
    posters: Mapping[str, bytes]
    manifest: Mapping[str, object] = field(default_factory=dict)

    def report(self, config: GalleryConfig | None = None, **other: object) -> GalleryReport:
        parts = {name: getattr(self, name) for name in self.__dataclass_fields__} | other
        return build_gallery(**parts, config=config or GalleryConfig())


def embeddings_table(ids: Sequence[str], modality: Modality, vectors: np.ndarray) -> pa.Table:
    flat = pa.array(np.ascontiguousarray(vectors, dtype=np.float32).ravel())
    columns = [
        pa.array(ids),
        pa.array([modality] * len(ids)),
        pa.array(["pixels@1"] * len(ids)),
        pa.array(list(ids)),
        pa.FixedSizeListArray.from_arrays(flat, vectors.shape[1]),
    ]
    return pa.Table.from_arrays(columns, schema=EMBEDDINGS.arrow(vectors.shape[1]))


def media_table(ids: Sequence[str], duration_s: float) -> pa.Table:
    nothing = dict.fromkeys(MEDIA.arrow().names)
    row = {"text_hash": "", "recipe": "", "frames": 3, "has_audio": True, "decode_s": 0.1, "encode_s": 0.1}
    rows = [{**nothing, **row, "video_id": v, "uri": f"{v}.mp4", "duration_s": duration_s} for v in ids]
    return pa.Table.from_pylist(rows, schema=MEDIA.arrow())


def failures_table(rows: Sequence[tuple[str, str, str]]) -> pa.Table:
    at = datetime.datetime(2026, 1, 2, tzinfo=datetime.UTC)
    columns = ("video_id", "error", "message")
    found = [dict(zip(columns, row, strict=True), uri=f"{row[0]}.mp4", stage="decode", at=at) for row in rows]
    return pa.Table.from_pylist(found, schema=FAILURES.arrow())


@pytest.fixture(scope="session")
def run() -> Run:
    plan = plan_catalog(
        SyntheticVideosConfig(videos=24, near_duplicates=1, broken=0, seconds=1.0, fps=3, width=96, height=96)
    )
    ids = [drawn.video_id for drawn in plan]
    clips = [np.stack([np.asarray(p.resize((96, 96))) for p in render_frames(drawn)]) for drawn in plan]
    look = np.stack([clip[:, ::8, ::8].mean(axis=0).ravel() / 255 for clip in clips])
    heard = np.stack(
        [
            np.log1p(np.abs(np.fft.rfft(synthesize_audio(drawn)))[:4000].reshape(50, 80).sum(1))
            for drawn in plan
        ]
    )
    silent = 3
    return Run(
        videos=videos_table(plan, Path("catalogue")),
        embeddings={
            "frames": embeddings_table(ids, "frames", look),
            "audio": embeddings_table(ids[silent:], "audio", heard[silent:]),
            "fused": embeddings_table(ids, "fused", np.hstack([look, heard / 10])),
        },
        media=media_table(ids, 1.0),
        failures=failures_table([("broken/a", "BlackVideo", "all 8 sampled frames are black")]),
        posters={v: poster(clip, PosterConfig()) for v, clip in zip(ids, clips, strict=True)},
        manifest={
            "counts": {"videos": 26, "embedded": 25, "failed": 1, "kept": 0},
            "encoders": {"frames": "cnn@1", "audio": "audio@2", "fused": "fused@3"},
            "timings": {"wall_s": 75.0, "decode_s": 61.5, "encode_s": 80.25, "read_s": 0.031, "write_s": 0.2},
            "throughput": {"videos_per_s": 4.13, "video_seconds_per_s": 16.5},
            "decoders": {"decord": 24, "pyav": 1},
            "near_duplicates": [["sneakers-01", "sneakers-01-repost"]],
            "machine": {"cpus": 2},
            "config": {"embed": {"batch_size": 8}},
        },
    )
