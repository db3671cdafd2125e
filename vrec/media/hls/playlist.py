"""HLS playlists (RFC 8216), as far as following a stream needs them."""

import math
import re
from collections.abc import Iterator
from dataclasses import dataclass, field

from vrec.core.errors import PlaylistError
from vrec.media.decoders.signature import non_video_kind

MAX_LINE_CHARS = 8_192
_ATTRIBUTE = re.compile(r'\s*([A-Za-z0-9-]{1,64})=("[^"]*"|[^",]*)\s*(?:,|$)')
_NUMBER = re.compile(r"[0-9]{1,19}")
_SECONDS = re.compile(r"[0-9]{1,9}(?:\.[0-9]{0,20})?")
_SPAN = re.compile(r"([0-9]{1,18})(?:@([0-9]{1,18}))?")
_SIZE = re.compile(r"([0-9]{1,5})x([0-9]{1,5})")
_SOUND_CODECS = ("mp4a", "ac-3", "ec-3", "opus", "flac", "alac", "mp3")


@dataclass(frozen=True, slots=True)
class ByteSpan:
    """Part of a file."""

    start: int
    length: int


@dataclass(frozen=True, slots=True)
class HlsPart:
    """File, or a part of one, that a playlist names."""

    uri: str
    """As it stands in the playlist."""
    span: ByteSpan | None = None


@dataclass(frozen=True, slots=True)
class HlsSegment:
    """Segment of a media playlist."""

    sequence: int
    """Its media sequence number."""
    part: HlsPart
    duration_s: float
    init: HlsPart | None = None
    """Initialization section that goes before it (fragmented MP4)."""
    encrypted: bool = False


@dataclass(frozen=True, slots=True)
class MediaPlaylist:
    """Playlist of segments. Where the timeline breaks does not matter to who reads each segment by itself."""

    segments: tuple[HlsSegment, ...]
    """Segments that can be fetched, in order of time."""
    ended: bool
    """Whether no segment will be added."""


@dataclass(frozen=True, slots=True)
class HlsVariant:
    """Variant in a master playlist."""

    uri: str
    bandwidth: int
    """Bits per second; 0 if unknown."""
    width: int
    """Pixels; 0 if unknown."""
    height: int
    has_picture: bool


@dataclass(frozen=True, slots=True)
class MasterPlaylist:
    """Playlist of variants of one stream."""

    variants: tuple[HlsVariant, ...]

    def smallest(self, side_px: int) -> HlsVariant:
        """Return the smallest variant with a picture whose sides are at least `side_px`, else the largest.

        Those of unknown size are compared by bandwidth, and come after those of known size.

        Raises:
            PlaylistError: None has a picture.
        """
        pictures = [one for one in self.variants if one.has_picture]
        if not pictures:
            raise PlaylistError("the master playlist has no variant with a picture")
        sized = [one for one in pictures if one.width and one.height]
        if not sized:
            return min(pictures, key=lambda one: one.bandwidth)
        enough = [one for one in sized if min(one.width, one.height) >= side_px]
        if enough:
            return min(enough, key=lambda one: (one.width * one.height, one.bandwidth))
        return max(sized, key=lambda one: (one.width * one.height, -one.bandwidth))


def parse_playlist(content: bytes) -> MediaPlaylist | MasterPlaylist:
    """Parse a playlist in time that is linear in its size.

    Unknown tags are left out, and so are segments that the playlist itself says are missing (EXT-X-GAP).

    Raises:
        PlaylistError: It is none; the message says what it is, or which line is wrong.
    """
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise PlaylistError("it is not UTF-8 text, as playlists are") from None
    lines = text.split("\n")
    if lines[0].strip() != "#EXTM3U":
        kind = non_video_kind(content[:4096]) if content else "empty"
        raise PlaylistError(f"it is {kind or 'something else'}, not a playlist: it has no #EXTM3U")
    parser = _PlaylistParser()
    for number, raw in enumerate(lines[1:], 2):
        if len(raw) > MAX_LINE_CHARS:
            raise PlaylistError(f"line {number} is longer than {MAX_LINE_CHARS:,} characters")
        if line := raw.strip():
            try:
                parser.take(line)
            except ValueError as error:
                raise PlaylistError(f"line {number}: {error}") from None
    return parser.playlist()


