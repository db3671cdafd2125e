"""Settings of data augmentation. Imports no torch."""

from pydantic import Field

from vrec.core.config import BaseConfig


class AugmentConfig(BaseConfig):
    """Settings for data augmentation; 0 (1 for `min_area` and `max_stretch`) switches a change off."""

    min_area: float = Field(default=0.6, gt=0, le=1)
    """Smallest share of the picture that a random crop keeps before it is scaled back to full size."""
    max_stretch: float = Field(default=1.2, ge=1, le=3)
    """Largest aspect ratio of a random crop, in either direction."""
    flip: float = Field(default=0.5, ge=0, le=1)
    """Probability of a horizontal flip. Set 0 where text or left and right matter."""
    rotate_deg: float = Field(default=8.0, ge=0, le=180)
    """Largest rotation in degrees, in either direction; uncovered corners are black."""
    scale: float = Field(default=0.1, ge=0, lt=1)
    """Largest zoom in or out as a share: 0.1 is 90 to 110 %."""
    brightness: float = Field(default=0.2, ge=0, lt=1)
    """Largest change of brightness, as a share."""
    contrast: float = Field(default=0.2, ge=0, lt=1)
    """Largest change of contrast, as a share."""
    saturation: float = Field(default=0.2, ge=0, lt=1)
    """Largest change of saturation, as a share."""
    hue: float = Field(default=0.02, ge=0, le=0.5)
    """Largest hue shift as a share of the color wheel. Keep it small: the color is part of the product."""
