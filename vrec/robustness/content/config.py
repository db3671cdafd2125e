"""Settings of the checks of videos' content. Imports no numerical library."""

from typing import Self

from pydantic import Field, model_validator

from vrec.core.config import BaseConfig


class ContentChecksConfig(BaseConfig):
    """Settings of the checks by which `vrec embed` finds videos that may be doctored."""

    min_agreement: float = Field(default=0.75, ge=-1, le=1)
    """Least cosine of the vectors of the frames and of the same frames made smaller, compressed and enlarged
    again; a video below it is noted. Frames that were changed to draw the encoder to another video lose what
    was changed."""
    least_side: float = Field(default=0.5, gt=0, le=1)
    """Smallest side of the smaller frames, as a share of their side; each video has a random one of its
    own."""
    most_side: float = Field(default=0.7, gt=0, le=1)
    """Largest side of the smaller frames."""
    least_quality: int = Field(default=40, ge=1, le=95)
    """Least JPEG quality of the smaller frames."""
    most_quality: int = Field(default=70, ge=1, le=95)
    """Largest JPEG quality."""
    seed: int = Field(default=0, ge=0)
    """Seed of sides and qualities. An attacker who knows it can prepare for them: choose your own, and keep
    it."""

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.least_side > self.most_side or self.least_quality > self.most_quality:
            raise ValueError("least_side and least_quality must not be above most_side and most_quality")
        return self
