"""Drawn live streams: real segments, a playlist that slides, and categories that change."""

import asyncio

import pytest

from vrec.encoders.config import EmbedConfig
from vrec.media.hls.clip import SegmentContent, SegmentDecoder
from vrec.media.hls.config import HlsLimits
from vrec.media.hls.fetch import HlsFetcher
from vrec.media.hls.playlist import MediaPlaylist, parse_playlist
from vrec.media.hls.scope import HlsScope
from vrec.media.hls.window import HlsWindow
from vrec.synthetic.live.broadcast import Broadcast, BroadcastConfig
from vrec.synthetic.videos import SyntheticVideosConfig, plan_catalog

PLAN = plan_catalog(SyntheticVideosConfig(videos=16, broken=1, near_duplicates=0, fps=8, width=96, height=96))
CONFIG = BroadcastConfig(streams=3, segment_s=1.0, show_s=3.0, listed=4, clips=1)


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A broadcast of ten segments, and what it was after each."""
    broadcast = Broadcast(tmp_path_factory.mktemp("live"), PLAN, CONFIG)
    broadcast.prepare()
    return [broadcast.advance() for _ in range(10)]


def test_the_playlist_slides_and_old_segments_are_deleted(made):
    last = made[-1][0].playlist
    playlist = parse_playlist(last.read_bytes())
    assert isinstance(playlist, MediaPlaylist)
    assert [one.sequence for one in playlist.segments] == [6, 7, 8, 9]
    files = {file.name for file in last.parent.iterdir()}
    assert {one.part.uri for one in playlist.segments} <= files
    assert len(files) == 1 + CONFIG.listed + 2


def test_streams_change_what_they_show_and_show_different_things(made):
    for stream in range(CONFIG.streams):
        shown = [now[stream].category for now in made]
        assert [shown[0]] * 3 + [shown[3]] * 3 + [shown[6]] * 3 + [shown[9]] == shown
        assert len({shown[0], shown[3], shown[6], shown[9]}) == 4
    products = {video.product_id: video.category for video in PLAN}
    for now in made:
        assert len({one.category for one in now}) == len({one.streamer_id for one in now}) == CONFIG.streams
        assert all(products[one.product_id] == one.category and one.viewers >= 1 for one in now)


def test_followers_can_read_them(made):
    async def read(path):
        limits = HlsLimits(fetch_s=60)
        scope = HlsScope(str(path), (str(path.parent),))
        return await HlsWindow(scope, HlsFetcher(limits), limits, window_s=2, side_px=96).advance()

    decoder = SegmentDecoder(EmbedConfig().media(), 2.0)
    for one in made[-1][:2]:
        change = asyncio.run(read(one.playlist))
        decoded = decoder.decode(change.new)
        assert len(decoded) == 2
        for content in decoded.values():
            assert isinstance(content, SegmentContent)
            assert content.audio is not None
    decoder.close()


def test_the_same_seed_gives_the_same_streams(tmp_path):
    first, second = (Broadcast(tmp_path / name, PLAN, CONFIG) for name in "ab")
    for one in (first, second):
        one._segments = {video.video_id: b"" for video in PLAN}
    found = [[(one.category, one.viewers) for one in now] for now in (first.advance(), second.advance())]
    assert found[0] == found[1]
