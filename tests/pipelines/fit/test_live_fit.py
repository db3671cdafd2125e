"""`vrec fit --model live` and the bundle with its model: files in, the order of a served list out."""

import asyncio
import json
import time
from dataclasses import replace

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from tests.bundles import CONFIG, shop_parts
from tests.serving.direct import Direct
from vrec.bundle.bundle import ServingBundle
from vrec.bundle.write import write_bundle
from vrec.cli.main import app
from vrec.config.serve import ServeConfig
from vrec.core.schema import EVENTS, VIDEOS
from vrec.retrieval.live.model import LiveRecommender
from vrec.serving.deployments.profiles import ProfilesDeployment
from vrec.serving.deployments.ranking.deployment import RankingDeployment
from vrec.serving.messages import CatalogEdit, RecommendQuery, RequestFilters
from vrec.serving.streams.states import STREAMS_TABLE, StreamState, pack_state
from vrec.synthetic.live.config import LiveSimulationConfig
from vrec.synthetic.live.simulate import simulate_live

WORLD = LiveSimulationConfig(shoppers=80, streamers=40, days=8)
QUICK = ["--set", "retrieval.live.attention=null"]


@pytest.fixture(scope="module")
def fitted(tmp_path_factory):
    """Return the folder of a model that the command fitted on files."""
    folder = tmp_path_factory.mktemp("live")
    drawn = simulate_live(WORLD)
    pq.write_table(drawn.events, folder / "events.parquet")
    pq.write_table(drawn.streams, folder / "streams.parquet")
    out = folder / "model"
    files = ["--events", str(folder / "events.parquet"), "--streams", str(folder / "streams.parquet")]
    done = CliRunner().invoke(app, ["fit", "--model", "live", *files, *QUICK, "--out", str(out), "--json"])
    assert done.exit_code == 0, done.output
    told = json.loads(done.stdout.strip().splitlines()[-1])
    assert (told["model"], told["videos"]) == ("live", drawn.streams.num_rows)
    return out


def test_streams_are_needed_and_named_where_they_are_bad(fitted, tmp_path):
    files = ["fit", "--model", "live", "--events", str(fitted.parent / "events.parquet"), "--out"]
    done = CliRunner().invoke(app, [*files, str(tmp_path / "m")])
    assert done.exit_code == 1
    assert "live needs the streams" in str(done.exception)
    (tmp_path / "bad.csv").write_text("stream_id,started_at\na,2026-01-01T00:00:00Z\n")
    done = CliRunner().invoke(app, [*files, str(tmp_path / "m"), "--streams", str(tmp_path / "bad.csv")])
    assert done.exit_code == 1
    assert "no column streamer_id" in str(done.exception)


@pytest.mark.slow
def test_a_shopper_who_comes_back_sees_the_streamer_first_at_once(fitted, tmp_path):
    model = LiveRecommender.load(str(fitted))
    write_bundle(str(tmp_path / "b"), replace(shop_parts(), live=model), CONFIG)
    bundle = ServingBundle.load(str(tmp_path / "b"))
    assert bundle.early_leave_s == bundle.live.early_leave_s == 60
    known = model.streamers.ids.to_pylist()[:4]
    store = {"kind": "sqlite", "path": str(tmp_path / "store.db")}
    config = ServeConfig.model_validate({"data": str(tmp_path / "data"), "store": store, "refresh_s": 0.05})

    async def run():
        profiles = Direct(ProfilesDeployment(config))
        ranking = RankingDeployment(config, profiles, None)
        for node in (profiles.node, ranking):
            await node.reconfigure({"bundle": str(tmp_path / "b")})
        now = time.time_ns() // 1000
        streams = {f"s-{name}": name for name in known} | {f"old-{known[2]}": known[2]}
        for stream, streamer in streams.items():
            card = {"uri": f"stream://{stream}", "kind": "live", "available": True, "domain": "shop"}
            columns = {"title": None, "tags": [], "product_ids": [], "creator_id": streamer}
            edit = CatalogEdit(stream, "add", whole(card | columns))
            await ranking._live.edit_all(lambda _, edit=edit: [edit])
            if stream.startswith("s-"):
                state = StreamState(stream, streamer, now, now, now + 60_000_000, viewers=5)
                await profiles.put_states.remote(STREAMS_TABLE, [(stream, pack_state(state), 0)])
        await profiles.node._live.follow()
        event = {"user_id": "ann", "video_id": f"old-{known[2]}", "kind": "watch", "value": 1500.0}
        event |= {"domain": "feed"}
        ends = [now - hours * 3_600_000_000 for hours in range(1, 5)]
        rows = [event | {"event_id": f"e{end}", "at": end} for end in ends]
        table = pa.Table.from_pylist(rows, schema=EVENTS.arrow())
        before = [await first(ranking, user, now) for user in ("ann", "bob")]
        await profiles.apply.remote(table, [len(rows)])
        after = [await first(ranking, user, now) for user in ("ann", "bob")]
        assert before[0] == before[1] == after[1]
        assert after[0] == f"s-{known[2]}"
        await ranking.close()
        await profiles.node.close()

    asyncio.run(run())


def whole(fields):
    return {column.name: fields.get(column.name) for column in VIDEOS.columns[1:]}


async def first(ranking, user, now):
    await ranking._follow_streams()
    query = RecommendQuery("r", user, "feed", 3, now + 1, filters=RequestFilters(streams="only"))
    return (await ranking.recommend(query)).items[0].video_id
