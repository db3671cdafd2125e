"""A shop of real short clips behind real HTTP in this process, for tests of the page."""

import asyncio
import threading
import time
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pyarrow as pa
import uvicorn

from tests.bundles import embeddings_of, parts_of
from tests.serving.direct import Direct
from vrec.bundle.write import BundleConfig, write_bundle
from vrec.config.serve import ServeConfig
from vrec.core.schema import EVENTS
from vrec.core.types import Clip
from vrec.encoders.build import build_encoders
from vrec.encoders.config import EmbedConfig
from vrec.encoders.text import clip_text
from vrec.media.decode_process import DecodeProcess
from vrec.profiles.stores.codec import rows_from_table
from vrec.serving.ab_test.start import begin_experiment
from vrec.serving.deployments.api import ApiDeployment
from vrec.serving.deployments.encoder import EncoderDeployment
from vrec.serving.deployments.profiles import ProfilesDeployment
from vrec.serving.deployments.ranking import RankingDeployment
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


def write_page_shop(folder: Path) -> PageShop:
    """Draw and embed clips, simulate shoppers and write the bundle."""
    plan = [drawn for drawn in plan_catalog(DRAW) if drawn.category in CATEGORIES]
    more = plan_catalog(DRAW.model_copy(update={"videos": DRAW.videos + 8}))[DRAW.videos :]
    (unknown,) = (drawn for drawn in more if drawn.category == "mugs")
    for drawn in (*plan, unknown):
        draw_video(drawn, folder / "media")
    videos = videos_table(plan, folder / "media")
    tables, fused = _embedded(plan, folder / "media")
    # Ages are features, so the log must end now, when the ranker is used.
    ended = SHOPPERS.model_copy(update={"start": datetime.now(UTC) - timedelta(days=SHOPPERS.days)})
    log = simulate(ended, videos, fused)
    parts = parts_of(log, tables["fused"], tables["text"], embed=EMBED)
    write_bundle(str(folder / "bundle"), parts, BundleConfig())
    return PageShop(str(folder / "bundle"), folder / "media" / unknown.file)


def _embedded(plan: list[SyntheticVideo], media: Path) -> tuple[dict[str, pa.Table], np.ndarray]:
    """Return EMBEDDINGS by modality, and the fused vectors in the order of the plan."""
    encoders, decoder = build_encoders(EMBED.encoders), DecodeProcess(EMBED.media())
    decoded = list(decoder.decode_many([str(media / drawn.file) for drawn in plan]))
    decoder.close()
    clips = [
        Clip(drawn.video_id, one.frames, one.audio, clip_text(drawn.title, drawn.tags))
        for drawn, one in zip(plan, decoded, strict=True)
    ]
    vectors = {modality: np.stack(rows) for modality, rows in encoders.encode(clips).items()}
    ids = [drawn.video_id for drawn in plan]
    tables = {m: embeddings_of(ids, m, encoders.names[m], vectors[m]) for m in ("fused", "text")}
    return tables, vectors["fused"]


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
        self.profiles, self.encoder = Direct(ProfilesDeployment(config)), Direct(EncoderDeployment(config))
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
