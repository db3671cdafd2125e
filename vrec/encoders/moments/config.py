"""Settings for the moments of videos: their cuts and their vectors."""

from pydantic import Field

from vrec.core.config import BaseConfig
from vrec.media.moments.config import MomentSpansConfig


class JointEncoderConfig(BaseConfig):
    """Settings of an encoder of pictures and texts in one space, by which words find pictures."""

    model: str = Field(min_length=1)
    """Name of a model of open_clip on a hub, such as `hf-hub:timm/ViT-B-16-SigLIP`, or `local:FOLDER` with
    its `open_clip_config.json` and weights."""
    threads: int = Field(default=1, ge=1)
    """CPU threads per encoder."""


class MomentsConfig(MomentSpansConfig):
    """Settings for the moments of videos."""

    kb_per_minute: float = Field(default=64.0, ge=8, le=1024)
    """Most kilobytes of 1,000 bytes of a video's moments per minute begun; beyond, the most similar neighbors
    are joined."""
    joint: JointEncoderConfig | None = None
    """Encoder of pictures that texts can be compared with, in the place of the frame encoder; needs
    `pip install "vrec[hub]"` and weights that vrec does not bring."""

    def spans(self) -> MomentSpansConfig:
        """Return the settings that decoding needs."""
        return MomentSpansConfig.model_validate(
            self.model_dump(mode="json", include=set(MomentSpansConfig.model_fields))
        )
