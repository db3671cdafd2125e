"""Windows over real HLS streams, from disk and from a real web server with every fault."""

import asyncio
import contextlib
import subprocess
import time

import pytest

from tests.hls_streams import FRAGMENTED, MPEG_TS, ONE_FILE, drawn, ffmpeg, live_playlist, write_hls
from tests.web_files import web_files
from vrec.core.errors import (
    PlaylistError,
    SourceRefused,
    TooLarge,
    UnreachableVideo,
    VanishedVideo,
    VideoError,
    WrongContainer,
)
from vrec.encoders.config import EmbedConfig
from vrec.media.decode import decode
from vrec.media.hls.clip import SegmentContent, SegmentDecoder, WindowContent
from vrec.media.hls.config import HlsLimits
from vrec.media.hls.fetch import HlsFetcher
from vrec.media.hls.scope import HlsScope
from vrec.media.hls.window import HlsWindow

MEDIA = EmbedConfig().media()
WINDOW_S = 3.0
PATIENT, QUICK = HlsLimits(fetch_s=30.0), HlsLimits(fetch_s=1.0)


@pytest.fixture(scope="module")
def mug(tmp_path_factory):
    return write_hls(tmp_path_factory.mktemp("mug"), drawn("mugs"), "mug")


@pytest.fixture(scope="module")
def decoder():
    made = SegmentDecoder(MEDIA, WINDOW_S)
    yield made
    made.close()


@pytest.fixture
def server(mug):
    with web_files({**mug.files, "live.m3u8": live_playlist(list(mug.files))}) as made:
        yield made


@contextlib.asynccontextmanager
async def window_over(source, *roots, limits=PATIENT, window_s=WINDOW_S):
    fetcher = HlsFetcher(limits)
    try:
        yield HlsWindow(HlsScope(source, roots), fetcher, limits, window_s=window_s, side_px=224)
    finally:
        await fetcher.close()


def advance(source, *roots, **more):
    async def run():
        async with window_over(source, *roots, **more) as window:
            return await window.advance()

    return asyncio.run(run())


def names(change):
    return [key[1].uri for key in change.keys]


def test_only_the_last_window_is_fetched_and_each_segment_once(server):
    async def run():
        async with window_over(f"{server.root}/ok/live.m3u8", server.root) as window:
            first = await window.advance()
            again = await window.advance()
            server.files["live.m3u8"] = live_playlist(["mug2.ts", "mug3.ts", "mug0.ts"], 2)
            slid = await window.advance()
            return first, again, slid

    first, again, slid = asyncio.run(run())
    assert names(first) == [part.key[1].uri for part in first.new] == ["mug1.ts", "mug2.ts", "mug3.ts"]
    assert [part.content for part in first.new] == [server.files[name] for name in names(first)]
    assert (again.new, again.keys) == ((), first.keys)
    # The encoder's file names begin anew, the numbers go on: it is another segment.
    assert [part.key for part in slid.new] == [slid.keys[-1]]
    assert names(slid) == ["mug2.ts", "mug3.ts", "mug0.ts"]
    asked = {path: count for path, count in server.requests.items() if path.endswith(".ts")}
    assert asked == dict.fromkeys(("/ok/mug0.ts", "/ok/mug1.ts", "/ok/mug2.ts", "/ok/mug3.ts"), 1)


@pytest.mark.parametrize("options", [MPEG_TS, FRAGMENTED, ONE_FILE], ids=["ts", "fmp4", "byte ranges"])
@pytest.mark.parametrize("place", ["disk", "ok", "without-ranges"])
def test_every_form_of_segment_decodes_by_itself(tmp_path, decoder, options, place):
    made = write_hls(tmp_path, drawn("lamps"), "lamp", *options)
    made.files["lamp.m3u8"] = made.playlist.encode()
    (tmp_path / "lamp.m3u8").write_text(made.playlist)
    with web_files(made.files) as server:
        source = str(tmp_path / "lamp.m3u8") if place == "disk" else f"{server.root}/{place}/lamp.m3u8"
        change = advance(source, str(tmp_path), server.root)
    assert (change.ended, len(change.new)) == (True, 3)
    decoded = decoder.decode(change.new)
    assert all(isinstance(one, SegmentContent) for one in decoded.values())
    content = WindowContent(MEDIA)
    content.take(change, decoded)
    frames, audio = content.clip()
    assert frames.shape[0] == MEDIA.sample.frames
    assert audio is not None
    assert len(audio) / 16_000 == pytest.approx(3, abs=0.35)
    # The pictures are those of the whole stream.
    whole = decode(_joined(tmp_path, "lamp.m3u8"), MEDIA).frames
    assert abs(frames.astype(float).mean() - whole.astype(float).mean()) < 6


def _joined(folder, playlist):
    ffmpeg("-allowed_extensions", "ALL", "-i", folder / playlist, "-c", "copy", folder / "whole.mp4")
    return folder / "whole.mp4"


