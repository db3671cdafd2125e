"""Small JPEG pictures that stand for a video on a page."""

import io
from collections.abc import Mapping, Sequence

from PIL import Image
from pydantic import Field

from vrec.core.config import BaseConfig
from vrec.core.types import Frames
from vrec.media.decode import MediaConfig
from vrec.media.decode_process import DecodeProcess


class PosterConfig(BaseConfig):
    """Size and quality of poster pictures."""

    px: int = Field(default=160, ge=16, le=1024)
    """Longer side in pixels; a smaller frame is not enlarged."""
    quality: int = Field(default=70, ge=10, le=95)
    """JPEG quality: more is finer and heavier; 70 at 160 pixels gives about 5 kB a poster."""


def poster(frames: Frames, config: PosterConfig) -> bytes:
    """A JPEG of the clip's middle frame; the same frames give the same bytes.

    `frames` is (T, H, W, 3) uint8 RGB. Raises ValueError for another shape or dtype, or for T = 0.
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
    """JPEGs by `video_id` of the files at `uri`, decoded as `media` says; none for one that fails.

    Stands here and not with what asks for posters: a worker that only makes some need load no more than this.
    """
    found: dict[str, bytes] = {}
    with DecodeProcess(media) as decoder:
        for row, result in zip(rows, decoder.decode_many([r["uri"] for r in rows]), strict=True):
            # A file that went away since it was embedded has no poster; the page shows a blank.
            if not isinstance(result, Exception):
                found[row["video_id"]] = poster(result.frames, config)
    return found
