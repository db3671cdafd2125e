"""A follower over real HLS: vectors that move with what is shown, and faults that cost one stream."""

import asyncio
import contextlib
import time

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.hls_streams import drawn, live_playlist, write_hls
from tests.web_files import web_files
from vrec.config.streams import StreamsConfig
from vrec.core.types import Clip
from vrec.encoders.build import build_encoders
from vrec.encoders.config import EmbedConfig
from vrec.encoders.text import clip_text
from vrec.media.decode import decode
from vrec.serving.streams.content.follower import ContentFollower, backoff_s
from vrec.serving.streams.content.messages import (
    ContentReport,
    ContentState,
    FollowedStream,
    content_since,
    pack_content,
    unpack_content,
)
from vrec.synthetic.videos import draw_video

# Without sound: its encoder takes seconds to load.
EMBED = EmbedConfig.model_validate({"encoders": {"audio": None}, "sample": {"frames": 4}})
CONFIG = StreamsConfig.model_validate(
    {"window_s": 3, "refresh_s": 0.2, "backoff_s": 0.8, "hls": {"fetch_s": 1.0}}
)


@pytest.fixture(scope="module")
def segments(tmp_path_factory):
    folder = tmp_path_factory.mktemp("hls")
    return {name: write_hls(folder / name, drawn(name, 1), name).files for name in ("sneakers", "mugs")}


@pytest.fixture
def server(segments):
    with web_files({**segments["sneakers"], **segments["mugs"]}) as made:
        yield made


@contextlib.asynccontextmanager
async def following(server, config=CONFIG):
    follower = ContentFollower(EMBED, config, (server.root,))
    try:
        yield follower
    finally:
        await follower.close()


async def reports_until(follower, streams, enough, seconds=170):
    """Return all reports until `enough` of them."""
    found, until = [], time.monotonic() + seconds
    while not enough(found):
        assert time.monotonic() < until, found
        found += await follower.step(streams, 0.2)
    return found


def of(reports, stream_id):
    return [one for one in reports if one.stream_id == stream_id]


def window(name, first=0):
    return live_playlist([f"{name}{number}.ts" for number in range(3)], first)


def test_a_stream_that_changes_moves_to_what_it_shows_now(server, tmp_path):
    encoders = build_encoders(EMBED.encoders)
    centers = {}
    for category in ("sneakers", "mugs"):
        draw_video(drawn(category), tmp_path)
        frames = decode(tmp_path / drawn(category).file, EMBED.media()).frames
        # Title and tags of another one of the category, which say what it is.
        clip = Clip(category, frames, None, clip_text(drawn(category).title, drawn(category).tags))
        centers[category] = encoders.encode([clip])["fused"][0]
    stream = FollowedStream("s", f"{server.root}/ok/live.m3u8", 0, "Live now")

    def embedded(found):
        return found and found[-1].vector is not None

    async def run():
        async with following(server) as follower:
            server.files["live.m3u8"] = window("sneakers")
            before = await reports_until(follower, [stream], embedded)
            server.files["live.m3u8"] = window("mugs", 3)
            after = await reports_until(follower, [stream], embedded)
            return before[-1].vector, after[-1].vector

    before, after = asyncio.run(run())
    assert before.encoder == after.encoder == encoders.names["fused"]
    assert after.at > before.at
    for one in (before, after):
        assert np.linalg.norm(one.vector) == pytest.approx(1, abs=1e-5)
    moved = {name: float((after.vector - before.vector) @ center) for name, center in centers.items()}
    assert moved["mugs"] > 0.05 > -0.05 > moved["sneakers"]
    assert before.vector @ centers["sneakers"] > before.vector @ centers["mugs"]
    assert after.vector @ centers["mugs"] > after.vector @ centers["sneakers"]