def test_the_smallest_suitable_variant_is_followed_and_found_again_after_it_moved(server):
    server.files["master.m3u8"] = (
        b"#EXTM3U\n#EXT-X-STREAM-INF:BANDWIDTH=9000000,RESOLUTION=1920x1080\nnone.m3u8\n"
        b"#EXT-X-STREAM-INF:BANDWIDTH=900000,RESOLUTION=320x240\nlive.m3u8\n"
        b"#EXT-X-STREAM-INF:BANDWIDTH=90000,RESOLUTION=32x24\nnone.m3u8\n"
    )

    async def run():
        async with window_over(f"{server.root}/ok/master.m3u8", server.root) as window:
            await window.advance()
            await window.advance()
            server.files["moved.m3u8"] = server.files.pop("live.m3u8")
            server.files["master.m3u8"] = server.files["master.m3u8"].replace(b"live", b"moved")
            with pytest.raises(VanishedVideo):
                await window.advance()
            return await window.advance()

    assert len(asyncio.run(run()).keys) == 3
    assert server.requests["/ok/master.m3u8"] == 2
    server.files["nested.m3u8"] = b"#EXTM3U\n#EXT-X-STREAM-INF:BANDWIDTH=1\nmaster.m3u8\n"
    with pytest.raises(PlaylistError, match="variants itself"):
        advance(f"{server.root}/ok/nested.m3u8", server.root)


def test_a_discontinuity_and_an_encoder_that_starts_anew_lose_nothing(tmp_path, server, decoder):
    dress = write_hls(tmp_path, drawn("dresses"), "dress")
    server.files |= dress.files
    lines = live_playlist(["mug3.ts", "dress0.ts"], 8).decode().replace("dress0", "\ndress0")
    lines = lines.replace("#EXTINF:1.000,\n\ndress0", "#EXT-X-DISCONTINUITY\n#EXTINF:1.000,\ndress0")

    async def run():
        async with window_over(f"{server.root}/ok/live.m3u8", server.root) as window:
            server.files["live.m3u8"] = lines.encode()
            broken = await window.advance()
            server.files["live.m3u8"] = live_playlist(["dress0.ts", "dress1.ts"], 0)
            return broken, await window.advance()

    broken, anew = asyncio.run(run())
    assert (len(broken.new), len(anew.new)) == (2, 2)
    content = WindowContent(MEDIA)
    for change in (broken, anew):
        decoded = decoder.decode(change.new)
        assert all(isinstance(one, SegmentContent) for one in decoded.values())
        content.take(change, decoded)
    assert names(anew) == ["dress0.ts", "dress1.ts"]
    assert content.clip()[0].shape[0] == 6


@pytest.mark.parametrize(
    ("path", "error", "says"),
    [
        ("/mute/live.m3u8", UnreachableVideo, "did not come within 1 s"),
        ("/silent/live.m3u8", UnreachableVideo, "did not come within 1 s"),
        ("/trickle/long.m3u8", UnreachableVideo, "did not come within 1 s"),
        ("/endless/live.m3u8", TooLarge, "more than 1,000,000 bytes"),
        ("/ok/grown.m3u8", TooLarge, "more than 1,000,000 bytes"),
        ("/ok/page.m3u8", PlaylistError, "it is HTML, not a playlist"),
        ("/ok/none.m3u8", VanishedVideo, "HTTP 404"),
        ("/gone/live.m3u8", VanishedVideo, "HTTP 410"),
        ("/error-for-ever/live.m3u8", UnreachableVideo, "HTTP 500"),
        ("/reset-for-ever/live.m3u8", UnreachableVideo, "."),
        ("/chunked-short/live.m3u8", UnreachableVideo, "."),
        ("/gzipped/live.m3u8", UnreachableVideo, "it is compressed"),
        ("/redirect-for-ever/live.m3u8", UnreachableVideo, "more than 3 redirects"),
        ("/redirect-to/x?to=file:///etc/passwd", SourceRefused, "may not lead to file:"),
        ("/redirect-to/x?to=http://127.0.0.1:1/x", SourceRefused, "not below a place"),
        ("/ok/empty.m3u8", PlaylistError, "no segments yet"),
        ("/ok/locked.m3u8", PlaylistError, "encrypted"),
        ("/ok/leaving.m3u8", SourceRefused, "may not lead to file:"),
        ("/ok/missing.m3u8", VanishedVideo, "HTTP 404"),
        ("/ok/large.m3u8", TooLarge, "more than 300,000 bytes"),
    ],
)
def test_what_a_server_does_wrong_is_one_error_with_its_reason(server, path, error, says):
    server.files |= {
        "grown.m3u8": live_playlist([f"seg{number}.ts" for number in range(50_000)]),
        "long.m3u8": live_playlist(["mug0.ts"] * 100),
        "page.m3u8": b"<!DOCTYPE html><html><body>Not found</body></html>",
        "empty.m3u8": live_playlist([]),
        "locked.m3u8": b'#EXTM3U\n#EXT-X-KEY:METHOD=AES-128,URI="k"\n#EXTINF:1,\nmug0.ts\n',
        "leaving.m3u8": live_playlist(["file:///etc/passwd"]),
        "missing.m3u8": live_playlist(["none.ts"]),
        "large.m3u8": live_playlist(["large.ts"]),
        "large.ts": bytes(300_001),
    }
    limits = QUICK.model_copy(update={"segment_bytes": 300_000})
    with pytest.raises(error, match=says) as caught:
        advance(server.root + path, server.root, limits=limits)
    assert caught.value.fix


