"""Settings of the similarity of videos by their attributes."""

from pydantic import Field

from vrec.core.config import BaseConfig


class AttributesConfig(BaseConfig):
    """Weights of the columns of VIDEOS in the similarity of two videos; 0 leaves a column out."""

    tags: float = Field(default=1.0, ge=0)
    """Weight of the tags."""
    title: float = Field(default=1.0, ge=0)
    """Weight of the title's words; in scripts without spaces, of its characters and character pairs."""
    category: float = Field(default=1.0, ge=0)
    """Weight of the category."""
    creator_id: float = Field(default=0.5, ge=0)
    """Weight of the creator."""
    kind: float = Field(default=0.25, ge=0)
    """Weight of the kind: product, live or clip."""
    domain: float = Field(default=0.25, ge=0)
    """Weight of the domain."""
    language: float = Field(default=0.25, ge=0)
    """Weight of the language."""
    price: float = Field(default=0.25, ge=0)
    """Weight of the price, rounded down to a power of two."""
    duration_s: float = Field(default=0.25, ge=0)
    """Weight of the duration, rounded down to a power of two seconds."""
