"""Poster images: small JPEG pictures of videos for web pages."""

import io
from collections.abc import Mapping, Sequence

from PIL import Image
from pydantic import Field

from vrec.core.config import BaseConfig
from vrec.core.types import Frames
from vrec.media.decode import MediaConfig
from vrec.media.decode_process import DecodeProcess


class PosterConfig(BaseConfig):
    """Size and quality of posters."""

    px: int = Field(default=160, ge=16, le=1024)
    """Longer side of a poster in pixels; a smaller frame is not enlarged."""
    quality: int = Field(default=70, ge=10, le=95)
    """JPEG quality; 70 at 160 pixels gives about 5 kB per poster."""


def poster(frames: Frames, config: PosterConfig) -> bytes:
    """Return the clip's middle frame as a JPEG; the same frames give the same bytes.

    Args:
        frames: (T, H, W, 3) uint8 RGB, T ≥ 1.
        config: Size and quality.

    Raises:
        ValueError: `frames` has another shape or dtype, or is empty.
    """
    if frames.ndim != 4 or frames.shape[-1] != 3 or frames.dtype != "uint8" or 0 in frames.shape:
        raise ValueError(f"frames are {frames.shape} {frames.dtype}, want (T, H, W, 3) uint8 with T ≥ 1")
    image = Image.fromarray(frames[len(frames) // 2])
    image.thumbnail((config.px, config.px), Image.Resampling.LANCZOS)
    out = io.BytesIO()
    image.save(out, "JPEG", quality=config.quality, optimize=True)
    return out.getvalue()


def make_posters(
    rows: Sequence[Mapping[str, str]], media: MediaConfig, config: PosterConfig
) -> dict[str, bytes]:
    """Return posters by video id; a video that does not decode has none.

    It is defined here, so that a worker that makes posters imports nothing else.

    Args:
        rows: Rows with `video_id` and `uri`, a local path.
        media: Decoding settings.
        config: Size and quality.
    """
    posters: dict[str, bytes] = {}
    with DecodeProcess(media) as decoder:
        for row, result in zip(rows, decoder.decode_many([r["uri"] for r in rows]), strict=True):
            # A file that is gone since it was embedded has no poster; the page shows a blank.
            if not isinstance(result, Exception):
                posters[row["video_id"]] = poster(result.frames, config)
    return posters