@pytest.mark.parametrize("route", ["redirect", "chunked", "no-length", "slow"])
def test_what_servers_may_do_is_no_error(server, route):
    assert len(advance(f"{server.root}/{route}/live.m3u8", server.root).new) == 3


def test_segments_that_came_count_without_those_that_did_not_and_these_are_tried_again(server):
    server.files["live.m3u8"] = live_playlist(["mug0.ts", "none.ts", "/mute/mug1.ts", "mug2.ts"])

    async def run():
        limits = PATIENT.model_copy(update={"fetch_s": 3.0})
        async with window_over(
            f"{server.root}/ok/live.m3u8", server.root, window_s=9, limits=limits
        ) as window:
            partly = await window.advance()
            server.files["live.m3u8"] = live_playlist(["mug0.ts", "none.ts", "mug1.ts", "mug2.ts"])
            server.files["none.ts"] = server.files["mug3.ts"]
            return partly, await window.advance()

    partly, whole = asyncio.run(run())
    # The last ones come first: time ran out before the first one's turn.
    assert names(partly) == ["mug2.ts"]
    assert names(whole) == ["mug0.ts", "none.ts", "mug1.ts", "mug2.ts"]
    assert server.requests["/ok/mug2.ts"] == 1


def test_bytes_and_segments_of_a_window_are_limited(server):
    limits = PATIENT.model_copy(update={"segments": 2})
    assert names(advance(f"{server.root}/ok/live.m3u8", server.root, limits=limits)) == ["mug2.ts", "mug3.ts"]
    most = len(server.files["mug3.ts"]) + 10
    limits = PATIENT.model_copy(update={"fetched_bytes": most})
    assert names(advance(f"{server.root}/ok/live.m3u8", server.root, limits=limits)) == ["mug3.ts"]


def test_a_segment_that_is_a_playlist_of_local_files_is_not_followed(server, decoder, tmp_path):
    secret = tmp_path / "secret.ts"
    secret.write_bytes(server.files["mug0.ts"])
    evil = f"#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\nfile://{secret}\n#EXT-X-ENDLIST\n"
    server.files |= {"evil.ts": evil.encode(), "live.m3u8": live_playlist(["evil.ts", "mug0.ts"])}
    change = advance(f"{server.root}/ok/live.m3u8", server.root)
    bad, good = decoder.decode(change.new).values()
    assert isinstance(bad, WrongContainer)
    assert isinstance(good, SegmentContent)


def test_a_truncated_segment_costs_itself_alone(server, decoder):
    server.files |= {
        "cut.ts": server.files["mug1.ts"][:150],
        "live.m3u8": live_playlist(["cut.ts", "mug2.ts"]),
    }
    change = advance(f"{server.root}/ok/live.m3u8", server.root)
    content = WindowContent(MEDIA)
    content.take(change, decoder.decode(change.new))
    assert content.clip()[0].shape[0] >= 1
    server.files |= {"live.m3u8": live_playlist(["cut.ts"])}
    change = advance(f"{server.root}/ok/live.m3u8", server.root)
    with pytest.raises(VideoError) as caught:
        content.take(change, decoder.decode(change.new))
    assert caught.value.stage == "decode"


@pytest.mark.slow
def test_a_stream_that_ffmpeg_writes_now_is_followed_from_disk(tmp_path, decoder):
    """The playlist slides while it is read, and old segments are deleted."""
    command = [
        *("ffmpeg", "-v", "error", "-nostdin", "-re", "-f", "lavfi", "-i", "testsrc=size=160x160:rate=8"),
        *("-f", "lavfi", "-i", "sine=frequency=440", "-t", "20", "-c:v", "libx264", "-g", "8", "-c:a", "aac"),
        *("-f", "hls", "-hls_time", "1", "-hls_list_size", "3", "-hls_flags", "delete_segments", "live.m3u8"),
    ]
    with subprocess.Popen(command, cwd=tmp_path) as writer:
        try:
            asyncio.run(_follow(tmp_path, decoder))
        finally:
            writer.kill()


async def _follow(folder, decoder):
    content, seen = WindowContent(MEDIA), set()
    until = time.monotonic() + 60
    async with window_over(str(folder / "live.m3u8"), str(folder)) as window:
        while len(seen) < 5:
            assert time.monotonic() < until
            await asyncio.sleep(0.3)
            with contextlib.suppress(VanishedVideo, PlaylistError):
                change = await window.advance()
                assert not seen & {part.key for part in change.new}
                seen |= {part.key for part in change.new}
                content.take(change, decoder.decode(change.new))
                assert len(content.clip()[0]) == min(8, 3 * len(change.keys))