def test_faults_of_every_kind_cost_their_stream_a_row_and_the_others_nothing(server):
    page = b"<html>Not found</html>"
    server.files |= {"good.m3u8": window("mugs"), "page.m3u8": page, "old.m3u8": window("mugs")}
    server.files |= {"open.m3u8": window("mugs").replace(b"mugs0.ts", b"file:///etc/passwd")}
    faults = {
        "hangs": ("mute/good.m3u8", "UnreachableVideo"),
        "endless": ("endless/good.m3u8", "TooLarge"),
        "html": ("ok/page.m3u8", "PlaylistError"),
        "missing": ("ok/none.m3u8", "VanishedVideo"),
        "file": ("redirect-to/x?to=file:///etc/passwd", "SourceRefused"),
    }
    streams = [FollowedStream(name, f"{server.root}/{path}", 0) for name, (path, _) in faults.items()]
    streams += [FollowedStream("good", f"{server.root}/ok/good.m3u8", 0)]
    streams += [FollowedStream("partly", f"{server.root}/ok/open.m3u8", 0)]
    streams += [FollowedStream("local", "/etc/passwd", 0)]

    def enough(found):
        good = [one for one in of(found, "good") if one.vector is not None]
        others = [*faults, "local"]
        return len(good) >= 3 and all(len(of(found, name)) >= 2 for name in others) and of(found, "partly")

    async def run():
        async with following(server) as follower:

            async def grow():
                for number in range(1, 1_000):
                    await asyncio.sleep(0.1)
                    server.files["good.m3u8"] = live_playlist([f"mugs{number % 4}.ts"], number)

            task = asyncio.create_task(grow())
            found = await reports_until(follower, streams, enough)
            task.cancel()
            server.files["none.m3u8"] = window("sneakers")
            healed = await reports_until(
                follower, streams, lambda found: any(one.vector for one in of(found, "missing"))
            )
            return found, healed

    found, healed = asyncio.run(run())
    for name, error in [*((name, error) for name, (_, error) in faults.items()), ("local", "SourceRefused")]:
        rows = of(found, name)
        assert {one.error for one in rows} == {error}, rows
        assert [one.failures for one in rows] == list(range(1, len(rows) + 1))
        assert all(one.vector is None and one.reason and one.fix and one.retry_at > one.at for one in rows)
    assert all(one.error is None for one in of(found, "good"))
    # One segment that leads elsewhere costs itself.
    assert of(found, "partly")[0].vector is not None
    assert of(healed, "missing")[-1].failures == 0


def test_a_playlist_that_stands_still_or_has_ended_is_not_embedded_again_and_said_to_stall(server):
    config = CONFIG.model_copy(update={"window_s": 0.5})
    server.files |= {"still.m3u8": window("mugs"), "ended.m3u8": window("mugs") + b"#EXT-X-ENDLIST\n"}
    streams = [FollowedStream(name, f"{server.root}/ok/{name}.m3u8", 0) for name in ("still", "ended")]

    async def run():
        async with following(server, config) as follower:
            return await reports_until(
                follower, streams, lambda found: all(len(of(found, one.stream_id)) >= 3 for one in streams)
            )

    found = asyncio.run(run())
    for name, says in (("still", "no segment was added"), ("ended", "it has ended")):
        first, *others = of(found, name)
        assert first.vector is not None
        assert {one.error for one in others} == {"PlaylistStalled"}
        assert all(says in one.reason for one in others)
    assert sum(count for path, count in server.requests.items() if path.endswith(".ts")) == 2


def test_streams_come_go_and_start_anew(server):
    server.files |= {"a.m3u8": window("mugs"), "b.m3u8": window("mugs")}
    a, b = (FollowedStream(name, f"{server.root}/ok/{name}.m3u8", 5) for name in "ab")
    anew = FollowedStream("b", b.uri, 9)

    async def run():
        async with following(server) as follower:
            await reports_until(follower, [a, b], lambda found: of(found, "a") and of(found, "b"))
            asked = server.requests["/ok/a.m3u8"]
            await reports_until(follower, [anew], lambda found: of(found, "b"))
            again = server.requests["/ok/a.m3u8"]
            await asyncio.sleep(0.6)
            return asked, again, server.requests["/ok/a.m3u8"]

    asked, again, last = asyncio.run(run())
    assert asked <= again <= asked + 1
    assert last == again


@given(st.integers(1, 10_000), st.floats(0.1, 3_600), st.floats(0.1, 86_400), st.floats(0, 1))
def test_the_backoff_grows_to_its_maximum_and_is_never_shorter_than_half_a_refresh(
    failures, refresh, most, draw
):
    found = backoff_s(failures, refresh, most, draw)
    assert refresh / 2 <= found <= max(most, refresh)
    assert backoff_s(failures + 1, refresh, most, draw) >= found
    assert backoff_s(60, refresh, most, 0) == max(most, refresh)


@given(
    st.builds(
        ContentState,
        at=st.integers(0, 2**50),
        embedded_at=st.none() | st.integers(0, 2**50),
        failures=st.integers(0, 99),
        error=st.none() | st.text(),
        reason=st.none() | st.text(),
        fix=st.none() | st.text(),
        retry_at=st.none() | st.integers(0, 2**50),
    ),
    st.integers(0, 2**50),
)
def test_a_state_comes_back_from_the_store_and_tells_nothing_of_an_earlier_start(state, started_at):
    assert unpack_content("s", pack_content(state)) == state
    since = content_since(state, started_at)
    if since is None:
        assert state.at < started_at
    else:
        assert since.embedded_at is None or since.embedded_at >= started_at
    failed = ContentReport("s", 1, failures=2, error="X", reason="r", fix="f", retry_at=3).state(state)
    assert failed.embedded_at == state.embedded_at
    assert unpack_content("s", b"\x93\x02\x01\x02") is None
