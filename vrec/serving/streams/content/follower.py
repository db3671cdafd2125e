"""Follower of the content of a few streams, in a process of its own."""

import asyncio
import os
import random
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial

from vrec.config.streams import StreamsConfig
from vrec.core.errors import DecodeFailed, EncodeFailed, PlaylistStalled, VideoError, as_video_error
from vrec.core.types import Clip, Vectors
from vrec.encoders.build import EncoderSet, build_encoders
from vrec.encoders.config import EmbedConfig
from vrec.media.hls.clip import SegmentDecoder, WindowContent
from vrec.media.hls.fetch import HlsFetcher
from vrec.media.hls.scope import HlsScope
from vrec.media.hls.window import HlsWindow, WindowChange
from vrec.serving.catalog.clock import wall_clock_us
from vrec.serving.streams.content.messages import ContentReport, FollowedStream
from vrec.serving.streams.states import StreamVector

NICENESS = 19
"""Priority of decoding and encoding: whatever else wants the processor goes first."""
STALLED_WINDOWS = 3
"""Windows without a new segment after which a playlist counts as stalled."""


def backoff_s(failures: int, refresh_s: float, most_s: float, draw: float) -> float:
    """Return the seconds until the next attempt after so many failures.

    They double with each failure from `refresh_s` to `most_s`, less a part of up to a half, so that playlists
    that died together are not asked for together.

    Args:
        failures: Consecutive failures, at least one.
        refresh_s: Seconds between attempts that do not fail.
        most_s: Maximum; one below `refresh_s` counts as that.
        draw: Random number from 0 to 1.
    """
    doubled = refresh_s * 2.0 ** min(failures - 1, 40)
    return min(doubled, max(most_s, refresh_s)) * (1 - draw / 2)


