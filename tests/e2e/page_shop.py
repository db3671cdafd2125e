"""A shop of real short clips behind real HTTP in this process, for tests of the page."""

import asyncio
import threading
import time
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pyarrow as pa
import uvicorn

from tests.bundles import embeddings_of, parts_of
from tests.serving.direct import Direct
from vrec.bundle.inputs import BundleInputs
from vrec.bundle.write import BundleConfig, write_bundle
from vrec.config.serve import ServeConfig
from vrec.core.moments import MOMENTS
from vrec.core.schema import EVENTS
from vrec.core.types import CatalogContent, Clip, Frames, Modality
from vrec.encoders.build import build_encoders
from vrec.encoders.config import EmbedConfig
from vrec.encoders.moments.config import MomentsConfig
from vrec.encoders.moments.vectors import quantize_rows
from vrec.encoders.text import clip_text
from vrec.media.decode_process import DecodeProcess
from vrec.profiles.stores.codec import rows_from_table
from vrec.retrieval.config import CrossDomainConfig
from vrec.retrieval.models.cross_domain import CrossDomain
from vrec.serving.ab_test.start import begin_experiment
from vrec.serving.deployments.api import ApiDeployment
from vrec.serving.deployments.encoder import EncoderDeployment
from vrec.serving.deployments.profiles import ProfilesDeployment
from vrec.serving.deployments.ranking.deployment import RankingDeployment
from vrec.serving.http.app import create_app
from vrec.synthetic.shop.simulate import SimulationConfig, simulate
from vrec.synthetic.videos import (
    SyntheticVideo,
    SyntheticVideosConfig,
    draw_video,
    plan_catalog,
    videos_table,
)

CATEGORIES = ("sneakers", "mugs", "lamps", "plants")
DRAW = SyntheticVideosConfig(
    videos=80, near_duplicates=0, broken=0, seconds=1.5, fps=8, width=160, height=160
)
"""80 videos of eight classes in turn, of which four are drawn: ten videos of each."""
# Without sound: the page does not need another encoder.
EMBED = EmbedConfig.model_validate({"encoders": {"audio": None}, "sample": {"frames": 2}})
SHOPPERS = SimulationConfig(users=150, requests_per_user=8, slots=8, click_rate=0.3, cart_rate=0.4)


@dataclass(frozen=True)
class PageShop:
    """Bundle on disk, and a clip that is not in it."""

    uri: str
    unknown: Path
    """Video of a mug."""
    parts: BundleInputs
    decoded: list[tuple[str, Frames]]
    """Ids and frames of the videos."""

    def with_moments(self, folder: Path) -> "PageShop":
        """Write the bundle again with two moments of each video: its first frame, and its last with words."""
        encoders = build_encoders(EMBED.encoders)
        ids = [name for name, _ in self.decoded for _ in range(2)]
        said = [f"look at the side of {name}" for name in ids]
        ends = [frames[[place]] for _, frames in self.decoded for place in (0, -1)]
        clips = [Clip(name, frames, None, text) for name, frames, text in zip(ids, ends, said, strict=True)]
        vectors = encoders.encode(clips)
        moments = {
            modality: _moments(ids, modality, encoders.names[modality], np.stack(vectors[modality]), texts)
            for modality, texts in (("frames", None), ("text", said))
        }
        uri = str(folder / "bundle")
        embed = EMBED.model_copy(update={"moments": MomentsConfig()})
        write_bundle(uri, replace(self.parts, moments=moments, embed=embed), BundleConfig())
        return replace(self, uri=uri)


