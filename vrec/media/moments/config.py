"""Settings for cutting videos into moments."""

from pydantic import Field

from vrec.core.config import BaseConfig


class MomentSpansConfig(BaseConfig):
    """Settings for the cuts between a video's moments, and for what is decoded of each."""

    ticks_per_s: float = Field(default=4.0, ge=1, le=10)
    """Frames per second that are compared to find cuts; a cut is found to within one of them."""
    max_s: float = Field(default=4.0, ge=1, le=60)
    """Longest moment in seconds; what has no cut is divided evenly."""
    per_minute: int = Field(default=28, ge=4, le=120)
    """Most moments per minute of picture, and as many of sound; beyond, the weakest cuts are left out."""
    cut_change: float = Field(default=10.0, gt=0)
    """Least change of the picture at a cut: root of the mean squared difference of its cells, of 255."""
    sound_change: float = Field(default=8.0, gt=0)
    """Least change of the sound at a cut: root of the mean squared difference of its bands in decibels."""
    cut_ratio: float = Field(default=2.5, ge=1)
    """Least ratio of the change at a cut to the mean change around it, so that fast motion is not cut."""
    cut_window_s: float = Field(default=1.0, gt=0, le=10)
    """Seconds before and after a cut that count as around it."""
    subtitles: bool = True
    """Whether embedded subtitles, and `.srt` and `.vtt` files beside a video, give moments with words."""
    up_to_s: float = Field(default=1200.0, gt=0, le=3600)
    """Seconds from the start of a video that are cut into moments; bounds memory and time."""
    timeout_s: float = Field(default=120.0, gt=0)
    """CPU seconds per video, beside `embed.decode.timeout_s`, after which the rest has no moments."""