class ContentFollower:
    """Follower of streams: each is fetched by itself, and what came is decoded and encoded in turn.

    It has no state that matters: whoever calls `step` names all the streams, so that another one can go on.
    """

    def __init__(self, embed: EmbedConfig, config: StreamsConfig, roots: Sequence[str]) -> None:
        """Build it; the encoders are loaded when the first segments have come.

        Args:
            embed: Settings with which the catalog was embedded.
            config: Settings of streams.
            roots: Folders and prefixes of URIs below which streams may be read.
        """
        self._embed, self._config, self._roots = embed, config, tuple(roots)
        self._media = embed.media()
        self._fetcher = HlsFetcher(config.hls)
        self._encoders: EncoderSet | None = None
        self._decoder = SegmentDecoder(self._media, config.window_s)
        # One thread does all the work, so that the process takes one core at most, and steps back for others.
        self._work = ThreadPoolExecutor(1, thread_name_prefix="vrec-follower", initializer=_step_back)
        self._tasks: dict[str, tuple[FollowedStream, asyncio.Task[None]]] = {}
        self._texts: dict[str, str | None] = {}
        self._reports: list[ContentReport] = []
        self._found = asyncio.Event()

    async def step(self, streams: Sequence[FollowedStream], wait_s: float) -> list[ContentReport]:
        """Follow these streams and no others, and return what came of it since the last call.

        Args:
            streams: All streams to follow from now on.
            wait_s: Seconds to wait if nothing has come yet.
        """
        self._follow(streams)
        if not self._reports:
            self._found.clear()
            with suppress(TimeoutError):
                async with asyncio.timeout(wait_s):
                    await self._found.wait()
        reports, self._reports = self._reports, []
        return reports

    async def pid(self) -> int:
        """Return the id of this process."""
        return os.getpid()

    async def close(self) -> None:
        """Stop following, and end the decoding process."""
        self._follow(())
        await asyncio.get_running_loop().run_in_executor(self._work, self._decoder.close)
        self._work.shutdown()
        await self._fetcher.close()

    def _follow(self, streams: Sequence[FollowedStream]) -> None:
        wanted = {one.stream_id: one for one in streams}
        self._texts = {name: one.text for name, one in wanted.items()}
        for name, (known, task) in list(self._tasks.items()):
            now = wanted.get(name)
            if now is None or (now.uri, now.started_at) != (known.uri, known.started_at):
                task.cancel()
                del self._tasks[name]
        for name, one in wanted.items():
            if name not in self._tasks:
                self._tasks[name] = one, asyncio.get_running_loop().create_task(self._run(one))

    async def _run(self, stream: FollowedStream) -> None:
        """Embed a stream again and again, until it is cancelled."""
        config, attempts = self._config, _Attempts(self._roots, stream.uri)
        failures = stream.failures
        if failures:
            # Whoever followed it before has ended: a dead playlist does not gain an attempt by that.
            await asyncio.sleep(backoff_s(1, config.refresh_s, config.backoff_s, random.random()))
        due = time.monotonic()
        while True:
            try:
                vector = await self._attempt(stream.stream_id, attempts)
            except Exception as caught:  # whatever is wrong with one stream, the others are followed
                error = as_video_error(caught, DecodeFailed)
                failures += 1
                # A picture that cannot be used, such as a black one, may be another one soon.
                doublings = failures if error.stage == "read" else 1
                wait_s = backoff_s(doublings, config.refresh_s, config.backoff_s, random.random())
                self._report(_failed(stream.stream_id, failures, error, wait_s))
                due = time.monotonic() + wait_s
            else:
                if vector is not None or failures:
                    self._report(ContentReport(stream.stream_id, wall_clock_us(), vector))
                failures = 0
                # At even times, as long as there is time for it.
                due = max(due + config.refresh_s, time.monotonic())
            await asyncio.sleep(max(0.0, due - time.monotonic()))

    async def _attempt(self, stream_id: str, attempts: "_Attempts") -> StreamVector | None:
        """Return the vector of a stream's window; None if no segment has come since the last one.

        Raises:
            VideoError: There is none.
        """
        window = attempts.window
        if window is None:
            scope, side = HlsScope(attempts.uri, attempts.roots), self._media.decode.frame_px
            attempts.window = window = HlsWindow(
                scope, self._fetcher, self._config.hls, window_s=self._config.window_s, side_px=side
            )
            attempts.content = WindowContent(self._media)
        change = await window.advance()
        if not change.new:
            self._check_not_stalled(attempts, change)
            return None
        at, text = wall_clock_us(), self._texts.get(stream_id)
        run = partial(self._encode, attempts.content, change, text)
        encoder, vector = await asyncio.get_running_loop().run_in_executor(self._work, run)
        # Not before: the time that a busy machine takes is not the playlist's.
        attempts.grown = time.monotonic()
        return StreamVector(encoder, at, vector)

    def _check_not_stalled(self, attempts: "_Attempts", change: WindowChange) -> None:
        if change.ended:
            raise PlaylistStalled("its playlist says that it has ended (EXT-X-ENDLIST)")
        waited, most = time.monotonic() - attempts.grown, STALLED_WINDOWS * self._config.window_s
        if waited > most:
            raise PlaylistStalled(f"no segment was added to its playlist for more than {most:g} s")

    def _encode(self, content: WindowContent, change: WindowChange, text: str | None) -> tuple[str, Vectors]:
        """Return the fused encoder's name and the (dim,) vector of a window, in the thread for it."""
        if self._encoders is None:
            self._encoders = build_encoders(self._embed.encoders)
        content.take(change, self._decoder.decode(change.new))
        frames, audio = content.clip()
        try:
            rows = self._encoders.encode([Clip("stream", frames, audio, text)])
        except (ValueError, RuntimeError) as error:
            raise EncodeFailed(f"no encoder took it: {error}") from None
        (vector,) = rows.get("fused", [None])
        if vector is None:
            raise EncodeFailed("it has nothing that the fusion takes")
        return self._encoders.names["fused"], vector

    def _report(self, report: ContentReport) -> None:
        self._reports.append(report)
        self._found.set()


class _Attempts:
    """State that one stream's attempts leave for the next ones."""

    def __init__(self, roots: Sequence[str], uri: str) -> None:
        self.roots, self.uri = roots, uri
        self.window: HlsWindow | None = None
        self.content: WindowContent
        self.grown = time.monotonic()
        """Time of the last new segment."""


def _failed(stream_id: str, failures: int, error: VideoError, wait_s: float) -> ContentReport:
    at = wall_clock_us()
    return ContentReport(
        stream_id,
        at,
        failures=failures,
        error=type(error).__name__,
        reason=str(error)[:500],
        fix=error.fix,
        retry_at=at + round(wait_s * 1e6),
    )


def _step_back() -> None:
    # Of this thread alone, and of the threads and processes that it starts.
    with suppress(OSError):
        os.setpriority(os.PRIO_PROCESS, 0, NICENESS)