def write_page_shop(folder: Path) -> PageShop:
    """Draw and embed clips, simulate shoppers and write the bundle."""
    plan = [drawn for drawn in plan_catalog(DRAW) if drawn.category in CATEGORIES]
    more = plan_catalog(DRAW.model_copy(update={"videos": DRAW.videos + 8}))[DRAW.videos :]
    (unknown,) = (drawn for drawn in more if drawn.category == "mugs")
    for drawn in (*plan, unknown):
        draw_video(drawn, folder / "media")
    videos = videos_table(plan, folder / "media")
    decoded = _decoded(plan, folder / "media")
    tables, fused = _embedded(plan, decoded)
    # Ages are features, so the log must end now, when the ranker is used.
    ended = SHOPPERS.model_copy(update={"start": datetime.now(UTC) - timedelta(days=SHOPPERS.days)})
    log = simulate(ended, videos, fused)
    parts = parts_of(log, tables["fused"], tables["text"], embed=EMBED)
    parts = _with_second_domain(parts)
    write_bundle(str(folder / "bundle"), parts, BundleConfig())
    frames = [(drawn.video_id, one.frames) for drawn, one in zip(plan, decoded, strict=True)]
    return PageShop(str(folder / "bundle"), folder / "media" / unknown.file, parts, frames)


