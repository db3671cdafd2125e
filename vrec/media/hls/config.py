"""Limits of what is fetched of an HLS stream."""

from pydantic import Field

from vrec.core.config import BaseConfig


class HlsLimits(BaseConfig):
    """Limits of one HLS stream, whose playlists and segments anybody may have written."""

    playlist_bytes: int = Field(default=1_000_000, ge=1_000, le=16_000_000)
    """Maximum size in bytes of a playlist."""
    segment_bytes: int = Field(default=16_000_000, ge=1_000)
    """Maximum size in bytes of a segment."""
    fetched_bytes: int = Field(default=64_000_000, ge=1_000)
    """Maximum number of bytes that are fetched for one window, of all its new segments together."""
    segments: int = Field(default=60, ge=1, le=1_000)
    """Maximum number of segments in a window; of more, the last ones count."""
    redirects: int = Field(default=3, ge=0, le=20)
    """Maximum number of redirects of one request. Each must stay below `serve.security.media_roots`."""
    fetch_s: float = Field(default=10.0, gt=0, le=600)
    """Seconds in which playlists and new segments of a window must have come; what came by then counts."""
