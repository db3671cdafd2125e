"""Settings of live streams."""

from pydantic import Field

from vrec.core.config import BaseConfig


class StreamsConfig(BaseConfig):
    """Live streams (`PUT /v1/streams/{stream_id}`)."""

    expiry_s: float = Field(default=30.0, gt=0, le=86_400)
    """Seconds without a beat after which a stream is over. Send beats at least three times as often."""
    content_share: float = Field(default=1.0, ge=0, le=1e6)
    """Weight of what the stream shows now, or of its title and tags, in its vector."""
    pinned_share: float = Field(default=0.5, ge=0, le=1e6)
    """Weight of the videos of the products that are pinned now."""
    streamer_share: float = Field(default=0.25, ge=0, le=1e6)
    """Weight of the streamer's other videos."""
