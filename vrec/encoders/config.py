"""Settings of `vrec embed`, apart from all other settings.

Every worker of an embedding job imports this module, and not the recommenders and rankers: importing torch
takes seconds at each start.
"""

from typing import Literal, Self

from pydantic import Field, model_validator

from vrec.core.config import BaseConfig
from vrec.encoders.build import EncodersConfig
from vrec.encoders.moments.config import MomentsConfig
from vrec.media.audio import AudioConfig
from vrec.media.decode import MediaConfig
from vrec.media.decoders.frames import DecodeConfig
from vrec.media.frame_sampling import FrameSamplingConfig
from vrec.media.quality import QualityConfig
from vrec.robustness.content.config import ContentChecksConfig


class EmbedConfig(BaseConfig):
    """Settings of `vrec embed`: sampling, decoding and encoding of a catalog."""

    sample: FrameSamplingConfig = Field(default_factory=FrameSamplingConfig)
    """Choice of the frames of a video."""
    decode: DecodeConfig = Field(default_factory=DecodeConfig)
    """Decoding of the frames, and its limits."""
    audio: AudioConfig = Field(default_factory=AudioConfig)
    """Extraction of the sound."""
    quality: QualityConfig = Field(default_factory=QualityConfig)
    """Checks that refuse unusable videos."""
    encoders: EncodersConfig = Field(default_factory=EncodersConfig)
    """Encoders and the fusion of their vectors."""
    batch_size: int = Field(default=32, ge=1, le=4096)
    """Largest number of videos per batch of a worker; batches are smaller in small catalogs and near the end.
    Each batch is one checkpoint: at most this many videos are embedded again after a worker was killed."""
    layout: Literal["auto", "fused", "split"] = "auto"
    """`fused` decodes and encodes in one worker; `split` decodes on CPUs and encodes on GPUs, with uint8
    frames between; `auto` is split where the cluster has GPUs."""
    workers: int | None = Field(default=None, ge=1)
    """Workers that embed at the same time; by default one per CPU of the cluster, or one per GPU share."""
    cpus_per_worker: float = Field(default=1.0, gt=0)
    """CPUs that Ray reserves per worker; the `threads` of the encoders set the number they use."""
    gpus_per_worker: float = Field(default=0.5, gt=0, le=8)
    """GPUs per encoding worker in the split layout; workers with a fraction share one GPU."""
    rows_per_file: int = Field(default=8192, ge=1)
    """Videos per Parquet file of the finished table."""
    near_duplicates: bool = True
    """Whether the manifest lists groups of videos that show the same content. It takes a fingerprint of each
    video's first 16 s, for which all of them are decoded; a change of it embeds every video again."""

    moments: MomentsConfig | None = None
    """Moments of the videos: their cuts, and a vector of each; None, the default, makes none. `vrec embed
    --moments` turns them on; a change of them embeds every video again."""

    checks: ContentChecksConfig | None = None
    """Checks for doctored videos, which are noted in MEDIA and in the manifest (`suspicious`); None, the
    default, makes none. They encode the frames of each video twice; a change of them embeds every video
    again."""

    @model_validator(mode="after")
    def _frames_fit(self) -> Self:
        cnn = self.encoders.cnn
        wanted = cnn.frame_px if cnn else self.decode.frame_px
        if wanted != self.decode.frame_px:
            raise ValueError(
                f"embed.encoders.frames.frame_px is {wanted} and embed.decode.frame_px "
                f"{self.decode.frame_px}: "
                "the encoder takes the frames that the decoder makes, so set both to the same number"
            )
        return self

    @property
    def wants_subtitles(self) -> bool:
        """True where files of subtitles beside the videos are read."""
        return self.moments is not None and self.moments.subtitles

    def media(self) -> MediaConfig:
        """Return the settings that decoding needs."""
        return MediaConfig(
            sample=self.sample,
            decode=self.decode,
            audio=self.audio,
            quality=self.quality,
            fingerprint=self.near_duplicates,
            moments=None if self.moments is None else self.moments.spans(),
        )
