"""`vrec demo`: draw or take a catalog, embed it, simulate a shop in it, and write the report page."""

import logging
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import ray

from vrec.config.settings import Settings
from vrec.core.errors import OutputError, SchemaError, os_error_reason
from vrec.core.tables import read_embeddings, read_failures, read_media
from vrec.core.types import MODALITIES, Modality
from vrec.core.uris import uri_name
from vrec.evaluation.reports.comparison import PAGE
from vrec.evaluation.reports.gallery.build import build_gallery, select_cards
from vrec.evaluation.reports.gallery.page import write_gallery
from vrec.media.audio import AudioConfig
from vrec.media.catalog import open_source
from vrec.media.frame_sampling import FrameSamplingConfig
from vrec.media.posters import make_posters
from vrec.pipelines.cluster import connect_cluster
from vrec.pipelines.demo_shop import (
    EVALUATION,
    DemoShopResult,
    demo_shop,
    videos_from_media,
    with_absolute_uris,
)
from vrec.pipelines.embed.run import embed
from vrec.pipelines.inputs import read_videos
from vrec.synthetic.videos import draw_video, plan_catalog, videos_table

_log = logging.getLogger(__name__)

REPORT, TABLES, CATALOGUE, SHOP, BUNDLE = "report.html", "tables", "videos", "shop", "bundle"


def demo(
    out: str, settings: Settings, *, videos: str | None = None, address: str | None = None
) -> tuple[dict[str, Any], str, DemoShopResult | None]:
    """Run the demo and return the embedding's manifest, the report's path, and the simulated shop.

    Args:
        out: a local folder. It gets the drawn videos, the tables and report.html; in `shop` the simulated
            events, the models fitted on them and their evaluation; in `bundle` the input of `vrec serve`.
        settings: `demo` and the settings of each step.
        videos: the catalog to embed, a drawn one where None.
        address: the Ray cluster, as `connect_cluster` takes it.

    Returns:
        The manifest, the path of report.html, and the shop, None with fewer than `demo.least_videos` embedded
        videos.

    Raises as `vrec.pipelines.embed.run.embed` and `vrec.pipelines.train.ranker.train_on_inputs`.
    """
    folder = Path(out)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"{out}: cannot be made: {os_error_reason(error)}") from None
    with connect_cluster(address):
        source = videos or _draw(folder / CATALOGUE, settings)
        tables = str(folder / TABLES)
        manifest = embed(source, tables, settings.embed)
        embeddings = _read_embeddings(tables)
        media = _read_media(tables, source)
        catalogue = _catalogue_table(source)
        shop = _shop(folder, catalogue, embeddings.get("fused"), media, settings)
        cards = select_cards(embeddings, settings.demo.gallery)
        report = build_gallery(
            videos=catalogue,
            embeddings=embeddings,
            media=media,
            failures=read_failures(tables),
            manifest=manifest,
            posters=_posters(media, cards, settings),
            config=settings.demo.gallery,
        )
    links = {"What simulated shoppers would be shown": f"{SHOP}/{EVALUATION}/{PAGE}"} if shop else {}
    write_gallery(replace(report, links=links), folder / REPORT)
    return manifest, str(folder / REPORT), shop


def _shop(
    folder: Path, catalogue: pa.Table | None, fused: pa.Table | None, media: pa.Table, settings: Settings
) -> DemoShopResult | None:
    if fused is None or fused.num_rows < settings.demo.least_videos:
        return None
    videos = with_absolute_uris(videos_from_media(media) if catalogue is None else catalogue, media)
    posters, tables = partial(_posters, media, settings=settings), str(folder / TABLES)
    return demo_shop(
        folder / SHOP, folder / BUNDLE, tables, videos, fused, settings=settings, posters=posters
    )


def _read_embeddings(tables: str) -> dict[Modality, pa.Table]:
    embeddings: dict[Modality, pa.Table] = {}
    for modality in MODALITIES:
        if (table := read_embeddings(tables, modality)) is not None:
            embeddings[modality] = table
    return embeddings


def _read_media(tables: str, source: str) -> pa.Table:
    """Return MEDIA with the URIs of the catalog: posters are made of files, and MEDIA masks credentials."""
    media = read_media(tables)
    files = {ref.video_id: ref.uri for ref in open_source(source).refs()}
    ids, column = media.column("video_id").to_pylist(), media.schema.get_field_index("uri")
    return media.set_column(column, media.schema.field(column), pa.array([files[name] for name in ids]))


def _draw(folder: Path, settings: Settings) -> str:
    plan = plan_catalog(settings.demo.draw)
    _log.info("drawing %d videos", len(plan))
    draw = ray.remote(draw_video)
    ray.get([draw.remote(video, folder.absolute()) for video in plan])
    table = folder / "VIDEOS.parquet"
    pq.write_table(videos_table(plan, folder.absolute()), table)
    return str(table)


def _catalogue_table(source: str) -> pa.Table | None:
    if not uri_name(source).endswith(".parquet"):
        return None
    try:
        return read_videos(source)
    except SchemaError:
        # Embedding needs only some columns of VIDEOS; without the others the page shows ids.
        return None


def _posters(media: pa.Table, video_ids: Sequence[str], settings: Settings) -> dict[str, bytes]:
    selected = set(video_ids)
    rows = [r for r in media.select(["video_id", "uri"]).to_pylist() if r["video_id"] in selected]
    make = ray.remote(make_posters)
    tasks = max(1, int(ray.cluster_resources().get("CPU", 1)))
    config = settings.embed.media().model_copy(
        update={
            "sample": FrameSamplingConfig(frames=1),
            "audio": AudioConfig(enabled=False),
            "decode": settings.embed.decode.model_copy(
                update={"fit": "crop", "frame_px": settings.demo.poster.px}
            ),
        }
    )
    shards = ray.get([make.remote(rows[task::tasks], config, settings.demo.poster) for task in range(tasks)])
    return {video_id: jpeg for posters in shards for video_id, jpeg in posters.items()}
