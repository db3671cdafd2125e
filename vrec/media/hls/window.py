"""Last seconds of an HLS stream, of which each segment is fetched once."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

from vrec.core.errors import PlaylistError, TooLarge, UnreachableVideo, VideoError
from vrec.media.hls.config import HlsLimits
from vrec.media.hls.fetch import HlsFetcher
from vrec.media.hls.playlist import HlsPart, HlsSegment, MasterPlaylist, MediaPlaylist, parse_playlist
from vrec.media.hls.scope import HlsScope

SegmentKey = tuple[int, HlsPart]
"""Media sequence number of a segment, and where its playlist says that it is."""


@dataclass(frozen=True, slots=True)
class FetchedSegment:
    """Segment as a file of its own, its initialization section included."""

    key: SegmentKey
    duration_s: float
    content: bytes


@dataclass(frozen=True, slots=True)
class WindowChange:
    """Window of a stream after its playlist was read."""

    keys: tuple[SegmentKey, ...]
    """Segments in the window, in order of time."""
    new: tuple[FetchedSegment, ...]
    """Those that came with this reading, in order of time."""
    ended: bool
    """Whether the playlist says that no segment will come."""


class HlsWindow:
    """Window over the end of one stream. Use it in one event loop."""

    def __init__(
        self, scope: HlsScope, fetcher: HlsFetcher, limits: HlsLimits, *, window_s: float, side_px: int
    ) -> None:
        """Build it; nothing is fetched.

        Args:
            scope: The stream, and where its files may be.
            fetcher: Reader of its files.
            limits: Limits of playlists, segments and time.
            window_s: Seconds of the window.
            side_px: Sides of the picture that are enough; see `MasterPlaylist.smallest`.
        """
        self._scope, self._fetcher, self._limits = scope, fetcher, limits
        self._window_s, self._side_px = window_s, side_px
        self._media_uri: str | None = None
        """Playlist of the chosen variant, once the stream's playlist is known to be of variants."""
        self._taken: set[SegmentKey] = set()
        self._init: tuple[HlsPart, bytes] | None = None

    async def advance(self) -> WindowChange:
        """Read the playlist, and fetch the segments of the window that are new.

        Segments that do not come are tried again by the next call as long as they are in the window.

        Raises:
            VideoError: No playlist came, or none of the new segments.
        """
        fetched: dict[SegmentKey, FetchedSegment] = {}
        window: Sequence[HlsSegment] = ()
        error: VideoError | None = None
        ended = False
        try:
            async with asyncio.timeout(self._limits.fetch_s):
                playlist, base = await self._playlist()
                window, ended = self._window(playlist), playlist.ended
                error = await self._fetch_new(window, base, fetched)
        except TimeoutError:
            self._media_uri = None
            error = UnreachableVideo(
                f"{self._scope.source} and its segments did not come within {self._limits.fetch_s:g} s"
            )
        if error is not None and not fetched:
            raise error
        keys = tuple(_key(one) for one in window)
        self._taken = {key for key in keys if key in self._taken or key in fetched}
        new = tuple(fetched[key] for key in keys if key in fetched)
        return WindowChange(tuple(key for key in keys if key in self._taken), new, ended)

    async def _playlist(self) -> tuple[MediaPlaylist, str]:
        """Return the playlist of segments, of variants that of the smallest, and where it was."""
        if self._media_uri is not None:
            try:
                playlist, base = await self._read_playlist(self._media_uri)
                if isinstance(playlist, MediaPlaylist):
                    return playlist, base
            except VideoError:
                # Perhaps the variants have moved: the next call asks for them anew.
                self._media_uri = None
                raise
        playlist, base = await self._read_playlist(self._scope.source)
        if isinstance(playlist, MediaPlaylist):
            return playlist, base
        uri = self._scope.join(base, playlist.smallest(self._side_px).uri)
        playlist, base = await self._read_playlist(uri)
        if isinstance(playlist, MasterPlaylist):
            raise PlaylistError("its variant is a playlist of variants itself")
        self._media_uri, self._init = uri, None
        return playlist, base

    async def _read_playlist(self, uri: str) -> tuple[MediaPlaylist | MasterPlaylist, str]:
        content, place = await self._fetcher.read(self._scope, uri, self._limits.playlist_bytes)
        return parse_playlist(content), place

    def _window(self, playlist: MediaPlaylist) -> Sequence[HlsSegment]:
        """Return the last segments, which last `window_s` together; all if they are shorter."""
        if not playlist.segments:
            raise PlaylistError(
                "the playlist has no segments yet", fix="let the encoder write the first ones"
            )
        seconds, first = 0.0, len(playlist.segments)
        oldest = max(0, first - self._limits.segments)
        while first > oldest and seconds < self._window_s:
            first -= 1
            seconds += playlist.segments[first].duration_s
        window = playlist.segments[first:]
        if not any(_key(one) in self._taken for one in window):
            # Perhaps the encoder started anew, and writes other sections under the same names.
            self._init = None
        return window

    async def _fetch_new(
        self, window: Sequence[HlsSegment], base: str, fetched: dict[SegmentKey, FetchedSegment]
    ) -> VideoError | None:
        """Fetch new segments into `fetched`, the last ones first; return the last error, if any."""
        error: VideoError | None = None
        left = self._limits.fetched_bytes
        for segment in reversed(window):
            if _key(segment) in self._taken:
                continue
            try:
                content = await self._fetch(segment, base, min(left, self._limits.segment_bytes))
            except VideoError as caught:
                error = caught
                continue
            left -= len(content)
            fetched[_key(segment)] = FetchedSegment(_key(segment), segment.duration_s, content)
            if left <= 0:
                break
        return error

    async def _fetch(self, segment: HlsSegment, base: str, most: int) -> bytes:
        if segment.encrypted:
            raise PlaylistError("its segments are encrypted (EXT-X-KEY)")
        head = b"" if segment.init is None else await self._fetch_init(segment.init, base, most)
        body = await self._fetch_part(segment.part, base, most - len(head))
        return head + body

    async def _fetch_init(self, part: HlsPart, base: str, most: int) -> bytes:
        if self._init is None or self._init[0] != part:
            self._init = part, await self._fetch_part(part, base, most)
        return self._init[1]

    async def _fetch_part(self, part: HlsPart, base: str, most: int) -> bytes:
        if most <= 0:
            raise TooLarge(f"its new segments have more than {self._limits.fetched_bytes:,} bytes together")
        uri = self._scope.join(base, part.uri)
        content, _ = await self._fetcher.read(self._scope, uri, most, part.span)
        return content


def _key(segment: HlsSegment) -> SegmentKey:
    return segment.sequence, segment.part