def _moments(
    ids: list[str], modality: Modality, encoder: str, vectors: np.ndarray, texts: list[str] | None
) -> pa.Table:
    """Return MOMENTS, of each video one that begins at 0 s and one that begins at 0.75 s."""
    codes, scales = quantize_rows(vectors)
    starts = np.tile(np.array([0.0, 0.75], np.float32), len(ids) // 2)
    columns = [
        pa.array(ids),
        pa.array([modality] * len(ids)),
        pa.array([encoder] * len(ids)),
        pa.array(starts),
        pa.array(starts + np.float32(0.75)),
        pa.array(texts or [None] * len(ids), pa.string()),
        pa.array(scales),
        pa.FixedSizeListArray.from_arrays(pa.array(codes.ravel()), vectors.shape[1]),
    ]
    return pa.Table.from_arrays(columns, schema=MOMENTS.arrow(vectors.shape[1]))


def _with_second_domain(parts: BundleInputs) -> BundleInputs:
    """Return the parts with a recommender that has learned from a social network too.

    Its shoppers watch clips there of the categories that they watch in the shop. Whoever has no account there
    gets the lists of `ItemKnn`.
    """
    assert parts.interactions is not None
    categories = dict(
        zip(*(parts.videos[name].to_pylist() for name in ("video_id", "category")), strict=True)
    )
    clips = [
        f"social-{categories[name]}-{len(name) % 3}" for name in parts.interactions["video_id"].to_pylist()
    ]
    there = parts.interactions.set_column(
        parts.interactions.column_names.index("video_id"), "video_id", pa.array(clips)
    ).group_by(["user_id", "video_id"])
    names = [name for name in parts.interactions.column_names if name not in ("user_id", "video_id")]
    summed = there.aggregate([(name, "max") for name in names])
    summed = summed.rename_columns([name.removesuffix("_max") for name in summed.column_names])
    both = pa.concat_tables(
        [parts.interactions, summed.select(parts.interactions.column_names).cast(parts.interactions.schema)]
    )
    domains = dict.fromkeys(categories, "demo") | dict.fromkeys(clips, "social")
    videos = pa.table({"video_id": list(domains), "domain": list(domains.values())})
    model = CrossDomain(CrossDomainConfig(target="demo", weight=1.0))
    model.fit(both, CatalogContent(videos))
    return replace(parts, recommender=model, interactions=both)


def _decoded(plan: list[SyntheticVideo], media: Path) -> list:
    decoder = DecodeProcess(EMBED.media())
    decoded = list(decoder.decode_many([str(media / drawn.file) for drawn in plan]))
    decoder.close()
    return decoded


def _embedded(plan: list[SyntheticVideo], decoded: list) -> tuple[dict[str, pa.Table], np.ndarray]:
    """Return EMBEDDINGS by modality, and the fused vectors in the order of the plan."""
    encoders = build_encoders(EMBED.encoders)
    clips = [
        Clip(drawn.video_id, one.frames, one.audio, clip_text(drawn.title, drawn.tags))
        for drawn, one in zip(plan, decoded, strict=True)
    ]
    vectors = {modality: np.stack(rows) for modality, rows in encoders.encode(clips).items()}
    ids = [drawn.video_id for drawn in plan]
    tables = {m: embeddings_of(ids, m, encoders.names[m], vectors[m]) for m in ("fused", "text")}
    return tables, vectors["fused"]


class SingleTexts(EncoderDeployment):
    """Encoder that takes each text by itself: Serve's batches need a replica."""

    async def text(self, text: str) -> np.ndarray | None:
        """Return the vector of a text."""
        return (await self._run(self._embedder().texts, [text]))[0]


class PageService:
    """The deployments and their HTTP server on a loopback port, in a thread with its own event loop."""

    def __init__(
        self, shop: PageShop, folder: Path, environment: dict[str, str] | None = None, *, hours=2, **more
    ) -> None:
        store = {"kind": "sqlite", "path": str(folder / "store.db")}
        given = {"data": str(folder / "data"), "store": store, "refresh_s": 0.1} | more
        self.config = ServeConfig.model_validate(given)
        self._shop, self._environment, self._hours = shop, environment or {}, hours
        self._up = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._serve()), daemon=True)

    def __enter__(self) -> "PageService":
        self._thread.start()
        assert self._up.wait(150)
        return self

    def __exit__(self, *_: object) -> None:
        self._server.should_exit = True
        self._thread.join(20)

    def call(self, coroutine):
        """Return the result of a coroutine run in the service's event loop."""
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result(20)

    def add_other_shoppers(self, shoppers: int = 250) -> None:
        """Add events of other shoppers over the last hour, enough for the intervals of an arm."""
        rng, now = np.random.default_rng(3), time.time_ns() // 1000
        rows = []
        for user in range(shoppers):
            at = now - int(rng.integers(1, 55)) * 60_000_000
            for place in range(6):
                event = {
                    "user_id": f"other-{user}",
                    "video_id": f"mugs-{place + 1:02d}",
                    "domain": "demo",
                    "at": at,
                }
                rows.append(event | {"event_id": f"o-{user}-{place}", "kind": "impression"})
                if rng.random() < 0.2:
                    rows.append(event | {"event_id": f"oc-{user}-{place}", "kind": "click"})
                    watched = {
                        "event_id": f"ow-{user}-{place}",
                        "kind": "watch",
                        "value": float(rng.gamma(2, 4)),
                    }
                    rows.append(event | watched)
                    if rng.random() < 0.15:
                        rows.append(
                            event | {"event_id": f"op-{user}-{place}", "kind": "purchase", "value": 9.0}
                        )
        self.call(self.api.apply(rows_from_table(pa.Table.from_pylist(rows, schema=EVENTS.arrow()))))

    async def _serve(self) -> None:
        self._loop, config = asyncio.get_running_loop(), self.config
        # The A/B test has run for hours, so that the last hour's events count.
        begin_experiment(config.data, config.arms, 0, time.time_ns() // 1000 - self._hours * 3_600_000_000)
        self.profiles, self.encoder = Direct(ProfilesDeployment(config)), Direct(SingleTexts(config))
        self.ranking = Direct(RankingDeployment(config, self.profiles, self.encoder))
        self.api = ApiDeployment(config, self.ranking, self.profiles, self.encoder)
        for node in (self.encoder.node, self.profiles.node, self.ranking.node, self.api):
            await node.reconfigure({"bundle": self._shop.uri})
        app = create_app(self.api, config, environment=self._environment)
        self._server = uvicorn.Server(uvicorn.Config(app, port=0, log_level="warning"))
        serving = asyncio.create_task(self._server.serve())
        while not self._server.started:
            await asyncio.sleep(0.02)
        _, port = self._server.servers[0].sockets[0].getsockname()
        self.address = f"http://127.0.0.1:{port}"
        self._up.set()
        await serving