@dataclass(slots=True)
class _PlaylistParser:
    """State between two lines of a playlist."""

    first: int = 0
    ended: bool = False
    seconds: float | None = None
    span: tuple[int, int | None] | None = None
    init: HlsPart | None = None
    encrypted: bool = False
    gap: bool = False
    count: int = 0
    variant: dict[str, str] | None = None
    segments: list[HlsSegment] = field(default_factory=list)
    variants: list[HlsVariant] = field(default_factory=list)
    ends: tuple[str, int] = ("", 0)
    """File of the last part of a file, and where that part ended."""

    def take(self, line: str) -> None:
        """Take in a line that is not blank; raises ValueError."""
        if not line.startswith("#"):
            return self._take_uri(line)
        tag, _, value = line.partition(":")
        match tag:
            case "#EXTINF":
                self.seconds = _seconds(value.partition(",")[0].strip())
            case "#EXT-X-MEDIA-SEQUENCE":
                self.first = _whole(value.strip())
            case "#EXT-X-BYTERANGE":
                self.span = _span(value.strip())
            case "#EXT-X-MAP":
                self.init = self._init(_attributes(value))
            case "#EXT-X-KEY":
                self.encrypted = _attributes(value).get("METHOD", "NONE") != "NONE"
            case "#EXT-X-STREAM-INF":
                self.variant = _attributes(value)
            case "#EXT-X-GAP":
                self.gap = True
            case "#EXT-X-ENDLIST":
                self.ended = True
            case _:
                pass
        return None

    def playlist(self) -> MediaPlaylist | MasterPlaylist:
        """Return what the lines were; raises PlaylistError for both kinds in one."""
        if self.variants:
            if self.segments:
                raise PlaylistError("it has variants and segments: it must be a master or a media playlist")
            return MasterPlaylist(tuple(self.variants))
        return MediaPlaylist(tuple(self._numbered()), self.ended)

    def _numbered(self) -> Iterator[HlsSegment]:
        # The first number may stand after the first segment in playlists that are not quite right.
        for one in self.segments:
            yield HlsSegment(self.first + one.sequence, one.part, one.duration_s, one.init, one.encrypted)

    def _take_uri(self, uri: str) -> None:
        if self.variant is not None:
            self.variants.append(_variant(uri, self.variant))
            self.variant = None
        elif self.seconds is not None:
            part = HlsPart(uri, self._place(uri, self.span))
            if not self.gap:
                self.segments.append(HlsSegment(self.count, part, self.seconds, self.init, self.encrypted))
            self.count += 1
            self.seconds, self.span, self.gap = None, None, False

    def _place(self, uri: str, span: tuple[int, int | None] | None) -> ByteSpan | None:
        if span is None:
            return None
        length, start = span
        if start is None:
            if self.ends[0] != uri:
                raise ValueError("a byte range without a start must follow another one of the same file")
            start = self.ends[1]
        self.ends = (uri, start + length)
        return ByteSpan(start, length)

    def _init(self, attributes: dict[str, str]) -> HlsPart:
        if not attributes.get("URI"):
            raise ValueError("EXT-X-MAP has no URI")
        span = _span(attributes["BYTERANGE"]) if "BYTERANGE" in attributes else None
        return HlsPart(attributes["URI"], None if span is None else ByteSpan(span[1] or 0, span[0]))


def _variant(uri: str, attributes: dict[str, str]) -> HlsVariant:
    size = _SIZE.fullmatch(attributes.get("RESOLUTION", ""))
    bandwidth = attributes.get("BANDWIDTH", "")
    codecs = [one.strip().lower() for one in attributes.get("CODECS", "").split(",") if one.strip()]
    only_sound = bool(codecs) and all(one.startswith(_SOUND_CODECS) for one in codecs)
    return HlsVariant(
        uri=uri,
        bandwidth=int(bandwidth) if _NUMBER.fullmatch(bandwidth) else 0,
        width=int(size[1]) if size else 0,
        height=int(size[2]) if size else 0,
        has_picture=size is not None or not only_sound,
    )


def _attributes(text: str) -> dict[str, str]:
    """Return the attributes of a tag; what comes after a malformed one is left out."""
    found: dict[str, str] = {}
    place = 0
    while place < len(text) and (match := _ATTRIBUTE.match(text, place)) is not None:
        found[match[1].upper()] = match[2].strip().strip('"')
        place = match.end()
    return found


def _whole(text: str) -> int:
    if _NUMBER.fullmatch(text) is None:
        raise ValueError(f"{text[:40]!r} is not a whole number")
    return int(text)


def _seconds(text: str) -> float:
    seconds = float(text) if _SECONDS.fullmatch(text) else math.nan
    if not seconds <= 86_400:
        raise ValueError(f"{text[:40]!r} is no length of a segment in seconds")
    return seconds


def _span(text: str) -> tuple[int, int | None]:
    match = _SPAN.fullmatch(text)
    if match is None or not int(match[1]):
        raise ValueError(f"{text[:40]!r} is no byte range, such as 1000@0")
    return int(match[1]), None if match[2] is None else int(match[2])
