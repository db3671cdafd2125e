"""Settings of live streams."""

from pydantic import Field

from vrec.core.config import BaseConfig
from vrec.media.hls.config import HlsLimits


class StreamsConfig(BaseConfig):
    """Live streams (`PUT /v1/streams/{stream_id}`)."""

    expiry_s: float = Field(default=30.0, gt=0, le=86_400)
    """Seconds without a beat after which a stream is over. Send beats at least three times as often."""
    content_share: float = Field(default=1.0, ge=0, le=1e6)
    """Weight of what the stream shows now, or of its title and tags, in its vector."""
    pinned_share: float = Field(default=0.5, ge=0, le=1e6)
    """Weight of the videos of the products that are pinned now."""
    window_s: float = Field(default=30.0, gt=0, le=600)
    """Seconds of a stream, up to now, that what it shows now is taken from."""
    refresh_s: float = Field(default=15.0, gt=0, le=3_600)
    """Seconds after which a stream is embedded again."""
    streams_per_follower: int = Field(default=20, ge=0, le=1_000)
    """Maximum number of streams that one process follows: there are as many processes as it takes, each with
    the encoders in memory. 0 follows none. Streams are followed where the bundle has an encoder and their
    `source` is below one of `serve.security.media_roots`."""
    backoff_s: float = Field(default=300.0, gt=0, le=86_400)
    """Maximum number of seconds between two attempts at a playlist that fails; they double from `refresh_s`
    on, each less a random part of up to a half."""
    keep_content_s: float = Field(default=604_800.0, ge=0, le=1e9)
    """Seconds for which the last vector of a stream that is over and the outcome of its playlist are kept."""
    keep_streams_s: float = Field(default=7_776_000.0, ge=0, le=1e9)
    """Seconds for which a stream that is over and its row of VIDEOS are kept."""
    hls: HlsLimits = Field(default_factory=HlsLimits)
    """Limits of what is fetched of a stream."""
    streamer_share: float = Field(default=0.25, ge=0, le=1e6)
    """Weight of the streamer's other videos."""
