"""What `vrec embed` can be told, apart from all other settings.

Every worker of an embedding job imports this, and none the recommenders and rankers, whose torch costs
seconds at each start.
"""

from typing import Literal, Self

from pydantic import Field, model_validator

from vrec.core.config import BaseConfig
from vrec.encoders.build import EncodersConfig
from vrec.media.audio import AudioConfig
from vrec.media.decode import MediaConfig
from vrec.media.decoders.frames import DecodeConfig
from vrec.media.frame_sampling import FrameSamplingConfig
from vrec.media.quality import QualityConfig


class EmbedConfig(BaseConfig):
    """How `vrec embed` reads, decodes and encodes a catalogue."""

    sample: FrameSamplingConfig = Field(default_factory=FrameSamplingConfig)
    """Which frames of a video are looked at."""
    decode: DecodeConfig = Field(default_factory=DecodeConfig)
    """How they are decoded, and within which limits."""
    audio: AudioConfig = Field(default_factory=AudioConfig)
    """How much of the sound is taken."""
    quality: QualityConfig = Field(default_factory=QualityConfig)
    """What is refused as unusable."""
    encoders: EncodersConfig = Field(default_factory=EncodersConfig)
    """Which encoders run, and how their vectors are fused."""
    batch_size: int = Field(default=32, ge=1, le=4096)
    """Most videos a worker takes at once, fewer in small catalogues and near the end. Each batch is one
    checkpoint: a killed worker costs at most this many again."""
    layout: Literal["auto", "fused", "split"] = "auto"
    """`fused` decodes and encodes in one worker; `split` decodes on CPUs and encodes on GPUs, with uint8
    frames between; `auto` is split where the cluster has GPUs."""
    workers: int | None = Field(default=None, ge=1)
    """Workers that embed at the same time; one a CPU of the cluster (or one a GPU share) by default."""
    cpus_per_worker: float = Field(default=1.0, gt=0)
    """CPUs that Ray sets aside for one worker; the encoders' own `threads` say how many they use."""
    gpus_per_worker: float = Field(default=0.5, gt=0, le=8)
    """GPUs for one encoding worker in the split layout; a fraction shares one GPU."""
    rows_per_file: int = Field(default=8192, ge=1)
    """Videos in one Parquet file of the finished table."""
    near_duplicates: bool = True
    """Whether the manifest names groups of videos that show the same content."""

    @model_validator(mode="after")
    def _frames_fit(self) -> Self:
        cnn = self.encoders.cnn
        wanted = cnn.frame_px if cnn else self.decode.frame_px
        if wanted != self.decode.frame_px:
            raise ValueError(
                f"embed.encoders.frames.frame_px is {wanted} and embed.decode.frame_px "
                f"{self.decode.frame_px}: "
                "the encoder takes what the decoder makes, so set both to the same"
            )
        return self

    def media(self) -> MediaConfig:
        """The part that decoding needs."""
        return MediaConfig(sample=self.sample, decode=self.decode, audio=self.audio, quality=self.quality)
