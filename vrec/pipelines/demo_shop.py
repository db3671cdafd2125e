"""Second half of the demo: simulated shoppers, models fitted on their events, an evaluation, a bundle."""

import logging
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from vrec.config.demo import DemoRankerConfig
from vrec.config.settings import Settings
from vrec.config.train_ranker import TrainRankerConfig
from vrec.core.compute import pc
from vrec.core.schema import VIDEOS
from vrec.core.uris import absolute_uri
from vrec.evaluation.reports.comparison import PAGE, ComparisonReport, write_comparison
from vrec.pipelines.bundle import make_bundle
from vrec.pipelines.evaluate.report import build_report
from vrec.pipelines.evaluate.run import run_comparison
from vrec.pipelines.fit.run import fit_inputs
from vrec.pipelines.inputs import InputPaths, read_inputs
from vrec.pipelines.train.data_parallel import train_in_process
from vrec.pipelines.train.ranker import train_on_inputs
from vrec.synthetic.shop.simulate import simulate

_log = logging.getLogger(__name__)

EVENTS_FILE, VIDEOS_FILE, MODEL, EVALUATION = "EVENTS.parquet", "VIDEOS.parquet", "model", "evaluation"
RANKER = "ranker"

Posters = Callable[[Sequence[str]], Mapping[str, bytes]]
"""Makes posters: JPEG bytes by video id."""


@dataclass(frozen=True, slots=True)
class DemoShopResult:
    """Summary of the demo's shop: paths of its events, model, evaluation and bundle."""

    events: int
    """Number of simulated events."""
    report: str
    """The path of the evaluation page."""
    model: str
    """The folder of the fitted recommender."""
    log: str
    """The path of the simulated EVENTS."""
    bundle: str
    """The folder to serve."""


def demo_shop(
    folder: Path,
    bundle: Path,
    tables: str,
    videos: pa.Table,
    fused: pa.Table,
    *,
    settings: Settings,
    posters: Posters,
) -> DemoShopResult:
    """Simulate a shop, fit and evaluate models on its events, and write a bundle.

    Only the shoppers are simulated: everything else works as on the events of any shop.

    Args:
        folder: gets EVENTS and VIDEOS, an evaluation of recommenders, the best of them and a ranker.
        bundle: the folder of the bundle; one of an earlier demo is replaced.
        tables: the embedding folder.
        videos: VIDEOS; those without a vector are left out.
        fused: the fused EMBEDDINGS.
        settings: `demo` and the settings of each step.
        posters: makes the posters of the evaluation's example shoppers.
    """
    embedded = embedded_videos(videos, fused)
    vectors = np.stack(fused.column("vector").to_numpy(zero_copy_only=False))
    rows = pc.index_in(embedded.column("video_id"), value_set=fused.column("entity_id").combine_chunks())
    _log.info("simulating shoppers")
    shop = simulate(settings.demo.shop, embedded, vectors[np.asarray(rows)])
    folder.mkdir(parents=True, exist_ok=True)
    pq.write_table(shop.events, folder / EVENTS_FILE)
    pq.write_table(shop.videos, folder / VIDEOS_FILE)
    paths = InputPaths(str(folder / EVENTS_FILE), videos=str(folder / VIDEOS_FILE), embeddings=tables)
    data = read_inputs(paths, settings.events, settings.fit.modality)
    report = build_report(run_comparison(data, settings), settings.evaluate, name="the demo's shop")
    write_comparison(_with_posters(report, posters), str(folder / EVALUATION))
    fit_inputs(data, str(folder / MODEL), settings, model="auto")
    ranker = small_ranker(settings.train.ranker, settings.demo.ranker)
    small = settings.model_copy(update={"train": settings.train.model_copy(update={"ranker": ranker})})
    train_on_inputs(data, str(folder / RANKER), ranker, train=train_in_process)
    shutil.rmtree(bundle, ignore_errors=True)
    make_bundle(paths, str(bundle), small, ranker=str(folder / RANKER), recommender=str(folder / MODEL))
    return DemoShopResult(
        events=shop.events.num_rows,
        report=str(folder / EVALUATION / PAGE),
        model=str(folder / MODEL),
        log=str(folder / EVENTS_FILE),
        bundle=str(bundle),
    )


def small_ranker(train: TrainRankerConfig, small: DemoRankerConfig) -> TrainRankerConfig:
    """Return training settings that suit the demo's small log."""
    layers = {"width": small.width, "hidden": small.hidden, "dropout": small.dropout}
    fields = type(train.network).model_fields
    changes = {
        "network": {name: value for name, value in layers.items() if name in fields},
        "features": {"history": small.history},
        "labels": {"conversion_window_hours": small.conversion_window_hours},
        "training": {"epochs": small.epochs},
    }
    groups = {name: getattr(train, name).model_copy(update=change) for name, change in changes.items()}
    return train.model_copy(update=groups)


def with_absolute_uris(videos: pa.Table, media: pa.Table) -> pa.Table:
    """Return VIDEOS with the absolute paths of the embedded files: a service may run in another folder."""
    files = dict(zip(*(media.column(name).to_pylist() for name in ("video_id", "uri")), strict=True))
    ids, uris = (videos.column(name).to_pylist() for name in ("video_id", "uri"))
    paths = pa.array([absolute_uri(files.get(name, uri)) for name, uri in zip(ids, uris, strict=True)])
    return videos.set_column(videos.schema.get_field_index("uri"), videos.schema.field("uri"), paths)


def embedded_videos(videos: pa.Table, fused: pa.Table) -> pa.Table:
    """Return the VIDEOS rows that have a vector."""
    return videos.filter(
        pc.is_in(videos.column("video_id"), value_set=fused.column("entity_id").combine_chunks())
    )


def videos_from_media(media: pa.Table) -> pa.Table:
    """Return VIDEOS with default values for a catalog that has only MEDIA, such as a folder of files."""
    rows = [
        {
            "video_id": row["video_id"],
            "uri": row["uri"],
            "kind": "product",
            "product_ids": [],
            "creator_id": "unknown",
            "domain": "demo",
            "tags": [],
            "duration_s": row["duration_s"],
            "available": True,
        }
        for row in media.select(["video_id", "uri", "duration_s"]).to_pylist()
    ]
    return pa.Table.from_pylist(rows, schema=VIDEOS.arrow())


def _with_posters(report: ComparisonReport, posters: Posters) -> ComparisonReport:
    shown = {
        video
        for shopper in report.shoppers
        for videos in (shopper.watched, shopper.went_on, *shopper.suggested.values())
        for video in videos
    }
    return replace(report, posters=posters(sorted(shown)))
